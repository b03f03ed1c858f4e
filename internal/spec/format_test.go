package spec

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"nfsync.dev/nfsync/internal/nf"
)

// formatted are files of every kind: each is valid, or at least laid out.
func formatted(t testing.TB) []string {
	t.Helper()
	return slices.Concat(glob(t, "testdata/ok/*.yaml"), glob(t, "testdata/format/*.yaml"), glob(t, "../../examples/*.yaml"), glob(t, "../../examples/*/*.yaml"))
}

// TestFormat holds the layout of files against those with the name .out.
func TestFormat(t *testing.T) {
	for _, name := range glob(t, "testdata/format/*.yaml") {
		got := layout(t, name, read(t, name))
		golden := strings.TrimSuffix(name, ".yaml") + ".out"
		if *update {
			if err := os.WriteFile(golden, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff(string(read(t, golden)), string(got)); diff != "" {
			t.Errorf("%s: -want +got\n%s", name, diff)
		}
	}
}

// TestFormatLeaves: what is laid out stays as it is, byte by byte. All examples are.
func TestFormatLeaves(t *testing.T) {
	for _, name := range slices.Concat(glob(t, "../../examples/*.yaml"), glob(t, "../../examples/policies/*.yaml"), glob(t, "../../examples/snapshots/*.yaml"),
		glob(t, "../../examples/repository/policies/*.yaml"), glob(t, "../../examples/repository/snapshots/*.yaml"),
		glob(t, "testdata/format/*.out")) {
		text := read(t, name)
		if diff := cmp.Diff(string(text), string(layout(t, name, text))); diff != "" {
			t.Errorf("%s: -want +got\n%s", name, diff)
		}
	}
}

var yamlBlock = regexp.MustCompile("(?s)```yaml\n(apiVersion.*?)```")

func TestFormatLeavesDocuments(t *testing.T) {
	for _, name := range append(glob(t, "../../docs/*.md"), "../../README.md") {
		for _, block := range yamlBlock.FindAllSubmatch(read(t, name), -1) {
			if diff := cmp.Diff(string(block[1]), string(layout(t, name, block[1]))); diff != "" {
				t.Errorf("%s: -want +got\n%s", name, diff)
			}
		}
	}
}

// TestFormatKeepsComments adds comments at every place where a line ends, and at every place in
// brackets, at several indentations.
func TestFormatKeepsComments(t *testing.T) {
	inBrackets := regexp.MustCompile(`([\[{,:]) *`)
	for _, name := range glob(t, "testdata/format/*.yaml") {
		text := string(read(t, name))
		lines := strings.Split(text, "\n")
		for i := range lines {
			for _, indent := range []int{0, 2, 3, 4, 8} {
				own := strings.Repeat(" ", indent) + "# own"
				layoutAny(t, name, strings.Join(slices.Insert(slices.Clone(lines), i, own), "\n"))
				layoutAny(t, name, strings.Join(slices.Insert(slices.Clone(lines), i, own, "", "# other", own+" 2", ""), "\n"))
			}
			with := slices.Clone(lines)
			with[i] += " # side"
			layoutAny(t, name, strings.Join(with, "\n"))
			for _, at := range inBrackets.FindAllStringIndex(lines[i], -1) {
				for _, comment := range []string{" # in\n            ", "\n            # own\n            "} {
					with[i] = lines[i][:at[1]] + comment + lines[i][at[1]:]
					layoutAny(t, name, strings.Join(with, "\n"))
				}
			}
		}
	}
}

// TestFormatRefuses: what cannot be laid out is reported, with its place.
func TestFormatRefuses(t *testing.T) {
	const head = "apiVersion: nfsync.dev/v1alpha1\nkind: NodePolicy\n"
	for _, test := range []struct{ text, want string }{
		{"spec: {level: full", "x.yaml:1:7: not YAML"},
		{head + "a: 1\na: 2\n", "x.yaml:4:1: duplicate key"},
		{head + "a: &x 1\n", "x.yaml:3:4: an anchor"},
		{head + "a: !x 1\n", "x.yaml:3:4: a tag"},
		{head + "a:\n", `x.yaml:3:3: "a" has no value`},
		{"%YAML 1.1\n---\n" + head, "x.yaml:1:1: a file with a YAML directive"},
		{"apiVersion: apps/v1\nkind: Deployment\n", "x.yaml:1:13: not a policy"},
		{"- a\n", "x.yaml:1:1: the document must be a mapping"},
		{"a: \xff\n", "x.yaml:1:4: the text is not UTF-8"},
	} {
		out, found := Format(File{Name: "x.yaml", Data: []byte(test.text)})
		if len(found) == 0 || !strings.HasPrefix(found[0].String(), test.want) || out != nil {
			t.Errorf("%q: %v and %q, want %s", test.text, found, out, test.want)
		}
	}
	// The line of a file that may hold a secret is not shown.
	_, found := Format(File{Name: "x.yaml", Data: []byte("kind: AgentConfig\npassword: [x\n")})
	if len(found) == 0 || found[0].Text != "" {
		t.Errorf("%+v", found)
	}
}

// TestSameContent: a layout with another meaning would be noticed.
func TestSameContent(t *testing.T) {
	const text = "a: {x: 1, y: [2, 3]} # one\n# two\n---\nb: 1\n"
	for _, test := range []struct {
		other string
		same  bool
	}{
		{"# two\na:\n  y: [2, 3]\n  x: 1 # one\n---\nb: 1\n", true},
		{"# two\na: {x: 1, y: [2, 3]}\n---\nb: 1\n", false},
		{"# two # one\na: {x: 1, y: [2, 3]}\n---\nb: 1\n", false},
		{"a: {x: 1, y: [3, 2]} # one\n# two\n---\nb: 1\n", false},
		{"a: {x: 1, y: [2, \"3\"]} # one\n# two\n---\nb: 1\n", false},
		{"a: {x: 1, y: [2, 3]} # one\n# two\n", false},
		{"a: {x: 1, y: [2, 3]} # one\n# two\n---\nb: 1: 2\n", false},
	} {
		if same := sameContent([]byte(text), []byte(test.other)); same != test.same {
			t.Errorf("%q: %v", test.other, same)
		}
	}
}

// FuzzFormat holds the layout to its promises for any text: it says what the text says, with the
// same comments, and laid out again it stays as it is.
func FuzzFormat(f *testing.F) {
	for _, name := range slices.Concat(formatted(f), glob(f, "testdata/err/*.yaml"), glob(f, "testdata/agentconfig/*/*.yaml")) {
		f.Add(read(f, name))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		layoutAny(t, "x.yaml", string(data))
	})
}

// layoutAny lays out a text, if it can be, and checks what it promises.
func layoutAny(t *testing.T, name, text string) {
	t.Helper()
	out, found := Format(File{Name: name, Data: []byte(text)})
	if slices.ContainsFunc(found, func(d Diagnostic) bool { return strings.Contains(d.Message, "without a change of what it says") }) {
		t.Errorf("%s: the layout has another meaning:\n%s", name, text)
	}
	if len(found) == 0 {
		checkLayout(t, name, text, out)
	}
}

// layout lays out a text, which must be possible.
func layout(t *testing.T, name string, text []byte) []byte {
	t.Helper()
	out, found := Format(File{Name: name, Data: text})
	if len(found) > 0 {
		t.Fatalf("%s: %v", name, found)
	}
	checkLayout(t, name, string(text), out)
	return out
}

func checkLayout(t *testing.T, name, text string, out []byte) {
	t.Helper()
	again, found := Format(File{Name: name, Data: out})
	if len(found) > 0 || !bytes.Equal(out, again) {
		t.Errorf("%s: laid out again it is another text: %v\n%s", name, found, cmp.Diff(string(out), string(again)))
	}
	if len(out) > 0 && (out[len(out)-1] != '\n' || bytes.Contains(out, []byte("\n\n\n"))) || bytes.Contains(out, []byte(" \n")) {
		t.Errorf("%s: not tidy:\n%s", name, out)
	}
	before, errors := Parse([]File{{Name: "x.yaml", Data: []byte(text)}})
	after, more := Parse([]File{{Name: "x.yaml", Data: out}})
	if len(errors) != len(more) {
		t.Errorf("%s: %v, laid out %v", name, errors, more)
	}
	if diff := cmp.Diff(wishesOf(before), wishesOf(after)); diff != "" {
		t.Errorf("%s: the policies are others:\n%s", name, diff)
	}
}

// wishesOf returns policies without their places, as texts.
func wishesOf(policies Policies) []string {
	var list []string
	for _, p := range policies {
		wishes := map[nf.Key]nf.Wish{}
		for _, w := range p.Wishes {
			wishes[w.Key] = w.Wish
		}
		list = append(list, fmt.Sprintf("%s %s %d %v %v %s %v", p.Kind, p.Source.Name, p.Priority, p.Nodes, p.Containers, p.Restart, wishes))
	}
	return list
}

// The file names of the layouts are those of their texts.
func TestFormatGoldens(t *testing.T) {
	for _, golden := range glob(t, "testdata/format/*.out") {
		if _, err := os.Stat(strings.TrimSuffix(golden, ".out") + ".yaml"); err != nil {
			t.Errorf("%s has no text", filepath.Base(golden))
		}
	}
}
