package source

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

func TestPath(t *testing.T) {
	httpAndLocal(t, func(t *testing.T, r *repo, u string) {
		for _, name := range []string{"top.yaml", "policies/b.yml", "policies/a.yaml", "policies/deep/er/c.yaml", "policies/notes.md", "policies/d.yaml.bak", "policiesx/z.yaml"} {
			r.write(name, name)
		}
		// Outside the path anything is allowed.
		if err := os.Symlink("/etc/passwd", r.dir+"/link.yaml"); err != nil {
			t.Fatal(err)
		}
		r.write("large.yaml", strings.Repeat("x", 2<<20))
		r.commitAll("all")
		cfg := config(t, u)
		for _, p := range []string{"policies", "/policies/", "./policies", "policies/."} {
			cfg.Path = p
			wantFiles(t, mustFetch(t, cfg), "policies/a.yaml", "policies/a.yaml", "policies/b.yml", "policies/b.yml", "policies/deep/er/c.yaml", "policies/deep/er/c.yaml")
		}
		cfg.Path = "policies/deep/er"
		wantFiles(t, mustFetch(t, cfg), "policies/deep/er/c.yaml", "policies/deep/er/c.yaml")
		for p, why := range map[string]string{"none": "no such directory", "policies/none": "no such directory",
			"top.yaml": "it is a file, not a directory", "link.yaml": "it is a symbolic link, not a directory", "link.yaml/x": "it is a symbolic link, not a directory"} {
			cfg.Path = p
			asError[*TreeError](t, fails(t, cfg, nil, why))
		}
	})
}

// TestTree reads trees with entries that are not allowed below the policy path.
func TestTree(t *testing.T) {
	for name, c := range map[string]struct {
		make func(r *repo)
		path string
		why  string
	}{
		"link":                   {func(r *repo) { _ = os.Symlink("a.yaml", r.dir+"/p/link.yaml") }, "p/link.yaml", "a symbolic link"},
		"link that is no policy": {func(r *repo) { _ = os.Symlink("/", r.dir+"/p/link") }, "p/link", "a symbolic link"},
		"submodule": {func(r *repo) {
			r.git("update-index", "--add", "--cacheinfo", "160000,"+strings.Repeat("1", 40)+",p/sub")
		}, "p/sub", "a submodule"},
		"large file": {func(r *repo) { r.write("p/large.yaml", strings.Repeat("#\n", 1<<19)+"x") }, "p/large.yaml", "larger than 1 MiB"},
		"much": {func(r *repo) {
			for i := range 33 {
				r.write(fmt.Sprintf("p/%d.yaml", i), strings.Repeat("#\n", 1<<19))
			}
		}, "p/", "more than 16 MiB"},
		"deep":    {func(r *repo) { r.write("p/"+strings.Repeat("d/", 66)+"x.yaml", "") }, "p/d/d", "directories deep"},
		"control": {func(r *repo) { r.write("p/a\x1b[31m.yaml", "") }, "p/a", "control characters"},
		"latin":   {func(r *repo) { r.write("p/\xe4.yaml", "") }, "p/", "not UTF-8"},
		"many": {func(r *repo) {
			// A million files in three trees: each tree contains the next one a hundred times.
			blob := r.gitInput("", "hash-object", "-w", "--stdin")
			tree := r.hundred("100644 blob", blob)
			tree = r.hundred("040000 tree", tree)
			tree = r.hundred("040000 tree", tree)
			tree = r.gitInput("040000 tree "+tree+"\tp\n", "mktree")
			r.git("update-ref", "refs/heads/main", r.git("commit-tree", "-m", "many", tree))
		}, "p/", "more than 100000 files"},
	} {
		t.Run(name, func(t *testing.T) {
			httpAndLocal(t, func(t *testing.T, r *repo, u string) {
				r.commit("p/a.yaml", policy)
				c.make(r)
				switch name {
				case "submodule":
					r.git("commit", "-q", "-m", "x")
				case "many":
				default:
					r.commitAll("x")
				}
				cfg := config(t, u)
				cfg.Path = "p"
				e := asError[*TreeError](t, fails(t, cfg, nil, c.why))
				if got := e.Problems[0].Path; !strings.HasPrefix(got, c.path) {
					t.Errorf("the path is %q, want %q", got, c.path)
				}
				noSecret(t, e.Error(), "\x1b")
			})
		})
	}
}

// hundred makes a tree that contains the same object a hundred times.
func (r *repo) hundred(kind, object string) string {
	r.t.Helper()
	var in strings.Builder
	for i := range 100 {
		fmt.Fprintf(&in, "%s %s\t%02d.yaml\n", kind, object, i)
	}
	return r.gitInput(in.String(), "mktree")
}

func TestExactlyOneMiB(t *testing.T) {
	r := newRepo(t)
	r.commit("a.yaml", strings.Repeat("#\n", 1<<19))
	if got := mustFetch(t, config(t, serve(t, r))); len(got.Files) != 1 || len(got.Files[0].Data) != 1<<20 {
		t.Errorf("%d files", len(got.Files))
	}
}

func TestCleanPath(t *testing.T) {
	for given, want := range map[string]string{
		"": "", ".": "", "/": "", "./": "", "policies": "policies", "/policies/": "policies", "a//b/./c": "a/b/c", "a/../b": "b",
	} {
		if got, err := CleanPath(given); got != want || err != nil {
			t.Errorf("%q is %q, %v; want %q", given, got, err, want)
		}
	}
	for _, given := range []string{"..", "../x", "a/../../b", "/../b"} {
		if got, err := CleanPath(given); err == nil {
			t.Errorf("%q is %q", given, got)
		}
	}
}
