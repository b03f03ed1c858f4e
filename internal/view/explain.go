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
	list := []paragraph{{"Meaning", e.Meaning}, {"Cause", e.Cause}, {"Remedy", e.Remedy}}
	for _, u := range e.Until {
		list = append(list, paragraph{"Until", until(u) + " (" + string(u) + ")"})
	}
	for _, s := range e.Sources {
		list = append(list, paragraph{"Sources", s})
	}
	p.explained(string(e.Code), list)
}

// KeyExplanations is the output of explain about a key.
var KeyExplanations = newKind(func(e diff.KeyExplanation) any { return e }, (*page).keyExplanation)

func (p *page) keyExplanation(e diff.KeyExplanation) {
	p.explained(e.Key, []paragraph{{"Meaning", e.Meaning}, {"Unit", e.Unit}, {"Where", e.Where}, {"Belongs to", e.Scope}})
}

// RuleExplanations is the output of explain about a rule of files.
var RuleExplanations = newKind(func(r spec.RuleText) any { return r }, (*page).ruleExplanation)

func (p *page) ruleExplanation(r spec.RuleText) {
	p.explained(string(r.Rule), []paragraph{{"Meaning", r.Meaning}, {"Remedy", r.Remedy}, {"Example", r.Example}})
}

// labelWidth is the column where the text beside a paragraph's label starts.
const labelWidth = 12

// paragraph is a text with a label beside it.
type paragraph struct{ label, text string }

// explained writes a word and the paragraphs about it that have a text. Of paragraphs with
// the same label the first shows it.
func (p *page) explained(word string, list []paragraph) {
	p.line(p.paint(bold, Clean(word)))
	p.line()
	last := ""
	for _, part := range list {
		if part.text == "" {
			continue
		}
		label := part.label
		if label == last {
			label = ""
		}
		p.hanging(labelWidth, p.paint(dim, pad(label, labelWidth-2)), part.text)
		last = part.label
	}
}
