package view

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// TestYAMLQuotes are the strings that some reader of YAML 1.1 (yaml.org/type)
// or of the YAML 1.2 core schema takes for something else.
func TestYAMLQuotes(t *testing.T) {
	for _, s := range []string{"", "y", "N", "yes", "No", "on", "OFF", "true", "False", "null", "~", "=", "<<", "1", "-1", "+1", "0777", "0o17",
		"0x1F", "1_000", "1e3", "1.5", ".5", ".inf", "-.INF", ".nan", "190:20:30", "2026-03-01", "2026-03-01T12:00:00Z", "44877559758096e7",
		"- a", "a: b", "a #b", "#a", "'a'", "\"a\"", "@a", "`a`", "!a", "&a", "*a", "%a", "?", "|", ">", "{a}", "[a]", " a", "a ", "a\tb", "a\nb",
		"a\r\nb", "\u0085", "\u2028", "\ufeff", "\x1b[2J", "\u202e", "\U000E0001"} {
		checkYAMLString(t, s)
		if out, err := encodeYAML([]string{s}); err != nil || !strings.HasPrefix(string(out), `- "`) && !strings.HasPrefix(string(out), `- '`) {
			t.Errorf("%q becomes %q, %v: it needs quotes", s, out, err)
		}
	}
	for _, s := range []string{"nf_conntrack", "conntrack.max", "sha256:9f86", "policies/web.yaml", "hn-1", "at most 50000", "café"} {
		out, err := encodeYAML([]string{s})
		if err != nil || string(out) != "- "+s+"\n" {
			t.Errorf("%q becomes %q, %v: it needs no quotes", s, out, err)
		}
	}
}

func FuzzYAMLString(f *testing.F) {
	f.Add("a: b\n- c")
	f.Fuzz(func(t *testing.T, s string) {
		if utf8.ValidString(s) {
			checkYAMLString(t, s)
		}
	})
}

// checkYAMLString holds the YAML of a string, as key and as value, to what it
// was made from.
func checkYAMLString(t *testing.T, s string) {
	t.Helper()
	doc := map[string]any{s: []any{s}}
	out, err := encodeYAML(doc)
	if err != nil {
		t.Fatalf("%q: %v", s, err)
	}
	var node yaml.Node
	if err := yaml.Unmarshal(out, &node); err != nil {
		t.Fatalf("%q: %v\n%s", s, err, out)
	}
	mapping := node.Content[0]
	for _, n := range []*yaml.Node{mapping.Content[0], mapping.Content[1].Content[0]} {
		if n.ShortTag() != "!!str" || n.Value != s {
			t.Fatalf("%q reads back as %s %q\n%s", s, n.ShortTag(), n.Value, out)
		}
	}
	if i := strings.IndexFunc(string(out), unprintable); i >= 0 {
		t.Fatalf("%q: the YAML holds %q", s, out[i:])
	}
	checkJSONString(t, s)
}

func checkJSONString(t *testing.T, s string) {
	t.Helper()
	out, err := encodeJSON(s)
	if err != nil {
		t.Fatal(err)
	}
	var back string
	if err := json.Unmarshal(out, &back); err != nil || back != s {
		t.Fatalf("%q reads back as %q, %v", s, back, err)
	}
	if i := strings.IndexFunc(string(out), unprintable); i >= 0 {
		t.Fatalf("%q: the JSON holds %q", s, out[i:])
	}
}
