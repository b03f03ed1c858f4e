package rollout

import (
	"slices"
	"strings"
	"testing"
	"time"

	"nfsync.dev/nfsync/internal/nf"
)

// TestSteps: a good revision goes through its steps, and each lets as many nodes of each group begin as the plan says.
func TestSteps(t *testing.T) {
	f := newFleet(plan(edgeAndGPU), map[string]int{"": 1000, "edge": 100, "gpu": 5})
	var steps []int
	for range 100 {
		f.decide()
		if f.doc.State == nf.RolloutDone {
			break
		}
		if n := f.all(nf.ProgressApplied); n > 0 {
			steps = append(steps, n)
		}
		f.wait(time.Minute)
	}
	// Canaries: 20, 20 and all 5. 5 % of 1000 are 50, of 100 fewer than there are. 20 %: 200, and 20 of edge.
	// 50 %: 500 and 50. The last step is everything that is left.
	want := []int{45, 30, 150, 330, 550}
	if len(steps) != len(want) {
		t.Fatalf("steps of %v nodes, want %v", steps, want)
	}
	for i := range want {
		if steps[i] != want[i] {
			t.Errorf("steps of %v nodes, want %v", steps, want)
		}
	}
	if f.doc.State != nf.RolloutDone || f.doc.Previous != "r0" {
		t.Errorf("%s, previous %q", f.doc.State, f.doc.Previous)
	}
	for _, r := range f.doc.History {
		t.Log(r.At.Format(time.TimeOnly), r.What, r.Counts)
	}
}

// TestNothingToDo: a revision that changes nothing for any node is done without waiting.
func TestNothingToDo(t *testing.T) {
	f := newFleet(plan(edgeAndGPU), map[string]int{"": 300, "edge": 30})
	f.decide()
	for i := range f.nodes {
		f.report(&f.nodes[i], nf.ProgressUnaffected)
	}
	f.wait(time.Second)
	if f.decide(); f.doc.State != nf.RolloutDone {
		t.Errorf("%s at step %d", f.doc.State, f.doc.Step)
	}
}

// TestUnaffectedMakeRoom: canaries that turn out to be unaffected are replaced, and a node that has begun is not.
func TestUnaffectedMakeRoom(t *testing.T) {
	f := newFleet(plan(nil), map[string]int{"": 400})
	f.decide()
	first := f.turns()
	if len(first) != 20 {
		t.Fatalf("%d canaries", len(first))
	}
	for _, n := range first[:15] {
		f.report(n, nf.ProgressUnaffected)
	}
	for _, n := range first[15:] {
		f.report(n, nf.ProgressApplied)
	}
	if f.wait(widenAfter - time.Second).decide() {
		t.Error("the step is widened again at once")
	}
	f.wait(time.Second).decide()
	if second := f.turns(); f.doc.State != nf.RolloutRolling || len(second) != 15 {
		t.Errorf("%s, %d others", f.doc.State, len(second))
	}
}

// TestHaltsOverAll: few failures in each group may be too many of all groups, also after those that a person has forgiven.
func TestHaltsOverAll(t *testing.T) {
	f := newFleet(plan(edgeAndGPU), map[string]int{"": 100, "edge": 100, "gpu": 100})
	f.decide()
	fail := func(role string) {
		i := slices.IndexFunc(f.turns(), func(n *nf.HeardNode) bool { return n.Labels["role"] == role })
		f.report(f.turns()[i], nf.ProgressFailed)
		f.decide()
	}
	fail("edge")
	fail("gpu")
	if f.doc.State != nf.RolloutRolling {
		t.Fatalf("two: %s: %s", f.doc.State, f.doc.Reason)
	}
	fail("edge")
	if f.doc.State != nf.RolloutHalted || !strings.HasPrefix(f.doc.Reason, "3 of 3 nodes that began failed: ") {
		t.Fatalf("three: %s: %s", f.doc.State, f.doc.Reason)
	}
	f.ask(t, nf.FleetAsk{Verb: nf.AskResume})
	fail("gpu")
	fail("edge")
	if f.doc.State != nf.RolloutRolling {
		t.Fatalf("two more: %s: %s", f.doc.State, f.doc.Reason)
	}
	fail("")
	if f.doc.State != nf.RolloutHalted {
		t.Fatalf("three more: %s: %s", f.doc.State, f.doc.Reason)
	}
}

// TestLostKeepTheirPlace: no other node begins in place of one that has gone dark, however long ago.
func TestLostKeepTheirPlace(t *testing.T) {
	f := newFleet(plan(func(p *nf.RolloutPlan) { p.FailureCount = 5 }), map[string]int{"": 400})
	f.decide()
	fraction := f.doc.Groups[0].Fraction
	turns := f.turns()
	for i, n := range turns {
		f.report(n, nf.ProgressBegun)
		if i >= 5 {
			f.report(n, nf.ProgressApplied)
		}
	}
	dark := f.now
	f.wait(6 * time.Minute)
	for _, n := range turns[:5] {
		n.Heard = dark
	}
	f.decide()
	if all, _ := Count(f.doc, f.nodes, f.now); all.Lost != 5 || all.Failed != 5 || all.Applied != 15 {
		t.Errorf("%+v", all)
	}
	if f.doc.State != nf.RolloutSoaking || f.doc.Groups[0].Fraction != fraction {
		t.Errorf("%s: %s; fraction %v after %v", f.doc.State, f.doc.Reason, f.doc.Groups[0].Fraction, fraction)
	}
}

// TestHalts: what halts a roll-out, and what does not.
func TestHalts(t *testing.T) {
	for name, test := range map[string]struct {
		plan  func(*nf.RolloutPlan)
		nodes int
		act   func(f *testFleet, turns []*nf.HeardNode)
		want  nf.RolloutState
		why   string
	}{
		"two failures": {nodes: 1000, want: nf.RolloutSoaking, act: func(f *testFleet, turns []*nf.HeardNode) {
			f.all(nf.ProgressApplied)
			f.report(turns[0], nf.ProgressFailed)
			f.report(turns[1], nf.ProgressStuck)
		}},
		"three failures": {nodes: 1000, want: nf.RolloutHalted, why: "3 of 3 nodes of group other", act: func(f *testFleet, turns []*nf.HeardNode) {
			for _, n := range turns[:3] {
				f.report(n, nf.ProgressFailed)
			}
		}},
		"not more than the fraction": {nodes: 1000, want: nf.RolloutSoaking,
			plan: func(p *nf.RolloutPlan) { p.FailureFraction = 0.15 },
			act: func(f *testFleet, turns []*nf.HeardNode) {
				f.all(nf.ProgressApplied)
				for _, n := range turns[:3] {
					f.report(n, nf.ProgressFailed)
				}
			}},
		"refusals do not count": {nodes: 1000, want: nf.RolloutSoaking, act: func(f *testFleet, turns []*nf.HeardNode) {
			f.all(nf.ProgressRefused)
		}},
		"refusals count if asked": {nodes: 1000, want: nf.RolloutHalted, why: "20 of 20 nodes of group other",
			plan: func(p *nf.RolloutPlan) { p.RefusalsFail = true },
			act:  func(f *testFleet, turns []*nf.HeardNode) { f.all(nf.ProgressRefused) }},
		"gone dark": {nodes: 1000, want: nf.RolloutHalted, why: "silent since", act: func(f *testFleet, turns []*nf.HeardNode) {
			f.all(nf.ProgressBegun)
			f.now = f.now.Add(301 * time.Second)
		}},
		"not dark yet": {nodes: 1000, want: nf.RolloutRolling, act: func(f *testFleet, turns []*nf.HeardNode) {
			f.all(nf.ProgressBegun)
			f.now = f.now.Add(300 * time.Second)
		}},
		"all of a small group": {nodes: 2, want: nf.RolloutHalted, why: "none of the step has succeeded", act: func(f *testFleet, turns []*nf.HeardNode) {
			f.all(nf.ProgressFailed)
		}},
		"one of a small group": {nodes: 2, want: nf.RolloutSoaking, act: func(f *testFleet, turns []*nf.HeardNode) {
			f.report(turns[0], nf.ProgressFailed)
			f.report(turns[1], nf.ProgressApplied)
		}},
		"success of an earlier roll-out": {nodes: 3, want: nf.RolloutRolling, act: func(f *testFleet, turns []*nf.HeardNode) {
			f.all(nf.ProgressApplied)
			for i := range f.nodes {
				f.nodes[i].Progress.Generation = f.doc.Began - 1
			}
		}},
		"success of another revision": {nodes: 3, want: nf.RolloutRolling, act: func(f *testFleet, turns []*nf.HeardNode) {
			f.all(nf.ProgressApplied)
			for i := range f.nodes {
				f.nodes[i].Progress.Revision = "r2"
			}
		}},
		"nobody begins": {nodes: 1000, want: nf.RolloutHalted, why: "no node of group other has begun in the step by its deadline, and 20 were to", act: func(f *testFleet, turns []*nf.HeardNode) {
			f.wait(1860 * time.Second)
		}},
		"nobody begins, and there are no others": {nodes: 5, want: nf.RolloutRolling, act: func(f *testFleet, turns []*nf.HeardNode) {
			f.wait(1860 * time.Second)
		}},
		"one is left behind": {nodes: 1000, want: nf.RolloutSoaking, act: func(f *testFleet, turns []*nf.HeardNode) {
			for _, n := range turns[1:] {
				f.report(n, nf.ProgressApplied)
			}
			f.wait(1860 * time.Second)
		}},
		"not ended by the deadline": {nodes: 1000, want: nf.RolloutHalted, why: "has not ended by the deadline", act: func(f *testFleet, turns []*nf.HeardNode) {
			f.all(nf.ProgressBegun)
			f.wait(1860 * time.Second)
		}},
		"the last ones are at work at the deadline": {nodes: 1000, want: nf.RolloutRolling, act: func(f *testFleet, turns []*nf.HeardNode) {
			f.wait(1800 * time.Second)
			f.all(nf.ProgressBegun)
			f.wait(60 * time.Second)
		}},
		"some have succeeded, others are at work at the deadline": {nodes: 1000, want: nf.RolloutSoaking, act: func(f *testFleet, turns []*nf.HeardNode) {
			f.report(turns[0], nf.ProgressApplied)
			f.wait(1800 * time.Second)
			f.all(nf.ProgressBegun)
			f.wait(60 * time.Second)
		}},
		"a clock is ahead": {nodes: 1000, want: nf.RolloutHalted, why: "has not ended by the deadline", act: func(f *testFleet, turns []*nf.HeardNode) {
			f.all(nf.ProgressBegun)
			for _, n := range turns {
				n.Progress.At = f.now.Add(time.Hour)
			}
			f.wait(2160 * time.Second)
		}},
		"one is silent": {nodes: 1000, want: nf.RolloutRolling, act: func(f *testFleet, turns []*nf.HeardNode) {
			for _, n := range turns[1:] {
				f.report(n, nf.ProgressApplied)
			}
			heard := turns[0].Heard
			f.wait(SilentAfter + time.Second)
			turns[0].Heard = heard // another one has its turn
		}},
		"the store is older": {nodes: 1000, want: nf.RolloutHalted, why: "node hn-3 has had generation 12", act: func(f *testFleet, turns []*nf.HeardNode) {
			f.nodes[3].Generation = 12
		}},
		"the store has lost nodes": {nodes: 1000, want: nf.RolloutHalted, why: "the store knows 499 nodes, and knew 1000", act: func(f *testFleet, turns []*nf.HeardNode) {
			f.nodes = f.nodes[:499]
		}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFleet(plan(test.plan), map[string]int{"": test.nodes})
			f.decide()
			test.act(f, f.turns())
			f.decide()
			if f.doc.State != test.want || !strings.Contains(f.doc.Reason, test.why) {
				t.Errorf("%s: %s; want %s: %s", f.doc.State, f.doc.Reason, test.want, test.why)
			}
			if f.decide() {
				t.Error("the same again is another decision")
			}
			waits, next := Why(f.doc, f.nodes, f.now)
			t.Log(waits, "|", next)
		})
	}
}

// TestNoCanaries: a step of which the plan lets no node begin is over. All nodes that are heard of may be of groups without canaries.
func TestNoCanaries(t *testing.T) {
	for _, inOrder := range []bool{false, true} {
		f := newFleet(plan(func(p *nf.RolloutPlan) {
			edgeAndGPU(p)
			p.InOrder, p.Groups[0].Canaries = inOrder, new(int)
		}), map[string]int{"edge": 100})
		f.decide()
		if f.doc.Step != 1 || f.all(nf.ProgressApplied) != 1 {
			t.Errorf("in order %v: %s, step %d: %v", inOrder, f.doc.State, f.doc.Step, f.doc.History)
		}
	}
}
