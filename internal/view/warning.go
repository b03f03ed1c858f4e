package view

import (
	"iter"
	"regexp"
	"slices"
	"strings"

	"nfsync.dev/nfsync/internal/nf"
)

// warningOf is a warning of a place.
type warningOf struct {
	place
	nf.Warning
}

// message is what warnings that are shown as one have in common. Its text has no numbers.
type message struct {
	code, text string
	key        nf.Key
	source     nf.Source
}

func (w warningOf) message() message {
	m := message{code: w.Code, text: wholeNumber.ReplaceAllString(w.Message, "${1}0"), key: w.Key}
	if w.Source != nil {
		m.source = *w.Source
	}
	return m
}

// wholeNumber matches a number that is a word: a count, but no part of a name or of a path.
var wholeNumber = regexp.MustCompile(`(^|[ (])[0-9]+\b`)

// warningChapter returns a chapter with warnings of nodes.
func warningChapter(above int, list iter.Seq2[string, nf.Warning]) chapter {
	var all []warningOf
	for node, w := range list {
		all = append(all, warningOf{place{node, w.Target}, w})
	}
	ch := chapter{title: "Warnings", style: yellow}
	for _, same := range foldAlike(all, above, warningOf.message) {
		slices.SortStableFunc(same, func(a, b warningOf) int { return a.compare(b.place) })
		var places []place
		for _, w := range same {
			places = append(places, w.place)
		}
		m := same[0].message()
		ch.remarks = append(ch.remarks, remark{label: Clean(m.code), text: warningText(same, places), places: places, count: len(same), severity: severityWarning,
			rule: m.code, about: m.text + string(m.key), source: m.source})
	}
	return ch
}

// warningText returns the message of warnings that are alike, with the places unless that is the one
// node, the key, and the policy's line. If their numbers differ, the message is that of the first
// place.
func warningText(same []warningOf, places []place) string {
	first := same[0]
	var subject []string
	if len(places) > 1 || first.node != "" || first.target.Kind == nf.TargetContainer {
		subject = append(subject, placeList(places))
	}
	if first.Key != "" {
		subject = append(subject, string(first.Key))
	}
	text := first.Message
	if slices.ContainsFunc(same, func(w warningOf) bool { return w.Message != text }) {
		text = "not all with the same numbers; that of " + placeList(places[:1]) + " is: " + text
	}
	if subject != nil {
		text = strings.Join(subject, ", ") + ": " + text
	}
	if first.Source != nil && first.Source.File != "" {
		text += " (" + origin(*first.Source).plain() + ")"
	}
	return text
}
