package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestExplainCompletes: each word that a shell is offered is explained, as what the shell says
// that it is. Exit codes are among them.
func TestExplainCompletes(t *testing.T) {
	run := func(args ...string) string {
		a := testApp(nil)
		var out bytes.Buffer
		a.stdout = &out
		root := a.command()
		root.SetArgs(args)
		if err := root.Execute(); err != nil {
			t.Errorf("%q: %v", args, err)
		}
		return out.String()
	}
	offered := func(args ...string) []string {
		list := strings.Split(strings.TrimSpace(run(append([]string{"__complete"}, args...)...)), "\n")
		return list[:len(list)-1] // the last line is a directive
	}
	var words []string
	for _, line := range offered("explain", "") {
		word, kind, _ := strings.Cut(line, "\t")
		words = append(words, word)
		if slices.Contains([]string{"rolled", "hook", "namespace", "procfs", "sysctls"}, word) {
			continue // the first part of a word
		}
		if got := run("explain", word); !strings.HasPrefix(got, word+": "+kind+"\n\nMeaning ") {
			t.Errorf("%s is %s:\n%s", word, kind, got)
		}
	}
	for code := range exitTexts {
		if !slices.Contains(words, fmt.Sprint(code)) {
			t.Errorf("the exit code %d is not offered", code)
		}
	}
	if unique := slices.Compact(slices.Clone(words)); len(unique) != len(words) || len(words) < 150 {
		t.Errorf("offered are %v", words)
	}
	if got := offered("explain", "rolled", ""); !slices.Equal(got, []string{"back\tverdict on a run"}) {
		t.Errorf("after rolled %q is offered", got)
	}
	if got := offered("explain", "5", ""); len(got) > 0 {
		t.Errorf("after 5 %q is offered", got)
	}
}
