package spec

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRepository: a file is read wherever it is in the repository of the policy path, and nowhere
// else.
func TestRepository(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"repo/.git": "", "repo/p/a.yaml": "", "repo/p/s.yaml": "s", "repo/snapshots/s.yaml": "s", "outside/s.yaml": "s", "alone/p/s.yaml": "s"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"repo/snapshots/link.yaml": "s.yaml", "repo/links": "snapshots", "repo/snapshots/away.yaml": "../../outside/s.yaml", "link": "repo/p"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct{ at, path, name, want string }{
		{".", "repo/p", "repo/p/s.yaml", ""},
		{".", "repo/p/", "repo/snapshots/s.yaml", ""},
		{"repo/p", ".", "../snapshots/s.yaml", ""},
		{"repo/p", "..", "../snapshots/s.yaml", ""},
		{"repo", dir + "/repo/p", dir + "/repo/snapshots/s.yaml", ""},
		{".", "link", "snapshots/s.yaml", ""}, // as seen from the directory that is linked
		{".", "alone", "alone/p/s.yaml", ""},
		{".", "repo/p", "repo/snapshots/none.yaml", "open repo/snapshots/none.yaml: no such file or directory"},
		{".", "repo/p", "outside/s.yaml", "open outside/s.yaml: it is outside the repository " + dir + "/repo"},
		{"repo/p", ".", "../../outside/s.yaml", "open ../../outside/s.yaml: it is outside the repository " + dir + "/repo"},
		{".", "repo", "repo/../outside/s.yaml", "it is outside"},
		{".", "alone/p", "alone/s.yaml", "it is outside " + dir + "/alone/p, which is in no git repository"},
		{".", "repo/p", "repo/snapshots/link.yaml", "a symbolic link, which is not followed here"},
		{".", "repo/p", "repo/snapshots/away.yaml", "a symbolic link, which is not followed here"},
		{".", "repo/p", "repo/links/s.yaml", "a symbolic link, which is not followed here"},
		{".", "repo/p", "repo/snapshots", "open repo/snapshots: is a directory"},
	} {
		t.Chdir(filepath.Join(dir, test.at))
		r, err := OpenRepository(test.path)
		if err != nil {
			t.Fatal(err)
		}
		f, err := r.Read(test.name, 10)
		switch {
		case test.want == "" && (err != nil || f.Name != test.name || string(f.Data) != "s"):
			t.Errorf("%s of %s: %q, %v", test.name, test.path, f.Data, err)
		case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
			t.Errorf("%s of %s: %v, want %s", test.name, test.path, err, test.want)
		}
		r.Close()
	}
	if _, err := OpenRepository("nowhere"); err == nil {
		t.Error("a path that does not exist was opened")
	}
}
