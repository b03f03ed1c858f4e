package agent_test

import (
	"testing"

	"nfsync.dev/nfsync/internal/agent"
	"nfsync.dev/nfsync/internal/nf"
)

// told returns what the node says of itself.
func (m *member) told() nf.FleetNode {
	return agent.FleetNode(m.membership(), nf.NodeStatus{}, m.in.Fleet.Following(), 0)
}

// TestProofIsTold: a node proves the highest generation that it has had, also after a restart, and when the store has an older
// document or none.
func TestProofIsTold(t *testing.T) {
	m := newMember(t)
	check := func(generation uint64, proof string) {
		t.Helper()
		if n := m.told(); n.Generation != generation || n.Proof != proof {
			t.Errorf("it claims %d with the proof %q, want %d with %q", n.Generation, n.Proof, generation, proof)
		}
	}
	m.ask()
	check(0, "")
	m.rollOut(7, func(d *nf.RolloutDocument) { d.Proof = "seven" })
	check(7, "seven")
	m.rollOut(6, func(d *nf.RolloutDocument) { d.Proof = "six" })
	check(7, "seven")
	m.restart()
	m.store.doc = nil
	m.ask()
	check(7, "seven")
	m.rollOut(8, func(d *nf.RolloutDocument) { d.Proof = "eight" })
	check(8, "eight")
}
