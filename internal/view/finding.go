package view

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"nfsync.dev/nfsync/internal/nf"
)

// severity is how much an entry matters, in the order in which CI systems show it.
type severity int

const (
	severityNotice severity = iota
	severityWarning
	severityError
)

// finding is an entry or a remark of a document as a CI system shows it at a line of a file.
// Its texts are clean, and each is one line.
type finding struct {
	severity severity
	rule     string
	message  string
	advice   string    // what to do, with its label
	source   nf.Source // the line, with the path that its file has in the repository; without a file it is about no line
	since    string
	id       string // of what it is about, the same in every run: other lines and other containers do not change it
}

// isChange reports whether a finding is a change, or is pending: nothing that is wrong.
func (f finding) isChange() bool { return f.rule == ruleChange || f.rule == rulePending }

// findingFormat is a format of the findings of a document, in whose outline everything that is alike
// is one entry.
func findingFormat[T any](name string, of func(T, Options) outline, encode func(outline, Options) ([]byte, error)) format[T] {
	return format[T]{name: name, encode: func(doc T, opt Options) ([]byte, error) {
		opt.foldAll = true
		return encode(of(doc, opt), opt)
	}}
}

// findings returns the entries and remarks of an outline, what matters most first. What a change
// of the policies has ended is left out.
func findings(o outline, opt Options) []finding {
	var list []finding
	for _, c := range o.chapters {
		if c.since == sinceEnded {
			continue
		}
		for _, g := range c.groups {
			for i := range g.entries {
				list = append(list, entryFinding(g, i, c.since, opt))
			}
		}
		for _, r := range c.remarks {
			list = append(list, remarkFinding(r, c, opt))
		}
	}
	slices.SortStableFunc(list, func(a, b finding) int { return cmp.Compare(b.severity, a.severity) })
	number(list)
	return list
}

func entryFinding(g group, i int, since string, opt Options) finding {
	e := g.entries[i]
	what := e.cells[columnKey].plain() + " " + e.cells[columnTo].plain()
	f := finding{severity: e.severity, rule: e.rule, since: since, source: located(e.source, opt)}
	f.id = strings.Join([]string{e.rule, g.places[0].target.Kind, what, e.source.Name, f.source.File}, "\n")
	if since == sinceUnchanged {
		f.severity = severityNotice
	}
	text := placeList(g.places) + ": " + e.cells[columnKey].plain() + " " + e.cells[columnFrom].plain() + " → " + e.cells[columnTo].plain()
	if since == sinceUnchanged {
		text += ", different anyway"
	}
	for _, n := range slices.Concat(e.notes, e.advice) {
		switch {
		case n.text == "":
		case n.label == "remedy":
			f.advice = "remedy: " + Clean(n.text)
		case n.label == "why" && e.differ:
			text += "; not all for the same reason, that of " + placeList(g.places[:1]) + " is: " + Clean(n.text)
		case n.label == "why":
			text += ": " + Clean(n.text)
		default:
			text += "; " + n.label + " " + Clean(n.text)
		}
	}
	f.message = text
	return f
}

func remarkFinding(r remark, c chapter, opt Options) finding {
	if opt.Published && strings.HasPrefix(r.rule, snapshotRule) {
		r.source = nf.Source{}
	}
	f := finding{severity: r.severity, rule: r.rule, message: Clean(r.text), since: c.since, source: located(r.source, opt)}
	if r.hint != "" {
		f.advice = "hint: " + Clean(r.hint)
	}
	f.id = strings.Join([]string{r.rule, r.about, r.source.Name, f.source.File}, "\n")
	return f
}

// located returns a source with the path of its file in the repository, if it has a file.
func located(s nf.Source, opt Options) nf.Source {
	if s.File == "" {
		return s
	}
	if opt.Path != nil {
		s.File = opt.Path(s.File)
	}
	s.File, s.Line, s.Column = Clean(filepath.ToSlash(filepath.Clean(s.File))), max(s.Line, 1), max(s.Column, 1)
	return s
}

// somewhere returns the line of a finding or, if it is about none, the first line of the policies'
// path, for formats in which everything is about a line.
func (f finding) somewhere(opt Options) nf.Source {
	if f.source.File != "" {
		return f.source
	}
	return located(nf.Source{File: cmp.Or(opt.Policies, ".")}, opt)
}

// number makes the ids different from each other: of those that are equal the second is numbered 2.
func number(list []finding) {
	seen := map[string]int{}
	for i := range list {
		id := list[i].id
		seen[id]++
		sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%d", id, seen[id]))
		list[i].id = hex.EncodeToString(sum[:16])
	}
}
