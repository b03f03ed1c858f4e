// Package words explains the words of nfsync's output: every code, key, state and result that
// a document or a text may show, and the terms of the glossary.
//
// A text is beside what it explains where that has texts of its own: the codes in diff, the
// rules of files in spec, the conditions in agent, the capabilities in the schema of the
// snapshot. All others are in tables.go. The exit codes are the command's.
package words

import (
	"slices"
	"strings"

	"nfsync.dev/nfsync/internal/diff"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/spec"
	"nfsync.dev/nfsync/internal/view"
)

// Topic is a topic with the explanations of its words.
type Topic struct {
	Topic view.Topic
	Words []view.Explanation
}

// Topics lists all topics, in the order in which a word is looked up. That of exit codes is the
// command's.
func Topics(command ...Topic) []Topic {
	list := slices.Concat(own(), tables(), command)
	slices.SortStableFunc(list, func(a, b Topic) int {
		return slices.Index(view.Topics(), a.Topic) - slices.Index(view.Topics(), b.Topic)
	})
	return list
}

// own lists the topics whose words other rooms explain.
func own() []Topic {
	return []Topic{
		{view.TopicRefusal, each(nf.Codes(), func(c nf.Code) view.Explanation { e, _ := diff.Explain(c); return view.ExplainRefusal(e) })},
		{view.TopicWarning, each(diff.Warnings(), view.ExplainWarning)},
		{view.TopicKey, each(keys, func(k string) view.Explanation { e, _ := diff.ExplainKey(k); return view.ExplainKey(e) })},
		{view.TopicLevel, each(diff.Levels(), view.ExplainLevel)},
		{view.TopicRule, each(spec.Rules(), view.ExplainRule)},
		{view.TopicEvent, each(nf.Untils(), view.ExplainEvent)},
		{view.TopicSnapshot, each([]nf.SnapshotState{nf.SnapshotFresh, nf.SnapshotStale, nf.SnapshotMissing, nf.SnapshotUnreadable}, view.ExplainSnapshot)},
		{view.TopicFinding, each(view.FindingRules(), view.ExplainFinding)},
		{view.TopicCondition, conditions()},
		{view.TopicCapability, capabilities()},
		{view.TopicProbe, probes()},
		{view.TopicTerm, glossary()},
	}
}

func each[T any](list []T, explain func(T) view.Explanation) []view.Explanation {
	var words []view.Explanation
	for _, x := range list {
		words = append(words, explain(x))
	}
	return words
}

// keys are the keys, as plans name them. NAME stands for any name.
var keys = []string{
	string(nf.KeyLevel), string(nf.KeyAboveLevel), string(nf.ModuleKey(anyName)), string(nf.KeyMax), string(nf.KeyBuckets), string(nf.KeyExpectMax),
	string(nf.TimeoutKey(anyName)), string(nf.SysctlKey(anyName)), string(nf.KeyRestart),
}

// anyName stands for any name in a key.
const anyName = "NAME"

// Explain returns what is known of a word, with all its meanings; false if it is in none of the topics.
func Explain(topics []Topic, word string) (view.Explanation, bool) {
	e := view.Explanation{Word: word}
	for _, t := range topics {
		s, ok := t.find(word)
		switch {
		case !ok:
		case e.Meaning == "":
			e.Sense = s
		default:
			e.Also = append(e.Also, s)
		}
	}
	return e, e.Meaning != ""
}

// find returns the meaning of a word in the topic. Of the keys it knows those with any name.
func (t Topic) find(word string) (view.Sense, bool) {
	for _, e := range t.Words {
		if e.Word == word {
			return e.Sense, true
		}
	}
	if t.Topic != view.TopicKey {
		return view.Sense{}, false
	}
	k, ok := diff.ExplainKey(word)
	return view.ExplainKey(k).Sense, ok
}

// Listed returns the words of the topics, as a list of them shows them.
func Listed(topics []Topic) []view.Words {
	var list []view.Words
	for _, t := range topics {
		w := view.Words{Topic: t.Topic, Title: t.Topic.Title()}
		for _, e := range t.Words {
			w.Words = append(w.Words, e.Word)
		}
		list = append(list, w)
	}
	return list
}

// Typed returns each word that can be typed, with what it is: a key with NAME in it cannot,
// but that of each timeout can. The words are sorted.
func Typed(topics []Topic) []view.Explanation {
	kinds := map[string]view.Explanation{}
	for _, t := range topics {
		for _, e := range t.Words {
			if _, known := kinds[e.Word]; !known && !(t.Topic == view.TopicKey && strings.Contains(e.Word, anyName)) {
				kinds[e.Word] = e
			}
		}
	}
	for _, name := range nf.TimeoutNames() {
		k, _ := diff.ExplainKey(string(nf.TimeoutKey(name)))
		kinds[k.Key] = view.ExplainKey(k)
	}
	var list []view.Explanation
	for _, e := range kinds {
		list = append(list, e)
	}
	slices.SortFunc(list, func(a, b view.Explanation) int { return strings.Compare(a.Word, b.Word) })
	return list
}
