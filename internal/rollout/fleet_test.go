package rollout

import (
	"fmt"
	"time"

	"nfsync.dev/nfsync/internal/nf"
)

// t0 is when the roll-outs of the tests begin: a Monday.
var t0 = time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC)

// A testFleet is some nodes and the document that they follow.
type testFleet struct {
	doc   nf.RolloutDocument
	nodes []nf.HeardNode
	now   time.Time
}

// newFleet returns a fleet of nodes that have revision r0 in force, with a roll-out of r1 that begins.
func newFleet(plan nf.RolloutPlan, sizes map[string]int) *testFleet {
	f := &testFleet{now: t0}
	for _, role := range []string{"", "edge", "gpu"} {
		for i := range sizes[role] {
			n := nf.HeardNode{FleetNode: nf.FleetNode{Node: fmt.Sprintf("hn%s-%d", role, i), Revision: "r0"}, Heard: t0}
			if role != "" {
				n.Labels = map[string]string{"role": role}
			}
			f.nodes = append(f.nodes, n)
		}
	}
	was := nf.RolloutDocument{Channel: "main", Generation: 7, Revision: "r0", State: nf.RolloutDone}
	f.doc = Begin(was, "r1", plan, "seed", f.nodes, t0)
	return f
}

// decide lets the coordinator decide.
func (f *testFleet) decide() bool {
	next, changed := Decide(f.doc, Heard{Nodes: f.nodes}, f.now)
	f.doc = next
	return changed
}

// wait lets time pass. All nodes are heard.
func (f *testFleet) wait(d time.Duration) *testFleet {
	f.now = f.now.Add(d)
	for i := range f.nodes {
		f.nodes[i].Heard = f.now
	}
	return f
}

// turns returns the nodes whose turn has come and that have not ended.
func (f *testFleet) turns() []*nf.HeardNode {
	var turns []*nf.HeardNode
	for i := range f.nodes {
		n := &f.nodes[i]
		turn := TurnOf(f.doc, nf.NodeIdentity{Name: n.Node, Labels: n.Labels}, n.Revision)
		may := turn.Commit == f.doc.Revision && !turn.OnlyUnaffected && n.Revision != f.doc.Revision
		switch progressOf(&f.doc, n) {
		case "", nf.ProgressWaiting:
			if may {
				turns = append(turns, n)
			}
		case nf.ProgressBegun:
			turns = append(turns, n)
		}
	}
	return turns
}

// report lets a node report its progress.
func (f *testFleet) report(n *nf.HeardNode, state nf.ProgressState) {
	n.Progress = &nf.NodeProgress{Generation: f.doc.Generation, Revision: f.doc.Revision, State: state, At: f.now}
	n.Generation, n.Heard = f.doc.Generation, f.now
	switch state {
	case nf.ProgressApplied, nf.ProgressRefused, nf.ProgressUnaffected:
		n.Revision = f.doc.Revision
	}
}

// all lets all nodes whose turn has come report the same.
func (f *testFleet) all(state nf.ProgressState) int {
	turns := f.turns()
	for _, n := range turns {
		f.report(n, state)
	}
	return len(turns)
}

func plan(change func(*nf.RolloutPlan)) nf.RolloutPlan {
	p := nf.DefaultRolloutPlan()
	if change != nil {
		change(&p)
	}
	return p
}

func edgeAndGPU(p *nf.RolloutPlan) {
	p.Groups = []nf.PlanGroup{{Name: "edge", Match: map[string]string{"role": "edge"}}, {Name: "gpu", Match: map[string]string{"role": "gpu"}}}
}

// deadlineOf returns when the present step of a document is over.
func deadlineOf(doc nf.RolloutDocument) time.Time {
	s := survey{doc: &doc}
	return s.deadline()
}
