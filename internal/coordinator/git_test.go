package coordinator

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/source"
)

// TestARealRepository follows a branch of a git repository: a good commit, one with mistakes, one that is not signed, and a
// branch that was rewritten.
func TestARealRepository(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	repo := t.TempDir()
	git := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "git", append([]string{"-C", repo, "-c", "user.name=ann", "-c", "user.email=ann@example.com", "-c", "commit.gpgsign=false"}, args...)...)
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %s: %v: %s", strings.Join(args, " "), err, out)
		}
		return strings.TrimSpace(string(out))
	}
	commitFile := func(name, text string) string {
		t.Helper()
		w.must(os.WriteFile(filepath.Join(repo, name), []byte(text), 0o600))
		git("add", "-A")
		git("commit", "-q", "-m", name)
		return git("rev-parse", "HEAD")
	}
	git("init", "-q", "-b", "main")
	w.must(os.WriteFile(filepath.Join(repo, "rollout.yaml"), []byte(plan), 0o600))
	first := commitFile("policy.yaml", policy)

	follow := func(c *Config) {
		c.Branch = Branch{Interval: 500 * time.Millisecond, Source: source.Config{URLs: []string{repo}, Branch: "main", Dir: t.TempDir()}}
	}
	a := w.start("a", follow)
	s := w.newNodes(6, nil)
	if doc := w.untilState(first, nf.RolloutDone); doc.Plan.Name != "quick" {
		t.Errorf("the plan is %+v", doc.Plan)
	}
	why := func(want string) {
		t.Helper()
		w.eventually(want, func() bool { return a.View().Branch.Why() == want }, func() string { return textOf(a.View().Branch.Err) })
	}
	commitFile("policy.yaml", policy+"  lvel: full\n")
	why(BranchInvalid)
	second := commitFile("policy.yaml", strings.Replace(policy, "stateful", "full", 1))
	w.untilState(second, nf.RolloutDone)

	git("reset", "-q", "--hard", first)
	third := commitFile("policy.yaml", strings.Replace(policy, "stateful", "stateless", 1))
	why(BranchRewritten)
	a.kill()
	a = w.start("a", follow) // what it must descend from is in the document
	why(BranchRewritten)
	if doc := w.document(); doc.Revision != second {
		t.Errorf("the roll-out is of %s", doc.Revision)
	}
	a.stop()
	w.start("a", follow, func(c *Config) { c.Branch.Accept = third }).stopAfter(w, third)

	keys := filepath.Join(t.TempDir(), "allowed")
	w.must(os.WriteFile(keys, []byte("ann@example.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFo6nKnq3lvnoZ2eRgy7GfHpGWLXTrfwq0dzs2c1z1wz\n"), 0o600))
	commitFile("policy.yaml", policy)
	a = w.start("a", follow, func(c *Config) {
		c.Branch.Source.Verify = source.Verify{Mode: source.VerifyTip, AllowedSigners: []string{keys}}
	})
	why(BranchUntrusted)
	if doc := w.document(); doc.Revision != third {
		t.Errorf("the roll-out is of %s", doc.Revision)
	}
	s.check()
}

// stopAfter stops a coordinator when the roll-out of a revision is done.
func (r *running) stopAfter(w *world, revision string) {
	w.Helper()
	w.untilState(revision, nf.RolloutDone)
	r.stop()
}
