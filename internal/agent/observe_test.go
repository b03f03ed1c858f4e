package agent_test

import (
	"errors"
	"testing"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/source"
)

// A lap that only observes changes neither the machine nor a position.
func TestObserve(t *testing.T) {
	b := newBench(t)
	b.mustFollowTip()
	b.repo.commit("c2", "c1", 42)
	b.in.Observe = true
	calls := len(b.machine.Calls())
	res := b.mustFollowTip()
	if res.Receipt.Kind != "" || res.Plan == nil || res.Plan.Revision != "c2" || len(res.Plan.Changes) != 1 || res.Plan.Changes[0].Cause != nf.CausePolicy {
		t.Errorf("%+v", res)
	}
	b.checkSaved("c2", "c1")
	b.repo.err = errors.New("dead")
	res, err := b.lap()
	if err != nil || res.Missed == nil || res.Plan == nil || res.Plan.Revision != "c2" {
		t.Errorf("%+v, %v", res, err)
	}
	b.checkValue(41)
	if len(b.machine.Calls()) != calls {
		t.Errorf("calls: %v", b.machine.Calls()[calls:])
	}
}

// A lap that only observes reports a rewritten branch too, and goes on planning the last good
// revision until the new commit is accepted.
func TestObserveRewritten(t *testing.T) {
	b := newBench(t)
	b.in.Observe = true
	b.mustFollowTip()
	b.repo.commit("c2", "", 42)
	for range 2 {
		res, err := b.lap()
		if err != nil || !errorIs[*source.RewrittenError](res.Missed) || res.Plan == nil || res.Plan.Revision != "c1" {
			t.Errorf("%+v, %v", res, err)
		}
	}
	b.in.Accept = "c2"
	b.mustFollowTip()
	b.in.Accept = ""
	b.mustFollowTip()
}
