package spec

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// elsewhere are the rules that no file of testdata/err breaks: they are about the tree
// of files, about policies together, or about documents that are not policies. Each has
// a test of its own.
var elsewhere = map[Rule]string{
	RuleConflict:         "TestConflicts",
	RuleForbiddenFile:    "TestReadDir",
	RuleTooLarge:         "TestHostile",
	RuleSeveralDocuments: "TestSnapshotErrors",
	RuleNoDocument:       "TestAgentConfigErrors",
	RuleExclusiveKeys:    "TestAgentConfigErrors",
}

// Each rule is explained once, is documented, and is given by some pair of files; no
// pair gives a rule that is not explained.
func TestRules(t *testing.T) {
	doc, err := os.ReadFile("../../docs/diagnostics.md")
	if err != nil {
		t.Fatal(err)
	}
	given := map[Rule]bool{}
	for _, name := range append(glob(t, "testdata/err/*.out"), glob(t, "testdata/agentconfig/err/*.out")...) {
		for line := range strings.Lines(string(read(t, name))) {
			if rule, ok := strings.CutPrefix(strings.TrimSpace(line), "rule: "); ok {
				given[Rule(rule)] = true
			}
		}
	}
	rules := Rules()
	if !slices.IsSortedFunc(rules, func(a, b RuleText) int { return strings.Compare(string(a.Rule), string(b.Rule)) }) {
		t.Error("the rules are not sorted")
	}
	for i, r := range rules {
		if i > 0 && rules[i-1].Rule == r.Rule {
			t.Errorf("%s is explained twice", r.Rule)
		}
		if r.Meaning == "" || r.Remedy == "" {
			t.Errorf("%s is not explained", r.Rule)
		}
		if !strings.Contains(string(doc), "| `"+string(r.Rule)+"` | "+r.Meaning+" | "+r.Remedy+" |\n") {
			t.Errorf("docs/diagnostics.md lacks the row of %s", r.Rule)
		}
		if !given[r.Rule] && elsewhere[r.Rule] == "" {
			t.Errorf("no file of testdata breaks %s", r.Rule)
		}
		if got, ok := ExplainRule(string(r.Rule)); !ok || got != r {
			t.Errorf("ExplainRule(%s) = %v, %v", r.Rule, got, ok)
		}
		delete(given, r.Rule)
	}
	for rule := range given {
		t.Errorf("%q is given and not explained", rule)
	}
	if _, ok := ExplainRule("no-such-rule"); ok {
		t.Error("a rule that does not exist is explained")
	}
}
