package spec

import (
	"bytes"
	"slices"
	"testing"
	"unicode/utf8"
)

// FuzzParse holds the parser to its promises for any text: it ends without a
// panic, gives policies or diagnostics and never both, and every place that it
// names is inside the file.
func FuzzParse(f *testing.F) {
	for _, name := range slices.Concat(glob(f, "testdata/*/*.yaml"), glob(f, "../../examples/policies/*.yaml")) {
		f.Add(read(f, name))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		policies, found := Parse([]File{{Name: "x.yaml", Data: data}})
		if len(policies) > 0 && len(found) > 0 {
			t.Error("policies beside diagnostics")
		}
		for _, d := range found {
			inside(t, data, d.Line, d.Column, d.String())
		}
		for _, p := range policies {
			inside(t, data, p.Source.Line, p.Source.Column, "policy "+p.Source.Name)
			for _, w := range p.Wishes {
				inside(t, data, w.Source.Line, w.Source.Column, string(w.Key))
			}
		}
	})
}

// FuzzDocument holds the same of documents that nfsync itself has written.
func FuzzDocument(f *testing.F) {
	f.Add(read(f, "testdata/snapshot.json"))
	f.Add(read(f, "testdata/snapshot.yaml"))
	f.Add([]byte(savedPlan))
	f.Fuzz(func(t *testing.T, data []byte) {
		_, found := ParseSnapshot(File{Name: "s", Data: data})
		_, more := ParseSavedPlan(File{Name: "p", Data: data})
		for _, d := range append(found, more...) {
			inside(t, data, d.Line, d.Column, d.String())
		}
	})
}

// inside fails if the place is not in the text: the column may be one behind
// the end of a line, where a value is missing.
func inside(t *testing.T, data []byte, line, column int, what string) {
	t.Helper()
	text := bytes.TrimSuffix(bytes.TrimPrefix(data, byteOrderMark), []byte("\n"))
	lines := bytes.Split(text, []byte("\n"))
	if line < 1 || line > len(lines) {
		t.Errorf("%s: line %d of %d", what, line, len(lines))
		return
	}
	if most := utf8.RuneCount(lines[line-1]) + 1; column < 1 || column > most {
		t.Errorf("%s: column %d of %d", what, column, most)
	}
}
