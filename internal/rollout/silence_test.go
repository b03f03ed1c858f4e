package rollout

import (
	"strings"
	"testing"
	"time"

	"nfsync.dev/nfsync/internal/nf"
)

// hear lets only the first nodes be heard.
func (f *testFleet) hear(first int) {
	for i := range first {
		f.nodes[i].Heard = f.now
	}
}

// TestSilentFleet: a fleet of which less than half is heard of makes no step, however long that is.
func TestSilentFleet(t *testing.T) {
	for _, heard := range []int{0, 1, 20, 199} {
		f := newFleet(plan(nil), map[string]int{"": 400})
		f.decide()
		f.all(nf.ProgressApplied)
		f.wait(time.Minute).decide()
		if f.doc.State != nf.RolloutSoaking {
			t.Fatal(f.doc.State)
		}
		// What has begun may be lost, but not the roll-out halted for that.
		f.doc.Plan.FailureCount = 20
		was := f.doc
		for range 10 {
			f.now = f.now.Add(time.Hour)
			f.hear(heard)
			f.decide()
		}
		if f.doc.Generation != was.Generation {
			t.Errorf("%d are heard: %s, step %d: %v", heard, f.doc.State, f.doc.Step, f.doc.History)
		}
		waits, next := Why(f.doc, f.nodes, f.now)
		if !strings.Contains(waits, "heard of lately, and it were 400 when the step began") || !strings.Contains(next, "retired") {
			t.Errorf("%d are heard: %q %q", heard, waits, next)
		}
		f.hear(200)
		if f.decide(); f.doc.Step <= was.Step {
			t.Errorf("half is heard: %s, step %d", f.doc.State, f.doc.Step)
		}
	}
}

// TestFirstToComeBack: canaries of the few nodes that come back first would be a large part of all.
func TestFirstToComeBack(t *testing.T) {
	f := newFleet(plan(nil), map[string]int{"": 400})
	f.now = f.now.Add(SilentAfter * 2)
	f.hear(3)
	if f.decide(); f.doc.Step >= 0 {
		t.Errorf("a step has begun of 3 nodes: %+v", f.doc.Groups)
	}
	f.hear(400)
	if f.decide(); f.doc.Step != 0 {
		t.Errorf("no step has begun, and all are heard of")
	}
}

// TestRetired: nodes that the store knows no more do not hold a roll-out.
func TestRetired(t *testing.T) {
	f := newFleet(plan(nil), map[string]int{"": 400})
	f.decide()
	f.all(nf.ProgressApplied)
	f.now = f.now.Add(time.Hour)
	f.nodes = f.nodes[:201]
	f.hear(150)
	f.doc.Plan.FailureCount = 20
	if f.decide(); f.doc.State != nf.RolloutSoaking {
		t.Errorf("%s: %s", f.doc.State, f.doc.Reason)
	}
}

// TestEachStepIsBegun: a later step of which no node begins is not passed.
func TestEachStepIsBegun(t *testing.T) {
	second := func() *testFleet {
		f := newFleet(plan(nil), map[string]int{"": 1000})
		for f.doc.Step < 2 {
			f.all(nf.ProgressApplied)
			f.wait(10 * time.Minute).decide()
		}
		return f
	}
	f := second()
	left := len(f.turns())
	f.wait(2 * time.Hour).decide()
	if f.doc.State != nf.RolloutHalted || !strings.Contains(f.doc.Reason, "has begun in the step by its deadline") {
		t.Errorf("%d wait: %s: %s", left, f.doc.State, f.doc.Reason)
	}

	// Those of the step go silent: others have their turn, and their own time.
	f = second()
	gone := f.turns()
	heard := gone[0].Heard
	f.wait(2 * time.Hour)
	for _, n := range gone {
		n.Heard = heard
	}
	f.decide()
	if f.doc.State != nf.RolloutRolling || len(f.turns()) < len(gone) || f.now.After(deadlineOf(f.doc)) {
		t.Errorf("%s: %s, %d have their turn", f.doc.State, f.doc.Reason, len(f.turns()))
	}
}

// TestSuspended: a node that a person has suspended does not keep others waiting. Another one has its turn.
func TestSuspended(t *testing.T) {
	f := newFleet(plan(nil), map[string]int{"": 400})
	f.decide()
	first := f.turns()[0]
	first.Conditions = map[nf.ConditionType]nf.ConditionStatus{nf.Suspended: nf.ConditionTrue}
	f.wait(widenAfter).decide()
	for _, n := range f.turns() {
		if n != first {
			f.report(n, nf.ProgressApplied)
		}
	}
	f.decide()
	if all, _ := Count(f.doc, f.nodes, f.now); f.doc.State != nf.RolloutSoaking || all.Applied != 20 || all.Waiting != 380 {
		t.Errorf("%s: %+v", f.doc.State, all)
	}
	if behind := LeftBehind(f.doc, f.nodes, f.now); len(behind) != 1 || behind[0].Node != first.Node {
		t.Error(behind)
	}
}

// TestDarkAfterwards: what a node has got may cut it off after it has said that it went well. It is lost, until the
// roll-out is done.
func TestDarkAfterwards(t *testing.T) {
	f := newFleet(plan(nil), map[string]int{"": 400})
	f.decide()
	f.all(nf.ProgressApplied)
	applied := f.now
	dark := func() {
		for i := range f.nodes {
			if f.nodes[i].Progress != nil && f.nodes[i].Progress.At.Equal(applied) {
				f.nodes[i].Heard = applied
			}
		}
	}
	f.wait(299 * time.Second)
	dark()
	if f.decide(); f.doc.State != nf.RolloutSoaking {
		t.Fatalf("%s: %s", f.doc.State, f.doc.Reason)
	}
	f.wait(2 * time.Second)
	dark()
	if f.decide(); f.doc.State != nf.RolloutHalted || !strings.Contains(f.doc.Reason, "silent since") {
		t.Errorf("%s: %s", f.doc.State, f.doc.Reason)
	}

	f = inState(t, nf.RolloutDone)
	f.now = f.now.Add(365 * 24 * time.Hour)
	if f.decide() {
		t.Errorf("switched off a year later: %s: %s", f.doc.State, f.doc.Reason)
	}
}

// TestNotHeardSince: that the store could not be reached makes no node lost.
func TestNotHeardSince(t *testing.T) {
	f := newFleet(plan(nil), map[string]int{"": 400})
	f.decide()
	f.all(nf.ProgressBegun)
	f.now = f.now.Add(20 * time.Minute)
	if next, _ := Decide(f.doc, Heard{Nodes: f.nodes, Since: f.now.Add(-299 * time.Second)}, f.now); next.State != nf.RolloutRolling {
		t.Errorf("%s: %s", next.State, next.Reason)
	}
	if next, _ := Decide(f.doc, Heard{Nodes: f.nodes, Since: f.now.Add(-301 * time.Second)}, f.now); next.State != nf.RolloutHalted {
		t.Errorf("%s: %s", next.State, next.Reason)
	}
}

// TestTimesCountWhileHeard: that the store could not be reached ends neither a step nor its soak.
func TestTimesCountWhileHeard(t *testing.T) {
	f := newFleet(plan(nil), map[string]int{"": 400})
	f.decide()
	f.wait(24 * time.Hour)
	if next, _ := Decide(f.doc, Heard{Nodes: f.nodes, Since: f.now.Add(-time.Minute)}, f.now); next.State != nf.RolloutRolling {
		t.Errorf("%s: %s", next.State, next.Reason)
	}

	f = inState(t, nf.RolloutSoaking)
	f.wait(24 * time.Hour)
	if _, changed := Decide(f.doc, Heard{Nodes: f.nodes, Since: f.now.Add(-599 * time.Second)}, f.now); changed {
		t.Error("the soak has ended, and nobody could be heard")
	}
	if next, _ := Decide(f.doc, Heard{Nodes: f.nodes, Since: f.now.Add(-600 * time.Second)}, f.now); next.Step <= f.doc.Step {
		t.Errorf("%s, step %d", next.State, next.Step)
	}
}

// TestDoneIsJudged: nodes that begin when the roll-out is done may fail as well. The revision that all others have is not
// withdrawn by the next one.
func TestDoneIsJudged(t *testing.T) {
	f := inState(t, nf.RolloutDone)
	for i := range 3 {
		f.report(&f.nodes[i], nf.ProgressFailed)
	}
	if f.decide(); f.doc.State != nf.RolloutHalted {
		t.Fatalf("%s: %s", f.doc.State, f.doc.Reason)
	}
	if next := Begin(f.doc, "r2", f.doc.Plan, "seed2", f.nodes, f.now); len(next.Withdrawn) > 0 {
		t.Errorf("withdrawn: %v", next.Withdrawn)
	}
	f.ask(t, nf.FleetAsk{Verb: nf.AskResume, By: "ann"})
	if f.doc.State != nf.RolloutDone {
		t.Errorf("resumed: %s", f.doc.State)
	}
	if f.decide() {
		t.Errorf("halted again: %s", f.doc.Reason)
	}
}

// TestMostAreRetired: nodes that are gone for good are not lost.
func TestMostAreRetired(t *testing.T) {
	f := newFleet(plan(nil), map[string]int{"": 400})
	f.decide()
	f.nodes = f.nodes[:100]
	if next, _ := Decide(f.doc, Heard{Nodes: f.nodes, Retired: 100}, f.now); next.State == nf.RolloutHalted {
		t.Error(next.Reason)
	}
	if next, _ := Decide(f.doc, Heard{Nodes: f.nodes, Retired: 99}, f.now); next.State != nf.RolloutHalted {
		t.Error(next.State)
	}
}

// TestStoreHasLost: that the store has lost nodes says nothing against the revision.
func TestStoreHasLost(t *testing.T) {
	f := newFleet(plan(nil), map[string]int{"": 400})
	f.decide()
	f.nodes = f.nodes[:100]
	f.decide()
	if f.doc.State != nf.RolloutHalted || !f.doc.Recovered {
		t.Fatalf("%s, %v", f.doc.State, f.doc.Recovered)
	}
	if next := Begin(f.doc, "r2", f.doc.Plan, "seed2", f.nodes, f.now); len(next.Withdrawn) > 0 {
		t.Errorf("withdrawn: %v", next.Withdrawn)
	}
}

// TestHangsOnce: a node that hangs holds up the step in which it has begun until its deadline, and each later one for the silence only.
// It counts as failed there as well.
func TestHangsOnce(t *testing.T) {
	f := newFleet(plan(func(p *nf.RolloutPlan) { p.FailureFraction = 0 }), map[string]int{"": 1000})
	f.decide()
	hang := f.turns()[:2]
	for f.doc.State != nf.RolloutDone {
		for _, n := range f.turns() {
			switch {
			case n == hang[0] || n == hang[1]:
				if n.Progress == nil {
					f.report(n, nf.ProgressBegun)
				}
			case n.Progress == nil && f.doc.Step == 5:
				f.report(n, nf.ProgressFailed) // one more than may
				f.wait(6 * time.Minute).decide()
				if f.doc.State != nf.RolloutHalted {
					t.Errorf("the third fails: %s", f.doc.State)
				}
				if took := f.now.Sub(t0); took > 2*time.Hour {
					t.Errorf("it took %s", took)
				}
				return
			case n.Progress == nil:
				f.report(n, nf.ProgressApplied)
			}
		}
		f.wait(time.Minute).decide()
	}
	t.Error("it is done")
}
