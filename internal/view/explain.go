package view

import (
	"nfsync.dev/nfsync/internal/diff"
	"nfsync.dev/nfsync/internal/spec"
)

// Explanations is the output of explain about a refusal's code.
var Explanations = newKind(explanationJSON, (*page).explanation)

func explanationJSON(e diff.Explanation) any {
	e.Until, e.Sources = filled(e.Until), filled(e.Sources)
	return e
}

func (p *page) explanation(e diff.Explanation) {
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
}

// KeyExplanations is the output of explain about a key.
var KeyExplanations = newKind(func(e diff.KeyExplanation) any { return e }, (*page).keyExplanation)

func (p *page) keyExplanation(e diff.KeyExplanation) {
	p.line(p.paint(bold, clean(e.Key)))
	p.line()
	p.paragraph("Meaning", e.Meaning)
	p.paragraph("Unit", e.Unit)
	p.paragraph("Where", e.Where)
	p.paragraph("Belongs to", e.Scope)
}

// RuleExplanations is the output of explain about a rule of files.
var RuleExplanations = newKind(func(r spec.RuleText) any { return r }, (*page).ruleExplanation)

func (p *page) ruleExplanation(r spec.RuleText) {
	p.line(p.paint(bold, clean(string(r.Rule))))
	p.line()
	p.paragraph("Meaning", r.Meaning)
	p.paragraph("Remedy", r.Remedy)
	p.paragraph("Example", r.Example)
}

// labelWidth is the column where the text beside a paragraph's label starts.
const labelWidth = 12

// paragraph writes texts beside a label, each on lines of its own; nothing if there are
// none.
func (p *page) paragraph(label string, texts ...string) {
	for _, text := range texts {
		if text == "" {
			continue
		}
		p.hanging(labelWidth, p.paint(dim, pad(label, labelWidth-2)), text)
		label = ""
	}
}
