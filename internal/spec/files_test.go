package spec

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unsafe"
)

var update = flag.Bool("update", false, "write the files that the tests compare with")

// TestErrors holds every invalid file of testdata to its exact messages, hints
// and places.
func TestErrors(t *testing.T) {
	files := glob(t, "testdata/err/*.yaml")
	if len(files) < 70 {
		t.Fatalf("only %d invalid files", len(files))
	}
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) {
			policies, found := Parse([]File{{Name: filepath.Base(name), Data: read(t, name)}})
			if len(found) == 0 {
				t.Fatal("it was taken")
			}
			if len(policies) != 0 {
				t.Error("policies beside errors")
			}
			golden(t, strings.TrimSuffix(name, ".yaml")+".out", format(found))
		})
	}
}

// TestValid holds every valid file to give no diagnostic.
func TestValid(t *testing.T) {
	files := append(glob(t, "testdata/ok/*.yaml"), glob(t, "../../examples/policies/*.yaml")...)
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) {
			if _, found := Parse([]File{{Name: filepath.Base(name), Data: read(t, name)}}); len(found) > 0 {
				t.Errorf("refused:\n%s", format(found))
			}
		})
	}
}

// TestDiagnosticText: an error carries the line that it is in, without the byte order mark
// and the end of the line. A file that is one line is not copied for each error.
func TestDiagnosticText(t *testing.T) {
	const bad = "spec: {levle: full}"
	for _, test := range []struct{ name, text, want string }{
		{"a line", header + bad + "\n", bad},
		{"no end of line", header + bad, bad},
		{"CRLF", strings.ReplaceAll(header+bad+"\n", "\n", "\r\n"), bad},
		{"byte order mark", "\uFEFF" + bad + "\n" + header, bad},
		{"tab and wide characters", header + "spec: {\t日本: 1}\n", "spec: {\t日本: 1}"},
		{"not UTF-8", header + "spec: {}\xff\n", "spec: {}\xff"},
		{"syntax", header + "spec: {\n", "spec: {"},
		{"an empty line", header + "spec:\n  level: |\n\n", "  level: |"},
	} {
		_, found := Parse([]File{{Name: "a.yaml", Data: []byte(header + "spec: {}\n")}, {Name: "b.yaml", Data: []byte(test.text)}})
		found = slices.DeleteFunc(found, func(d Diagnostic) bool { return d.Rule == RuleDuplicateName })
		if len(found) != 1 || found[0].Text != test.want {
			t.Errorf("%s: got %+v, want %q", test.name, found, test.want)
		}
	}
	_, found := Parse([]File{{Name: "a.yaml", Data: []byte(header + "spec: {a: 1, b: 2}\n")}})
	if len(found) != 2 || unsafe.StringData(found[0].Text) != unsafe.StringData(found[1].Text) {
		t.Errorf("two errors of a line do not share it: %v", found)
	}
}

func format(found []Diagnostic) string {
	var b strings.Builder
	for _, d := range found {
		b.WriteString(d.String() + "\n\trule: " + string(d.Rule) + "\n")
		if d.Hint != "" {
			b.WriteString("\thint: " + d.Hint + "\n")
		}
	}
	return b.String()
}

func glob(t testing.TB, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no files %s: %v", pattern, err)
	}
	return files
}

func read(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want := string(read(t, name)); got != want {
		t.Errorf("got:\n%swant, as in %s:\n%s", got, name, want)
	}
}
