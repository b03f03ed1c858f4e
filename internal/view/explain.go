package view

import (
	"io"

	"nfsync.dev/nfsync/internal/diff"
	"nfsync.dev/nfsync/internal/spec"
)

// Explanation writes the meaning of a refusal code.
func Explanation(w io.Writer, format string, e diff.Explanation, opt Options) error {
	e.Until, e.Sources = filled(e.Until), filled(e.Sources)
	return render(w, format, opt, e, func(p *page) {
		p.line(p.paint(bold, clean(string(e.Code))))
		p.line()
		p.paragraph("Meaning", e.Meaning)
		p.paragraph("Cause", e.Cause)
		p.paragraph("Remedy", e.Remedy)
		var events []string
		for _, u := range e.Until {
			events = append(events, until(u)+" ("+string(u)+")")
		}
		p.paragraph("Until", events...)
		p.paragraph("Sources", e.Sources...)
	})
}

// KeyExplanation writes the meaning of a key.
func KeyExplanation(w io.Writer, format string, e diff.KeyExplanation, opt Options) error {
	return render(w, format, opt, e, func(p *page) {
		p.line(p.paint(bold, clean(e.Key)))
		p.line()
		p.paragraph("Meaning", e.Meaning)
		p.paragraph("Unit", e.Unit)
		p.paragraph("Where", e.Where)
		p.paragraph("Belongs to", e.Scope)
	})
}

// RuleExplanation writes the meaning of a rule of files.
func RuleExplanation(w io.Writer, format string, r spec.RuleText, opt Options) error {
	return render(w, format, opt, r, func(p *page) {
		p.line(p.paint(bold, clean(string(r.Rule))))
		p.line()
		p.paragraph("Meaning", r.Meaning)
		p.paragraph("Remedy", r.Remedy)
	})
}

// labelWidth is the column where the text beside a paragraph's label starts.
const labelWidth = 12

// paragraph writes texts beside a label, each on lines of its own; nothing
// where there are none.
func (p *page) paragraph(label string, texts ...string) {
	for _, text := range texts {
		if text == "" {
			continue
		}
		p.hanging(labelWidth, p.paint(dim, pad(label, labelWidth-2)), text)
		label = ""
	}
}
