package policytest

import (
	"slices"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/spec"
)

// judge makes one test.
func judge(t spec.PolicyTest, n *node, failed string) nf.PolicyTestResult {
	r := nf.PolicyTestResult{Source: t.Source, Snapshot: t.SnapshotFile(), Error: failed, Differences: []nf.TestDifference{}}
	if n == nil {
		return r
	}
	r.Node = n.snapshot.Node.Name
	if err := t.Filter.Check(&n.snapshot); err != nil {
		r.Error = "spec.targets: " + err.Error()
		return r
	}
	if len(t.Expect) == 0 {
		r.Error = "it expects nothing: nfsync test --update writes what is there now"
		return r
	}
	for _, list := range inOrder(t.Expect) {
		r.Differences = append(r.Differences, n.differences(t, list)...)
	}
	r.Passed = len(r.Differences) == 0
	return r
}

// inOrder returns the lists of a test in the order in which they are shown.
func inOrder(lists []spec.Expectations) []spec.Expectations {
	order := nf.ExpectLists()
	sorted := slices.Clone(lists)
	slices.SortFunc(sorted, func(a, b spec.Expectations) int { return slices.Index(order, a.List) - slices.Index(order, b.List) })
	return sorted
}

// differences compares one list. Each expectation must hold for an entry at least, and each entry
// must be expected.
func (n *node) differences(t spec.PolicyTest, expect spec.Expectations) (list []nf.TestDifference) {
	got := n.selected(expect.List, t.Filter)
	unmet, unexpected := compare(expect.Entries, got)
	shown := map[*found]bool{}
	for _, i := range unmet {
		e := expectation(expect.Entries[i])
		d := nf.TestDifference{List: expect.List, Line: e.Place.Line, Column: e.Place.Column, Expected: &e.TestEntry}
		if f := e.nearest(unexpected.of(e.Filter.Targets), func(f *found) bool { return !shown[f] && e.isAbout(f) }); f != nil {
			d.Got, d.Policy, shown[f] = &f.entry, f.source, true
		} else {
			d.Hint = n.instead(t, expect.List, e)
		}
		list = append(list, d)
	}
	for _, f := range unexpected.all {
		if !shown[f] {
			list = append(list, nf.TestDifference{List: expect.List, Line: expect.Source.Line, Column: expect.Source.Column, Got: &f.entry, Policy: f.source})
		}
	}
	return list
}

// expectation is one that a list must meet.
type expectation spec.Expectation

// compare returns the indexes of the expectations that hold for none of the entries, and the
// entries for which none holds.
func compare(expect []spec.Expectation, got entries) (unmet []int, unexpected entries) {
	expected := map[*found]bool{}
	for i, e := range expect {
		met := false
		for _, f := range got.of(e.Filter.Targets) {
			if expectation(e).holds(f) {
				met, expected[f] = true, true
			}
		}
		if !met {
			unmet = append(unmet, i)
		}
	}
	for _, f := range got.all {
		if !expected[f] {
			unexpected = unexpected.with(f)
		}
	}
	return unmet, unexpected
}

// isAbout reports whether the expectation is about the target and the key of an entry, and about
// its code if it has no key.
func (e expectation) isAbout(f *found) bool {
	return e.Filter.Match(f.target, f.entry.Key) && (e.Key != "" || e.Code == f.entry.Code)
}

// holds reports whether an entry is as expected.
func (e expectation) holds(f *found) bool { return e.isAbout(f) && e.mismatches(f) == 0 }

// mismatches returns how many of the fields that are given have other values in an entry.
func (e expectation) mismatches(f *found) int {
	got, n := f.entry, 0
	for _, same := range []bool{
		isWord(e.Code, got.Code), isWord(e.Layer, got.Layer), isWord(e.State, got.State), isWord(e.Cause, got.Cause), isWord(e.Until, got.Until), isWord(e.Policy, got.Policy),
		e.OneWay == nil || *e.OneWay == *got.OneWay, e.Disruptive == nil || *e.Disruptive == *got.Disruptive,
		e.From == nil || sameValue(*e.From, *got.From, got.Key), e.To == nil || sameValue(*e.To, *got.To, got.Key),
		e.Wanted == nil || sameWish(*e.Wanted, *got.Wanted, got.Key),
	} {
		if !same {
			n++
		}
	}
	return n
}

// nearest returns the one of some entries for which the fewest fields differ; nil if there is none.
func (e expectation) nearest(list []*found, may func(*found) bool) (nearest *found) {
	fewest := 0
	for _, f := range list {
		if !may(f) {
			continue
		}
		if n := e.mismatches(f); nearest == nil || n < fewest {
			nearest, fewest = f, n
		}
	}
	return nearest
}

// isWord reports whether got is the word that is expected, or none is.
func isWord[W ~string](expected, got W) bool { return expected == "" || expected == got }

func sameWish(expected, got nf.Wish, key nf.Key) bool {
	if expected.IsRange() || got.IsRange() {
		return expected == got
	}
	return sameValue(expected.Value, got.Value, key)
}

// sameValue reports whether a value is as expected. Why it is unknown is not compared, nor are the
// parameters of a module of which only the state is expected.
func sameValue(expected, got nf.Value, key nf.Key) bool {
	expected = expected.As(key)
	state, parameters, isModule := expected.Module()
	gotState, _, gotModule := got.Module()
	switch {
	case expected.IsUnknown() && got.IsUnknown():
		return true
	case isModule && gotModule && len(parameters) == 0:
		return state == gotState
	}
	return expected == got
}
