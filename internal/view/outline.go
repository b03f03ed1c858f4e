package view

import (
	"cmp"
	"iter"
	"slices"
	"time"

	"nfsync.dev/nfsync/internal/nf"
)

// outline is a document as people read it, in text, Markdown or HTML: a title, chapters, of which
// those that need a person come first, and a summary. Its texts are clean, but for those of
// notes and remarks.
type outline struct {
	title    cell
	intro    []cell // lines below the title
	chapters []chapter
	summary  []cell
	commands [][2]string // that the reader may want to run next, each with its effect
	// brief is set if the summary alone says everything where there are no chapters.
	brief bool
}

// chapter is a list of entries by their places, or of remarks.
type chapter struct {
	title, style string
	groups       []group
	remarks      []remark
	since        string // whether a change of the policies brings it; "" in a document that has no base
}

// What a change of the policies does to the entries of a chapter, in the words of SARIF.
const (
	sinceNew       = "new"
	sinceEnded     = "absent"
	sinceUnchanged = "unchanged"
)

// remark is a text with a label.
type remark struct {
	label, text string
	places      []place // that have it in common
	snippet     string  // of the file
	hint        string
	count       int // of what it stands for
	rule        string
	about       string // the same in every run
	severity    severity
	source      nf.Source // the line that it is about
}

// urgent reports whether a chapter is about what was refused, disrupts or cannot be relied on.
func (c chapter) urgent() bool { return c.style == red || c.style == yellow }

// count returns how many elements of the document a chapter is about.
func (c chapter) count() int {
	n := 0
	for _, g := range c.groups {
		n += len(g.places) * len(g.entries)
	}
	for _, r := range c.remarks {
		n += r.count
	}
	return n
}

// notes returns the notes of an entry of a group. Advice that the entry above has too is left out.
func (g group) notes(i int) []note {
	e := g.entries[i]
	list := e.notes
	if i == 0 || !slices.Equal(e.advice, g.entries[i-1].advice) {
		list = slices.Concat(e.notes, e.advice)
	}
	return slices.DeleteFunc(slices.Clone(list), func(n note) bool { return n.text == "" })
}

// contents collects the chapters of a document.
type contents struct {
	chapters []chapter
	above    int // how many places with the same entry are still listed one by one
}

// add adds a chapter, unless it is empty.
func (c *contents) add(ch chapter) {
	if len(ch.groups)+len(ch.remarks) > 0 {
		c.chapters = append(c.chapters, ch)
	}
}

// chapterOf returns a chapter with the entries of elements of nodes.
func chapterOf[T any](above int, style, title string, list iter.Seq2[string, T], entryOf func(T) entry) chapter {
	f := newFolder(above)
	for node, element := range list {
		e := entryOf(element)
		f.add(place{node, e.target}, e)
	}
	return chapter{title: title, style: style, groups: f.groups()}
}

// foldedChapter is chapterOf for lists that may be long. alike returns what the entry of an element
// shows, whatever its target is called: it is laid out once for all equal ones.
func foldedChapter[T any, K comparable](above int, style, title string, list iter.Seq2[string, T], entryOf func(T) entry, alike func(T) (nf.Target, K)) chapter {
	f := newFolder(above)
	known := map[K]*laidOut{}
	for node, element := range list {
		target, k := alike(element)
		if l := known[k]; l != nil {
			f.addAgain(l, place{node, target})
			continue
		}
		e := entryOf(element)
		known[k] = &laidOut{f.add(place{node, target}, e), e}
	}
	return chapter{title: title, style: style, groups: f.groups()}
}

// of is a node of a document, with what is said of its snapshot.
type of interface{ Taken() nf.NodeSnapshot }

// snapshotChapter returns a chapter with the nodes whose snapshots cannot be relied on.
func snapshotChapter[N of](above int, nodes []N) chapter {
	var list []nf.NodeSnapshot
	for _, node := range nodes {
		if n := node.Taken(); n.Error != "" || n.State != nf.SnapshotFresh {
			list = append(list, n)
		}
	}
	type problem struct{ state, text string }
	ch := chapter{title: "Snapshots", style: yellow}
	for _, same := range foldAlike(list, above, func(n nf.NodeSnapshot) problem { return problem{string(n.State), n.Error} }) {
		var names []string
		var places []place
		for _, n := range same {
			names, places = append(names, Clean(n.Node)), append(places, place{n.Node, nf.Node})
		}
		text := names[0]
		if len(names) > 1 {
			text = foldNames(names)
		}
		matters := severityWarning // a stale snapshot that is allowed
		if same[0].Error != "" {
			matters, ch.style = severityError, red
		}
		ch.remarks = append(ch.remarks, remark{label: string(same[0].State), text: text + ": " + snapshotProblem(same[0]), places: places, count: len(same),
			severity: matters, rule: snapshotRule + string(same[0].State), source: nf.Source{File: same[0].Snapshot}})
	}
	return ch
}

// snapshotRule begins the rules of snapshots that cannot be relied on.
const snapshotRule = "snapshot-"

// snapshotProblem says why a snapshot cannot be relied on, or when it was taken.
func snapshotProblem(n nf.NodeSnapshot) string {
	if n.Error == "" && n.TakenAt != nil {
		return "taken at " + n.TakenAt.UTC().Format(time.DateTime) + " UTC"
	}
	return cmp.Or(n.Error, string(n.State))
}

// reportFormats are the formats of a kind that has an outline, and that people review and CI systems
// show. Its documents are mostly printed by this command.
func reportFormats[T any](of func(T, Options) outline, suites func(T) []junitSuite, command string) []format[T] {
	return []format[T]{markdownFormat(of, command), htmlFormat(of), findingFormat(FormatSARIF, of, encodeSARIF), junitFormat(suites),
		findingFormat(FormatGitHub, of, encodeGitHub), findingFormat(FormatGitLab, of, encodeGitLab)}
}

// outline writes a document as text.
func (p *page) outline(o outline) {
	if !o.brief || len(o.chapters) > 0 {
		p.line(p.spans(o.title))
		for _, line := range o.intro {
			p.prose(0, line)
		}
		p.chapters(o.chapters)
		p.line()
	}
	for _, line := range o.summary {
		p.prose(0, line)
	}
	p.commands(o.commands)
}

func (p *page) spans(c cell) string {
	line := ""
	for _, s := range c {
		line += p.paint(s.style, s.text)
	}
	return line
}

const changesTitle = "Changes"

// chapters writes chapters as text. If nothing comes before the changes, their heading is left out.
func (p *page) chapters(list []chapter) {
	for i, c := range list {
		if i == 0 && c.title == changesTitle {
			c.title = ""
		}
		p.chapter(c)
	}
}

// chapter writes a heading, if it has a text, and a table of the entries.
func (p *page) chapter(c chapter) {
	for i, g := range c.groups {
		if i == 0 {
			p.heading(c.style, c.title)
		} else {
			p.line()
		}
		p.group(g)
	}
	if len(c.remarks) == 0 {
		return
	}
	p.heading(c.style, c.title)
	wide := 0
	for _, r := range c.remarks {
		wide = max(wide, len(r.label))
	}
	for _, r := range c.remarks {
		p.lines = []nf.Source{r.source}
		p.hanging(wide+4, "  "+p.paint(c.style, pad(r.label, wide)), r.text)
		p.lines = nil
	}
}
