package spec

import (
	"bytes"
	"slices"
	"testing"
	"unicode/utf8"

	"nfsync.dev/nfsync/internal/nf"
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
		sameSnapshot(t, data)
		_, found := ParseSnapshot(File{Name: "s", Data: data})
		_, more := ParseSavedPlan(File{Name: "p", Data: data})
		for _, d := range append(found, more...) {
			inside(t, data, d.Line, d.Column, d.String())
		}
	})
}

// FuzzPolicyTest holds the parser of tests to the same, and the text of an edited test to be valid.
func FuzzPolicyTest(f *testing.F) {
	for _, name := range glob(f, "testdata/policytest/*/*.yaml") {
		f.Add(read(f, name))
	}
	five := nf.Number(5)
	add := []nf.TestEntry{{Target: "node", Key: nf.KeyMax, To: &five}}
	f.Fuzz(func(t *testing.T, data []byte) {
		parsed, found := ParseAll([]File{{Name: "x", Data: data}})
		for _, d := range found {
			inside(t, data, d.Line, d.Column, d.String())
		}
		for _, test := range parsed.Tests {
			inside(t, data, test.Source.Line, test.Source.Column, test.Source.Name)
			for _, list := range test.Expect {
				inside(t, data, list.Source.Line, list.Source.Column, string(list.List))
			}
			edit := ListEdit{List: nf.ExpectChanges, Add: add, Remove: map[int]bool{}}
			for _, list := range test.Expect {
				if list.List == nf.ExpectChanges && len(list.Entries) > 0 {
					edit.Remove[0] = true
				}
			}
			text, err := EditTests(File{Name: "x", Data: data}, []TestEdit{{Name: test.Source.Name, Lists: []ListEdit{edit}}})
			if _, wrong := ParseAll([]File{{Name: "x", Data: text}}); err == nil && len(wrong) > 0 {
				t.Errorf("%v\n%s", wrong, text)
			}
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

// FuzzRollout holds the parser to the same for plans of roll-outs, and a plan that it takes to be one that can be carried out.
func FuzzRollout(f *testing.F) {
	for _, name := range append(glob(f, "testdata/rollout/*/*.yaml"), "../../examples/repository/policies/rollout.yaml") {
		f.Add(read(f, name))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		parsed, found := ParseAll([]File{{Name: "x", Data: data}})
		for _, d := range found {
			inside(t, data, d.Line, d.Column, d.String())
		}
		plan, steps := parsed.Rollout, len(parsed.Rollout.StepNames())
		if len(found) > 0 {
			return
		}
		last := 0.0
		for _, f := range plan.Fractions {
			if f <= last {
				t.Errorf("the steps do not rise: %v", plan.Fractions)
			}
			last = f
		}
		if last != 1 || plan.Rate <= 0 || plan.Soak < 1 || plan.Deadline < 1 || plan.Silence < 1 || plan.Canaries < 0 || plan.Restarts < 0 ||
			plan.FailureFraction < 0 || plan.FailureFraction > 1 || plan.FailureCount < 0 || !slices.IsSorted(plan.PauseBefore) {
			t.Errorf("a plan that cannot be: %+v", plan)
		}
		for _, step := range plan.PauseBefore {
			if step < 0 || step >= steps {
				t.Errorf("there is no step %d", step)
			}
		}
		for _, g := range plan.Groups {
			if g.Name == "" || g.Name == nf.DefaultGroup || len(g.Match) == 0 {
				t.Errorf("a group that cannot be: %+v", g)
			}
		}
	})
}
