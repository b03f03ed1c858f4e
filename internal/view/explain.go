package view

import (
	"slices"
	"strings"

	"nfsync.dev/nfsync/internal/diff"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/spec"
)

// Topic is what an explained word is.
type Topic string

// The topics.
const (
	TopicRefusal     Topic = "refusal"
	TopicWarning     Topic = "warning"
	TopicKey         Topic = "key"
	TopicLevel       Topic = "level"
	TopicRule        Topic = "rule" // of files
	TopicExitCode    Topic = "exit-code"
	TopicCondition   Topic = "condition" // of the status of an agent
	TopicReason      Topic = "reason"    // of a condition
	TopicLapCause    Topic = "lap-cause"
	TopicLapResult   Topic = "lap-result"
	TopicCause       Topic = "cause" // of a change
	TopicEvent       Topic = "event" // that ends a refusal or a pending entry
	TopicOutcome     Topic = "outcome"
	TopicVerdict     Topic = "verdict"
	TopicLayer       Topic = "layer"
	TopicKeyState    Topic = "key-state"
	TopicModuleState Topic = "module-state"
	TopicSupport     Topic = "module-support"
	TopicState       Topic = "container-state"
	TopicSnapshot    Topic = "snapshot-state"
	TopicTracking    Topic = "tracking"
	TopicScope       Topic = "scope"
	TopicKeeper      Topic = "keeper"
	TopicRuntime     Topic = "runtime"
	TopicRestart     Topic = "restart" // as a policy says it
	TopicCapability  Topic = "capability"
	TopicProbe       Topic = "probe"
	TopicFinding     Topic = "finding" // of reports
	TopicRollout     Topic = "rollout-state"
	TopicProgress    Topic = "progress" // of a node in a roll-out
	TopicTerm        Topic = "term"     // of the glossary
)

// topicTitles name the topics: one of their words, and all of them.
var topicTitles = map[Topic][2]string{
	TopicRefusal:     {"code of a refusal", "Codes of refusals"},
	TopicWarning:     {"code of a warning", "Codes of warnings"},
	TopicKey:         {"key", "Keys"},
	TopicLevel:       {"level", "Levels"},
	TopicRule:        {"rule of files", "Rules of files, as validate names them"},
	TopicExitCode:    {"exit code", "Exit codes"},
	TopicCondition:   {"condition of the agent's status", "Conditions of the agent's status"},
	TopicReason:      {"reason of a condition", "Reasons of conditions"},
	TopicLapCause:    {"cause of a lap", "Causes of laps"},
	TopicLapResult:   {"result of a lap", "Results of laps"},
	TopicCause:       {"cause of a change", "Causes of changes"},
	TopicEvent:       {"event that ends a refusal or a pending entry", "Events that end refusals and pending entries"},
	TopicOutcome:     {"outcome of a change", "Outcomes of changes"},
	TopicVerdict:     {"verdict on a run", "Verdicts on runs"},
	TopicLayer:       {"layer", "Layers"},
	TopicKeyState:    {"state of a key", "States of keys, as show names them"},
	TopicModuleState: {"state of a module", "States of modules"},
	TopicSupport:     {"module support of a kernel", "Module support of kernels"},
	TopicState:       {"state of a container", "States of containers"},
	TopicSnapshot:    {"state of a snapshot", "States of snapshots"},
	TopicTracking:    {"state of tracking", "States of tracking"},
	TopicScope:       {"scope of conntrack.max in a container", "Scopes of conntrack.max in containers"},
	TopicKeeper:      {"keeper", "Keepers"},
	TopicRuntime:     {"runtime", "Runtimes"},
	TopicRestart:     {"value of restart in a policy", "Values of restart in policies"},
	TopicCapability:  {"capability in a snapshot", "Capabilities in snapshots"},
	TopicProbe:       {"probe of the kernel", "Probes of the kernel, as doctor names them"},
	TopicFinding:     {"rule of a finding in reports", "Rules of findings in reports, beside codes and rules of files"},
	TopicRollout:     {"state of a roll-out", "States of roll-outs"},
	TopicProgress:    {"progress of a node in a roll-out", "Progress of nodes in roll-outs"},
	TopicTerm:        {"word of the glossary", "Words of the glossary"},
}

// Topics lists the topics.
func Topics() []Topic {
	return []Topic{TopicRefusal, TopicWarning, TopicKey, TopicLevel, TopicRule, TopicExitCode, TopicCondition, TopicReason, TopicLapCause, TopicLapResult,
		TopicCause, TopicEvent, TopicOutcome, TopicVerdict, TopicLayer, TopicKeyState, TopicModuleState, TopicSupport, TopicState, TopicSnapshot, TopicTracking,
		TopicScope, TopicKeeper, TopicRuntime, TopicRestart, TopicCapability, TopicProbe, TopicFinding, TopicRollout, TopicProgress,
		TopicTerm}
}

// Title returns what all words of the topic are.
func (t Topic) Title() string { return topicTitles[t][1] }

// String returns what one word of the topic is.
func (t Topic) String() string { return topicTitles[t][0] }

// Explanation explains one word. One that has several meanings has the others in Also.
type Explanation struct {
	Word string `json:"word"`
	Sense
	Also []Sense `json:"also,omitempty"`
}

// Sense is one meaning of a word. What a topic does not have is empty.
type Sense struct {
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
	return Explanation{Word: string(e.Code), Sense: Sense{Topic: TopicRefusal, Meaning: e.Meaning, Cause: e.Cause, Remedy: e.Remedy, Until: e.Until, Sources: e.Sources}}
}

// ExplainWarning returns the explanation of a warning's code.
func ExplainWarning(w diff.WarningText) Explanation {
	return Explanation{Word: w.Code, Sense: Sense{Topic: TopicWarning, Meaning: w.Meaning, Cause: w.Cause, Remedy: w.Remedy}}
}

// ExplainKey returns the explanation of a key.
func ExplainKey(k diff.KeyExplanation) Explanation {
	return Explanation{Word: k.Key, Sense: Sense{Topic: TopicKey, Meaning: k.Meaning, Unit: k.Unit, Where: k.Where, Scope: k.Scope}}
}

// ExplainLevel returns the explanation of a level.
func ExplainLevel(l diff.LevelText) Explanation {
	return Explanation{Word: l.Level.String(), Sense: Sense{Topic: TopicLevel, Meaning: l.Meaning, Cause: l.Cause, Remedy: l.Remedy}}
}

// ExplainRule returns the explanation of a rule of files.
func ExplainRule(r spec.RuleText) Explanation {
	return Explanation{Word: string(r.Rule), Sense: Sense{Topic: TopicRule, Meaning: r.Meaning, Remedy: r.Remedy, Example: r.Example}}
}

// ExplainEvent returns the explanation of an event that ends a refusal.
func ExplainEvent(u nf.Until) Explanation {
	return Explanation{Word: string(u), Sense: Sense{Topic: TopicEvent, Meaning: "The refusal or the pending entry stays until: " + UntilText(u) + "."}}
}

// Explanations is the output of explain, the Explanation document.
var Explanations = newKind(func(e Explanation) any { return explanationJSON{headerOf(nf.KindExplanation), e} }, (*page).explanation)

type explanationJSON struct {
	header
	Explanation
}

// Words are the words of one topic.
type Words struct {
	Topic Topic    `json:"topic"`
	Title string   `json:"title"`
	Words []string `json:"words"`
}

// Vocabulary is what explain can explain, by topic: the Vocabulary document.
var Vocabulary = newKind(vocabularyJSONOf, (*page).vocabulary)

type vocabularyJSON struct {
	header
	Topics []Words `json:"topics"`
}

func vocabularyJSONOf(topics []Words) any {
	return vocabularyJSON{headerOf(nf.KindVocabulary), filled(topics)}
}

// vocabulary writes each topic with its words.
func (p *page) vocabulary(topics []Words) {
	for i, t := range topics {
		if i > 0 {
			p.line()
		}
		p.line(p.paint(bold, t.Title))
		p.prose(2, cell{{plain, strings.Join(t.Words, ", ")}})
	}
	p.line()
	p.commands([][2]string{{"nfsync explain WORD", "explains a word"}})
}

// labelWidth is the column where the text beside a paragraph's label starts.
const labelWidth = 12

// paragraph is a text with a label beside it.
type paragraph struct{ label, text string }

func (p *page) explanation(e Explanation) {
	for i, s := range append([]Sense{e.Sense}, e.Also...) {
		if i > 0 {
			p.line()
		}
		p.line(p.paint(bold, Clean(e.Word)), p.paint(dim, ": "+s.Topic.String()))
		p.line()
		p.sense(s)
	}
}

// sense writes one meaning of a word.
func (p *page) sense(s Sense) {
	last := ""
	for _, part := range s.paragraphs() {
		label := part.label
		if label == last { // the first of several shows it
			label = ""
		}
		p.hanging(labelWidth, p.paint(dim, pad(label, labelWidth-2)), part.text)
		last = part.label
	}
}

// paragraphs returns what is known of the meaning.
func (s Sense) paragraphs() []paragraph {
	list := []paragraph{{"Meaning", s.Meaning}, {"Cause", s.Cause}, {"Remedy", s.Remedy}, {"Example", s.Example},
		{"Unit", s.Unit}, {"Where", s.Where}, {"Belongs to", s.Scope}}
	for _, u := range s.Until {
		list = append(list, paragraph{"Until", UntilText(u) + " (" + string(u) + ")"})
	}
	for _, source := range s.Sources {
		list = append(list, paragraph{"Sources", source})
	}
	return slices.DeleteFunc(list, func(p paragraph) bool { return p.text == "" })
}
