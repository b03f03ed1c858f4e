package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// actionFile is action.yml, as far as a test runs it.
type actionFile struct {
	Inputs map[string]struct{ Default string }
	Runs   struct{ Steps []actionStep }
}

type actionStep struct {
	ID, If, Uses, Shell, Run string
	Env, With                map[string]string
}

// action runs the steps of action.yml as GitHub does: what they run in the shell, and what they
// use of other actions is noted.
type action struct {
	*ciJob
	context map[string]string // what expressions can name
	failed  bool
	log     string
	used    []string // other actions, with their inputs
	summary string
}

// runAction runs action.yml with these inputs.
func runAction(r *ciJob, inputs map[string]string) *action {
	r.Helper()
	text, err := os.ReadFile("../../action.yml")
	if err != nil {
		r.Fatal(err)
	}
	var file actionFile
	if err := yaml.Unmarshal(text, &file); err != nil {
		r.Fatal(err)
	}
	temp := r.TempDir()
	a := &action{ciJob: r, context: map[string]string{
		"runner.temp": temp, "github.action_path": "../..", "github.token": "secret", "github.api_url": r.forge.url,
		"github.repository": "example/policies", "github.event.pull_request.number": "7", "github.event.pull_request.base.sha": r.base,
	}}
	for name := range inputs {
		if _, ok := file.Inputs[name]; !ok {
			r.Fatalf("the action has no input %s", name)
		}
	}
	for name, input := range file.Inputs {
		a.context["inputs."+name] = a.expand(input.Default)
	}
	for name, value := range inputs {
		a.context["inputs."+name] = value
	}
	for i, step := range file.Runs.Steps {
		if a.holds(step.If) {
			a.step(step, filepath.Join(temp, fmt.Sprint("output", i)))
		}
	}
	summary, _ := os.ReadFile(filepath.Join(temp, "summary"))
	a.summary = string(summary)
	return a
}

func (a *action) step(s actionStep, output string) {
	a.Helper()
	if s.Uses != "" {
		words := s.Uses
		for name, value := range s.With {
			words += " " + name + "=" + a.expand(value)
		}
		a.used = append(a.used, words)
		return
	}
	if strings.Contains(s.Run, "${{") || s.Shell != "bash" {
		a.Errorf("step %s: an expression in a script is run as code; bash alone is on all runners", s.ID)
	}
	env := map[string]string{"GITHUB_OUTPUT": output, "GITHUB_STEP_SUMMARY": filepath.Join(a.context["runner.temp"], "summary")}
	for name, value := range s.Env {
		env[name] = a.expand(value)
	}
	code, out := a.script(s.Run, env)
	a.log += out
	outcome := "success"
	if code != 0 {
		a.failed, outcome = true, "failure"
	}
	a.context["steps."+s.ID+".outcome"] = outcome
	text, _ := os.ReadFile(output)
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		a.context["steps."+s.ID+".outputs."+name] = value
	}
}

var expression = regexp.MustCompile(`\$\{\{\s*(.*?)\s*\}\}`)

// expand puts the values of expressions into a text.
func (a *action) expand(text string) string {
	return expression.ReplaceAllStringFunc(text, func(e string) string { return a.context[expression.FindStringSubmatch(e)[1]] })
}

// holds reports whether a step is run. It knows the conditions of action.yml.
func (a *action) holds(condition string) bool {
	if m := expression.FindStringSubmatch(condition); m != nil {
		condition = m[1]
	}
	if !strings.Contains(condition, "cancelled()") && a.failed {
		return false
	}
	for term := range strings.SplitSeq(condition, "&&") {
		term = strings.TrimSpace(term)
		left, right, compares := strings.Cut(term, " == ")
		switch {
		case term == "" || term == "!cancelled()":
		case compares && a.context[left] == strings.Trim(right, "'"):
		case !compares && a.context[term] != "":
		default:
			return false
		}
	}
	return true
}

// shorter changes a timeout, and the test of it.
func shorter(t *testing.T) func(string) {
	return func(dir string) {
		edit(t, filepath.Join(dir, "policies/containers.yaml"), "tcpEstablished: 2h", "tcpEstablished: 1h")
		edit(t, filepath.Join(dir, "policies/containers_test.yaml"), "to: 7200", "to: 3600")
	}
}

// lower takes a level away that a container uses.
func lower(t *testing.T) func(string) {
	return func(dir string) {
		edit(t, filepath.Join(dir, "policies/containers.yaml"), "level: full", "level: stateful")
		edit(t, filepath.Join(dir, "policies/containers_test.yaml"), "wanted: full", "wanted: stateful")
		edit(t, filepath.Join(dir, "policies/containers_test.yaml"), "    changes: []\n    refusals: []", "    changes: []")
	}
}

// exampleInputs are the inputs of the workflow of the example repository.
func exampleInputs(t *testing.T, more map[string]string) map[string]string {
	t.Helper()
	text, err := os.ReadFile("../../examples/repository/.github/workflows/nfsync.yml")
	if err != nil {
		t.Fatal(err)
	}
	var workflow struct {
		Jobs map[string]struct{ Steps []actionStep }
	}
	if err := yaml.Unmarshal(text, &workflow); err != nil {
		t.Fatal(err)
	}
	inputs := map[string]string{"nfsync": "nfsync"}
	for _, step := range workflow.Jobs["policies"].Steps {
		maps.Copy(inputs, step.With)
	}
	maps.Copy(inputs, more)
	return inputs
}

// TestAction: the plan of a change is one comment, which the next run updates.
func TestAction(t *testing.T) {
	t.Parallel()
	r := newCIJob(t, shorter(t))
	for range 120 {
		r.forge.add(mallory, "looks good")
	}
	r.forge.add(mallory, "<!-- nfsync -->\nnothing changes")
	for range 2 {
		a := runAction(r, exampleInputs(t, nil))
		if a.failed || a.context["steps.plan.outputs.exit-code"] != "0" {
			t.Fatalf("failed: %s", a.log)
		}
		if !strings.Contains(a.summary, "web") {
			t.Errorf("the summary does not show the change: %s", a.summary)
		}
		if len(a.used) != 1 || !strings.Contains(a.used[0], "upload-sarif") {
			t.Errorf("used: %q", a.used)
		}
	}
	comments := r.forge.of(robot)
	if len(comments) != 1 || !strings.HasPrefix(comments[0], "<!-- nfsync -->\n") || !strings.Contains(comments[0], "1h") {
		t.Errorf("comments: %q", comments)
	}
	if strings.Contains(comments[0], "batch-1") && !strings.Contains(comments[0], "anyway") {
		t.Errorf("what was refused before counts as the change's: %s", comments[0])
	}
	if of := r.forge.of(mallory); of[120] != "<!-- nfsync -->\nnothing changes" {
		t.Errorf("a comment of another user was changed: %q", of[120])
	}
}

// TestActionNodes: the action plans for the nodes that publish, with a password that is nowhere
// in its output.
func TestActionNodes(t *testing.T) {
	t.Parallel()
	r := newCIJob(t, shorter(t))
	r.publish()
	inputs := map[string]string{"snapshots": "", "allow-stale": "false", "nodes-from": r.url + "/nodes.git", "nodes-user": "ci", "nodes-password": "secret"}
	a := runAction(r, exampleInputs(t, inputs))
	if a.failed || !strings.Contains(a.log, "2 nodes: 2 affected") || strings.Contains(a.log, "secret") {
		t.Errorf("failed: %t: %s", a.failed, a.log)
	}
	inputs["nodes-password"] = "wrong"
	if a := runAction(r, exampleInputs(t, inputs)); !a.failed || !strings.Contains(a.log, "/nodes.git") {
		t.Errorf("failed: %t: %s", a.failed, a.log)
	}
}

// TestActionFails: what the job ends with, and what it says.
func TestActionFails(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change  func(dir string)
		inputs  map[string]string
		refuses bool
		failed  bool
		log     string // a pattern
		comment string // a part of it; empty: there is none
	}{
		"invalid policies": {func(dir string) {
			edit(t, filepath.Join(dir, "policies/nodes.yaml"), "level: stateless", "level: statless")
		}, nil, false, true, `(?m)^::error .*file=policies/nodes.yaml,line=8`, "statless"},
		"a new refusal":                 {lower(t), nil, false, true, `(?m)^::error .*level-in-use`, "level-in-use"},
		"a new refusal that is allowed": {lower(t), map[string]string{"allow-refusals": "true"}, false, false, `(?m)^::error .*level-in-use`, "level-in-use"},
		"without a base":                {shorter(t), map[string]string{"base": "none"}, false, false, `level-in-use`, "batch-1"},
		"stale snapshots": {shorter(t), map[string]string{"allow-stale": "false"}, false, true,
			`cannot rely on the snapshots`, "days ago"},
		"a missing node": {func(dir string) {
			edit(t, filepath.Join(dir, "nodes.txt"), "edge-2", "edge-2\nedge-3")
		}, nil, false, true, `edge-3`, "edge-3"},
		"no nodes": {shorter(t), map[string]string{"snapshots": "", "expect-nodes": ""}, false, false, `name the nodes`, "valid"},
		"a failing test": {func(dir string) {
			edit(t, filepath.Join(dir, "policies/containers.yaml"), "tcpEstablished: 2h", "tcpEstablished: 3h")
		}, nil, false, true, `tcpEstablished`, "3h"},
		"no comment":        {shorter(t), map[string]string{"comment": "false"}, false, false, ``, ""},
		"a token of a fork": {shorter(t), nil, true, false, `(?m)^::warning .*pull-requests: write`, ""},
		"a wrong token":     {shorter(t), map[string]string{"token": "wrong"}, false, false, `(?m)^::warning .*pull-requests: write`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newCIJob(t, test.change)
			r.forge.refuses = test.refuses
			a := runAction(r, exampleInputs(t, test.inputs))
			if a.failed != test.failed || !regexp.MustCompile(test.log).MatchString(a.log) {
				t.Errorf("failed: %t, want %t and %s:\n%s", a.failed, test.failed, test.log, a.log)
			}
			comments := strings.Join(r.forge.of(robot), "\n---\n")
			if (comments != "") != (test.comment != "") || !strings.Contains(comments, test.comment) {
				t.Errorf("comments: %q, want %q", comments, test.comment)
			}
		})
	}
}
