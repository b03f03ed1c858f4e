package main

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// gitlabJob is a job of the template, as far as a test runs it.
type gitlabJob struct {
	Extends      string
	Variables    map[string]string
	BeforeScript []string `yaml:"before_script"`
	Script       []string
	AfterScript  []string `yaml:"after_script"`
	Artifacts    struct {
		Paths   []string
		Reports map[string]string
	}
}

// gitlabInputs are the inputs of the template in the example repository.
func gitlabInputs(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("../../examples/repository/.gitlab-ci.yml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Include []struct{ Inputs map[string]string }
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	return file.Include[0].Inputs
}

// gitlabJobs returns the jobs of the template, with inputs in it as GitLab puts them there: in
// the text, before it is read.
func gitlabJobs(t *testing.T, inputs map[string]string) map[string]gitlabJob {
	t.Helper()
	text, err := os.ReadFile("../../templates/nfsync.yml")
	if err != nil {
		t.Fatal(err)
	}
	head, body, _ := strings.Cut(string(text), "\n---\n")
	var spec struct {
		Spec struct {
			Inputs map[string]struct{ Default string }
		}
	}
	if err := yaml.Unmarshal([]byte(head), &spec); err != nil {
		t.Fatal(err)
	}
	for name := range inputs {
		if _, ok := spec.Spec.Inputs[name]; !ok {
			t.Fatalf("the template has no input %s", name)
		}
	}
	for name, input := range spec.Spec.Inputs {
		value, given := inputs[name]
		if !given {
			value = input.Default
		}
		body = strings.ReplaceAll(body, "$[[ inputs."+name+" ]]", value)
	}
	jobs := map[string]gitlabJob{}
	if err := yaml.Unmarshal([]byte(body), &jobs); err != nil {
		t.Fatal(err)
	}
	for name, job := range jobs {
		if base, ok := jobs[job.Extends]; ok {
			variables := maps.Clone(base.Variables)
			maps.Copy(variables, job.Variables)
			job.Variables, job.BeforeScript = variables, base.BeforeScript
			jobs[name] = job
		}
	}
	return jobs
}

// runGitLab runs a job of the template, and what it runs afterwards.
func runGitLab(r *ciJob, job gitlabJob, more map[string]string) (int, string) {
	r.Helper()
	env := map[string]string{"CI_API_V4_URL": r.forge.url, "CI_PROJECT_ID": "42", "CI_MERGE_REQUEST_IID": "7",
		"CI_MERGE_REQUEST_DIFF_BASE_SHA": r.base, "NFSYNC_COMMENT_TOKEN": "secret"}
	maps.Copy(env, job.Variables)
	maps.Copy(env, more)
	code, log := r.script(strings.Join(append(job.BeforeScript, job.Script...), "\n"), env)
	_, after := r.script(strings.Join(job.AfterScript, "\n"), env)
	return code, log + after
}

// deepen gives the checkout its history: the template asks for it with GIT_DEPTH.
func (r *ciJob) deepen() { r.git(r.checkout, "fetch", "-q", "--unshallow") }

// TestGitLab: the plan of a change is one comment, which the next run updates.
func TestGitLab(t *testing.T) {
	t.Parallel()
	r := newCIJob(t, shorter(t))
	r.deepen()
	jobs := gitlabJobs(t, gitlabInputs(t))
	if jobs["nfsync-plan"].Variables["GIT_DEPTH"] != "0" {
		t.Error("the revision before the change is not in a checkout without history")
	}
	for range 120 {
		r.forge.add(mallory, "looks good")
	}
	r.forge.add(mallory, "<!-- nfsync -->\nnothing changes")
	for range 2 {
		for _, name := range []string{"nfsync-validate", "nfsync-plan"} {
			if code, log := runGitLab(r, jobs[name], nil); code != 0 {
				t.Fatalf("%s: %d: %s", name, code, log)
			}
			for _, file := range jobs[name].Artifacts.Paths {
				if info, err := os.Stat(filepath.Join(r.checkout, file)); err != nil || info.Size() == 0 {
					t.Errorf("%s: %v", file, err)
				}
			}
			for _, file := range jobs[name].Artifacts.Reports {
				if info, err := os.Stat(filepath.Join(r.checkout, file)); err != nil || info.Size() == 0 {
					t.Errorf("%s: %v", file, err)
				}
			}
		}
	}
	comments := r.forge.of(robot)
	if len(comments) != 1 || !strings.HasPrefix(comments[0], "<!-- nfsync -->\n") || !strings.Contains(comments[0], "1h") {
		t.Errorf("comments: %q", comments)
	}
	if of := r.forge.of(mallory); of[120] != "<!-- nfsync -->\nnothing changes" {
		t.Errorf("a comment of another user was changed: %q", of[120])
	}
}

// TestGitLabNodes: the template plans for the nodes that publish.
func TestGitLabNodes(t *testing.T) {
	t.Parallel()
	r := newCIJob(t, shorter(t))
	r.deepen()
	r.publish()
	inputs := gitlabInputs(t)
	maps.Copy(inputs, map[string]string{"snapshots": "", "allow-stale": "false", "nodes-from": r.url + "/nodes.git", "nodes-user": "ci"})
	code, log := runGitLab(r, gitlabJobs(t, inputs)["nfsync-plan"], map[string]string{"NFSYNC_NODES_PASSWORD": "secret"})
	if code != exitOK || !strings.Contains(log, "2 nodes: 2 affected") || strings.Contains(log, "secret") {
		t.Errorf("%d: %s", code, log)
	}
}

// TestGitLabFails: what a job ends with, and what it says.
func TestGitLabFails(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		job     string
		change  func(dir string)
		inputs  map[string]string
		env     map[string]string
		code    int
		log     string // a pattern
		comment string // a part of it; empty: there is none
	}{
		"invalid policies": {"nfsync-validate", func(dir string) {
			edit(t, filepath.Join(dir, "policies/nodes.yaml"), "level: stateless", "level: statless")
		}, nil, nil, exitInvalid, `policies/nodes.yaml:8:`, ""},
		"a failing test": {"nfsync-validate", func(dir string) {
			edit(t, filepath.Join(dir, "policies/containers.yaml"), "tcpEstablished: 2h", "tcpEstablished: 3h")
		}, nil, nil, exitError, `tcpEstablished`, ""},
		"a new refusal":                 {"nfsync-plan", lower(t), nil, nil, exitRefused, `level-in-use`, "level-in-use"},
		"a new refusal that is allowed": {"nfsync-plan", lower(t), map[string]string{"allow-refusals": "true"}, nil, exitOK, `level-in-use`, "level-in-use"},
		"the default branch": {"nfsync-plan", shorter(t), nil, map[string]string{"CI_MERGE_REQUEST_DIFF_BASE_SHA": "", "CI_MERGE_REQUEST_IID": ""},
			exitOK, `level-in-use`, ""},
		"no nodes": {"nfsync-plan", shorter(t), map[string]string{"snapshots": ""}, nil, exitOK, `name the nodes`, ""},
		"two patterns": {"nfsync-plan", shorter(t), map[string]string{"snapshots": "snapshots/*-1.yaml snapshots/*-2.yaml"}, nil,
			exitOK, `2 nodes`, "1h"},
		"no token":      {"nfsync-plan", shorter(t), nil, map[string]string{"NFSYNC_COMMENT_TOKEN": ""}, exitOK, `2 nodes`, ""},
		"a wrong token": {"nfsync-plan", shorter(t), nil, map[string]string{"NFSYNC_COMMENT_TOKEN": "wrong"}, exitOK, `the scope api`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newCIJob(t, test.change)
			r.deepen()
			inputs := gitlabInputs(t)
			maps.Copy(inputs, test.inputs)
			code, log := runGitLab(r, gitlabJobs(t, inputs)[test.job], test.env)
			if code != test.code || !regexp.MustCompile(test.log).MatchString(log) {
				t.Errorf("exit code %d, want %d and %s:\n%s", code, test.code, test.log, log)
			}
			comments := strings.Join(r.forge.of(robot), "\n---\n")
			if (comments != "") != (test.comment != "") || !strings.Contains(comments, test.comment) {
				t.Errorf("comments: %q, want %q", comments, test.comment)
			}
		})
	}
}
