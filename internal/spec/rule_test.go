package spec

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// givenRules returns the rules that the invalid files of testdata break, and those that
// take more than one file.
func givenRules(t *testing.T) map[Rule]bool {
	given := map[Rule]bool{}
	for _, name := range append(glob(t, "testdata/err/*.out"), glob(t, "testdata/agentconfig/err/*.out")...) {
		for line := range strings.Lines(string(read(t, name))) {
			if rule, ok := strings.CutPrefix(strings.TrimSpace(line), "rule: "); ok {
				given[Rule(rule)] = true
			}
		}
	}
	dir := t.TempDir()
	err := errors.Join(os.Symlink("a.yaml", filepath.Join(dir, "link.yaml")),
		os.WriteFile(filepath.Join(dir, "large.yaml"), make([]byte, maxPolicyFile+1), 0o600))
	r, readErr := ReadDir(dir)
	if err := errors.Join(err, readErr); err != nil {
		t.Fatal(err)
	}
	for _, d := range append(r.Diagnostics, NoPolicies(dir, len(r.Files))) {
		given[d.Rule] = true
	}
	policies, found := Parse([]File{{Name: "a", Data: []byte(header + "spec: {level: full}\n---\n" +
		strings.Replace(header, "x}", "y}", 1) + "spec: {level: stateful}\n")}})
	if len(found) > 0 {
		t.Fatal(found)
	}
	for _, c := range policies.Conflicts() {
		given[c.Diagnostic().Rule] = true
	}
	return given
}

// TestRules: each rule that is given is explained, once, and documented; each that is
// explained is given.
func TestRules(t *testing.T) {
	doc := string(read(t, "../../docs/diagnostics.md"))
	given := givenRules(t)
	rules := Rules()
	if !slices.IsSortedFunc(rules, func(a, b RuleText) int { return strings.Compare(string(a.Rule), string(b.Rule)) }) {
		t.Error("the rules are not sorted")
	}
	for i, r := range rules {
		if i > 0 && rules[i-1].Rule == r.Rule {
			t.Errorf("%s is explained twice", r.Rule)
		}
		if r.Meaning == "" || r.Remedy == "" || r.Example == "" {
			t.Errorf("%s is not explained", r.Rule)
		}
		example := r.Example
		if isCode(r) {
			example = "`" + example + "`"
		}
		if row := "| `" + string(r.Rule) + "` | " + r.Meaning + " | " + r.Remedy + " | " + example + " |\n"; !strings.Contains(doc, row) {
			t.Errorf("docs/diagnostics.md lacks the row\n%s", row)
		}
		if !given[r.Rule] {
			t.Errorf("nothing breaks %s", r.Rule)
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
	if rows := strings.Count(doc, "\n| `"); rows != len(rules) {
		t.Errorf("docs/diagnostics.md has %d rows, not %d", rows, len(rules))
	}
}

var policyLine = regexp.MustCompile(`^(kind|metadata|spec): `)

// isCode reports whether the example of a rule is a line of a policy, not a description.
func isCode(r RuleText) bool { return policyLine.MatchString(r.Example) }

// TestRuleExamples: a policy with the line of the example breaks that rule, and no other.
func TestRuleExamples(t *testing.T) {
	lines := 0
	for _, r := range Rules() {
		if !isCode(r) {
			continue
		}
		lines++
		key, _, _ := strings.Cut(r.Example, ":")
		var text strings.Builder
		for line := range strings.Lines(header + "spec: {}\n") {
			if !strings.HasPrefix(line, key+":") {
				text.WriteString(line)
			}
		}
		_, found := Parse([]File{{Name: "x", Data: []byte(text.String() + r.Example + "\n")}})
		if len(found) != 1 || found[0].Rule != r.Rule {
			t.Errorf("%s: %s gives %v", r.Rule, r.Example, found)
		}
	}
	if lines < 15 {
		t.Errorf("only %d examples are lines", lines)
	}
}
