package policytest

import (
	"context"
	"fmt"
	"slices"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/spec"
)

// Update makes the expectations of tests what is there now. It returns the files that change, of
// those that are given, and the results of the tests then. Tests that cannot be made stay as they
// are.
func Update(ctx context.Context, q Question, files []spec.File) (changed []spec.File, results nf.PolicyTestResults, err error) {
	edits := map[string][]spec.TestEdit{} // by file
	err = q.each(ctx, func(t spec.PolicyTest, n *node, _ string) {
		if n == nil || t.Filter.Check(&n.snapshot) != nil {
			return
		}
		if edit := n.edit(t); len(edit.Lists) > 0 {
			edits[t.Source.File] = append(edits[t.Source.File], edit)
		}
	})
	if err != nil {
		return nil, results, err
	}
	files = slices.Clone(files)
	for i, f := range files {
		if edits[f.Name] == nil {
			continue
		}
		if files[i].Data, err = spec.EditTests(f, edits[f.Name]); err != nil {
			return nil, results, err
		}
		changed = append(changed, files[i])
	}
	results, err = q.again(ctx, files)
	return changed, results, err
}

// again makes the tests with files that were edited. What the edit has not mended is an error.
func (q Question) again(ctx context.Context, files []spec.File) (results nf.PolicyTestResults, err error) {
	parsed, diagnostics := spec.ParseAll(files)
	if len(diagnostics) > 0 {
		return results, fmt.Errorf("cannot edit the tests: %s", diagnostics[0])
	}
	q.Policies = parsed.Policies
	q.Tests = slices.DeleteFunc(parsed.Tests, func(t spec.PolicyTest) bool {
		return !slices.ContainsFunc(q.Tests, func(o spec.PolicyTest) bool { return o.Source.Name == t.Source.Name })
	})
	results, err = Run(ctx, q)
	for _, t := range results.Tests {
		if len(t.Differences) > 0 {
			return results, fmt.Errorf("cannot edit the test %s of %s: write its expectations by hand", t.Name, t.File)
		}
	}
	return results, err
}

// edit returns what makes the expectations of a test hold. A test without any gets its changes and
// refusals.
func (n *node) edit(t spec.PolicyTest) spec.TestEdit {
	edit := spec.TestEdit{Name: t.Source.Name}
	lists := t.Expect
	if len(lists) == 0 {
		lists = []spec.Expectations{{List: nf.ExpectChanges}, {List: nf.ExpectRefusals}}
	}
	for _, list := range lists {
		got := n.selected(list.List, t.Filter)
		if e := editList(list, got); len(t.Expect) == 0 || len(e.Set)+len(e.Remove)+len(e.Add) > 0 {
			edit.Lists = append(edit.Lists, e)
		}
	}
	return edit
}

// editList returns what makes one list hold. An expectation that does not hold gets the values of
// the entry that it is about, in those fields that it gives.
func editList(list spec.Expectations, got entries) spec.ListEdit {
	edit := spec.ListEdit{List: list.List, Set: map[int]nf.TestEntry{}, Remove: map[int]bool{}}
	unmet, unexpected := compare(list.Entries, got)
	adopted := map[*found]bool{}
	for _, i := range unmet {
		e := expectation(list.Entries[i])
		f := e.nearest(unexpected.of(e.Filter.Targets), func(f *found) bool { return !adopted[f] && e.canAdopt(f) })
		if f == nil {
			edit.Remove[i] = true
			continue
		}
		edit.Set[i] = e.adopt(f)
		for _, o := range unexpected.of(e.Filter.Targets) {
			adopted[o] = adopted[o] || e.holds(o)
		}
	}
	for _, f := range unexpected.all {
		if !adopted[f] {
			edit.Add = append(edit.Add, brief(list.List, f.entry))
		}
	}
	return edit
}

// canAdopt reports whether the values of an entry can take the place of those of the expectation.
func (e expectation) canAdopt(f *found) bool {
	return e.isAbout(f) && (e.Policy == "" || f.entry.Policy != "")
}

// adopt makes the expectation hold for an entry, and returns the fields that it has changed for
// that.
func (e *expectation) adopt(f *found) nf.TestEntry {
	var set nf.TestEntry
	got, key := f.entry, f.entry.Key
	adoptWord(&e.Code, got.Code, &set.Code)
	adoptWord(&e.Layer, got.Layer, &set.Layer)
	adoptWord(&e.State, got.State, &set.State)
	adoptWord(&e.Cause, got.Cause, &set.Cause)
	adoptWord(&e.Until, got.Until, &set.Until)
	adoptWord(&e.Policy, got.Policy, &set.Policy)
	same := func(a, b nf.Value) bool { return sameValue(a, b, key) }
	equal := func(a, b bool) bool { return a == b }
	adoptValue(&e.From, got.From, &set.From, same)
	adoptValue(&e.To, got.To, &set.To, same)
	adoptValue(&e.Wanted, got.Wanted, &set.Wanted, func(a, b nf.Wish) bool { return sameWish(a, b, key) })
	adoptValue(&e.OneWay, got.OneWay, &set.OneWay, equal)
	adoptValue(&e.Disruptive, got.Disruptive, &set.Disruptive, equal)
	return set
}

func adoptWord[W ~string](expected *W, got W, set *W) {
	if *expected != "" && *expected != got {
		*expected, *set = got, got
	}
}

func adoptValue[T any](expected **T, got *T, set **T, same func(a, b T) bool) {
	if *expected != nil && !same(**expected, *got) {
		*expected, *set = got, got
	}
}

// brief returns an entry with the fields that a test gets for it.
func brief(list nf.ExpectList, e nf.TestEntry) nf.TestEntry {
	short := nf.TestEntry{Target: e.Target, Key: e.Key, Policy: e.Policy}
	switch list {
	case nf.ExpectWants:
		short.Wanted = e.Wanted
	case nf.ExpectChanges:
		short.Layer, short.From, short.To = e.Layer, e.From, e.To
	case nf.ExpectRefusals:
		short.Code, short.Layer = e.Code, e.Layer
	case nf.ExpectPending:
		short.To, short.Until = e.To, e.Until
	case nf.ExpectWarnings:
		short.Code = e.Code
	}
	return short
}
