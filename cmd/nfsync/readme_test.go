package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/netns"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/schemas"
)

// TestReadme runs the README's plan of the README's policy.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	policy, plan := block(t, text, "yaml"), block(t, text, "text")
	n := newNode(t)
	if err := netns.Create(n.path("netns/web-1")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(n.path("netns/web-1"), unix.MNT_DETACH) })
	if err := os.MkdirAll(n.path("policies"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(n.path("policies/web.yaml"), []byte(policy), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("nfsync", "plan", "policies", "--node", "hn-1", "--node-netns", n.path("node"),
		"--netns-dir", n.path("netns"), "--state-dir", n.path("state"))
	cmd.Dir = n.dir
	out, _ := cmd.Output() // something is refused
	// The node's limit depends on its memory, columns depend on that, and the
	// number of modules on the kernel.
	got := strings.ReplaceAll("$ nfsync plan policies\n"+string(out), n.read(t, "nf_conntrack_max"), "262144")
	got = regexp.MustCompile(`\d+ in sync`).ReplaceAllString(got, "11 in sync")
	got = regexp.MustCompile(`(nfsync apply policies) .*?  `).ReplaceAllString(got, "$1  ") // what is said above of this test's node
	if diff := cmp.Diff(strings.Fields(plan), strings.Fields(got)); diff != "" {
		t.Errorf("the README's plan is not what nfsync says:\n%s\n%s", diff, got)
	}
}

// block is the first fenced block of that language.
func block(t *testing.T, text []byte, language string) string {
	t.Helper()
	m := regexp.MustCompile("(?s)```" + language + "\n(.*?)```").FindSubmatch(text)
	if m == nil {
		t.Fatalf("no block of %s", language)
	}
	return string(m[1])
}

// TestReadmeCommands: the first command is the demo, the second one the tests.
func TestReadmeCommands(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var commands []string
	for _, m := range regexp.MustCompile(`(?m)^    (\S.*)$`).FindAllSubmatch(text, -1) {
		commands = append(commands, string(m[1]))
	}
	if len(commands) < 2 || commands[0] != "make demo" || commands[1] != "make test" {
		t.Errorf("the README's commands are %q", commands)
	}
}

// TestLinks: what the documents point to is there.
func TestLinks(t *testing.T) {
	documents, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	documents = append(documents, "../../README.md", "../../ARCHITECTURE.md", "../../CONTRIBUTING.md", "../../CHANGELOG.md")
	for _, document := range documents {
		text, err := os.ReadFile(document)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`\]\(([^)#:]+)\)`).FindAllSubmatch(text, -1) {
			target := filepath.Join(filepath.Dir(document), string(m[1]))
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: %v", document, err)
			}
		}
	}
}

// TestDocumentedPolicies: the policies in the documents are valid.
func TestDocumentedPolicies(t *testing.T) {
	for _, document := range []string{"../../README.md", "../../docs/policies.md", "../../docs/rollout.md", "../../docs/coordinator-config.md"} {
		text, err := os.ReadFile(document)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "policy.yaml")
		if err := os.WriteFile(file, []byte(block(t, text, "yaml")), 0o644); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("nfsync", "validate", file).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", document, err, out)
		}
	}
}

// TestDocumentedKinds: docs/plan.md names every kind of document that nfsync prints.
func TestDocumentedKinds(t *testing.T) {
	text, err := os.ReadFile("../../docs/plan.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range schemas.Kinds() {
		read := strings.HasSuffix(kind, "Policy") || slices.Contains([]string{nf.KindAgentConfig, nf.KindCoordinatorConfig, nf.KindPolicyTest, nf.KindRollout}, kind)
		if !read && !strings.Contains(string(text), "\n| `"+kind+"` |") {
			t.Errorf("docs/plan.md does not have %s", kind)
		}
	}
}
