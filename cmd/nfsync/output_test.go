package main

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"

	"nfsync.dev/nfsync/internal/view"
)

type kind []string

func (k kind) Formats() []string { return slices.Clone(k) }

// TestOutput: -o takes the formats that all documents of a verb have. Help, completion
// and the error name them.
func TestOutput(t *testing.T) {
	run := func(args ...string) (string, error) {
		a := testApp(nil)
		root := a.command()
		plan, _, err := root.Find([]string{"plan"})
		if err != nil {
			t.Fatal(err)
		}
		plan.Annotations = prints(kind{"text", "json", "yaml", "markdown"}, kind{"text", "json", "markdown", "html"})
		var out bytes.Buffer
		root.SetOut(&out)
		root.SetErr(io.Discard)
		root.SetArgs(args)
		err = root.Execute()
		return out.String(), err
	}
	for verb, want := range map[string]string{"plan": "may be repeated: text, json, markdown (default text)", "apply": "may be repeated: text, json, yaml, markdown, html (default text)", "snapshot": "(default yaml)"} {
		if help, err := run(verb, "--help"); err != nil || !strings.Contains(strings.Join(strings.Fields(help), " "), want) {
			t.Errorf("no %q in the help of %s, %v:\n%s", want, verb, err, help)
		}
	}
	if list, err := run("__complete", "plan", "-o", ""); err != nil || list != "text\tfor people\njson\tthe document, for programs\nmarkdown\ta comment on a merge request\n:36\n" {
		t.Errorf("completion lists %q, %v", list, err)
	}
	const want = `unknown output format "yaml" of nfsync plan: must be one of text, json, markdown`
	if _, err := run("plan", "nowhere", "-o", "yaml"); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if _, err := run("plan", "nowhere", "-o", "markdown"); err == nil || strings.Contains(err.Error(), "format") {
		t.Errorf("got %v", err)
	}
}

// TestVerbsPrint: every verb that prints a document says which. import prints policies, init and fmt
// the names of files.
func TestVerbsPrint(t *testing.T) {
	var silent []string
	others := map[string][]string{"import": {view.FormatText, view.FormatYAML}, "init": {view.FormatText}, "fmt": {view.FormatText}}
	for _, verb := range testApp(nil).command().Commands() {
		if want, ok := others[verb.Name()]; ok {
			if got := formats(verb); !slices.Equal(got, want) {
				t.Errorf("%s has the formats %v", verb.Name(), got)
			}
		} else if verb.Annotations[formatsKey] == "" {
			silent = append(silent, verb.Name())
		} else if got := formats(verb); !slices.Equal(got[:3], view.Formats()) {
			t.Errorf("%s has the formats %v", verb.Name(), got)
		}
	}
	if !slices.Equal(silent, []string{"cni", "completion", "demo", "fleet", "help", "hook", "man", "take-back"}) {
		t.Errorf("%v print no document", silent)
	}
}
