package source

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Both git and Fetch read a repository that nfsync has written.
func TestRepository(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "policies.git")
	r, err := CreateRepository(dir, "main")
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	// git sorts a.yaml before the directory a, and both before a0.
	files := map[string][]byte{"a/b/c.yaml": []byte("c"), "a/d.yaml": nil, "a.yaml": []byte("a"), "a0": []byte("0"), "z.yaml": []byte("z")}
	first, err := r.Commit(files, "one\n", "Ada", "ada@example.org", at)
	if err != nil {
		t.Fatal(err)
	}
	delete(files, "z.yaml")
	second, err := r.Commit(files, "two\n", "Ada", "ada@example.org", at.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"fsck", "--strict"}, ""},
		{[]string{"rev-parse", "HEAD", "main~1"}, second + "\n" + first},
		{[]string{"log", "--format=%s %an %ae %ct"}, "two Ada ada@example.org 1772370000\none Ada ada@example.org 1772366400"},
		{[]string{"ls-tree", "-r", "--name-only", "main"}, "a.yaml\na/b/c.yaml\na/d.yaml\na0"},
		{[]string{"show", "main:a/b/c.yaml"}, "c"},
	} {
		out, err := exec.Command("git", append([]string{"-C", dir, "-c", "safe.directory=*"}, test.args...)...).CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil || got != test.want {
			t.Errorf("git %s: %v\n%s\nwant:\n%s", strings.Join(test.args, " "), err, got, test.want)
		}
	}
	got, err := Fetch(t.Context(), Config{URLs: []string{dir}, Path: "a", Dir: t.TempDir()}, nil, "")
	if err != nil || got.Commit != second || got.Branch != "main" || len(got.Files) != 2 {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := CreateRepository(dir, "main"); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("a second repository in its place: %v", err)
	}
}
