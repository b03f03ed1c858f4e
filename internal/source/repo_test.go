package source

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// repo is a repository made by git itself.
type repo struct {
	t   *testing.T
	dir string // its work tree
}

func newRepo(t *testing.T) *repo {
	t.Helper()
	r := &repo{t, filepath.Join(t.TempDir(), "policies")}
	if err := os.Mkdir(r.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	r.git("init", "-q", "-b", "main")
	r.git("config", "uploadpack.allowReachableSHA1InWant", "true")
	return r
}

// gitEnv returns an environment without a person's configuration of git.
func gitEnv() []string {
	return append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "HOME=/nonexistent",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.org", "GIT_COMMITTER_NAME=c", "GIT_COMMITTER_EMAIL=c@example.org")
}

func (r *repo) git(args ...string) string {
	r.t.Helper()
	return r.gitInput("", args...)
}

func (r *repo) gitInput(in string, args ...string) string {
	r.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir, cmd.Env, cmd.Stdin = r.dir, gitEnv(), strings.NewReader(in)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		r.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

func (r *repo) write(name, text string) {
	r.t.Helper()
	name = filepath.Join(r.dir, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		r.t.Fatal(err)
	}
}

// commit writes a file, commits everything and returns the commit.
func (r *repo) commit(name, text string) string {
	r.t.Helper()
	r.write(name, text)
	return r.commitAll("write " + name)
}

func (r *repo) commitAll(message string) string {
	r.t.Helper()
	r.git("add", "-A")
	r.git("commit", "-q", "--allow-empty", "-m", message)
	return r.head()
}

func (r *repo) head() string {
	r.t.Helper()
	return r.git("rev-parse", "HEAD")
}

// fetchTimeout is long enough for every server that answers.
const fetchTimeout = 30 * time.Second

// config returns a configuration that fetches from the URLs.
func config(t *testing.T, urls ...string) Config {
	t.Helper()
	return Config{URLs: urls, Dir: filepath.Join(t.TempDir(), "git"), Timeout: fetchTimeout}
}

func mustFetch(t *testing.T, cfg Config, last ...Position) Revision {
	t.Helper()
	r, err := Fetch(context.Background(), cfg, last, "")
	if err != nil {
		t.Fatalf("Fetch: %v", err)
	}
	return r
}

// fails checks that a fetch fails with an error that contains all words, and returns it.
func fails(t *testing.T, cfg Config, last []Position, words ...string) error {
	t.Helper()
	r, err := Fetch(context.Background(), cfg, last, "")
	if err == nil {
		t.Fatalf("Fetch returned commit %s; want an error with %q", r.Commit, words)
	}
	contains(t, err.Error(), words...)
	return err
}

func contains(t *testing.T, text string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("%q is not in %q", w, text)
		}
	}
}

// asError returns the error of type E in err.
func asError[E error](t *testing.T, err error) E {
	t.Helper()
	e, ok := errors.AsType[E](err)
	if !ok {
		t.Fatalf("the error is a %T (%v), not a %T", err, err, e)
	}
	return e
}

// wantFiles compares the files of a revision with name, text, name, text …
func wantFiles(t *testing.T, r Revision, want ...string) {
	t.Helper()
	var got []string
	for _, f := range r.Files {
		got = append(got, f.Name, string(f.Data))
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("files (-want +got):\n%s", d)
	}
}

func wantWarnings(t *testing.T, r Revision, words ...string) {
	t.Helper()
	for _, w := range words {
		if !slices.ContainsFunc(r.Warnings, func(s string) bool { return strings.Contains(s, w) }) {
			t.Errorf("no warning has %q: %q", w, r.Warnings)
		}
	}
	if len(words) == 0 && len(r.Warnings) > 0 {
		t.Errorf("warnings: %q", r.Warnings)
	}
}

func position(u, branch, commit string) Position {
	return Position{URL: u, Branch: branch, Commit: commit}
}
