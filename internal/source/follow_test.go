package source

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
)

// httpAndLocal runs a test with a repository over http, through a clone, and with one as a
// path.
func httpAndLocal(t *testing.T, test func(t *testing.T, r *repo, u string)) {
	t.Helper()
	t.Run("http", func(t *testing.T) {
		r := newRepo(t)
		test(t, r, serve(t, r))
	})
	t.Run("local", func(t *testing.T) {
		r := newRepo(t)
		test(t, r, r.dir)
	})
}

func TestFastForward(t *testing.T) {
	httpAndLocal(t, func(t *testing.T, r *repo, u string) {
		cfg := config(t, u)
		last := r.commit("a.yaml", policy)
		for i := range 3 {
			if got := mustFetch(t, cfg, position(u, "main", last)); got.Commit != last {
				t.Errorf("nothing new: commit %s, want %s", got.Commit, last)
			}
			next := r.commit("a.yaml", fmt.Sprintf("%s# %d\n", policy, i))
			got := mustFetch(t, cfg, position(u, "main", last))
			if got.Commit != next {
				t.Fatalf("commit %s, want %s", got.Commit, next)
			}
			wantFiles(t, got, "a.yaml", fmt.Sprintf("%s# %d\n", policy, i))
			last = next
		}
		// The revert needs blobs from before the clone was made.
		r.git("revert", "--no-edit", "HEAD", "HEAD~1", "HEAD~2")
		got := mustFetch(t, cfg, position(u, "main", last))
		wantFiles(t, got, "a.yaml", policy)
	})
}

// TestProofNeedsHistory loses the clone between two fetches: the second fetch needs the
// history to prove that the branch moved forward.
func TestProofNeedsHistory(t *testing.T) {
	for _, commits := range []int{1, 40, 300} {
		t.Run(fmt.Sprint(commits), func(t *testing.T) {
			r := newRepo(t)
			first := r.commit("a.yaml", policy)
			r.grow(commits)
			u := serve(t, r)
			if got := mustFetch(t, config(t, u), position(u, "main", first)); got.Commit != r.head() {
				t.Errorf("commit %s", got.Commit)
			}
			elsewhere := strings.Repeat("1", 40)
			asError[*RewrittenError](t, fails(t, config(t, u), []Position{position(u, "main", elsewhere)}, elsewhere))
		})
	}
}

// grow adds commits with git fast-import.
func (r *repo) grow(commits int) {
	r.t.Helper()
	var in strings.Builder
	for i := range commits {
		fmt.Fprintf(&in, "commit refs/heads/main\ncommitter c <c@example.org> %d +0000\ndata 1\nx\n", 1700000000+i)
		if i == 0 {
			fmt.Fprintf(&in, "from %s\n", r.head())
		}
		fmt.Fprintf(&in, "M 100644 inline a.yaml\ndata <<E\n# %d\nE\n\n", i)
	}
	r.gitInput(in.String(), "fast-import", "--quiet")
	r.git("reset", "-q", "--hard")
}

func TestRewritten(t *testing.T) {
	rewrites := map[string]func(r *repo){
		"amended":       func(r *repo) { r.git("commit", "-q", "--amend", "-m", "other") },
		"gone back":     func(r *repo) { r.git("reset", "-q", "--hard", "HEAD~1") },
		"other history": func(r *repo) { r.git("reset", "-q", "--hard", "HEAD~2"); r.commit("c.yaml", policy) },
		"orphan history": func(r *repo) {
			r.git("checkout", "-q", "--orphan", "o")
			r.commitAll("o")
			r.git("branch", "-M", "main")
		},
	}
	for name, rewrite := range rewrites {
		t.Run(name, func(t *testing.T) {
			httpAndLocal(t, func(t *testing.T, r *repo, u string) {
				r.commit("0.yaml", policy)
				r.commit("a.yaml", policy)
				last := r.commit("b.yaml", policy)
				cfg := config(t, u)
				mustFetch(t, cfg)
				rewrite(r)
				positions := []Position{position("elsewhere", "main", r.head()), position(u, "other", r.head()), position(u, "main", last)}
				for range 2 { // the second finds the commit in the clone
					e := asError[*RewrittenError](t, fails(t, cfg, positions, "--accept "+r.head()))
					if e.Branch != "main" || e.Last != last || e.New != r.head() {
						t.Errorf("%+v", e)
					}
				}
				if _, err := Fetch(context.Background(), cfg, positions, last); err == nil {
					t.Error("the last commit was accepted in place of the new one")
				}
				got, err := Fetch(context.Background(), cfg, positions, r.head())
				if err != nil || got.Commit != r.head() {
					t.Errorf("accepted: commit %s, %v", got.Commit, err)
				}
				// When the caller has applied it, the next commit must descend from it.
				next := r.commit("d.yaml", policy)
				if got := mustFetch(t, cfg, position(u, "main", r.git("rev-parse", "HEAD~1"))); got.Commit != next {
					t.Errorf("commit %s", got.Commit)
				}
			})
		})
	}
}

// TestHeadMoves: without a configured branch the one that HEAD named is followed, and no
// other, whether or not it descends from the commit that was applied.
func TestHeadMoves(t *testing.T) {
	for name, create := range map[string][]string{
		"ahead":     {"checkout", "-q", "-b", "next"},
		"unrelated": {"checkout", "-q", "--orphan", "next"},
	} {
		t.Run(name, func(t *testing.T) {
			httpAndLocal(t, func(t *testing.T, r *repo, u string) {
				last := r.commit("a.yaml", policy)
				cfg := config(t, u)
				if got := mustFetch(t, cfg); got.Branch != "main" || !got.Head {
					t.Errorf("%+v", got)
				}
				r.git(create...)
				next := r.commit("b.yaml", policy)
				followed, other := position(u, "main", last), position(u, "next", next)
				followed.Head = true
				positions := []Position{other, followed}
				e := asError[*RewrittenError](t, fails(t, cfg, positions, "HEAD names branch next now", "branch main was followed", "--branch", "--accept "+next))
				if *e != (RewrittenError{Branch: "next", Followed: "main", Last: last, New: next}) {
					t.Errorf("%+v", e)
				}
				if got, err := Fetch(t.Context(), cfg, positions, next); err != nil || got.Commit != next || !got.Head {
					t.Errorf("accepted: %+v, %v", got, err)
				}
				named := cfg
				named.Branch = "next"
				if got := mustFetch(t, named, positions...); got.Commit != next || got.Head {
					t.Errorf("a named branch: %+v", got)
				}
				// No branch was followed yet, or the server's HEAD is as before.
				mustFetch(t, cfg, other)
				r.git("checkout", "-q", "main")
				mustFetch(t, cfg, positions...)
			})
		})
	}
}

// TestAnswerEndsSearch: after an answer that must not be followed no other URL is tried.
func TestAnswerEndsSearch(t *testing.T) {
	r := newRepo(t)
	last := r.commit("a.yaml", policy)
	r.git("commit", "-q", "--amend", "-m", "other")
	u := serve(t, r)
	asError[*RewrittenError](t, fails(t, config(t, u, r.dir), []Position{position(u, "main", last)}))
}

func TestBranchesComeAndGo(t *testing.T) {
	httpAndLocal(t, func(t *testing.T, r *repo, u string) {
		first := r.commit("a.yaml", policy)
		r.git("branch", "stable")
		cfg := config(t, u)
		mustFetch(t, cfg)

		// The remote's HEAD names another branch: that one has its own position.
		r.git("branch", "-m", "main", "trunk")
		second := r.commit("b.yaml", policy)
		got := mustFetch(t, cfg, position(u, "main", strings.Repeat("1", 40)))
		if got.Branch != "trunk" || got.Commit != second {
			t.Errorf("after the renaming: commit %s of %q", got.Commit, got.Branch)
		}
		cfg.Branch = "main"
		fails(t, cfg, nil, "it has no branch main; it has stable, trunk")
		cfg.Branch = "stable"
		if got := mustFetch(t, cfg); got.Commit != first {
			t.Errorf("stable: commit %s", got.Commit)
		}
		r.git("branch", "-D", "stable")
		fails(t, cfg, nil, "it has no branch stable; it has trunk")
	})
}

func TestTags(t *testing.T) {
	httpAndLocal(t, func(t *testing.T, r *repo, u string) {
		first := r.commit("a.yaml", policy)
		r.git("tag", "light")
		r.git("tag", "-m", "annotated", "heavy")
		r.git("tag", "-m", "twice", "double", "heavy")
		second := r.commit("b.yaml", policy)
		for _, tag := range []string{"light", "heavy", "double"} {
			cfg := config(t, u)
			cfg.Tag = tag
			got := mustFetch(t, cfg)
			if got.Commit != first || got.Tag != tag || got.Branch != "" {
				t.Errorf("%s: %+v", tag, got)
			}
			r.git("tag", "-f", "-m", "moved", tag, second)
			got = mustFetch(t, cfg)
			if got.Commit != second {
				t.Errorf("%s moved: commit %s", tag, got.Commit)
			}
			if strings.HasPrefix(u, "http") {
				wantWarnings(t, got, "the tag "+tag+" was moved")
			}
			wantWarnings(t, mustFetch(t, cfg))
		}
		r.git("tag", "tree", "HEAD^{tree}")
		cfg := config(t, u)
		cfg.Tag = "tree"
		fails(t, cfg, nil, "not a commit")
		cfg.Tag = "none"
		fails(t, cfg, nil, "it has no tag none; it has double, heavy, light, tree")
	})
}

func TestCommit(t *testing.T) {
	r := newRepo(t)
	first := r.commit("a.yaml", policy)
	r.commit("b.yaml", policy)
	u := serve(t, r)
	cfg := config(t, u)
	mustFetch(t, cfg)
	cfg.Commit = first
	got := mustFetch(t, cfg)
	if got.Commit != first || got.Branch != "" || got.Tag != "" {
		t.Errorf("%+v", got)
	}
	wantFiles(t, got, "a.yaml", policy)
	// A commit that the clone has needs no server.
	r.git("config", "http.uploadpack", "false")
	if got := mustFetch(t, cfg); got.Commit != first {
		t.Errorf("commit %s", got.Commit)
	}
	r.git("config", "http.uploadpack", "true")
	r.git("config", "uploadpack.allowReachableSHA1InWant", "false")
	cfg.Commit = r.head()
	if got := mustFetch(t, cfg); got.Commit != r.head() {
		t.Errorf("the tip of a branch as a commit: %s", got.Commit)
	}
	cfg.Commit = r.git("commit-tree", "-m", "of no branch", "HEAD^{tree}")
	fails(t, cfg, nil, "does not serve commit "+cfg.Commit, "allowReachableSHA1InWant")
}

func TestEmptyRepository(t *testing.T) {
	httpAndLocal(t, func(t *testing.T, r *repo, u string) {
		fails(t, config(t, u), nil, "the repository is empty")
	})
}

// TestDetachedHead: a server does not say that its HEAD is detached, but only that it names no
// branch.
func TestDetachedHead(t *testing.T) {
	r := newRepo(t)
	r.commit("a.yaml", policy)
	r.git("checkout", "-q", "--detach")
	cfg := config(t, serve(t, r))
	fails(t, cfg, nil, "it does not say which branch its HEAD names: name one; it has main")
	cfg.Branch = "main"
	mustFetch(t, cfg)
}

// TestMerged: mode all verifies the commits that a merge brings, and none that is older,
// although the history of the clone begins after the fork.
func TestMerged(t *testing.T) {
	r := newRepo(t)
	r.commit("a.yaml", policy) // not signed
	r.signing()
	r.git("checkout", "-q", "-b", "side")
	r.commit("side.yaml", policy)
	r.git("checkout", "-q", "main")
	last := r.commit("b.yaml", policy)
	u := serve(t, r)
	cfg := config(t, u)
	cfg.Verify = Verify{Mode: VerifyAll, AllowedSigners: []string{r.dir + "-signers"}}
	mustFetch(t, cfg)
	r.git("merge", "-q", "--no-edit", "side")
	lost := cfg
	lost.Dir = t.TempDir()
	for name, cfg := range map[string]Config{"incremental": cfg, "without a clone": lost} {
		t.Run(name, func(t *testing.T) {
			if got := mustFetch(t, cfg, position(u, "main", last)); got.Signer == "" {
				t.Error("no signer")
			}
		})
	}
	last = r.head()
	r.git("checkout", "-q", "side")
	r.git("config", "commit.gpgSign", "false")
	unsigned := r.commit("c.yaml", policy)
	r.git("config", "commit.gpgSign", "true")
	r.git("checkout", "-q", "main")
	r.git("merge", "-q", "--no-ff", "--no-edit", "side")
	e := asError[*VerifyError](t, fails(t, cfg, []Position{position(u, "main", last)}))
	if e.Commit != unsigned {
		t.Errorf("refused for %s, want %s", e.Commit, unsigned)
	}
	cfg.Verify.Mode = VerifyTip
	mustFetch(t, cfg, position(u, "main", last))
}

// TestTagVerified: mode all verifies all commits that are new in a tag. Of a tag that was
// moved back it verifies only the tip.
func TestTagVerified(t *testing.T) {
	httpAndLocal(t, func(t *testing.T, r *repo, u string) {
		first := r.commit("a.yaml", policy)
		r.signing()
		r.commit("b.yaml", policy)
		r.git("-c", "commit.gpgSign=false", "commit", "-q", "--allow-empty", "-m", "unsigned")
		unsigned := r.head()
		last := r.commit("c.yaml", policy)
		r.git("tag", "v1")
		cfg := config(t, u)
		cfg.Tag = "v1"
		cfg.Verify = Verify{Mode: VerifyAll, AllowedSigners: []string{r.dir + "-signers"}}
		if e := asError[*VerifyError](t, fails(t, cfg, []Position{position(u, "", first)})); e.Commit != unsigned {
			t.Errorf("refused for %s, want %s", e.Commit, unsigned)
		}
		mustFetch(t, cfg, position(u, "", unsigned))
		mustFetch(t, cfg, position(u, "", last))
		r.git("tag", "-f", "v1", "HEAD~2")
		mustFetch(t, cfg, position(u, "", last))
	})
}

// signing configures git to sign commits from now on. The file DIR-signers lists the key.
func (r *repo) signing() {
	r.t.Helper()
	key := keygen(r.t, r.dir+"-key", "ed25519")
	public, err := os.ReadFile(key + ".pub")
	if err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(r.dir+"-signers", []byte("c@example.org "+string(public)), 0o644); err != nil {
		r.t.Fatal(err)
	}
	r.git("config", "gpg.format", "ssh")
	r.git("config", "user.signingKey", key)
	r.git("config", "commit.gpgSign", "true")
}

// TestMultiAck fetches from a server like Azure DevOps: it requires multi_ack, and lists
// neither ofs-delta nor symref.
func TestMultiAck(t *testing.T) {
	r := newRepo(t)
	first := r.commit("a.yaml", policy)
	u := start(t, &multiAckServer{t: t, next: backend(t, r)}) + "/policies"
	cfg := config(t, u)
	cfg.Branch = "main"
	mustFetch(t, cfg)
	second := r.commit("b.yaml", policy)
	if got := mustFetch(t, cfg, position(u, "main", first)); got.Commit != second {
		t.Errorf("commit %s", got.Commit)
	}
	r.grow(50)
	cfg.Dir = t.TempDir()
	if got := mustFetch(t, cfg, position(u, "main", first)); got.Commit != r.head() {
		t.Errorf("commit %s", got.Commit)
	}
	cfg.Branch = ""
	fails(t, cfg, nil, "it does not say which branch its HEAD names: name one; it has main")
}
