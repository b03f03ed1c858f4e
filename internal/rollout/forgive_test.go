package rollout

import (
	"testing"
	"time"

	"nfsync.dev/nfsync/internal/nf"
)

// resumed returns a fleet in whose canary step so many nodes have gone dark, which a person has accepted.
func resumed(t *testing.T, dark int) (f *testFleet, gone []*nf.HeardNode) {
	t.Helper()
	f = newFleet(plan(func(p *nf.RolloutPlan) { p.Canaries = 100 }), map[string]int{"": 10_000})
	f.decide()
	turns := f.turns()
	gone = turns[:dark]
	for _, n := range turns {
		f.report(n, nf.ProgressBegun)
	}
	for _, n := range turns[dark:] {
		f.report(n, nf.ProgressApplied)
	}
	f.hearBut(gone, 10*time.Minute)
	if f.decide(); f.doc.State != nf.RolloutHalted {
		t.Fatalf("%s: %s", f.doc.State, f.doc.Reason)
	}
	f.ask(t, nf.FleetAsk{Verb: nf.AskResume, By: "ann"})
	return f, gone
}

// hearBut lets time pass. All nodes are heard but some.
func (f *testFleet) hearBut(gone []*nf.HeardNode, d time.Duration) {
	heard := make([]time.Time, len(gone))
	for i, n := range gone {
		heard[i] = n.Heard
	}
	f.wait(d)
	for i, n := range gone {
		n.Heard = heard[i]
	}
}

// TestForgivenOnce: that a person has accepted that nodes were away does not excuse others in their place, once these have come back
// and done well.
func TestForgivenOnce(t *testing.T) {
	f, gone := resumed(t, 90)
	for _, n := range gone {
		f.report(n, nf.ProgressApplied)
	}
	for step := f.doc.Step; f.doc.Step == step; {
		f.wait(time.Minute).decide()
	}
	turns := f.turns()
	if len(turns) < 100 {
		for _, n := range turns {
			f.report(n, nf.ProgressApplied)
		}
		for step := f.doc.Step; f.doc.Step == step; {
			f.wait(time.Minute).decide()
		}
		turns = f.turns()
	}
	for _, n := range turns[:80] {
		f.report(n, nf.ProgressFailed)
	}
	if f.decide(); f.doc.State != nf.RolloutHalted {
		t.Errorf("80 of %d fail: %s, forgiven are %d", len(turns), f.doc.State, f.doc.Groups[0].Forgiven)
	}
}

// endTurns lets the nodes whose turn has come, and that have not begun, end well. The roll-out must not be halted.
func (f *testFleet) endTurns(t *testing.T) {
	t.Helper()
	if f.doc.State == nf.RolloutHalted {
		t.Fatalf("step %d: %s", f.doc.Step, f.doc.Reason)
	}
	for _, n := range f.turns() {
		if n.Progress == nil {
			f.report(n, nf.ProgressApplied)
		}
	}
}

// TestForgivenForGood: nodes that stay away do not halt the roll-out again, also if the coordinator has been away, and in no later step.
func TestForgivenForGood(t *testing.T) {
	f, gone := resumed(t, 5)
	since := f.now
	for f.doc.State != nf.RolloutDone {
		f.endTurns(t)
		f.hearBut(gone, time.Minute)
		if f.now.Sub(since) > 14*time.Minute {
			since = f.now // the connection was made again
		}
		f.doc, _ = Decide(f.doc, Heard{Nodes: f.nodes, Since: since}, f.now)
		f.doc, _ = Decide(f.doc, Heard{Nodes: f.nodes, Since: since}, f.now)
	}
}

// TestForgivenWhoHang: nodes that hang are accepted for good as well, although each step gives them the time to end anew.
func TestForgivenWhoHang(t *testing.T) {
	f := newFleet(plan(nil), map[string]int{"": 1000})
	f.decide()
	hang := f.turns()[:5]
	for _, n := range f.turns() {
		f.report(n, nf.ProgressApplied)
	}
	for _, n := range hang {
		f.report(n, nf.ProgressBegun)
	}
	f.wait(time.Hour).decide()
	if f.doc.State != nf.RolloutHalted {
		t.Fatalf("%s: %s", f.doc.State, f.doc.Reason)
	}
	f.ask(t, nf.FleetAsk{Verb: nf.AskResume, By: "ann"})
	for f.doc.State != nf.RolloutDone {
		f.endTurns(t)
		f.wait(time.Minute).decide()
	}
}

// TestPausedAndHalted: that nodes fail after a person has paused a roll-out does not end the pause: the next commit begins paused. What
// a person decides afterwards does.
func TestPausedAndHalted(t *testing.T) {
	for verb, want := range map[nf.AskVerb]nf.RolloutState{"": nf.RolloutPaused, nf.AskResume: nf.RolloutRolling, nf.AskAbort: nf.RolloutRolling} {
		f := inState(t, nf.RolloutPaused)
		for i := range 3 {
			f.report(&f.nodes[i], nf.ProgressFailed)
		}
		if f.decide(); f.doc.State != nf.RolloutHalted {
			t.Fatalf("%s: %s", f.doc.State, f.doc.Reason)
		}
		if verb != "" {
			f.ask(t, nf.FleetAsk{Verb: verb, By: "ann"})
		}
		next := Begin(f.doc, "r2", f.doc.Plan, "seed2", f.nodes, f.now)
		if next.State != want || (next.Reason == "") != (want == nf.RolloutRolling) || next.PausedBefore {
			t.Errorf("%s: the next one is %s: %s", verb, next.State, next.Reason)
		}
	}
}
