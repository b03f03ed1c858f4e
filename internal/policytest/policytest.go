// Package policytest judges what policies bring for the nodes of snapshots by the expectations
// that stand beside them.
package policytest

import (
	"cmp"
	"context"
	"slices"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/diff"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/spec"
)

// Question is what is tested.
type Question struct {
	Path     string // the policy path, as it was given
	Policies spec.Policies
	Tests    []spec.PolicyTest
	// Read reads a snapshot, by the path that spec.PolicyTest.SnapshotFile returns.
	Read func(file string) (spec.File, error)
}

// Run makes the tests. Each snapshot is read once, and forgotten before the next one. The error is
// that of the context.
func Run(ctx context.Context, q Question) (nf.PolicyTestResults, error) {
	results := nf.PolicyTestResults{APIVersion: nf.APIVersion, Kind: nf.KindPolicyTestResults, Path: q.Path, Tests: []nf.PolicyTestResult{}, Updated: []string{}}
	err := q.each(ctx, func(t spec.PolicyTest, n *node, failed string) {
		results.Tests = append(results.Tests, judge(t, n, failed))
	})
	slices.SortFunc(results.Tests, func(a, b nf.PolicyTestResult) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	results.Summarize()
	return results, err
}

// each calls do for each test, with what the policies bring for the node of its snapshot, or with
// why that is not known.
func (q Question) each(ctx context.Context, do func(t spec.PolicyTest, n *node, failed string)) error {
	tests := map[string][]spec.PolicyTest{}
	var files []string
	for _, t := range q.Tests {
		file := t.SnapshotFile()
		if tests[file] == nil {
			files = append(files, file)
		}
		tests[file] = append(tests[file], t)
	}
	for _, file := range files {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, failed := q.node(ctx, file)
		for _, t := range tests[file] {
			do(t, n, failed)
		}
	}
	return ctx.Err()
}

// node is what the policies bring for the node of a snapshot.
type node struct {
	snapshot nf.Snapshot
	names    map[nf.Target]string // by the targets without their names, as a test names them
	lists    map[nf.ExpectList]entries
}

// node plans for the node of a snapshot, or returns why it cannot.
func (q Question) node(ctx context.Context, file string) (*node, string) {
	read, err := q.Read(file)
	if err != nil {
		return nil, "cannot read the snapshot: " + err.Error()
	}
	s, diagnostics := spec.ParseSnapshot(read)
	if len(diagnostics) > 0 {
		return nil, "the snapshot is not valid: " + diagnostics[0].String()
	}
	p, err := apply.Plan(ctx, apply.Question{Facts: apply.Recorded(s), Wants: q.Policies.Resolve})
	if err != nil {
		return nil, err.Error()
	}
	n := &node{snapshot: s, names: names(s), lists: map[nf.ExpectList]entries{}}
	n.addPlan(p)
	keys, _ := diff.Effective(q.Policies.Resolve(&s), &s)
	for _, k := range keys {
		n.add(nf.ExpectWants, k.Target, &k.Source, nf.TestEntry{Key: k.Key, Wanted: &k.Wanted, State: k.State})
	}
	return n, ""
}

func (n *node) add(list nf.ExpectList, t nf.Target, source *nf.Source, e nf.TestEntry) {
	e.Target = n.names[t.Nameless()]
	if source != nil {
		e.Policy = source.Name
	}
	n.lists[list] = n.lists[list].with(&found{t, e, source})
}

func (n *node) addPlan(p nf.Plan) {
	for _, c := range p.Changes {
		n.add(nf.ExpectChanges, c.Target, &c.Source, nf.TestEntry{Key: c.Key, Layer: c.Layer, From: &c.From, To: &c.To, Cause: c.Cause, OneWay: &c.OneWay, Disruptive: &c.Disruptive})
	}
	for _, r := range p.Refusals {
		n.add(nf.ExpectRefusals, r.Target, &r.Source, nf.TestEntry{Key: r.Key, Code: string(r.Code), Layer: r.Layer, From: &r.From, To: &r.To, Until: r.Until})
	}
	for _, d := range p.Pending {
		n.add(nf.ExpectPending, d.Target, &d.Source, nf.TestEntry{Key: d.Key, From: &d.From, To: &d.To, Until: d.Until})
	}
	for _, w := range p.Warnings {
		n.add(nf.ExpectWarnings, w.Target, w.Source, nf.TestEntry{Key: w.Key, Code: w.Code})
	}
}

// names returns how a test names the targets of a snapshot: by the name of a container, with its
// runtime or its id where others have that name too.
func names(s nf.Snapshot) map[nf.Target]string {
	count := map[string]int{}
	for _, c := range s.Containers {
		for _, kind := range []string{nf.TargetContainer, c.Runtime} {
			count[kind+"/"+c.ID]++
			if c.Name != "" && c.Name != c.ID {
				count[kind+"/"+c.Name]++
			}
		}
	}
	list := map[nf.Target]string{nf.Node: nf.TargetNode}
	for _, c := range s.Containers {
		kind, name := c.Runtime, c.ID
		for _, candidate := range [][2]string{{nf.TargetContainer, c.Name}, {c.Runtime, c.Name}, {nf.TargetContainer, c.ID}} {
			if candidate[1] != "" && count[candidate[0]+"/"+candidate[1]] == 1 {
				kind, name = candidate[0], candidate[1]
				break
			}
		}
		list[c.Target().Nameless()] = kind + "/" + nf.EscapePattern(name)
	}
	return list
}

// selected returns the entries of a list that a test is about. One without a key is among them
// unless the test selects keys.
func (n *node) selected(list nf.ExpectList, f nf.Filter) entries {
	var selected entries
	for _, e := range n.lists[list].of(f.Targets) {
		if f.Match(e.target, e.entry.Key) {
			selected = selected.with(e)
		}
	}
	return selected
}
