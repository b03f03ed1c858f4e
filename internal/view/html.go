package view

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"slices"
	"strings"
)

// FormatHTML is one page that needs no other file.
const FormatHTML = "html"

var (
	//go:embed html/page.html
	htmlTemplate string
	//go:embed html/base.css
	htmlBase string
	//go:embed html/page.css
	htmlOwn string
	//go:embed html/page.js
	htmlScript string

	htmlStyle = htmlBase + htmlOwn
	htmlPage  = template.Must(template.New("page").Parse(htmlTemplate))
)

// BaseStyle returns the style sheet that all pages of nfsync begin with: colours, text, entries.
func BaseStyle() string { return htmlBase }

// htmlPolicy returns the Content-Security-Policy of the page, as an attribute: it loads nothing, and
// nothing but its own style and script has an effect.
func htmlPolicy() template.HTMLAttr {
	return template.HTMLAttr(fmt.Sprintf(`content="default-src 'none'; style-src '%s'; script-src '%s'; base-uri 'none'; form-action 'none'"`, //nolint:gosec // it is ours
		cspHash(htmlStyle), cspHash(htmlScript)))
}

func cspHash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// The data of the page. Its texts are clean.
type (
	htmlData struct {
		Title    string
		Policy   template.HTMLAttr
		Style    template.CSS
		Script   template.JS
		Lines    [][]htmlSpan
		Chapters []htmlChapter
	}
	htmlSpan    struct{ Class, Text string }
	htmlChapter struct {
		Title, Class string
		Count        int
		Groups       []htmlGroup
		Remarks      []htmlRemark
	}
	htmlGroup struct {
		Title   string
		Names   []string
		More    int // names that are not listed
		Entries []htmlEntry
	}
	htmlEntry struct {
		Glyph                               htmlSpan
		Key, Layer, From, Arrow, To, Bounds string
		Cells                               [][]htmlSpan
		Notes                               []htmlNote
	}
	htmlNote   struct{ Label, Text string }
	htmlRemark struct {
		Label, Text, Snippet, Hint string
		Names                      []string
		More                       int
	}
)

// htmlFormat is the format of a kind that has an outline.
func htmlFormat[T any](of func(T, Options) outline) format[T] {
	return format[T]{name: FormatHTML, encode: func(doc T, opt Options) ([]byte, error) { return encodeHTML(of(doc, opt)) }}
}

func encodeHTML(o outline) ([]byte, error) {
	data := htmlData{Title: o.title.plain(), Policy: htmlPolicy(), Style: template.CSS(htmlStyle), Script: template.JS(htmlScript)} //nolint:gosec // both are ours
	for _, line := range slices.Concat(o.intro, o.summary) {
		data.Lines = append(data.Lines, htmlSpans(line))
	}
	for _, c := range o.chapters {
		data.Chapters = append(data.Chapters, htmlChapterOf(c))
	}
	var out bytes.Buffer
	if err := htmlPage.Execute(&out, data); err != nil {
		return nil, fmt.Errorf("cannot encode as HTML: %w", err)
	}
	return out.Bytes(), nil
}

func htmlChapterOf(c chapter) htmlChapter {
	h := htmlChapter{Title: cmp.Or(c.title, "Entries"), Class: htmlClasses[c.style], Count: c.count()}
	for _, g := range c.groups {
		group := htmlGroup{Title: placeList(g.places)}
		group.Names, group.More = htmlNames(g.places)
		for i := range g.entries {
			group.Entries = append(group.Entries, htmlEntryOf(g, i))
		}
		h.Groups = append(h.Groups, group)
	}
	for _, r := range c.remarks {
		remark := htmlRemark{Label: Clean(r.label), Text: Clean(r.text), Snippet: Clean(r.snippet), Hint: Clean(r.hint)}
		remark.Names, remark.More = htmlNames(r.places)
		h.Remarks = append(h.Remarks, remark)
	}
	return h
}

func htmlEntryOf(g group, i int) htmlEntry {
	e := g.entries[i]
	rest := func(c cell) string { return strings.TrimSpace(c[min(1, len(c)):].plain()) }
	first := func(c cell) string { return strings.TrimSuffix(c.plain(), c[min(1, len(c)):].plain()) }
	h := htmlEntry{
		Key: first(e.cells[columnKey]), Layer: rest(e.cells[columnKey]), From: e.cells[columnFrom].plain(), Arrow: e.cells[columnArrow].plain(),
		To: first(e.cells[columnTo]), Bounds: rest(e.cells[columnTo]),
	}
	if glyph := e.cells[columnGlyph]; len(glyph) > 0 {
		h.Glyph = htmlSpan{htmlClasses[glyph[0].style], glyph[0].text}
	}
	for _, c := range e.cells[columnTo+1:] {
		if c.width() > 0 {
			h.Cells = append(h.Cells, htmlSpans(c))
		}
	}
	if e.differ {
		h.Notes = append(h.Notes, htmlNote{"note", "not all for the same reason; that of " + placeList(g.places[:1]) + " is:"})
	}
	for _, n := range g.notes(i) {
		h.Notes = append(h.Notes, htmlNote{n.label, Clean(n.text)})
	}
	return h
}

var htmlClasses = map[string]string{bold: "strong", dim: "quiet", red: "red", green: "green", yellow: "yellow", bold + ";" + red: "red"}

func htmlSpans(c cell) []htmlSpan {
	var spans []htmlSpan
	for _, s := range c {
		if s.text != "" {
			spans = append(spans, htmlSpan{htmlClasses[s.style], s.text})
		}
	}
	return spans
}

// maxHTMLNames is how many names of what is shown as one are listed, so that they can be found.
const maxHTMLNames = 5000

// htmlNames returns the names of several places: those of the nodes and those of the containers,
// or of each place if not every node has every one of them.
func htmlNames(places []place) (names []string, more int) {
	if len(places) < 2 {
		return nil, 0
	}
	nodes, targets, everywhere := axes(places)
	switch {
	case !everywhere:
		for _, at := range places[:min(len(places), maxHTMLNames)] {
			names = append(names, Clean(at.target.String())+" of node "+Clean(at.node))
		}
		return names, len(places) - len(names)
	case nodes[0] != "":
		names = nodes
	}
	if !targets[0].IsNode() {
		for _, t := range targets {
			names = append(names, Clean(t.String()))
		}
	}
	if len(names) > maxHTMLNames {
		return names[:maxHTMLNames], len(names) - maxHTMLNames
	}
	return names, 0
}
