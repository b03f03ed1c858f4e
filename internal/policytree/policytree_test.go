package policytree

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A file that becomes a pipe after its directory was listed does not hang the reader.
func TestSwappedForAPipe(t *testing.T) {
	dir := t.TempDir()
	must(t, syscall.Mkfifo(filepath.Join(dir, "a.yaml"), 0o644))
	root, err := os.OpenRoot(dir)
	must(t, err)
	defer root.Close()
	if _, err := (&disk{root: root}).Read(Entry{Path: "a.yaml"}, 1); err == nil || !strings.Contains(err.Error(), "not a regular file but a pipe") {
		t.Errorf("the error is %v", err)
	}
}

// patternPaths are the paths that the patterns of TestPatterns are tried on.
var patternPaths = []string{"a", "b.yaml", "c d", "foo", "foo/bar", "foo/bar/baz.yaml", "x/foo", "x/foo/y.yaml", "x/y/z/foo", "foo/x/y/bar", "foo/bar/foo/bar",
	"!a", "#a", "a ", "a]", "a-b", "[a]", "a*", `a\b`, "foobar", "foo.yaml", "templates/web.yaml", "deep/templates/web.yaml", "A.yaml", "1.yaml", "keep/x.yaml"}

// TestPatterns holds the patterns to git's verdict.
func TestPatterns(t *testing.T) {
	repo := t.TempDir()
	git := func(stdin string, args ...string) string {
		cmd := exec.Command("git", append([]string{"-C", repo, "-c", "core.excludesFile=/dev/null"}, args...)...)
		cmd.Stdin = strings.NewReader(stdin)
		var errs bytes.Buffer
		cmd.Stderr = &errs
		out, err := cmd.Output()
		if err != nil && cmd.ProcessState.ExitCode() != 1 { // 1: nothing is ignored
			t.Fatalf("git %v: %v: %s", args, err, errs.String())
		}
		return string(out)
	}
	git("", "init", "-q")
	// Only files are asked for: what is in a directory that is ignored is too.
	for _, p := range patternPaths {
		must(t, os.MkdirAll(filepath.Join(repo, filepath.Dir(p)), 0o755))
	}
	var files []string
	for _, p := range patternPaths {
		if info, err := os.Stat(filepath.Join(repo, p)); err == nil && info.IsDir() {
			continue
		}
		must(t, os.WriteFile(filepath.Join(repo, p), nil, 0o644))
		files = append(files, p)
	}
	slices.Sort(files)
	for _, text := range []string{
		"", "a", "*", "*\n!keep", "*\n!keep\n!keep/*", "*\n!*/\n!*.yaml", "foo", "foo/", "/foo", "/foo/", "foo/bar", "/foo/bar", "foo/*", "foo/**", "**/foo", "**/foo/bar",
		"foo/**/bar", "foo/**/baz.yaml", "**", "/**", "**/", "*/", "/", "//", "!", "!a", "\\!a", "#a", "\\#a", "a ", "a\\ ", "a\\  ", "a \\", "c d", "  a",
		"[ab]", "[!a]", "[^a]", "[!b-z]", "[a-c].yaml", "[[:upper:]].yaml", "[[:digit:]].yaml", "[]a]", "a[]]", "a[-x]b", "[", "[a", "a[/]b", "\\[a\\]", "[[]a]", "a\\*", "a\\\\b", "a\\",
		"*.yaml", "?.yaml", "foo?bar", "fo*r", "f**r", "x/**/foo", "x/*/foo", "*/foo", "foo*", "f*/b*", "templates", "templates/", "/templates", "deep/*/web.yaml",
		"*.yaml\n!foo.yaml", "foo/\n!foo/bar", "foo/*\n!foo/bar", "foo/*\n!foo/bar\nfoo/bar/*", "# a\n\na\r\nb.yaml\r\n", "\uFEFFa", "a\t", "**foo", "foo**", "x/**", "!x\nx",
		"foo/***/bar", "a**/b", "**/**/foo", "foo/**/", "/*\n!/foo\n!/x", "[a-", "[\\]]", "a[\\]]", "a[^]]", "?", "??", "x/foo/y.yaml/",
	} {
		must(t, os.WriteFile(filepath.Join(repo, ".gitignore"), []byte(text), 0o644))
		out := git(strings.Join(files, "\x00"), "check-ignore", "--no-index", "-z", "--stdin")
		want := strings.FieldsFunc(out, func(r rune) bool { return r == 0 })
		slices.Sort(want)
		list := parsePatterns(strings.TrimPrefix(text, "\uFEFF"))
		var got []string
		for _, f := range files {
			parts := strings.Split(f, "/")
			for i := range parts {
				if list.match(strings.Join(parts[:i+1], "/"), i+1 < len(parts)) {
					got = append(got, f)
					break
				}
			}
		}
		if diff := cmp.Diff(want, got); diff != "" && len(want)+len(got) > 0 {
			t.Errorf("%q: git and nfsync differ:\n%s", text, diff)
		}
	}
}

func TestLooksLikePolicy(t *testing.T) {
	const body = "apiVersion: nfsync.dev/v1alpha1\nkind: NodePolicy\nmetadata: {name: x}\n"
	for text, want := range map[string]bool{
		body: true, "# a comment\n---\n" + body: true, "\uFEFF" + body: true, "kind: NodePolicy\r\napiVersion: 'nfsync.dev/v1alpha1'\r\n": true,
		`{"apiVersion":"nfsync.dev/v1alpha1","kind":"NodePolicy"}`: true, "{\n  \"kind\": \"NodePolicy\",\n  \"apiVersion\" : \"nfsync.dev/v1\"}": true,
		"# Policies\n\n```yaml\n" + body + "```\n": false, "text\n" + body: false, "": false, "#": false, "apiVersion: v1\nkind: X\n": false,
		"{{ if x }}\n" + body: false, "apiVersion: nfsync.dev/v1alpha1\nkind: AgentConfig\n": false, `{"apiVersion":"nfsync.dev/v1alpha1","kind":"Plan"}`: false,
		"metadata:\n  note: \"apiVersion nfsync.dev\"\n": false,
	} {
		if looksLikePolicy([]byte(text)) != want {
			t.Errorf("%q: want %v", text, want)
		}
	}
}

// memory is a Tree in memory: files by their paths, which may be of any form.
type memory map[string]string

func (m memory) Entries(dir Entry) (list []Entry, err error) {
	seen := map[string]bool{}
	for path := range m {
		rest := path
		if dir.Path != "" {
			var below bool
			if rest, below = strings.CutPrefix(path, dir.Path+"/"); !below {
				continue
			}
		}
		name, _, isDir := strings.Cut(rest, "/")
		if seen[name] {
			continue
		}
		seen[name] = true
		kind := File
		if isDir {
			kind = Dir
		}
		list = append(list, dir.Below(name, kind))
	}
	return list, nil
}

func (m memory) Read(file Entry, most int64) ([]byte, error) {
	if int64(len(m[file.Path])) > most {
		return nil, ErrTooLarge
	}
	return []byte(m[file.Path]), nil
}

// TestBounds holds trees that are too large to one clear error each.
func TestBounds(t *testing.T) {
	many := memory{}
	for i := range MaxEntries + 1 {
		many[fmt.Sprintf("%06d", i)] = ""
	}
	bad := memory{}
	for i := range 2 * maxProblems {
		bad[fmt.Sprintf("%03d\x1b.yaml", i)] = ""
	}
	for name, test := range map[string]struct {
		tree memory
		want string // the last problem
	}{
		"many":          {many, ".: the policy path holds more than 100000 files and directories"},
		"deep":          {memory{strings.Repeat("d/", 65) + "x.yaml": ""}, strings.Repeat("d/", 64) + "d: more than 64 directories deep"},
		"many problems": {bad, "199?.yaml: more than 200 such errors: nothing more was read"},
		"a long name":   {memory{strings.Repeat("a", 256): ""}, strings.Repeat("a", 256) + ": its name is longer than 255 bytes"},
		"a large file":  {memory{"a.yaml": strings.Repeat("a", MaxFile+1)}, "a.yaml: the file is larger than 1 MiB"},
		"ignore file":   {memory{IgnoreFile: strings.Repeat("#", maxIgnoreFile+1), "\x01": ""}, ".nfsyncignore: the file is larger than 64 KiB"},
		"not UTF-8":     {memory{IgnoreFile: "\xe4", "\x01": ""}, ".nfsyncignore: the text is not UTF-8"},
		"a directory":   {memory{IgnoreFile + "/a": ""}, ".nfsyncignore: not a regular file"},
	} {
		found, err := Read(test.tree, func(string, []byte) error { return nil })
		must(t, err)
		if len(found.Problems) == 0 {
			t.Errorf("%s: no problem", name)
			continue
		}
		if p := found.Problems[len(found.Problems)-1]; p.Path+": "+p.Message != test.want {
			t.Errorf("%s: the last problem is %s: %s", name, p.Path, p.Message)
		}
		if len(found.Problems) > maxProblems+1 || name != "many problems" && len(found.Problems) > 1 {
			t.Errorf("%s: %d problems", name, len(found.Problems))
		}
	}
	fits := memory{strings.Repeat("d/", 64) + "x.yaml": "", "a.yaml": strings.Repeat("a", MaxFile), strings.Repeat("b", 250) + ".yaml": "",
		IgnoreFile: strings.Repeat("#", maxIgnoreFile)}
	var names []string
	found, err := Read(fits, func(name string, _ []byte) error { names = append(names, name); return nil })
	if err != nil || len(found.Problems) > 0 || len(names) != 3 {
		t.Errorf("a tree that fits: %v, %v, %d files", found.Problems, err, len(names))
	}
}
