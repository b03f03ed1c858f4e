package view

import (
	"nfsync.dev/nfsync/internal/diff"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/spec"
)

// Topic is what an explained word is.
type Topic string

// The topics.
const (
	TopicRefusal  Topic = "refusal"
	TopicWarning  Topic = "warning"
	TopicKey      Topic = "key"
	TopicLevel    Topic = "level"
	TopicRule     Topic = "rule" // of files
	TopicExitCode Topic = "exit-code"
	// TopicCondition is a condition of the status of an agent.
	TopicCondition Topic = "condition"
)

// Explanation explains one word. What a topic does not have is empty.
type Explanation struct {
	Word    string     `json:"word"`
	Topic   Topic      `json:"topic"`
	Meaning string     `json:"meaning"`
	Cause   string     `json:"cause,omitempty"`
	Remedy  string     `json:"remedy,omitempty"`
	Example string     `json:"example,omitempty"` // of what breaks the rule
	Until   []nf.Until `json:"until,omitempty"`   // the events that end the refusal, the usual one first
	Unit    string     `json:"unit,omitempty"`
	Where   string     `json:"where,omitempty"` // the kernel keeps the key
	Scope   string     `json:"scope,omitempty"` // what the key belongs to
	Sources []string   `json:"sources,omitempty"`
}

// ExplainRefusal returns the explanation of a refusal's code.
func ExplainRefusal(e diff.Explanation) Explanation {
	return Explanation{Word: string(e.Code), Topic: TopicRefusal, Meaning: e.Meaning, Cause: e.Cause, Remedy: e.Remedy, Until: e.Until, Sources: e.Sources}
}

// ExplainWarning returns the explanation of a warning's code.
func ExplainWarning(w diff.WarningText) Explanation {
	return Explanation{Word: w.Code, Topic: TopicWarning, Meaning: w.Meaning, Cause: w.Cause, Remedy: w.Remedy}
}

// ExplainKey returns the explanation of a key.
func ExplainKey(k diff.KeyExplanation) Explanation {
	return Explanation{Word: k.Key, Topic: TopicKey, Meaning: k.Meaning, Unit: k.Unit, Where: k.Where, Scope: k.Scope}
}

// ExplainLevel returns the explanation of a level.
func ExplainLevel(l diff.LevelText) Explanation {
	return Explanation{Word: l.Level.String(), Topic: TopicLevel, Meaning: l.Meaning, Cause: l.Cause, Remedy: l.Remedy}
}

// ExplainRule returns the explanation of a rule of files.
func ExplainRule(r spec.RuleText) Explanation {
	return Explanation{Word: string(r.Rule), Topic: TopicRule, Meaning: r.Meaning, Remedy: r.Remedy, Example: r.Example}
}

// Explanations is the output of explain, the Explanation document.
var Explanations = newKind(func(e Explanation) any { return explanationJSON{headerOf(nf.KindExplanation), e} }, (*page).explanation)

type explanationJSON struct {
	header
	Explanation
}

// labelWidth is the column where the text beside a paragraph's label starts.
const labelWidth = 12

// paragraph is a text with a label beside it.
type paragraph struct{ label, text string }

func (p *page) explanation(e Explanation) {
	list := []paragraph{{"Meaning", e.Meaning}, {"Cause", e.Cause}, {"Remedy", e.Remedy}, {"Example", e.Example},
		{"Unit", e.Unit}, {"Where", e.Where}, {"Belongs to", e.Scope}}
	for _, u := range e.Until {
		list = append(list, paragraph{"Until", UntilText(u) + " (" + string(u) + ")"})
	}
	for _, s := range e.Sources {
		list = append(list, paragraph{"Sources", s})
	}
	p.line(p.paint(bold, Clean(e.Word)))
	p.line()
	last := ""
	for _, part := range list {
		if part.text == "" {
			continue
		}
		label := part.label
		if label == last { // the first of several shows it
			label = ""
		}
		p.hanging(labelWidth, p.paint(dim, pad(label, labelWidth-2)), part.text)
		last = part.label
	}
}
