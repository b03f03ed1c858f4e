package coordinator

import (
	"fmt"
	"testing"

	"nfsync.dev/nfsync/internal/nf"
)

// TestARolloutReachesTheFleet is a good revision, and a second one: nodes get it step by step.
func TestARolloutReachesTheFleet(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.branch.push(commit(1))
	w.start("a")
	s := w.newNodes(200, nil)
	doc := w.untilState(commit(1), nf.RolloutDone)
	if got := s.with(func(n *node) bool { return n.Revision == commit(1) }); got != 200 {
		t.Errorf("%d of 200 nodes have the revision", got)
	}
	if doc.Previous != "" || doc.Term != 1 || doc.Coordinator != "a" || doc.Channel != "main" || doc.Plan.Name != "quick" || doc.Kind != nf.KindRolloutDocument {
		t.Errorf("the document is %+v", doc)
	}
	w.branch.push(commit(2))
	began := w.until("the second roll-out", func(doc nf.RolloutDocument) bool { return doc.Revision == commit(2) })
	if began.Previous != commit(1) || began.Began <= doc.Generation || began.Seed == doc.Seed {
		t.Errorf("the second roll-out has previous %s, began %d after %d, seed %q", began.Previous, began.Began, doc.Generation, began.Seed)
	}
	w.untilState(commit(2), nf.RolloutDone)
	s.check()
}

// TestABadRevisionHalts is a revision that fails everywhere: only canaries have it. The next one goes to them first.
func TestABadRevisionHalts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.branch.push(commit(1))
	w.start("a")
	s := w.newNodes(200, func(_, revision string) bool { return revision == commit(2) })
	w.untilState(commit(1), nf.RolloutDone)
	w.branch.push(commit(2))
	doc := w.untilState(commit(2), nf.RolloutHalted)
	if had := s.with(has(commit(2))); had == 0 || had > 6 {
		t.Errorf("%d nodes have had the bad revision, and the canaries are 6", had)
	}
	if doc.Reason == "" {
		t.Error("the document does not say why it is halted")
	}
	w.branch.push(commit(3))
	fixed := w.untilState(commit(3), nf.RolloutDone)
	if len(fixed.Withdrawn) != 1 || fixed.Withdrawn[0] != commit(2) || fixed.Previous != commit(1) {
		t.Errorf("withdrawn are %v, previous is %s", fixed.Withdrawn, fixed.Previous)
	}
	if got := s.with(func(n *node) bool { return n.Revision == commit(3) }); got != 200 {
		t.Errorf("%d of 200 nodes have the fix", got)
	}
	s.check()
}

// TestAKilledCoordinatorGoesOn kills the coordinator in each step, and another one of its name goes on where it stood.
func TestAKilledCoordinatorGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.branch.push(commit(1))
	a := w.start("a")
	s := w.newNodes(100, nil)
	w.untilState(commit(1), nf.RolloutDone)
	w.branch.push(commit(2))
	for step := range 4 {
		before := w.until(fmt.Sprintf("step %d", step), func(doc nf.RolloutDocument) bool { return doc.Revision == commit(2) && doc.Step >= step })
		a.kill()
		dead := w.document()
		if dead.Seed != before.Seed || dead.Generation < before.Generation {
			t.Fatalf("the document was %+v and is %+v", before, dead)
		}
		a = w.start("a")
		after := w.until("a later document", func(doc nf.RolloutDocument) bool {
			return doc.Generation > dead.Generation || doc.State == nf.RolloutDone
		})
		if after.Seed != dead.Seed || after.Began != dead.Began || after.Step < dead.Step || after.Term != dead.Term {
			t.Errorf("the roll-out did not go on where it stood: it was\n%+v and is\n%+v", dead, after)
		}
		for i, g := range after.Groups {
			if g.Fraction < dead.Groups[i].Fraction {
				t.Errorf("the fraction of %s fell from %v to %v", g.Name, dead.Groups[i].Fraction, g.Fraction)
			}
		}
	}
	w.untilState(commit(2), nf.RolloutDone)
	s.check()
}

// TestTheLeaseIsTakenOver kills one of two coordinators of other names: the other one takes over, with another term.
func TestTheLeaseIsTakenOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.branch.push(commit(1))
	a := w.start("a")
	w.eventually("the lease", func() bool { return a.View().Lease })
	b := w.start("b")
	s := w.newNodes(50, nil)
	doc := w.untilState(commit(1), nf.RolloutDone)
	if v := b.View(); v.Lease || v.Holder != "a" || v.Writes != 0 {
		t.Errorf("b has the lease: %v, knows that it is with %q, has written %d documents", v.Lease, v.Holder, v.Writes)
	}
	if doc.Coordinator != "a" || doc.Term != 1 {
		t.Errorf("the document is of %s, term %d", doc.Coordinator, doc.Term)
	}
	a.kill()
	taken := w.until("another coordinator", func(doc nf.RolloutDocument) bool { return doc.Coordinator == "b" })
	if taken.Term != 2 || taken.Generation != doc.Generation+1 || taken.State != nf.RolloutDone {
		t.Errorf("the document that b took over is %+v", taken)
	}
	b.stop() // in order: the lease is free at once
	c := w.start("c")
	w.eventually("the lease", func() bool { return c.View().Lease })
	w.branch.push(commit(2))
	if doc := w.untilState(commit(2), nf.RolloutDone); doc.Coordinator != "c" || doc.Term != 3 {
		t.Errorf("the document is of %s, term %d", doc.Coordinator, doc.Term)
	}
	s.check()
}
