package source

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

// upTo returns a configuration that follows a branch up to a commit.
func upTo(cfg Config, commit string) Config {
	cfg.UpTo = commit
	return cfg
}

func TestUpTo(t *testing.T) {
	for _, branch := range []string{"", "main"} {
		t.Run("branch "+branch, func(t *testing.T) {
			httpAndLocal(t, func(t *testing.T, r *repo, u string) {
				cfg := config(t, u)
				cfg.Branch = branch
				first := r.commit("a.yaml", "1")
				second := r.commit("a.yaml", "2")
				third := r.commit("a.yaml", "3")
				at := func(commit string) Position {
					return Position{URL: u, Branch: "main", Commit: commit, Head: branch == ""}
				}
				for _, c := range []struct{ commit, text string }{{first, "1"}, {second, "2"}, {third, "3"}} {
					got := mustFetch(t, upTo(cfg, c.commit), at(first))
					if got.Commit != c.commit || got.Branch != "main" || got.Head != (branch == "") {
						t.Errorf("up to %s: commit %s of branch %q, head %v", c.commit, got.Commit, got.Branch, got.Head)
					}
					wantFiles(t, got, "a.yaml", c.text)
				}
				e := asError[*RewrittenError](t, fails(t, upTo(cfg, second), []Position{at(third)}, "older than "+third, "does not go back"))
				if want := (RewrittenError{Branch: "main", Last: third, New: second, Behind: true}); *e != want {
					t.Errorf("%+v, want %+v", *e, want)
				}
			})
		})
	}
}

// A commit that only another branch has is none of this branch, even if the clone has it.
func TestUpToOfAnotherBranch(t *testing.T) {
	httpAndLocal(t, func(t *testing.T, r *repo, u string) {
		cfg := config(t, u)
		cfg.Branch = "main"
		first := r.commit("a.yaml", policy)
		r.git("checkout", "-q", "-b", "other")
		other := r.commit("b.yaml", policy)
		r.git("checkout", "-q", "main")
		second := r.commit("a.yaml", policy+"# 2\n")
		mustFetch(t, Config{URLs: cfg.URLs, Dir: cfg.Dir, Timeout: cfg.Timeout, Branch: "other"})
		for _, commit := range []string{other, strings.Repeat("1", 40)} {
			asError[*FetchError](t, fails(t, upTo(cfg, commit), []Position{position(u, "main", first)}, "no commit "+commit, "branch main", second))
		}
	})
}

// A rewritten branch is not followed, whatever commit of it is named.
func TestUpToOfARewrittenBranch(t *testing.T) {
	httpAndLocal(t, func(t *testing.T, r *repo, u string) {
		cfg := config(t, u)
		base := r.commit("a.yaml", "1")
		last := r.commit("a.yaml", "2")
		mustFetch(t, upTo(cfg, last), position(u, "main", base))
		r.git("reset", "-q", "--hard", base)
		next := r.commit("a.yaml", "3")
		r.commit("a.yaml", "4")
		e := asError[*RewrittenError](t, fails(t, upTo(cfg, next), []Position{position(u, "main", last)}, "rewritten"))
		if e.Behind {
			t.Error("a commit beside the last one counts as older")
		}
		accepted, err := Fetch(t.Context(), upTo(cfg, next), []Position{position(u, "main", last)}, next)
		if err != nil || accepted.Commit != next {
			t.Errorf("accepted: commit %s, %v", accepted.Commit, err)
		}
	})
}

// A commit of Config.After binds whatever the URL and the branch are: the first fetch from a mirror, and of a branch with another
// name, does not go back behind it. Config.Before bounds from above.
func TestUpToAfterAndBefore(t *testing.T) {
	httpAndLocal(t, func(t *testing.T, r *repo, u string) {
		first := r.commit("a.yaml", "1")
		second := r.commit("a.yaml", "2")
		third := r.commit("a.yaml", "3")
		r.git("branch", "release", third)
		r.git("checkout", "-q", "-b", "other", first)
		other := r.commit("b.yaml", "4")
		r.git("checkout", "-q", "main")
		elsewhere := strings.Repeat("1", 40)
		for _, branch := range []string{"main", "release"} {
			cfg := config(t, u)
			cfg.Branch = branch
			between := func(before, commit string, after ...string) Config {
				c := upTo(cfg, commit)
				c.Before, c.After = before, after
				return c
			}
			for range 2 { // from the server, and from the clone
				for _, good := range []Config{between("", third, first, second), between("", third, third), between(third, second, first), between(second, second)} {
					if got := mustFetch(t, good); got.Commit != good.UpTo || got.Branch != branch {
						t.Errorf("%+v: commit %s of %s", good, got.Commit, got.Branch)
					}
				}
				if e := asError[*RewrittenError](t, fails(t, between("", second, first, third), nil, "does not go back")); !e.Behind || e.Last != third {
					t.Errorf("%+v", e)
				}
				for _, apart := range []string{other, elsewhere} {
					if e := asError[*RewrittenError](t, fails(t, between("", third, apart), nil, "rewritten")); e.Behind || e.Last != apart {
						t.Errorf("%+v", e)
					}
				}
				for _, before := range []string{first, other, elsewhere} {
					asError[*FetchError](t, fails(t, between(before, second), nil, "has no commit"))
				}
			}
			if got, err := Fetch(t.Context(), between("", second, third), nil, second); err != nil || got.Commit != second {
				t.Errorf("accepted: %s, %v", got.Commit, err)
			}
			fails(t, between("", third, "main"), nil, "full hash")
		}
	})
}

// What the clone has is not asked of the server again, also while the branch has moved on.
func TestUpToNeedsNoServer(t *testing.T) {
	r := newRepo(t)
	server := &switchable{next: backend(t, r)}
	u := start(t, server) + "/policies"
	r.signing()
	first := r.commit("a.yaml", "1")
	cfg := config(t, u)
	cfg.Verify = Verify{Mode: VerifyAll, AllowedSigners: []string{r.dir + "-signers"}}
	mustFetch(t, upTo(cfg, first))
	second := r.commit("a.yaml", "2")
	third := r.commit("a.yaml", "3")
	server.off = true
	at := Position{URL: u, Branch: "main", Commit: first, Head: true}
	fails(t, upTo(cfg, second), []Position{at}, "503")
	server.off = false
	mustFetch(t, upTo(cfg, second), at)
	server.off = true
	for _, commit := range []string{second, third, first} {
		if got := mustFetch(t, upTo(cfg, commit), at); got.Commit != commit || got.Signer == "" {
			t.Errorf("commit %s signed by %q, want %s", got.Commit, got.Signer, commit)
		}
	}
}

// In mode all each commit up to the named one is verified, and none after it.
func TestUpToVerifies(t *testing.T) {
	httpAndLocal(t, func(t *testing.T, r *repo, u string) {
		r.signing()
		first := r.commit("a.yaml", "1")
		second := r.commit("a.yaml", "2")
		r.git("-c", "commit.gpgSign=false", "commit", "-q", "--allow-empty", "-m", "unsigned")
		unsigned := r.head()
		fourth := r.commit("a.yaml", "4")
		cfg := config(t, u)
		cfg.Verify = Verify{Mode: VerifyAll, AllowedSigners: []string{r.dir + "-signers"}}
		if got := mustFetch(t, upTo(cfg, second), position(u, "main", first)); got.Commit != second {
			t.Errorf("commit %s, want %s", got.Commit, second)
		}
		for _, commit := range []string{unsigned, fourth} {
			if e := asError[*VerifyError](t, fails(t, upTo(cfg, commit), []Position{position(u, "main", first)})); e.Commit != unsigned {
				t.Errorf("up to %s: %s is not trusted, want %s", commit, e.Commit, unsigned)
			}
			after := upTo(cfg, commit) // nothing is known of this URL
			after.After = []string{first}
			if e := asError[*VerifyError](t, fails(t, after, nil)); e.Commit != unsigned {
				t.Errorf("after %s: %s is not trusted, want %s", first, e.Commit, unsigned)
			}
		}
		cfg.Verify.Mode = VerifyTip
		if got := mustFetch(t, upTo(cfg, fourth), position(u, "main", first)); got.Commit != fourth {
			t.Errorf("mode tip: commit %s, want %s", got.Commit, fourth)
		}
	})
}

// The clone begins with the head alone: an older commit is proved with more of the history.
func TestUpToFarFromTheHead(t *testing.T) {
	r := newRepo(t)
	first := r.commit("a.yaml", policy)
	r.grow(300)
	var asked int
	next := backend(t, r)
	u := start(t, http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		asked++
		next.ServeHTTP(w, q)
	})) + "/policies"
	cfg := config(t, u)
	cfg.Branch = "main"
	wantFiles(t, mustFetch(t, upTo(cfg, first)), "a.yaml", policy)
	was := asked
	commits := strings.Fields(r.git("rev-list", "--first-parent", "HEAD"))
	slices.Reverse(commits)
	for _, commit := range commits[100:103] {
		if got := mustFetch(t, upTo(cfg, commit), position(u, "main", first)); got.Commit != commit {
			t.Errorf("commit %s, want %s", got.Commit, commit)
		}
	}
	if asked != was {
		t.Errorf("the server was asked %d times for what the clone has", asked-was)
	}
}

func TestUpToIsOfABranch(t *testing.T) {
	commit := strings.Repeat("1", 40)
	for name, cfg := range map[string]Config{
		"tag": {Tag: "v1", UpTo: commit}, "commit": {Commit: commit, UpTo: commit}, "rev": {Rev: "HEAD", UpTo: commit}, "short": {UpTo: "111"},
	} {
		cfg.URLs = []string{"https://example.org/p.git"}
		if err := cfg.Check(""); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if err := (Config{URLs: []string{"https://example.org/p.git"}, Branch: "main", UpTo: commit}).Check(""); err != nil {
		t.Error(err)
	}
}
