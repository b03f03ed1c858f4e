package coordinator

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"nfsync.dev/nfsync/internal/fleet"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/rollout"
)

// TestMembersFollow rolls a revision out to nodes that talk to the store as agents do: they are woken, ask, and say when they begin.
func TestMembersFollow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.branch.push(commit(1))
	w.start("a")
	var wait sync.WaitGroup
	for i := range 8 {
		name := fmt.Sprintf("hn-%d", i)
		woken := make(chan struct{}, 1)
		m, err := fleet.Join(w.store.Config(name), func() { signal(woken) })
		w.must(err)
		t.Cleanup(m.Close)
		wait.Go(func() { w.follow(m, name, woken) })
	}
	w.untilState(commit(1), nf.RolloutDone)
	wait.Wait()
}

// follow follows the roll-out as a node, until it is done.
func (w *world) follow(m *fleet.Member, name string, woken <-chan struct{}) {
	n := nf.FleetNode{Node: name, Channel: fleet.DefaultChannel}
	put := func(doc nf.RolloutDocument, state nf.ProgressState) bool {
		n.Generation, n.Proof, n.Progress = doc.Generation, doc.Proof, &nf.NodeProgress{Generation: doc.Generation, Revision: doc.Revision, State: state}
		_, err := m.PutNode(w.Context(), n)
		return err == nil
	}
	for {
		doc, err := m.Rollout(w.Context())
		var far *fleet.UnreachableError
		switch {
		case errors.Is(err, fleet.ErrNone), errors.As(err, &far): // it is not there yet
		case err != nil:
			w.Error(err)
			return
		case doc.State == nf.RolloutDone:
			return
		default:
			turn := rollout.TurnOf(doc, nf.NodeIdentity{Name: name}, n.Revision)
			if turn.Commit == "" || turn.OnlyUnaffected {
				put(doc, nf.ProgressWaiting)
			} else if turn.Commit != n.Revision && put(doc, nf.ProgressBegun) {
				n.Revision = doc.Revision
				put(doc, nf.ProgressApplied)
			}
		}
		select {
		case <-woken:
		case <-w.Context().Done():
			return
		}
	}
}
