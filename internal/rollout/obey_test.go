package rollout

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"nfsync.dev/nfsync/internal/nf"
)

// inState returns a fleet whose roll-out is in a state.
func inState(t *testing.T, state nf.RolloutState) *testFleet {
	f := newFleet(plan(nil), map[string]int{"": 100})
	f.decide()
	switch state {
	case nf.RolloutPaused:
		f.ask(t, nf.FleetAsk{Verb: nf.AskPause, By: "ann"})
	case nf.RolloutHalted:
		for _, n := range f.turns()[:3] {
			f.report(n, nf.ProgressFailed)
		}
		f.decide()
	case nf.RolloutAborted:
		f.ask(t, nf.FleetAsk{Verb: nf.AskAbort, By: "ann"})
	case nf.RolloutSoaking:
		f.all(nf.ProgressApplied)
		f.decide()
	case nf.RolloutDone:
		for f.doc.State != nf.RolloutDone {
			f.all(nf.ProgressApplied)
			f.wait(10 * time.Minute).decide()
		}
	}
	if f.doc.State != state {
		t.Fatalf("%s: %s, want %s", f.doc.State, f.doc.Reason, state)
	}
	return f
}

func (f *testFleet) ask(t *testing.T, ask nf.FleetAsk) {
	t.Helper()
	next, err := Obey(f.doc, ask, Heard{Nodes: f.nodes}, f.now)
	if err != nil {
		t.Fatal(err)
	}
	f.doc = next
}

// TestObey: what each verb makes of each state. All states are reached.
func TestObey(t *testing.T) {
	const same = nf.RolloutState("the same") // nothing is changed, and it is no error
	type row map[nf.AskVerb]string
	for state, test := range map[nf.RolloutState]row{
		nf.RolloutRolling: {nf.AskPause: "paused", nf.AskResume: "the same", nf.AskHalt: "halted", nf.AskAbort: "aborted", nf.AskApprove: "error: no step waits for approval: the roll-out is rolling"},
		nf.RolloutSoaking: {nf.AskPause: "paused", nf.AskResume: "the same", nf.AskHalt: "halted", nf.AskAbort: "aborted", nf.AskApprove: "error: no step waits"},
		nf.RolloutPaused:  {nf.AskPause: "the same", nf.AskResume: "rolling", nf.AskHalt: "halted", nf.AskAbort: "aborted", nf.AskApprove: "error: no step waits"},
		nf.RolloutHalted:  {nf.AskPause: "error: it is halted already: 3 of 3 nodes", nf.AskResume: "rolling", nf.AskHalt: "the same", nf.AskAbort: "aborted", nf.AskApprove: "error: no step waits"},
		nf.RolloutAborted: {nf.AskPause: "error: revision r1 is withdrawn: roll out another one", nf.AskResume: "error: revision r1", nf.AskHalt: "error: revision r1", nf.AskAbort: "the same", nf.AskApprove: "error: no step waits"},
		nf.RolloutDone:    {nf.AskPause: "error: it is done", nf.AskResume: "the same", nf.AskHalt: "halted", nf.AskAbort: "error: it is done", nf.AskApprove: "error: no step waits"},
	} {
		for verb, want := range test {
			t.Run(fmt.Sprintf("%s/%s", state, verb), func(t *testing.T) {
				f := inState(t, state)
				ask := nf.FleetAsk{Verb: verb, By: "ann", Reason: "because"}
				next, err := Obey(f.doc, ask, Heard{Nodes: f.nodes}, f.now)
				if text, ok := strings.CutPrefix(want, "error: "); ok {
					if err == nil || !strings.HasPrefix(err.Error(), "cannot "+string(verb)+": "+text) || !cmp.Equal(next, f.doc) {
						t.Fatalf("%v, want %s", err, text)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if want == string(same) {
					if !cmp.Equal(next, f.doc) {
						t.Fatal(cmp.Diff(f.doc, next))
					}
					return
				}
				last := next.History[len(next.History)-1].What
				if string(next.State) != want || next.Generation != f.doc.Generation+1 || !strings.Contains(last, "by ann: because") {
					t.Fatalf("%s, generation %d after %d, %q", next.State, next.Generation, f.doc.Generation, last)
				}
				if again, err := Obey(next, ask, Heard{Nodes: f.nodes}, f.now); err != nil || !cmp.Equal(again, next) {
					t.Fatalf("again: %v %s", err, cmp.Diff(next, again))
				}
			})
		}
		for _, verb := range []nf.AskVerb{nf.AskWake, nf.AskRelease} {
			f := inState(t, state)
			if next, err := Obey(f.doc, nf.FleetAsk{Verb: verb}, Heard{Nodes: f.nodes}, f.now); err != nil || !cmp.Equal(next, f.doc) {
				t.Errorf("%s/%s: %v", state, verb, err)
			}
		}
	}
	if _, err := Obey(nf.RolloutDocument{}, nf.FleetAsk{Verb: nf.AskPause}, Heard{Nodes: nil}, t0); err == nil {
		t.Error("there is nothing to pause")
	}
	f := inState(t, nf.RolloutRolling)
	if _, err := Obey(f.doc, nf.FleetAsk{Verb: "stop"}, Heard{Nodes: f.nodes}, f.now); err == nil || err.Error() != "cannot stop: there is no such verb" {
		t.Error(err)
	}
}

// TestAskedForAnother: an operator who has seen an older document changes nothing, unless it is done already.
func TestAskedForAnother(t *testing.T) {
	f := inState(t, nf.RolloutRolling)
	seen := f.doc.Generation
	if _, err := Obey(f.doc, nf.FleetAsk{Verb: nf.AskPause, Generation: seen - 1}, Heard{Nodes: f.nodes}, f.now); err == nil || !strings.Contains(err.Error(), "nfsync fleet rollout") {
		t.Error(err)
	}
	f.ask(t, nf.FleetAsk{Verb: nf.AskPause, Generation: seen})
	f.ask(t, nf.FleetAsk{Verb: nf.AskPause, Generation: seen}) // the answer was lost, and it is asked again
}

// TestResumeForgives: what has failed before a roll-out is resumed does not halt it again. What fails afterwards does.
func TestResumeForgives(t *testing.T) {
	f := inState(t, nf.RolloutHalted)
	f.wait(3 * time.Hour)
	f.ask(t, nf.FleetAsk{Verb: nf.AskResume, By: "ann"})
	if f.decide(); f.doc.State != nf.RolloutRolling || !f.doc.StepBegan.Equal(f.now) {
		t.Fatalf("%s: %s, began %s", f.doc.State, f.doc.Reason, f.doc.StepBegan)
	}
	turns := f.turns()
	for _, n := range turns[:2] {
		f.report(n, nf.ProgressFailed)
	}
	if f.decide(); f.doc.State != nf.RolloutRolling {
		t.Fatalf("two more: %s: %s", f.doc.State, f.doc.Reason)
	}
	f.report(turns[2], nf.ProgressFailed)
	if f.decide(); f.doc.State != nf.RolloutHalted || !strings.HasPrefix(f.doc.Reason, "6 of 6 nodes") {
		t.Fatalf("three more: %s: %s", f.doc.State, f.doc.Reason)
	}
}

// TestApproval: a step waits until it is approved, and only that one.
func TestApproval(t *testing.T) {
	f := newFleet(plan(func(p *nf.RolloutPlan) { p.PauseBefore = []int{0, 5} }), map[string]int{"": 100})
	f.decide()
	if f.doc.State != nf.RolloutPaused || !f.doc.AwaitsApproval || f.doc.Reason != "step 1 of 6 (canaries) waits for approval" {
		t.Fatalf("%s: %s", f.doc.State, f.doc.Reason)
	}
	if _, err := Obey(f.doc, nf.FleetAsk{Verb: nf.AskResume}, Heard{Nodes: f.nodes}, f.now); err == nil || !strings.Contains(err.Error(), "nfsync fleet rollout approve") {
		t.Error(err)
	}
	// A person who pauses it meanwhile keeps it, whoever approves.
	paused := *f
	paused.ask(t, nf.FleetAsk{Verb: nf.AskPause, By: "ben"})
	if _, err := Obey(paused.doc, nf.FleetAsk{Verb: nf.AskApprove}, Heard{Nodes: f.nodes}, f.now); err == nil {
		t.Error("approved although ben has paused it")
	}
	paused.ask(t, nf.FleetAsk{Verb: nf.AskResume, By: "ben"})
	if paused.decide(); !paused.doc.AwaitsApproval {
		t.Error("resumed without an approval")
	}

	f.ask(t, nf.FleetAsk{Verb: nf.AskApprove, By: "ann"})
	f.ask(t, nf.FleetAsk{Verb: nf.AskApprove, By: "ann"})
	for i := 0; i < 50 && !f.doc.AwaitsApproval; i++ {
		f.all(nf.ProgressApplied)
		f.wait(10 * time.Minute).decide()
	}
	if f.doc.Step != 4 || !f.doc.AwaitsApproval || f.doc.Approved != 0 || f.all(nf.ProgressApplied) != 0 {
		t.Fatalf("%s: %s", f.doc.State, f.doc.Reason)
	}
	f.ask(t, nf.FleetAsk{Verb: nf.AskApprove, By: "ann"})
	if f.decide(); f.doc.Step != 5 || f.all(nf.ProgressApplied) != 50 {
		t.Errorf("step %d", f.doc.Step)
	}
}

// TestWithdraw: a withdrawn revision is begun by nobody, and the nodes that have it go first.
func TestWithdraw(t *testing.T) {
	f := inState(t, nf.RolloutDone)
	if _, err := Obey(f.doc, nf.FleetAsk{Verb: nf.AskWithdraw, Revision: "r5"}, Heard{Nodes: f.nodes}, f.now); err == nil || !strings.Contains(err.Error(), "name the whole commit") {
		t.Error(err)
	}
	whole := strings.Repeat("ab", 20)
	f.ask(t, nf.FleetAsk{Verb: nf.AskWithdraw, Revision: whole, By: "ann"})
	if f.doc.State != nf.RolloutDone || !slices.Equal(f.doc.Withdrawn, []string{whole}) {
		t.Errorf("%s, withdrawn %q", f.doc.State, f.doc.Withdrawn)
	}
	f.ask(t, nf.FleetAsk{Verb: nf.AskWithdraw, Revision: "r0", By: "ann"})
	if f.doc.State != nf.RolloutDone || f.doc.Previous != "" {
		t.Errorf("%s, previous %q", f.doc.State, f.doc.Previous)
	}
	f.ask(t, nf.FleetAsk{Verb: nf.AskWithdraw, Revision: "r1", By: "ann"})
	if f.doc.State != nf.RolloutHalted {
		t.Fatal(f.doc.State)
	}
	if _, err := Obey(f.doc, nf.FleetAsk{Verb: nf.AskResume}, Heard{Nodes: f.nodes}, f.now); err == nil {
		t.Error("a withdrawn revision is resumed")
	}
	f.doc = Begin(f.doc, "r2", f.doc.Plan, "seed", f.nodes, f.now)
	if f.doc.Previous != "" || f.doc.RescueSpread != 60 {
		t.Errorf("previous %q, spread %d", f.doc.Previous, f.doc.RescueSpread)
	}
	first := 0
	for _, n := range f.nodes {
		if turn := TurnOf(f.doc, nf.NodeIdentity{Name: n.Node}, n.Revision); turn.Rescue && turn.Commit == "r2" {
			first++
		}
	}
	if first != min(20, len(f.nodes)) {
		t.Errorf("%d of %d go first", first, len(f.nodes))
	}
	if again := Begin(f.doc, "r1", f.doc.Plan, "seed", f.nodes, f.now); again.State != nf.RolloutHalted {
		t.Errorf("a withdrawn revision begins: %s", again.State)
	}
}

// TestBegin: what a new roll-out takes over from the one before.
func TestBegin(t *testing.T) {
	for _, test := range []struct {
		was                 nf.RolloutDocument
		previous, withdrawn string
	}{
		{nf.RolloutDocument{}, "", ""},
		{nf.RolloutDocument{Revision: "r1", Previous: "r0", State: nf.RolloutDone}, "r1", ""},
		{nf.RolloutDocument{Revision: "r1", Previous: "r0", State: nf.RolloutRolling}, "r0", ""},
		{nf.RolloutDocument{Revision: "r1", Previous: "r0", State: nf.RolloutPaused, Reason: "paused by ann"}, "r0", ""},
		{nf.RolloutDocument{Revision: "r1", Previous: "r0", State: nf.RolloutPaused, AwaitsApproval: true}, "r0", ""},
		{nf.RolloutDocument{Revision: "r1", Previous: "r0", State: nf.RolloutHalted}, "r0", "r1"},
		{nf.RolloutDocument{Revision: "r1", Previous: "r0", State: nf.RolloutHalted, Recovered: true}, "r0", ""},
		{nf.RolloutDocument{Revision: "r1", Previous: "r0", State: nf.RolloutDone, Withdrawn: []string{"r1"}}, "", "r1"},
		{nf.RolloutDocument{Revision: "r1", Previous: "r0", State: nf.RolloutRolling, Withdrawn: []string{"r0"}}, "", "r0"},
		{nf.RolloutDocument{Revision: "r2", Previous: "r0", State: nf.RolloutHalted}, "r0", ""}, // the same again
	} {
		test.was.Generation, test.was.Term, test.was.Coordinator, test.was.Channel = 9, 3, "c1", "main"
		doc := Begin(test.was, "r2", plan(edgeAndGPU), "seed2", make([]nf.HeardNode, 7), t0)
		if doc.Previous != test.previous || strings.Join(doc.Withdrawn, " ") != test.withdrawn {
			t.Errorf("after %s %s: previous %q, withdrawn %q", test.was.State, test.was.Revision, doc.Previous, doc.Withdrawn)
		}
		state, reason := nf.RolloutRolling, ""
		if test.was.State == nf.RolloutPaused && !test.was.AwaitsApproval {
			state, reason = nf.RolloutPaused, "paused by ann" // a person's pause outlasts a commit
		}
		if doc.Generation != 10 || doc.Began != 10 || doc.Step != -1 || doc.Approved != -1 || doc.Seed != "seed2" || doc.Recovered ||
			doc.Term != 3 || doc.Coordinator != "c1" || doc.Channel != "main" || len(doc.History) != 1 || doc.Nodes != 7 || doc.State != state || doc.Reason != reason || doc.AwaitsApproval {
			t.Errorf("%+v", doc)
		}
		if again, changed := Decide(doc, Heard{Nodes: make([]nf.HeardNode, 7)}, t0.Add(time.Hour)); state == nf.RolloutPaused && (changed || again.State != state) {
			t.Errorf("it begins while it is paused: %+v", again)
		}
		if names := []string{doc.Groups[0].Name, doc.Groups[1].Name, doc.Groups[2].Name}; !slices.Equal(names, []string{"edge", "gpu", nf.DefaultGroup}) {
			t.Error(names)
		}
	}
}

// TestAbortAfterRecovery: that a store was older says nothing against its revision.
func TestAbortAfterRecovery(t *testing.T) {
	f := inState(t, nf.RolloutRolling)
	f.nodes[0].Generation = 1000
	if f.decide(); f.doc.State != nf.RolloutHalted || !f.doc.Recovered || f.doc.Generation != 1001+Unheard {
		t.Fatalf("%s, generation %d", f.doc.State, f.doc.Generation)
	}
	f.ask(t, nf.FleetAsk{Verb: nf.AskAbort})
	if f.doc.Recovered || len(f.doc.Withdrawn) != 0 {
		t.Errorf("%+v", f.doc.Withdrawn)
	}
}

// TestInOrder: a group begins when those before it are complete, with steps and approvals of its own. One without nodes is passed.
func TestInOrder(t *testing.T) {
	f := newFleet(plan(func(p *nf.RolloutPlan) {
		edgeAndGPU(p)
		p.Groups = append(p.Groups[:1:1], nf.PlanGroup{Name: "none", Match: map[string]string{"role": "none"}}, p.Groups[1])
		p.InOrder, p.PauseBefore = true, []int{0}
	}), map[string]int{"": 30, "edge": 50, "gpu": 10})
	var order []string
	approvals := 0
	for range 200 {
		f.decide()
		if f.doc.AwaitsApproval {
			approvals++
			f.ask(t, nf.FleetAsk{Verb: nf.AskApprove})
		}
		for _, n := range f.turns() {
			if role := n.Labels["role"]; len(order) == 0 || order[len(order)-1] != role {
				order = append(order, role)
			}
			f.report(n, nf.ProgressApplied)
		}
		f.wait(time.Minute)
	}
	if f.doc.State != nf.RolloutDone || !slices.Equal(order, []string{"edge", "gpu", ""}) || approvals != 3 {
		t.Errorf("%s, order %q, %d approvals", f.doc.State, order, approvals)
	}
	for _, r := range f.doc.History {
		t.Log(r.What)
	}
}

// TestGroupTurnsOutToBeUnaffected: a group that waits for its first step and then needs none does not keep the roll-out from its end.
func TestGroupTurnsOutToBeUnaffected(t *testing.T) {
	f := newFleet(plan(func(p *nf.RolloutPlan) {
		edgeAndGPU(p)
		p.InOrder, p.PauseBefore = true, []int{0}
	}), map[string]int{"edge": 5, "gpu": 10})
	f.decide()
	f.ask(t, nf.FleetAsk{Verb: nf.AskApprove})
	for i := 0; i < 50 && !f.doc.AwaitsApproval; i++ {
		f.decide()
		f.all(nf.ProgressApplied)
		f.wait(10 * time.Minute)
	}
	for i := range f.nodes {
		if f.nodes[i].Labels["role"] == "gpu" {
			f.report(&f.nodes[i], nf.ProgressUnaffected)
		}
	}
	f.ask(t, nf.FleetAsk{Verb: nf.AskApprove})
	if f.decide(); f.doc.State != nf.RolloutDone {
		t.Errorf("%s: step %d", f.doc.State, f.doc.Step)
	}
}

// TestSize: a document with everything that a plan may have stays below the limit of the store, sealed as well.
func TestSize(t *testing.T) {
	p := plan(func(p *nf.RolloutPlan) {
		for i := range 100 {
			p.Groups = append(p.Groups, nf.PlanGroup{Name: fmt.Sprintf("group-%d-with-a-long-name", i),
				Match: map[string]string{"example.com/rack": fmt.Sprintf("rack-%d", i), "example.com/role": "storage"}})
		}
	})
	f := newFleet(p, map[string]int{"": 3000})
	f.decide()
	for i := range 200 {
		verb := []nf.AskVerb{nf.AskPause, nf.AskResume}[i%2]
		f.ask(t, nf.FleetAsk{Verb: verb, By: "ann", Reason: strings.Repeat("“why” ", 1000)})
		f.ask(t, nf.FleetAsk{Verb: nf.AskWithdraw, Revision: fmt.Sprintf("%064x", i)})
	}
	text, err := json.Marshal(f.doc)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := json.Marshal(map[string]string{"payload": string(text)})
	if err != nil || len(sealed) > 64<<10-1024 {
		t.Errorf("%d bytes, sealed %d, %v", len(text), len(sealed), err)
	}
	if len(f.doc.Withdrawn) != maxWithdrawn || f.doc.Withdrawn[maxWithdrawn-1] != fmt.Sprintf("%064x", 199) {
		t.Errorf("%d withdrawn", len(f.doc.Withdrawn))
	}
	t.Logf("%d bytes, sealed %d", len(text), len(sealed))
}

// TestWhy: why a roll-out waits, in words.
func TestWhy(t *testing.T) {
	rolling := inState(t, nf.RolloutRolling)
	for _, n := range rolling.turns()[:17] {
		rolling.report(n, nf.ProgressApplied)
	}
	silent := newFleet(plan(nil), nil)
	for _, test := range []struct {
		f           *testFleet
		waits, next string
	}{
		{rolling, "step 1 of 6 (canaries): 17 of 20 nodes have ended; it waits for hn-85, hn-88 and hn-95, until 2026-03-02 10:31:00 UTC at most", "soak 10m, then step 2 of 6 (1%)"},
		{inState(t, nf.RolloutSoaking), "step 1 of 6 (canaries) has ended, and is watched until 2026-03-02 10:10:00 UTC", "step 2 of 6 (1%)"},
		{inState(t, nf.RolloutPaused), "paused by ann", "it goes on when a person resumes it: nfsync fleet rollout resume"},
		{inState(t, nf.RolloutHalted), "halted: 3 of 3 nodes of group other that began failed: hn-15 (failed), hn-17 (failed) and hn-9 (failed)", "a person resumes or aborts it, or another revision is rolled out"},
		{inState(t, nf.RolloutAborted), "aborted by ann", "another revision is rolled out"},
		{inState(t, nf.RolloutDone), "done: every node has the revision", ""},
		{silent, "no node was heard of lately", "step 1 of 6 (canaries)"},
		{&testFleet{}, "there is no roll-out", ""},
	} {
		waits, next := Why(test.f.doc, test.f.nodes, test.f.now)
		if waits != test.waits || next != test.next {
			t.Errorf("%s\n%s\nwant\n%s\n%s", waits, next, test.waits, test.next)
		}
	}
}

// TestLists: who is left behind, failed and silent.
func TestLists(t *testing.T) {
	f := inState(t, nf.RolloutRolling)
	turns := f.turns()
	for _, n := range turns[2:] {
		f.report(n, nf.ProgressApplied)
	}
	f.report(turns[1], nf.ProgressStuck)
	turns[1].Progress.Reason = "level cannot be undone"
	if behind := LeftBehind(f.doc, f.nodes, f.now); len(behind) != 0 {
		t.Errorf("before the step has ended: %v", behind)
	}
	f.report(turns[0], nf.ProgressWaiting)
	turns[0].Progress.Reason = "suspended"
	f.wait(1860 * time.Second).decide()
	if behind := LeftBehind(f.doc, f.nodes, f.now); !slices.Equal(behind, []NodeReason{{turns[0].Node, "suspended"}}) {
		t.Error(behind)
	}
	if failed := Failed(f.doc, f.nodes, f.now); !slices.Equal(failed, []NodeReason{{turns[1].Node, "stuck: level cannot be undone"}}) {
		t.Error(failed)
	}
	f.now = f.now.Add(SilentAfter)
	f.nodes[5].Heard, f.nodes[3].Heard = t0, t0
	if silent := Silent(f.nodes, f.now); !slices.Equal(silent, []string{"hn-3", "hn-5"}) {
		t.Error(silent)
	}
}
