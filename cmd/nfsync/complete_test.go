package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"nfsync.dev/nfsync/internal/view"
)

// unguessable are the flags whose values are not completed, and why.
var unguessable = map[string]string{
	"label":  "any key and value",
	"branch": "only the server knows the branches, and completion asks none",
	"tag":    "only the server knows the tags, and completion asks none",
	"commit": "a hash, from elsewhere",
	"accept": "a hash, from the message that asks for it",
	"path":   "a directory in a repository that is elsewhere",
	"user":   "any name",
	"reason": "any text",
	"name":   "any name",
}

// isNothing reports whether a completer is completeNothing.
func isNothing(c completer) bool {
	return c == nil || reflect.ValueOf(c).Pointer() == reflect.ValueOf(completeNothing).Pointer()
}

// TestEveryValueIsCompleted holds each verb, and each of its flags that takes a value, to a completer.
func TestEveryValueIsCompleted(t *testing.T) {
	a := testApp(nil)
	root := a.command()
	seen := map[string]bool{}
	var walk func(*cobra.Command)
	walk = func(verb *cobra.Command) {
		verb.LocalFlags().VisitAll(func(f *pflag.Flag) {
			seen[f.Name] = true
			if f.Value.Type() == "bool" {
				return
			}
			complete, ok := verb.GetFlagCompletionFunc(f.Name)
			switch why := unguessable[f.Name]; {
			case !ok:
				t.Errorf("--%s of %s has no completer", f.Name, verb.CommandPath())
			case isNothing(complete) && why == "":
				t.Errorf("--%s of %s completes nothing, and nothing says why", f.Name, verb.CommandPath())
			case !isNothing(complete) && why != "":
				t.Errorf("--%s of %s is completed, although %s", f.Name, verb.CommandPath(), why)
			}
		})
		if verb.ValidArgsFunction == nil && !verb.HasSubCommands() && verb.Name() != "help" {
			t.Errorf("the arguments of %s have no completer", verb.CommandPath())
		}
		for _, sub := range verb.Commands() {
			walk(sub)
		}
	}
	walk(root)
	for name := range a.flagCompleters() {
		if !seen[name] {
			t.Errorf("--%s has a completer and does not exist", name)
		}
	}
	for name := range unguessable {
		if !seen[name] {
			t.Errorf("--%s is an exception and does not exist", name)
		}
	}
	for _, format := range []string{view.FormatText, view.FormatJSON, view.FormatYAML, view.FormatMarkdown, view.FormatHTML, view.FormatSARIF, view.FormatJUnit, view.FormatGitHub, view.FormatGitLab} {
		if formatTexts[format] == "" {
			t.Errorf("the format %s is not described", format)
		}
	}
}

// completions returns what a shell is offered, and the directive.
func completions(t *testing.T, args ...string) (list []string, directive string) {
	t.Helper()
	var out, complaints bytes.Buffer
	a := testApp(nil)
	a.stderr = &complaints
	root := a.command()
	root.SetOut(&out)
	root.SetErr(io.Discard) // cobra says there what the directive means
	root.SetArgs(append([]string{"__complete"}, args...))
	if err := root.ExecuteContext(context.Background()); err != nil || complaints.Len() > 0 {
		t.Errorf("%q: %v, %s", args, err, complaints.String())
	}
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	last := len(lines) - 1
	return lines[:last], lines[last]
}

// TestCompletions: what is offered for the values that need no node.
func TestCompletions(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"agent.yaml": "apiVersion: nfsync.dev/v1alpha1\nkind: AgentConfig\nsource: {urls: [https://git.example.com/p.git]}\npublish: {url: https://git.example.com/n.git}\n",
		"broken":     "kind: [",
		"web_test.yaml": "apiVersion: nfsync.dev/v1alpha1\nkind: PolicyTest\nmetadata: {name: web.1}\nspec:\n  snapshot: hn-1.yaml\n" +
			"---\napiVersion: nfsync.dev/v1alpha1\nkind: PolicyTest\nmetadata: {name: node}\nspec:\n  snapshot: hn-1.yaml\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	config := filepath.Join(dir, "agent.yaml")
	const words, keepOrder, noSpace, file, extension, directories = ":4", ":36", ":6", ":0", ":8", ":16"
	for _, test := range []struct {
		args      []string
		some      []string // that are offered
		not       string
		directive string
	}{
		{[]string{"plan", "--color", ""}, []string{"auto\ton a terminal, without NO_COLOR", "never\tnowhere"}, "", words},
		{[]string{"plan", "--verify", ""}, []string{"tip\tthe commit that is applied"}, "", words},
		{[]string{"plan", "-o", ""}, []string{"text\tfor people", "gitlab\ta Code Quality report of GitLab"}, "", keepOrder},
		{[]string{"plan", "--output="}, []string{"text\tfor people"}, "", keepOrder},
		{[]string{"plan", "-o", "json="}, nil, "json", file},
		{[]string{"import", "-o", ""}, []string{"yaml\tthe document, for programs"}, "json\tthe document, for programs", keepOrder},
		{[]string{"fmt", "-o", ""}, []string{"text\tfor people"}, "json\tthe document, for programs", keepOrder},
		{[]string{"plan", "--runtime", "vz,"}, []string{"vz,netns"}, "vz,vz", noSpace},
		{[]string{"init", "x", "--ci", ""}, []string{"github\t.github/workflows/nfsync.yml"}, "", noSpace},
		{[]string{"plan", "--key", "conntrack."}, []string{"conntrack.max\tThe most connections that are tracked at one time, in each network namespace", "conntrack.timeouts.*\tevery timeout", "conntrack.timeouts.udp\tHow long a connection in this state is kept without a packet"}, "", words},
		{[]string{"plan", "--key", "module/"}, []string{"module/*\tevery module"}, "restart", words},
		{[]string{"test", dir, "--run", ""}, []string{`^web\.1$`, "^node$"}, "", words},
		{[]string{"plan", "--config", config, "--git", ""}, []string{"https://git.example.com/p.git"}, "", words},
		{[]string{"plan", "--config", config, "--nodes-from", ""}, []string{"https://git.example.com/n.git"}, "", words},
		{[]string{"plan", "--config", "none", "--git", ""}, nil, "", directories},
		{[]string{"plan", "--config", filepath.Join(dir, "broken"), "--git", ""}, nil, "", directories},
		{[]string{"plan", "--nodes-branch", ""}, []string{"nodes/{node}\tthe default of publish.branch"}, "", words},
		{[]string{"plan", "--snapshot", "../../examples/snapshots/", "--node", ""}, []string{"hn-7"}, "", words},
		{[]string{"plan", "--snapshot", "../../examples/snapshots/hn-7.yaml", "--target", "vz/"}, nil, "", words},
		{[]string{"plan", "--base", ""}, []string{"HEAD~1\tthe commit before the last one"}, "", words},
		{[]string{"plan", "--branch", ""}, nil, "", words},
		{[]string{"suspend", "--for", ""}, []string{"2h\ttwo hours"}, "", words},
		{[]string{"apply", "--confirm-within", ""}, []string{"60s\ta minute"}, "", words},
		{[]string{"apply", "--ssh-key", ""}, nil, "", file},
		{[]string{"apply", ""}, nil, "", file},
		{[]string{"apply", "a", ""}, nil, "", words},
		{[]string{"plan", ""}, []string{"yaml", "yml"}, "", extension},
		{[]string{"plan", "a", ""}, nil, "", words},
		{[]string{"show", "--policies", ""}, []string{"yaml", "yml"}, "", extension},
		{[]string{"plan", "--state-dir", ""}, nil, "", directories},
		{[]string{"schema", ""}, []string{"Plan\tThe plan for a node", "SchemaList\tThe kinds of documents that have a schema"}, "", words},
		{[]string{"schema", "Plan", ""}, nil, "Plan", words},
		{[]string{"receipts", "--state-dir", dir, ""}, []string{"latest\tthe newest one"}, "", keepOrder},
		{[]string{"forget", "--state-dir", filepath.Join(dir, "none"), ""}, nil, "", words},
		{[]string{"completion", ""}, []string{"bash\tGenerate the autocompletion script for bash"}, "", words},
		{[]string{"help", "sus"}, []string{"suspend\tKeep the agent from making changes"}, "", words},
		{[]string{""}, []string{"plan\tShow what apply would do; changes nothing"}, "man\tWrite the manual pages", words},
	} {
		list, directive := completions(t, test.args...)
		for _, want := range test.some {
			if !slices.Contains(list, want) {
				t.Errorf("%q: %q is not offered:\n%s", test.args, want, strings.Join(list, "\n"))
			}
		}
		if test.some == nil && len(list) > 0 && test.directive != words || directive != test.directive || slices.Contains(list, test.not) {
			t.Errorf("%q: %q, %s, want %s", test.args, list, directive, test.directive)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "none")); !os.IsNotExist(err) {
		t.Error("completing forget has made the state directory")
	}
}
