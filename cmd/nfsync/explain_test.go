package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"nfsync.dev/nfsync/internal/diff"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/spec"
)

// TestExplainable: explain knows, and completes, each code, key, warning, level, rule and exit
// code, once.
func TestExplainable(t *testing.T) {
	words := map[string]bool{"level": true, "restart": true, "conntrack.max": true, "conntrack.timeouts.udp": true, "0": true, "7": true}
	for _, c := range nf.Codes() {
		words[string(c)] = true
	}
	for _, w := range diff.Warnings() {
		words[w.Code] = true
	}
	for _, l := range nf.LevelNames() {
		words[l] = true
	}
	for _, r := range spec.Rules() {
		words[string(r.Rule)] = true
	}
	for _, t := range nf.ConditionTypes() {
		words[string(t)] = true
	}
	list := explainable()
	if unique := slices.Compact(slices.Clone(list)); len(unique) != len(list) {
		t.Errorf("a word is there twice: %v", list)
	}
	for word := range words {
		if !slices.Contains(list, word) {
			t.Errorf("%s is not completed", word)
		}
	}
	for _, word := range list {
		var out bytes.Buffer
		a := testApp(nil)
		a.stdout = &out
		root := a.command()
		root.SetArgs([]string{"explain", word})
		if err := root.Execute(); err != nil || !strings.HasPrefix(out.String(), word+"\n\nMeaning ") {
			t.Errorf("%s: %v, %s", word, err, out.String())
		}
	}
}
