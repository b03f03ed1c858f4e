package main

import (
	"io"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// gitCommands are the commands of scripts about git repositories.
var gitCommands = map[string]func(*testscript.TestScript, bool, []string){
	"repository": repository,
	"commit":     commit,
	"serve":      serve,
}

// gitEnvironment keeps the git of a script from this machine's configuration.
func gitEnvironment(env *testscript.Env) {
	for _, v := range []string{"GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.org",
		"GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.org", "http_proxy=", "https_proxy=", "HTTP_PROXY=", "HTTPS_PROXY=", "ALL_PROXY="} {
		name, value, _ := strings.Cut(v, "=")
		env.Setenv(name, value)
	}
}

// repository makes the bare repository repo.git, and work to commit to it from.
func repository(ts *testscript.TestScript, _ bool, _ []string) {
	ts.Check(ts.Exec("git", "init", "-q", "--bare", "-b", "main", "repo.git"))
	ts.Check(ts.Exec("git", "init", "-q", "-b", "main", "work"))
	ts.Check(ts.Exec("git", "-C", "work", "remote", "add", "origin", ts.MkAbs("repo.git")))
	ts.Setenv("REPO", ts.MkAbs("repo.git"))
}

// commit commits all of work, with the arguments given, pushes it even where
// that rewrites the branch, and sets $TIP to the commit and $LAST to the one
// that $TIP was.
func commit(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(ts.Exec("git", "-C", "work", "add", "-A"))
	ts.Check(ts.Exec("git", append([]string{"-C", "work", "commit", "-q", "--allow-empty", "-m", "policies"}, args...)...))
	ts.Check(ts.Exec("git", "-C", "work", "push", "-q", "--force", "origin", "HEAD:main"))
	out, err := exec.Command("git", "-C", ts.MkAbs("work"), "rev-parse", "HEAD").Output()
	ts.Check(err)
	ts.Setenv("LAST", ts.Getenv("TIP"))
	ts.Setenv("TIP", strings.TrimSpace(string(out)))
}

// serve starts git's own server over http for repo.git, and sets $URL. Without
// an argument it runs until the script ends; "serve stop" ends it.
func serve(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) > 0 {
		ts.Value(serverKey{}).(*server).stop()
		return
	}
	ts.Check(ts.Exec("ip", "link", "set", "lo", "up")) // of the tests' own namespace
	handler, err := gitHandler(ts.MkAbs("."))
	ts.Check(err)
	s := httptest.NewServer(handler)
	ts.Value(serverKey{}).(*server).stop = s.Close
	ts.Defer(s.Close)
	ts.Setenv("URL", s.URL+"/repo.git")
}

// gitHandler is git's own server over http, for the repositories below a directory.
func gitHandler(dir string) (http.Handler, error) {
	path, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		return nil, err
	}
	return &cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(string(path)), "git-http-backend"),
		Env: []string{"GIT_PROJECT_ROOT=" + dir, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_GLOBAL=/dev/null",
			"GIT_CONFIG_NOSYSTEM=1", "PATH=" + os.Getenv("PATH")},
		Stderr: io.Discard,
	}, nil
}

type serverKey struct{}

// server is the one that a script has started.
type server struct{ stop func() }
