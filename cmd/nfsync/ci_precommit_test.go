package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// TestPreCommit runs the hooks with pre-commit itself, on the example repository. The hooks run
// the nfsync of this test: pre-commit would build one with Go.
func TestPreCommit(t *testing.T) {
	t.Parallel()
	r := newCIJob(t, func(string) {})
	hooks := filepath.Join(t.TempDir(), "hooks")
	text, err := os.ReadFile("../../.pre-commit-hooks.yaml")
	if err == nil {
		err = os.Mkdir(hooks, 0o755)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(hooks, ".pre-commit-hooks.yaml"), text, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	r.git(hooks, "init", "-q", "-b", "main")
	r.git(hooks, "add", "-A")
	r.git(hooks, "commit", "-q", "-m", "hooks")
	var config struct {
		Repos []struct {
			Repo  string              `yaml:"repo"`
			Rev   string              `yaml:"rev"`
			Hooks []map[string]string `yaml:"hooks"`
		} `yaml:"repos"`
	}
	file := filepath.Join(r.checkout, ".pre-commit-config.yaml")
	if text, err = os.ReadFile(file); err == nil {
		err = yaml.Unmarshal(text, &config)
	}
	if err != nil {
		t.Fatal(err)
	}
	config.Repos[0].Repo, config.Repos[0].Rev = hooks, r.git(hooks, "rev-parse", "HEAD")
	for _, hook := range config.Repos[0].Hooks {
		hook["language"] = "system"
	}
	if text, err = yaml.Marshal(config); err == nil {
		err = os.WriteFile(file, text, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	run := func() (int, string) {
		r.git(r.checkout, "add", "-A")
		return r.script("pre-commit run --all-files --color never", map[string]string{"PRE_COMMIT_HOME": filepath.Join(hooks, "home")})
	}
	if code, out := run(); code != 0 || strings.Count(out, "Passed") != 3 {
		t.Fatalf("%d: %s", code, out)
	}
	for name, test := range map[string]struct{ old, new, failed string }{
		"nfsync-validate": {"level: full", "level: fall", `containers\.yaml:\d+:\d+: `},
		"nfsync-test":     {"tcpEstablished: 2h", "tcpEstablished: 3h", `web-servers-free-idle-connections`},
		"nfsync-fmt":      {"  priority: 10", "  priority:    10", `nfsync fmt\.+Failed`},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(r.checkout, "policies/containers.yaml")
			was, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			edit(t, file, test.old, test.new)
			code, out := run()
			if code == 0 || !regexp.MustCompile(test.failed).MatchString(out) {
				t.Errorf("%d: %s", code, out)
			}
			if err := os.WriteFile(file, was, 0o644); err != nil {
				t.Fatal(err)
			}
		})
	}
}
