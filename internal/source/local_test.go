package source

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestLocal(t *testing.T) {
	r := newRepo(t)
	first := r.commit("policies/a.yaml", policy)
	r.git("tag", "-m", "one", "v1")
	second := r.commit("policies/b.yaml", policy)
	// No program is run for a repository of this machine.
	t.Setenv("PATH", "/nonexistent")
	for name, u := range map[string]string{"path": r.dir, "bare": r.dir + "/.git", "file": "file://" + r.dir} {
		t.Run(name, func(t *testing.T) {
			cfg := config(t, u)
			got := mustFetch(t, cfg, position(u, "main", first))
			if got.Commit != second || got.Branch != "main" {
				t.Errorf("commit %s of %q", got.Commit, got.Branch)
			}
			wantFiles(t, got, "policies/a.yaml", policy, "policies/b.yaml", policy)
			cfg.Tag = "v1"
			if got := mustFetch(t, cfg); got.Commit != first || got.Tag != "v1" || got.Branch != "" {
				t.Errorf("tag v1 is %+v", got)
			}
			cfg.Tag, cfg.Commit = "", first
			wantFiles(t, mustFetch(t, cfg), "policies/a.yaml", policy)
			if _, err := os.Stat(cfg.Dir); !os.IsNotExist(err) {
				t.Errorf("a clone was made: %v", err)
			}
		})
	}
	cfg := config(t, r.dir)
	cfg.Commit = strings.Repeat("1", 40)
	fails(t, cfg, nil, "it has no commit "+cfg.Commit)
	cfg = config(t, r.dir)
	cfg.Branch = "other"
	fails(t, cfg, nil, "it has no branch other; it has main")
	fails(t, config(t, t.TempDir()), nil, "there is no git repository")
	fails(t, config(t, "/nonexistent/policies"), nil, "no such file")
}

// localForms are layouts of repositories that git and CI make. Each takes a repository with two
// commits and a directory, and makes repositories there whose HEAD is the second commit.
var localForms = map[string]func(r *repo, dir string){
	"worktree":          func(r *repo, dir string) { r.git("worktree", "add", "-q", "-b", "side", dir+"/x") },
	"worktree detached": func(r *repo, dir string) { r.git("worktree", "add", "-q", "--detach", dir+"/x") },
	"worktree relative": func(r *repo, dir string) {
		r.git("worktree", "add", "-q", "--detach", dir+"/x")
		relative, err := filepath.Rel(dir+"/x", r.dir+"/.git/worktrees/x")
		if err != nil {
			r.t.Fatal(err)
		}
		writeFile(r.t, dir+"/x/.git", "gitdir: "+relative+"\n")
		r.git("config", "core.repositoryformatversion", "1")
		r.git("config", "extensions.relativeWorktrees", "true")
	},
	"bare, packed": func(r *repo, dir string) {
		r.git("clone", "-q", "--bare", ".", dir+"/x")
		r.git("-C", dir+"/x", "pack-refs", "--all")
		r.git("-C", dir+"/x", "repack", "-q", "-a", "-d", "--write-midx")
	},
	"mirror":      func(r *repo, dir string) { r.git("clone", "-q", "--mirror", ".", dir+"/x") },
	"git file":    func(r *repo, dir string) { r.git("clone", "-q", "--separate-git-dir", dir+"/y", ".", dir+"/x") },
	"link":        func(r *repo, dir string) { mkdir(r.t, dir+"/x"); link(r.t, r.dir+"/.git", dir+"/x/.git") },
	"shallow":     func(r *repo, dir string) { r.git("clone", "-q", "--depth=1", "file://"+r.dir, dir+"/x") },
	"blobs there": func(r *repo, dir string) { r.git("clone", "-q", "--filter=blob:none", "file://"+r.dir, dir+"/x") },
	"submodule": func(r *repo, dir string) {
		r.git("init", "-q", dir+"/y")
		r.git("-C", dir+"/y", "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", r.dir, "x")
		link(r.t, "y/x", dir+"/x")
	},
	"sparse": func(r *repo, dir string) {
		r.git("clone", "-q", "--sparse", ".", dir+"/x")
		r.git("-C", dir+"/x", "sparse-checkout", "set", "other")
		if r.git("-C", dir+"/x", "config", "extensions.worktreeConfig") != "true" {
			r.t.Fatal("git made no configuration for the worktree")
		}
	},
	"extensions": func(r *repo, dir string) {
		r.git("clone", "-q", ".", dir+"/x")
		r.git("-C", dir+"/x", "config", "core.repositoryFormatVersion", "1")
		for _, e := range []string{"objectFormat=sha1", "refStorage=files", "relativeWorktrees=true", "preciousObjects=true", "partialClone=origin", "noop=1", "noop-v1=1", "worktreeConfig=true"} {
			key, value, _ := strings.Cut(e, "=")
			r.git("config", "-f", dir+"/x/.git/config", "extensions."+key, value)
		}
	},
	"alternates": func(r *repo, dir string) {
		r.git("clone", "-q", "--shared", ".", dir+"/y")
		r.git("clone", "-q", "--shared", dir+"/y", dir+"/x")
	},
	"alternates relative": func(r *repo, dir string) {
		r.git("clone", "-q", "--shared", ".", dir+"/x")
		link(r.t, r.dir, dir+"/y")
		writeFile(r.t, dir+"/x/.git/objects/info/alternates", "../../../y/.git/objects\n")
	},
	"alternates quoted": func(r *repo, dir string) {
		r.git("clone", "-q", "--shared", ".", dir+"/x")
		writeFile(r.t, dir+"/x/.git/objects/info/alternates", "# y\n/nonexistent/objects\n\""+r.dir+"/.git/objects\"\n")
	},
	"alternate of itself": func(r *repo, dir string) {
		r.git("clone", "-q", ".", dir+"/x")
		writeFile(r.t, dir+"/x/.git/objects/info/alternates", dir+"/x/.git/objects\n")
	},
	"branch of a branch": func(r *repo, dir string) {
		r.git("clone", "-q", ".", dir+"/x")
		r.git("-C", dir+"/x", "symbolic-ref", "refs/heads/alias", "refs/heads/main")
		r.git("-C", dir+"/x", "symbolic-ref", "HEAD", "refs/heads/alias")
	},
	// actions/checkout of GitHub, of a merge request
	"remote reference": func(r *repo, dir string) {
		r.git("init", "-q", dir+"/x")
		r.git("-C", dir+"/x", "fetch", "-q", "--no-tags", "--depth=1", "file://"+r.dir, "+"+r.head()+":refs/remotes/pull/1/merge")
		r.git("-C", dir+"/x", "checkout", "-q", "--force", "refs/remotes/pull/1/merge")
	},
	// the runner of GitLab
	"pipeline": func(r *repo, dir string) {
		r.git("init", "-q", dir+"/x")
		r.git("-C", dir+"/x", "fetch", "-q", r.dir, "+"+r.head()+":refs/pipelines/1")
		r.git("-C", dir+"/x", "checkout", "-q", "-f", r.head())
	},
}

// TestLocalForms reads repositories in the other layouts of git.
func TestLocalForms(t *testing.T) {
	for name, form := range localForms {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRepo(t)
			r.git("config", "uploadpack.allowFilter", "true")
			r.commit("policies/old.yaml", policy)
			r.git("mv", "policies/old.yaml", "policies/a.yaml")
			head := r.commitAll("rename")
			dir := t.TempDir()
			form(r, dir)
			got := mustFetch(t, config(t, dir+"/x"))
			if got.Commit != head {
				t.Errorf("commit %s, want %s", got.Commit, head)
			}
			wantFiles(t, got, "policies/a.yaml", policy)
			wantWarnings(t, got)
		})
	}
}

// unreadableForms are repositories that nfsync does not read, with words of the error.
var unreadableForms = map[string]struct {
	form  func(r *repo, dir string)
	words []string
}{
	"sha256": {func(r *repo, dir string) { r.git("init", "-q", "--object-format=sha256", dir+"/x") },
		[]string{"its object format is sha256", "nfsync plan DIR"}},
	// The git here cannot make one. This is what git 2.45 writes.
	"reftable": {func(r *repo, dir string) {
		format(r, dir, "refStorage", "reftable")
		writeFile(r.t, dir+"/x/.git/HEAD", "ref: refs/heads/.invalid\n")
	}, []string{"its references are stored as reftable", "git refs migrate --ref-format=files"}},
	"extension": {func(r *repo, dir string) { format(r, dir, "other", "true") }, []string{"extensions.other, which nfsync does not read"}},
	"version": {func(r *repo, dir string) {
		format(r, dir, "noop", "true")
		r.git("config", "-f", dir+"/x/.git/config", "core.repositoryFormatVersion", "2")
	}, []string{"core.repositoryformatversion 2", "git clone"}},
	"config": {func(r *repo, dir string) {
		format(r, dir, "noop", "true")
		writeFile(r.t, dir+"/x/.git/config", "[core\n")
	}, []string{"cannot parse", "/x/.git/config:1:6:"}},
	"blobless": {func(r *repo, dir string) {
		r.git("clone", "-q", "--no-checkout", "--filter=blob:none", "file://"+r.dir, dir+"/x")
	}, []string{"blob ", "partial clone", "/x/.git fetch --refetch --no-filter"}},
	"treeless": {func(r *repo, dir string) {
		r.git("clone", "-q", "--no-checkout", "--filter=tree:0", "file://"+r.dir, dir+"/x")
	}, []string{"tree ", "partial clone"}},
	"alternate gone": {func(r *repo, dir string) {
		r.git("clone", "-q", "--bare", ".", dir+"/y")
		r.git("clone", "-q", "--shared", dir+"/y", dir+"/x")
		remove(r.t, dir+"/y")
	}, []string{"it borrows objects", "/y/objects: no such file"}},
	"worktree gone": {func(r *repo, dir string) {
		r.git("clone", "-q", ".", dir+"/y")
		r.git("-C", dir+"/y", "worktree", "add", "-q", dir+"/x")
		remove(r.t, dir+"/y")
	}, []string{"/x/.git names ", "/y/.git/worktrees/x", "make that directory available"}},
	"worktree of nothing": {func(r *repo, dir string) {
		r.git("clone", "-q", ".", dir+"/y")
		r.git("-C", dir+"/y", "worktree", "add", "-q", dir+"/x")
		remove(r.t, dir+"/y/.git/objects")
	}, []string{"it is a worktree of the repository ", "/y/.git"}},
	"objects elsewhere": {func(r *repo, dir string) {
		r.git("clone", "-q", ".", dir+"/x")
		if err := os.Rename(dir+"/x/.git/objects", dir+"/y"); err != nil {
			r.t.Fatal(err)
		}
		link(r.t, "../../y", dir+"/x/.git/objects")
	}, []string{"a symbolic link in it leads to another directory"}},
	"old index": {func(r *repo, dir string) {
		r.git("clone", "-q", ".", dir+"/x")
		r.git("-C", dir+"/x", "-c", "pack.indexVersion=1", "repack", "-q", "-a", "-d")
		r.git("-C", dir+"/x", "prune-packed")
	}, []string{"the index of one of its packs has another version than 2", "repack -a -d"}},
	"git directory without HEAD": {func(r *repo, dir string) {
		r.git("clone", "-q", ".", dir+"/x")
		remove(r.t, dir+"/x/.git/HEAD")
	}, []string{"/x/.git is not a git directory: it lacks HEAD or objects"}},
	"HEAD garbage": {func(r *repo, dir string) {
		r.git("clone", "-q", ".", dir+"/x")
		writeFile(r.t, dir+"/x/.git/HEAD", "garbage\n")
	}, []string{"its HEAD names neither a branch nor a commit: name a branch"}},
	"bundle":       {func(r *repo, dir string) { r.git("bundle", "create", "-q", dir+"/x", "main") }, []string{"is a git bundle", "git clone"}},
	"file":         {func(r *repo, dir string) { writeFile(r.t, dir+"/x", "kind: NodePolicy\n") }, []string{"is a file, not a git repository"}},
	"pipe":         {func(r *repo, dir string) { _ = unix.Mkfifo(dir+"/x", 0o600) }, []string{"not a regular file but a pipe"}},
	"subdirectory": {func(r *repo, dir string) { link(r.t, r.dir+"/policies", dir+"/x") }, []string{"there is no git repository at "}},
	"empty":        {func(r *repo, dir string) { r.git("init", "-q", dir+"/x") }, []string{"the repository is empty"}},
	"emptied": {func(r *repo, dir string) {
		r.git("clone", "-q", "file://"+r.dir, dir+"/x")
		writeFile(r.t, packFile(r.t, dir+"/x/.git", "*.pack"), "")
	}, []string{"the repository is damaged", "/x/.git fsck lists all damage"}},
}

// format makes a repository that git calls one of version 1, with an extension.
func format(r *repo, dir, extension, value string) {
	r.git("clone", "-q", ".", dir+"/x")
	r.git("-C", dir+"/x", "config", "core.repositoryFormatVersion", "1")
	r.git("config", "-f", dir+"/x/.git/config", "extensions."+extension, value)
}

// TestLocalUnreadable: what nfsync cannot read is named by what it is, with the way out.
func TestLocalUnreadable(t *testing.T) {
	for name, test := range unreadableForms {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRepo(t)
			r.git("config", "uploadpack.allowFilter", "true")
			r.commit("policies/a.yaml", policy)
			dir := t.TempDir()
			test.form(r, dir)
			err := fails(t, config(t, dir+"/x"), nil, test.words...)
			if damaged := strings.Contains(err.Error(), "the repository is damaged"); damaged != (name == "emptied") {
				t.Error(err)
			}
		})
	}
}

// TestRefetch: the remedy for a partial clone helps.
func TestRefetch(t *testing.T) {
	for _, filter := range []string{"blob:none", "tree:0"} {
		r := newRepo(t)
		r.git("config", "uploadpack.allowFilter", "true")
		head := r.commit("a.yaml", policy)
		dir := t.TempDir() + "/x"
		r.git("clone", "-q", "--no-checkout", "--filter="+filter, "file://"+r.dir, dir)
		fails(t, config(t, dir), nil, "git -C "+dir+"/.git fetch --refetch --no-filter")
		r.git("-C", dir+"/.git", "fetch", "-q", "--refetch", "--no-filter")
		if got := mustFetch(t, config(t, dir)); got.Commit != head {
			t.Errorf("commit %s", got.Commit)
		}
	}
}

// TestLocalHints: the errors for a commit, a branch and a history that a clone lacks say how to get
// them.
func TestLocalHints(t *testing.T) {
	r := newRepo(t)
	first := r.commit("policies/a.yaml", policy)
	second := r.commit("policies/b.yaml", policy)
	r.git("branch", "side")
	dir := t.TempDir() + "/x"
	r.git("clone", "-q", "--depth=1", "--no-single-branch", "file://"+r.dir, dir)
	cfg := config(t, dir)
	fails(t, cfg, []Position{position(dir, "main", first)}, "cannot determine whether", "git -C "+dir+" fetch --unshallow gets it", "--accept "+second)
	cfg.Commit = first
	fails(t, cfg, nil, "it has no commit "+first, "a shallow clone: git -C "+dir+"/.git fetch origin "+first)
	cfg.Commit, cfg.Branch = "", "side"
	fails(t, cfg, nil, "it has no branch side; it has main", "git branch side origin/side")
	fails(t, config(t, r.dir+"/policies"), nil, "it is in the repository "+r.dir, "--path policies")
}

// TestDetachedCheckout: the commit that is checked out is taken as named.
func TestDetachedCheckout(t *testing.T) {
	r := newRepo(t)
	first := r.commit("a.yaml", policy)
	second := r.commit("b.yaml", policy)
	r.git("checkout", "-q", "--detach")
	got := mustFetch(t, config(t, r.dir), position(r.dir, "", first))
	if got.Commit != second || got.Branch != "" || !got.Head {
		t.Errorf("%+v", got)
	}
	r.git("checkout", "-q", first)
	if got := mustFetch(t, config(t, r.dir), Position{URL: r.dir, Commit: second, Head: true}); got.Commit != first {
		t.Errorf("commit %s", got.Commit)
	}
	r.git("checkout", "-q", "main")
	if got := mustFetch(t, config(t, r.dir), Position{URL: r.dir, Commit: first, Head: true}); got.Branch != "main" || !got.Head {
		t.Errorf("%+v", got)
	}
	r.git("checkout", "-q", "--detach", first)
	followed := Position{URL: r.dir, Branch: "main", Commit: second, Head: true}
	e := asError[*RewrittenError](t, fails(t, config(t, r.dir), []Position{followed}, "HEAD names no branch but commit "+first+" now", "branch main was followed", "--accept "+first))
	if *e != (RewrittenError{Followed: "main", Last: second, New: first}) {
		t.Errorf("%+v", e)
	}
}
