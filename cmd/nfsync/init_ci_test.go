package main

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// readSkeleton reads a CI file that init writes.
func readSkeleton(t *testing.T, name string, file any) {
	t.Helper()
	text, err := skeleton.ReadFile("skeleton/" + name)
	if err == nil {
		err = yaml.Unmarshal(text, file)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestInitGitHub: the workflow of init shows what a pull request brings, with committed
// snapshots that are old. The base is what the change was merged into, else that of the event.
func TestInitGitHub(t *testing.T) {
	var file struct {
		Jobs map[string]struct{ Steps []actionStep }
	}
	readSkeleton(t, "github.yml", &file)
	for name, test := range map[string]struct{ branch, eventBase string }{
		"merged":     {"merged", "HEAD^2"}, // the base has moved since the event
		"not merged": {"change", "HEAD^1"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newCIJob(t, shorter(t))
			r.git(r.checkout, "fetch", "-q", "--unshallow", "origin", test.branch)
			r.git(r.checkout, "checkout", "-q", "FETCH_HEAD")
			a := &action{ciJob: r, context: map[string]string{"github.event.pull_request.base.sha": r.git(r.checkout, "rev-parse", test.eventBase)}}
			summary := filepath.Join(t.TempDir(), "summary")
			for _, step := range file.Jobs["policies"].Steps {
				env := map[string]string{"GITHUB_STEP_SUMMARY": summary, "NFSYNC_INSTALL": "true"}
				for name, value := range step.Env {
					env[name] = a.expand(value)
				}
				if code, out := r.script(step.Run, env); code != exitOK {
					t.Fatalf("%s: %d: %s", step.Run, code, out)
				}
			}
			if text, _ := os.ReadFile(summary); !strings.Contains(string(text), "1h") {
				t.Errorf("the summary does not show the change: %s", text)
			}
		})
	}
}

// TestInitGitLab: the same of the job of init for GitLab.
func TestInitGitLab(t *testing.T) {
	var file map[string]gitlabJob
	readSkeleton(t, "gitlab.yml", &file)
	r := newCIJob(t, shorter(t))
	r.deepen()
	job := file["nfsync"]
	env := maps.Clone(job.Variables)
	maps.Copy(env, map[string]string{"NFSYNC_INSTALL": "true", "CI_MERGE_REQUEST_DIFF_BASE_SHA": r.base})
	code, out := r.script(strings.Join(job.Script, "\n"), env)
	text, _ := os.ReadFile(filepath.Join(r.checkout, "nfsync-plan.md"))
	if code != exitOK || !strings.Contains(string(text), "1h") {
		t.Errorf("%d: %s\n%s", code, out, text)
	}
}
