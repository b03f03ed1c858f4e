package view

import (
	"io"

	"nfsync.dev/nfsync/internal/diff"
	"nfsync.dev/nfsync/internal/nf"
)

type explanation struct {
	Code    nf.Code    `json:"code"`
	Until   []nf.Until `json:"until"`
	Meaning string     `json:"meaning"`
	Cause   string     `json:"cause"`
	Remedy  string     `json:"remedy"`
	Sources []string   `json:"sources"`
}

// Explanation writes what a refusal's code means.
func Explanation(w io.Writer, format string, e diff.Explanation, opt Options) error {
	doc := explanation{e.Code, filled(e.Until), e.Meaning, e.Cause, e.Remedy, filled(e.Sources)}
	return render(w, format, opt, doc, func(p *page) { p.explanation(doc) })
}

func (p *page) explanation(e explanation) {
	p.line(p.paint(bold, string(e.Code)))
	p.line()
	p.paragraph("Meaning", e.Meaning)
	p.paragraph("Cause", e.Cause)
	p.paragraph("Remedy", e.Remedy)
	for i, u := range e.Until {
		label := "Until"
		if i > 0 {
			label = ""
		}
		p.paragraph(label, until(u)+" ("+string(u)+")")
	}
	p.sources(e.Sources)
}

// labelWidth is the column where the text beside a paragraph's label starts.
const labelWidth = 11

func (p *page) paragraph(label, text string) {
	if text != "" {
		p.hanging(labelWidth, p.paint(dim, pad(label, labelWidth-2)), text)
	}
}

func (p *page) sources(list []string) {
	for i, s := range list {
		label := "Sources"
		if i > 0 {
			label = ""
		}
		p.paragraph(label, s)
	}
}
