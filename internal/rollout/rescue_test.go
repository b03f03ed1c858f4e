package rollout

import (
	"testing"

	"nfsync.dev/nfsync/internal/nf"
)

// newRescue returns a fleet on which r1 is halted, with a roll-out of r2. Some nodes have r1 in force, the others r0.
func newRescue(t *testing.T, nodes, bad int) *testFleet {
	t.Helper()
	f := newFleet(plan(nil), map[string]int{"": nodes})
	for i := range bad {
		f.nodes[i].Revision = "r1"
	}
	f.ask(t, nf.FleetAsk{Verb: nf.AskHalt, By: "ann"})
	f.doc = Begin(f.doc, "r2", f.doc.Plan, "seed2", f.nodes, f.now)
	return f
}

// rescued returns the nodes on r1 that may take the revision before all others.
func (f *testFleet) rescued() []*nf.HeardNode {
	var list []*nf.HeardNode
	for i := range f.nodes {
		n := &f.nodes[i]
		if TurnOf(f.doc, nf.NodeIdentity{Name: n.Node}, n.Revision).Rescue {
			list = append(list, n)
		}
	}
	return list
}

// TestRescue: a few nodes on a withdrawn revision get the next one first. The others follow once it has done these good, and if
// that is not nearly everywhere at once.
func TestRescue(t *testing.T) {
	for _, test := range []struct {
		what                string
		nodes, bad          int
		results             nf.ProgressState // of those that go first
		first, then         int
		silent              bool // all on r1 are silent when the roll-out begins
		halted, refusalsBad bool
	}{
		{what: "a few", nodes: 400, bad: 20, results: nf.ProgressApplied, first: 20},
		{what: "many", nodes: 400, bad: 200, results: nf.ProgressApplied, first: 20, then: 180},
		{what: "most", nodes: 400, bad: 300, results: nf.ProgressApplied, first: 20, then: 0},
		{what: "all", nodes: 400, bad: 400, results: nf.ProgressApplied, first: 20, then: 0},
		{what: "at work", nodes: 400, bad: 200, results: nf.ProgressBegun, first: 20, then: 0},
		{what: "it fails", nodes: 400, bad: 200, results: nf.ProgressFailed, first: 20, then: 0, halted: true},
		{what: "refused", nodes: 400, bad: 200, results: nf.ProgressRefused, first: 20, then: 180},
		{what: "refusals fail", nodes: 400, bad: 200, results: nf.ProgressRefused, first: 20, then: 0, halted: true, refusalsBad: true},
		{what: "they come back later", nodes: 400, bad: 200, results: nf.ProgressApplied, first: 20, then: 180, silent: true},
		{what: "none", nodes: 400, bad: 0, results: nf.ProgressApplied},
	} {
		f := newRescue(t, test.nodes, test.bad)
		f.doc.Plan.RefusalsFail = test.refusalsBad
		if test.silent {
			for i := range test.bad {
				f.nodes[i].Heard = t0.Add(-SilentAfter * 2)
			}
			rescue(&f.doc, f.nodes, f.now)
			f.wait(0)
		}
		f.decide()
		first := f.rescued()
		if len(first) != test.first {
			t.Errorf("%s: %d go first, want %d", test.what, len(first), test.first)
		}
		for _, n := range first {
			f.report(n, test.results)
		}
		f.decide()
		left := 0
		for _, n := range f.rescued() {
			if progressOf(&f.doc, n) == "" {
				left++
			}
		}
		if left != test.then || (f.doc.State == nf.RolloutHalted) != test.halted {
			t.Errorf("%s: %s, then %d follow, want %d", test.what, f.doc.State, left, test.then)
		}
	}
}

// TestRescueOfTwo: one that succeeds does not let the others follow while another one is at work, or has failed.
func TestRescueOfTwo(t *testing.T) {
	for _, second := range []nf.ProgressState{nf.ProgressBegun, nf.ProgressFailed, nf.ProgressStuck} {
		f := newRescue(t, 400, 100)
		for i, n := range f.rescued() {
			if f.report(n, nf.ProgressApplied); i == 0 {
				f.report(n, second)
			}
		}
		if f.decide(); f.doc.Rescue >= 1 {
			t.Errorf("one is %s, and all others follow", second)
		}
	}
}

// TestWithdrawnWhenDone: what every node has is withdrawn. The next revision goes through its steps all the same.
func TestWithdrawnWhenDone(t *testing.T) {
	f := inState(t, nf.RolloutDone)
	f.ask(t, nf.FleetAsk{Verb: nf.AskWithdraw, Revision: f.doc.Revision, By: "ann"})
	f.doc = Begin(f.doc, "r2", f.doc.Plan, "seed2", f.nodes, f.now)
	f.decide()
	if turns := len(f.turns()); turns == 0 || turns > 40 {
		t.Errorf("the turn of %d of %d nodes has come", turns, len(f.nodes))
	}
}
