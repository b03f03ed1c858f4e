package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/spec"
)

// TestExplainable: explain knows, and completes, each code of a refusal and each rule of
// files, once.
func TestExplainable(t *testing.T) {
	words := map[string]bool{}
	for _, c := range nf.Codes() {
		words[string(c)] = true
	}
	for _, r := range spec.Rules() {
		words[string(r.Rule)] = true
	}
	if list := explainable(); len(list) != len(words) {
		t.Errorf("%d words for %d codes and rules: %v", len(list), len(words), list)
	}
	for word := range words {
		if !slices.Contains(explainable(), word) {
			t.Errorf("%s is not completed", word)
		}
		var out bytes.Buffer
		a := testApp(nil)
		a.stdout = &out
		root := a.command()
		root.SetArgs([]string{"explain", word})
		if err := root.Execute(); err != nil || !strings.HasPrefix(out.String(), word+"\n") {
			t.Errorf("%s: %v, %s", word, err, out.String())
		}
	}
}
