package source

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"nfsync.dev/nfsync/internal/policytree"
)

// outcome is what a reader finds below the policy path p.
type outcome struct {
	Files    []string // names and contents
	Problems []policytree.Problem
	Unread   []string
}

// TestDiskAndCommit reads each tree in a commit and in its checkout, with the same outcome.
func TestDiskAndCommit(t *testing.T) {
	link := func(r *repo, target, name string) {
		r.write(name, "")
		if err := errors.Join(os.Remove(filepath.Join(r.dir, name)), os.Symlink(target, filepath.Join(r.dir, name))); err != nil {
			r.t.Fatal(err)
		}
	}
	submodule := func(r *repo, name string) {
		r.git("update-index", "--add", "--cacheinfo", "160000,"+strings.Repeat("1", 40)+","+name)
		r.git("config", "-f", ".gitmodules", "submodule."+name+".path", name)
		r.git("config", "-f", ".gitmodules", "submodule."+name+".url", "https://git.example.com/x.git")
	}
	long := strings.Repeat("a", 250) + ".yaml"
	for name, test := range map[string]struct {
		make     func(r *repo)
		files    int
		problems []string
		unread   int
	}{
		"hidden": {func(r *repo) {
			for _, n := range []string{".github/workflows/ci.yml", ".gitlab-ci.yml", ".pre-commit-config.yaml", "._a.yaml", "sub/.hidden/x.yaml", ".yaml"} {
				r.write("p/"+n, "jobs: {}")
			}
			link(r, "user@host.1234", "p/.#a.yaml")
			submodule(r, "p/.sub")
		}, 1, nil, 0},
		"capitals":         {func(r *repo) { r.write("p/B.YAML", policy); r.write("p/C.Yml", policy) }, 3, nil, 0},
		"links":            {func(r *repo) { link(r, "a.yaml", "p/l.yaml"); link(r, "/etc", "p/x/dir") }, 1, []string{"p/l.yaml", "p/x/dir"}, 0},
		"submodule":        {func(r *repo) { submodule(r, "p/x/sub") }, 1, []string{"p/x/sub"}, 0},
		"submodule beside": {func(r *repo) { submodule(r, "q") }, 1, nil, 0},
		"names": {func(r *repo) {
			r.write("p/\xe4.txt", "")
			r.write("p/\xe4/a.yaml", "")
			r.write("p/b\x1b.yaml", "")
			r.write("p/"+long, policy)
		}, 2, []string{"p/?.txt", "p/?", "p/b?.yaml"}, 0},
		"large": {func(r *repo) {
			r.write("p/l.yaml", strings.Repeat("#", 1<<20+1))
			r.write("p/l.txt", strings.Repeat("#", 2<<20))
		}, 1, []string{"p/l.yaml"}, 0},
		"deep": {func(r *repo) { r.write("p/"+strings.Repeat("d/", 65)+"x.yaml", "") }, 0, []string{"p/" + strings.Repeat("d/", 64) + "d"}, 0},
		"ignored": {func(r *repo) {
			r.write("p/.nfsyncignore", "# charts\n/charts/\n*.tpl.yaml\n!keep.tpl.yaml\nlink\nsub\n\xc3\xa4.yaml\n")
			r.write("p/charts/templates/x.yaml", "{{ x }}")
			r.write("p/x/charts/y.yaml", policy)
			r.write("p/a.tpl.yaml", "x")
			r.write("p/keep.tpl.yaml", policy)
			r.write("p/\u00e4.yaml", "x")
			link(r, "/etc", "p/link")
			submodule(r, "p/sub")
		}, 3, nil, 0},
		"ignore file of a directory below": {func(r *repo) {
			r.write("p/x/.nfsyncignore", "*")
			r.write("p/x/b.yaml", policy)
			r.write(".nfsyncignore", "*")
		}, 2, nil, 0},
		"ignore file link":           {func(r *repo) { link(r, "a.yaml", "p/.nfsyncignore") }, 0, []string{"p/.nfsyncignore"}, 0},
		"ignore file is a directory": {func(r *repo) { r.write("p/.nfsyncignore/x", "") }, 0, []string{"p/.nfsyncignore"}, 0},
		"ignore file too large":      {func(r *repo) { r.write("p/.nfsyncignore", strings.Repeat("#", 64<<10+1)) }, 0, []string{"p/.nfsyncignore"}, 0},
		"ignore file not UTF-8":      {func(r *repo) { r.write("p/.nfsyncignore", "\xe4") }, 0, []string{"p/.nfsyncignore"}, 0},
		"unread": {func(r *repo) {
			for _, n := range []string{"web.yaml.txt", "web.yaml~", "x/web.json", "web"} {
				r.write("p/"+n, "# web\napiVersion: nfsync.dev/v1alpha1\nkind: NodePolicy\n")
			}
			r.write("p/README.md", "# Policies\n\nSuch as:\n\napiVersion: nfsync.dev/v1alpha1\n")
			r.write("p/large.txt", "apiVersion: nfsync.dev/v1alpha1\n"+strings.Repeat("#", 64<<10))
		}, 1, nil, 4},
		"executable": {func(r *repo) { r.write("p/b.yaml", policy); _ = os.Chmod(filepath.Join(r.dir, "p/b.yaml"), 0o755) }, 2, nil, 0},
		"much": {func(r *repo) {
			for i := range 17 {
				r.write(fmt.Sprintf("p/%02d.yaml", i), strings.Repeat("#", 1<<20))
			}
		}, 16, []string{"p/16.yaml"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRepo(t)
			r.write("p/a.yaml", policy)
			test.make(r)
			r.git("add", "-A", "--", "p", ":/")
			for _, sub := range []string{"p/x/sub", "p/sub", "p/.sub", "q"} { // add -A forgets what is not there
				if b, _ := os.ReadFile(filepath.Join(r.dir, ".gitmodules")); strings.Contains(string(b), "path = "+sub+"\n") {
					r.git("update-index", "--add", "--cacheinfo", "160000,"+strings.Repeat("1", 40)+","+sub)
				}
			}
			r.git("commit", "-q", "-m", "x")
			committed, onDisk := readCommit(t, r), readCheckout(t, r)
			if diff := cmp.Diff(committed, onDisk); diff != "" {
				t.Errorf("the commit and its checkout differ:\n%s", diff)
			}
			var problems []string
			for _, p := range onDisk.Problems {
				problems = append(problems, p.Path)
			}
			if len(test.problems) > 0 && cmp.Diff(sorted(test.problems), sorted(problems)) != "" || len(test.problems) == 0 && len(problems) > 0 ||
				len(onDisk.Unread) != test.unread || len(test.problems) == 0 && len(onDisk.Files) != test.files {
				t.Errorf("%d files, %d unread, problems %q", len(onDisk.Files), len(onDisk.Unread), problems)
			}
		})
	}
}

func sorted(list []string) map[string]bool {
	set := map[string]bool{}
	for _, s := range list {
		set[s] = true
	}
	return set
}

// readCommit fetches the policies. A commit with problems delivers no files.
func readCommit(t *testing.T, r *repo) (o outcome) {
	t.Helper()
	cfg := config(t, r.dir)
	cfg.Path = "p"
	revision, err := Fetch(t.Context(), cfg, nil, "")
	if tree, ok := errors.AsType[*TreeError](err); ok && tree.Commit == r.head() {
		o.Problems = tree.Problems
		return o
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range revision.Files {
		o.Files = append(o.Files, f.Name+": "+string(f.Data))
	}
	o.Unread = revision.Unread
	return o
}

// readCheckout reads the policies from a new checkout.
func readCheckout(t *testing.T, r *repo) (o outcome) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "checkout")
	r.git("clone", "-q", ".", dir)
	found, err := policytree.ReadDir(filepath.Join(dir, "p"), func(name string, data []byte) error {
		o.Files = append(o.Files, path.Join("p", name)+": "+string(data))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	o.Problems = found.Problems
	for i := range o.Problems {
		o.Problems[i].Path = path.Join("p", o.Problems[i].Path)
	}
	for _, name := range found.Unread {
		o.Unread = append(o.Unread, path.Join("p", name))
	}
	if len(o.Problems) > 0 {
		o.Files, o.Unread = nil, nil
	}
	return o
}
