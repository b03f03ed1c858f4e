package spec

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"
)

const header = "apiVersion: nfsync.dev/v1alpha1\nkind: NodePolicy\nmetadata: {name: x}\n"

// bomb is a document of nested aliases, known as a billion laughs.
func bomb() string {
	var b strings.Builder
	b.WriteString("a0: &a0 [x, x, x, x, x, x, x, x, x]\n")
	for i := 1; i < 12; i++ {
		fmt.Fprintf(&b, "a%d: &a%d [%s*a%d]\n", i, i, strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 8), i-1)
	}
	return b.String()
}

func keys(n int) string {
	var b strings.Builder
	b.WriteString(header + "spec:\n")
	for i := range n {
		fmt.Fprintf(&b, " k%d:\n", i)
	}
	return b.String()
}

// hang is far from what any of these takes on any machine, and far from the
// minutes of a decoder that compares each key with all others.
const hang = 30 * time.Second

// TestHostile holds texts that are made to take time or memory to end soon, in
// a few errors of which the first says what is wrong.
func TestHostile(t *testing.T) {
	tests := []struct {
		name, text  string
		first       string
		diagnostics int
	}{
		{"10,000-deep mapping in flow style", header + "spec: " + strings.Repeat("{a: ", 10000) + "1" + strings.Repeat("}", 10000),
			`x:4:8: unknown key "a" in spec`, 2},
		{"200,000-deep list", header + "spec: " + strings.Repeat("[", 200000), "x:4:10007: " + messageNesting, 1},
		{"1,000-deep mapping in block style", header + "spec:\n" + deepBlock(1000), `x:5:2: unknown key "a" in spec`, 2},
		{"alias bomb", bomb(), `x:1:1: not a policy`, 1},
		{"alias bomb in a policy", header + "spec: {}\n" + bomb(), `x:5:1: unknown key "a0" in the document`, maxDiagnostics + 1},
		{"unknown keys", keys(100000), `x:5:2: unknown key "k0" in spec`, maxDiagnostics + 1},
		{"the same key again and again", header + "spec: {" + strings.Repeat("a,", 100000) + "}", `x:4:8: unknown key "a" in spec`, maxDiagnostics + 1},
		{"more keys than memory is for", header + "spec: {" + strings.Repeat("a,", 500000) + "}", `x:1:1: the file may hold more than 300000 values and keys`, 1},
		{"2 MiB", strings.Repeat("# a comment of sixteen bytes.. \n", 1<<16), "x:1:1: the file is larger than 1 MiB", 1},
		{"a merge of a list as key", "kind: NodePolicy\n[x]: 1\n<<: {a: 2}\n", `x:1:1: missing key "apiVersion" in the document`, 5},
		{"comments", strings.Repeat("#\n", 500000) + "a", `x:500001:1: the document must be a mapping, not the text "a"`, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			start := time.Now()
			_, found := Parse([]File{{Name: "x", Data: []byte(test.text)}})
			if took := time.Since(start); took > hang {
				t.Errorf("it took %s", took)
			}
			if len(found) != test.diagnostics {
				t.Errorf("%d diagnostics, want %d:\n%s", len(found), test.diagnostics, format(found[:min(len(found), 10)]))
			}
			if len(found) == 0 || !strings.HasPrefix(found[0].String(), test.first) {
				t.Errorf("the first is %v, want %s", found[:min(len(found), 1)], test.first)
			}
		})
	}
}

func deepBlock(depth int) string {
	var b strings.Builder
	for i := range depth {
		b.WriteString(strings.Repeat(" ", i+1) + "a:\n")
	}
	return b.String()
}

// TestManyErrors holds the last diagnostic to count the ones that are left out.
func TestManyErrors(t *testing.T) {
	_, found := Parse([]File{{Name: "x", Data: []byte(keys(5000))}})
	last := found[len(found)-1]
	if want := "x:55:2: and 9900 more errors from here on"; last.String() != want {
		t.Errorf("the last is %q, want %q", last, want)
	}
}

// TestReadDir meets a tree as people make them.
func TestReadDir(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "b.yaml", "b")
	put(t, dir, "a/z.yml", "z")
	put(t, dir, "a/notes.txt", "not a policy")
	put(t, dir, ".git/config.yaml", "git's own")
	put(t, dir, "large.yaml", strings.Repeat("x", maxPolicyFile+1))
	put(t, dir, "full.yaml", strings.Repeat("x", maxPolicyFile))
	for name, target := range map[string]string{"link.yaml": "b.yaml", "linkdir": "a", "dangling": "nowhere", "out.yml": "/etc/passwd"} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo.yaml"), 0o644); err != nil {
		t.Fatal(err)
	}
	r, err := ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range r.Files {
		names = append(names, strings.TrimPrefix(f.Name, dir))
	}
	if diff := cmp.Diff([]string{"/a/z.yml", "/b.yaml", "/full.yaml"}, names); diff != "" {
		t.Errorf("files:\n%s", diff)
	}
	var refused []string
	for _, d := range r.Diagnostics {
		refused = append(refused, strings.TrimPrefix(d.String(), dir))
	}
	link := ":1:1: a symbolic link is not allowed among policies"
	if diff := cmp.Diff([]string{"/dangling" + link, "/fifo.yaml:1:1: not a regular file", "/large.yaml:1:1: the file is larger than 1 MiB", "/link.yaml" + link, "/linkdir" + link, "/out.yml" + link}, refused); diff != "" {
		t.Errorf("diagnostics:\n%s", diff)
	}
}

func put(t *testing.T, dir, name, text string) {
	t.Helper()
	name = filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestReadDirSpecial(t *testing.T) {
	dir := t.TempDir()
	if r, err := ReadDir(dir); len(r.Files)+len(r.Diagnostics) != 0 || err != nil {
		t.Errorf("an empty directory gives %v, %v", r, err)
	}
	if _, err := ReadDir(filepath.Join(dir, "nowhere")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a path that is not there gives %v", err)
	}
	put(t, dir, "one", "text")
	r, err := ReadDir(filepath.Join(dir, "one"))
	if want := []File{{Name: filepath.Join(dir, "one"), Data: []byte("text")}}; cmp.Diff(want, r.Files) != "" || r.Diagnostics != nil || err != nil {
		t.Errorf("a single file gives %v, %v", r, err)
	}
	if r, err := ReadDir("/dev/null"); len(r.Diagnostics) != 1 || r.Diagnostics[0].Message != "not a regular file" || err != nil {
		t.Errorf("a device gives %v, %v", r, err)
	}
	t.Chdir(dir)
	r, err = ReadDir(".")
	put(t, dir, "x.yaml", "")
	if err != nil || len(r.Files) != 0 {
		t.Errorf("before: %v, %v", r, err)
	}
	if r, err = ReadDir("."); err != nil || len(r.Files) != 1 || r.Files[0].Name != "x.yaml" {
		t.Errorf("in the directory itself: %v, %v", r, err)
	}
}

// TestParseFiles holds what concerns several files: their order does not
// matter, a file given twice is one, a name can be taken in another file.
func TestParseFiles(t *testing.T) {
	a := File{Name: "a.yaml", Data: []byte(header + "spec: {}\n")}
	b := File{Name: "b.yaml", Data: []byte(header + "spec: {level: ful}\n")}
	_, found := Parse([]File{b, a, a})
	if diff := cmp.Diff([]string{
		`b.yaml:3:18: the name "x" is already defined by another NodePolicy at a.yaml:3:18`,
		`b.yaml:4:15: unknown level "ful": did you mean "full"?`,
	}, texts(found)); diff != "" {
		t.Error(diff)
	}
	if policies, found := Parse(nil); len(policies) != 0 || found != nil {
		t.Errorf("no files give %v, %v", policies, found)
	}
}

func texts(found []Diagnostic) []string {
	var list []string
	for _, d := range found {
		list = append(list, d.String())
	}
	return list
}

// TestSyntaxPlaces holds the places of syntax errors, which are in fields of
// yaml.v3 that are not exported, to be found.
func TestSyntaxPlaces(t *testing.T) {
	for text, want := range map[string]string{
		"a: b\nc: [1,\n  2\nd: e\n": "x:2:4: ",
		"a:\n  b: 'c\n":             "x:2:6: ",
		"a:\n  b: c: d\n":           "x:2:7: ",
		"a: 1\n\nb: %c\n":           "x:3:4: ",
		"ä: \"ö\" é\n":              "x:1:8: ",
		"a: *b\n":                   "x:1:4: ",
		"a: [\"b\" c]\n":            "x:1:9: ",
		"a: [":                      "x:1:4: ",
	} {
		_, found := Parse([]File{{Name: "x", Data: []byte(text)}})
		if len(found) != 1 || !strings.HasPrefix(found[0].String(), want) {
			t.Errorf("%q: got %v, want %s", text, found, want)
		}
	}
}

// The bound on the nodes of a text is never below what yaml.v3 makes of it.
func TestYAMLNodes(t *testing.T) {
	for _, text := range []string{"a", "{a,b,c}", "{a: 1, b: [2, {c}]}", "- a\n- b\n-\n", "? a\n: b\n", "a:\n  b: c\n\n  # d: e\n  f: [g,\n h]\n", "a: |\n  b: c\n", "--- a\n--- b\n", "{\"a\":1,\"b\":2}", "[[],{},[{}]]", "- - - a\n", header + "spec: {conntrack: {max: 5}}\n"} {
		var count func(n *yaml.Node) int
		count = func(n *yaml.Node) int {
			nodes := 1
			for _, c := range n.Content {
				nodes += count(c)
			}
			return nodes
		}
		nodes := 0
		for _, document := range decodeYAML([]byte(text), &diagnostics{}) {
			nodes += count(document)
		}
		if most := yamlNodes([]byte(text)); nodes == 0 || nodes > most {
			t.Errorf("%q has %d nodes, and the bound is %d", text, nodes, most)
		}
	}
}

// Of many files with errors the first hundred errors are listed, and the others counted.
func TestManyFiles(t *testing.T) {
	var files []File
	for i := range 3000 {
		files = append(files, File{Name: fmt.Sprintf("p%04d.yaml", i), Data: []byte("kind: x\nc: d\ne: f\n")})
	}
	_, found := Parse(files)
	last := found[len(found)-1]
	if len(found) != maxDiagnostics+1 || last.More+1+maxDiagnostics != 3000*6 || last.MoreFiles != 3000-17 || !strings.Contains(last.Message, "and 17900 more errors") {
		t.Errorf("%d diagnostics, the last %+v", len(found), last)
	}
}
