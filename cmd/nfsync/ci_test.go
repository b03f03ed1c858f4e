package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// ciJob is a CI job of a policy repository: a checkout of a change of it, as a CI job has
// it, and the comments on the change.
type ciJob struct {
	*testing.T
	origin   string // bare
	url      string // of the git server
	checkout string
	base     string // the commit before the change
	forge    *forge
	env      []string
}

// newCIJob makes a repository from the example, commits a change of it, and checks out
// the change merged into its base, without history.
func newCIJob(t *testing.T, change func(dir string)) *ciJob {
	t.Helper()
	dir := t.TempDir()
	r := &ciJob{T: t, origin: filepath.Join(dir, "repo.git"), checkout: filepath.Join(dir, "checkout"), forge: newForge(t)}
	work := filepath.Join(dir, "work")
	if err := os.CopyFS(work, os.DirFS("../../examples/repository")); err != nil {
		t.Fatal(err)
	}
	r.env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.org",
		"GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.org")
	r.git(dir, "init", "-q", "--bare", "-b", "main", r.origin)
	r.git(work, "init", "-q", "-b", "main")
	r.git(work, "add", "-A")
	r.git(work, "commit", "-q", "-m", "policies")
	r.git(work, "checkout", "-q", "-b", "change")
	change(work)
	r.git(work, "add", "-A")
	r.git(work, "commit", "-q", "--allow-empty", "-m", "a change")
	// The base goes on meanwhile.
	r.git(work, "checkout", "-q", "main")
	r.git(work, "commit", "-q", "--allow-empty", "-m", "something else")
	r.base = r.git(work, "rev-parse", "HEAD")
	r.git(work, "checkout", "-q", "-b", "merged")
	r.git(work, "merge", "-q", "--no-ff", "-m", "merged", "change")
	r.git(work, "push", "-q", r.origin, "main", "change", "merged")
	if err := linkUp(); err != nil {
		t.Fatal(err)
	}
	handler, err := gitHandler(dir)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if user, password, _ := q.BasicAuth(); strings.HasPrefix(q.URL.Path, "/nodes.git/") && (user != "ci" || password != "secret") {
			w.Header().Set("WWW-Authenticate", `Basic realm="nodes"`)
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		handler.ServeHTTP(w, q)
	}))
	t.Cleanup(server.Close)
	r.url = server.URL
	r.git(dir, "clone", "-q", "--depth=1", "--branch", "merged", r.url+"/repo.git", r.checkout)
	return r
}

// publish makes the repository of the nodes, with the snapshots of the example as if they had been
// published now.
func (r *ciJob) publish() {
	r.Helper()
	nodes, work := filepath.Join(filepath.Dir(r.origin), "nodes.git"), r.TempDir()
	r.git(work, "init", "-q", "--bare", "-b", "main", nodes)
	for _, name := range []string{"edge-1", "edge-2"} {
		text, err := os.ReadFile(filepath.Join(r.checkout, "snapshots", name+".yaml"))
		if err == nil {
			now := time.Now().UTC().Format(time.RFC3339)
			err = os.WriteFile(filepath.Join(work, "snapshot.json"), bytes.Replace(text, []byte("2026-11-02T09:30:00Z"), []byte(now), 1), 0o644)
		}
		if err != nil {
			r.Fatal(err)
		}
		r.git(work, "init", "-q")
		r.git(work, "checkout", "-q", "--orphan", name)
		r.git(work, "add", "-A")
		r.git(work, "commit", "-q", "-m", name)
		r.git(work, "push", "-q", nodes, "HEAD:refs/heads/nodes/"+name)
	}
}

func (r *ciJob) git(dir string, args ...string) string {
	r.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir, cmd.Env = dir, r.env
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.Fatalf("git %v: %v: %s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// script runs a script of a CI file in the checkout, and returns its exit code and output.
func (r *ciJob) script(text string, env map[string]string) (int, string) {
	r.Helper()
	cmd := exec.Command("bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", text)
	cmd.Dir, cmd.Env = r.checkout, r.env
	for name, value := range env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		r.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// edit replaces a text in a file, wherever it is.
func edit(t *testing.T, file, old, new string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil || !bytes.Contains(text, []byte(old)) {
		t.Fatalf("%s has no %q: %v", file, old, err)
	}
	if err := os.WriteFile(file, bytes.ReplaceAll(text, []byte(old), []byte(new)), 0o644); err != nil {
		t.Fatal(err)
	}
}

// forge is a server with the comments of one change, as GitHub and GitLab have them.
type forge struct {
	url string

	mu       sync.Mutex
	comments []comment
	refuses  bool // whatever writes
	calls    []string
}

type comment struct {
	ID     int       `json:"id"`
	Body   string    `json:"body"`
	User   forgeUser `json:"user"`   // GitHub's word
	Author forgeUser `json:"author"` // GitLab's
}

type forgeUser struct {
	Login    string `json:"login"`
	Username string `json:"username"`
}

// The user that the token of a job is of, and another.
var (
	robot   = forgeUser{"github-actions[bot]", "robot"}
	mallory = forgeUser{"mallory", "mallory"}
)

func newForge(t *testing.T) *forge {
	t.Helper()
	f := &forge{}
	mux := http.NewServeMux()
	for _, api := range []struct{ list, one, method string }{
		{"/repos/example/policies/issues/7/comments", "/repos/example/policies/issues/comments/{id}", "PATCH"},
		{"/projects/42/merge_requests/7/notes", "/projects/42/merge_requests/7/notes/{id}", "PUT"},
	} {
		mux.HandleFunc("GET "+api.list, f.list)
		mux.HandleFunc("POST "+api.list, f.write)
		mux.HandleFunc(api.method+" "+api.one, f.write)
	}
	mux.HandleFunc("GET /user", func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(robot) })
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.calls = append(f.calls, r.Method+" "+r.URL.Path)
		switch {
		case r.Header.Get("Authorization") != "Bearer secret" && r.Header.Get("PRIVATE-TOKEN") != "secret":
			http.Error(w, "who are you?", http.StatusUnauthorized)
		case f.refuses && r.Method != http.MethodGet:
			http.Error(w, "Resource not accessible by integration", http.StatusForbidden)
		default:
			mux.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(server.Close)
	f.url = server.URL
	return f
}

// add adds a comment that somebody has made before.
func (f *forge) add(user forgeUser, body string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.comments = append(f.comments, comment{ID: len(f.comments) + 1, Body: body, User: user, Author: user})
}

func (f *forge) list(w http.ResponseWriter, r *http.Request) {
	page, _ := strconv.Atoi(r.FormValue("page"))
	size, _ := strconv.Atoi(r.FormValue("per_page"))
	from := min((page-1)*size, len(f.comments))
	_ = json.NewEncoder(w).Encode(append([]comment{}, f.comments[from:min(from+size, len(f.comments))]...))
}

func (f *forge) write(w http.ResponseWriter, r *http.Request) {
	var c comment
	text, err := io.ReadAll(r.Body)
	if err == nil {
		err = json.Unmarshal(text, &c)
	}
	if err != nil || len(c.Body) > 1<<16 {
		http.Error(w, fmt.Sprintf("not a comment: %v", err), http.StatusUnprocessableEntity)
		return
	}
	if id, _ := strconv.Atoi(r.PathValue("id")); id > 0 {
		f.comments[id-1].Body = c.Body
		return
	}
	f.comments = append(f.comments, comment{ID: len(f.comments) + 1, Body: c.Body, User: robot, Author: robot})
	w.WriteHeader(http.StatusCreated)
}

// of returns the comments of a user.
func (f *forge) of(user forgeUser) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []string
	for _, c := range f.comments {
		if c.User == user {
			list = append(list, c.Body)
		}
	}
	return list
}
