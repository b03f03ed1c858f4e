package coordinator

import (
	"testing"
	"time"

	"nfsync.dev/nfsync/internal/fleet"
	"nfsync.dev/nfsync/internal/nf"
)

// TestGrantsOfAnotherChannel: the grants of another channel are no forgeries and take no place. A node that comes from there gets
// one of this channel, and one that is there can be retired.
func TestGrantsOfAnotherChannel(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.branch.push(commit(1))
	for _, node := range []string{"comes", "elsewhere"} {
		w.store.PutGrant(nf.RestartGrant{Channel: "other", Node: node, Generation: 7, Until: time.Now().Add(time.Hour), Revision: commit(9)})
	}
	w.mustPut(nf.FleetNode{Node: "elsewhere", Channel: "other"})
	a := w.start("a")
	doc := w.until("a roll-out", func(doc nf.RolloutDocument) bool { return doc.Revision == commit(1) })
	w.mustPut(nf.FleetNode{Node: "comes", Revision: commit(1), Restarts: 1, Progress: &nf.NodeProgress{Generation: doc.Generation, Revision: commit(1), State: nf.ProgressUnaffected}})
	w.eventually("a grant", func() bool {
		v, err := fleet.Last(t.Context(), w.nc, fleet.StreamGrant, fleet.Key(fleet.StreamGrant, "comes"))
		var g nf.RestartGrant
		return err == nil && fleet.Open(fleet.SealGrant, fleet.GrantChannel(fleet.DefaultChannel, "comes"), v.Data, w.store.CoordinatorKey(), &g) == nil &&
			g.Until.After(time.Now()) && g.Generation == 8
	})
	w.eventually("the view has it alone", func() bool {
		v := a.View()
		return len(v.Forged) == 0 && len(v.Grants) == 1 && v.Grants["comes"].Generation == 8
	})
	if got := w.ask(nf.FleetAsk{Verb: nf.AskRelease, Revision: "elsewhere"}); got.Error == "" {
		t.Errorf("released: %+v", got)
	}
	if _, err := Retire(t.Context(), w.nc, fleet.DefaultChannel, "elsewhere", w.store.Key()); err != nil {
		t.Error(err)
	}
	if g, ok := w.store.Grant("other", "elsewhere"); !ok || !g.Until.IsZero() {
		t.Errorf("after the node is retired: %+v", g)
	}
}

// TestAGrantThatWasLeft: a node that has moved to another channel keeps no place for restarts in this one.
func TestAGrantThatWasLeft(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.branch.push(commit(1))
	a := w.start("a")
	doc := w.until("a roll-out", func(doc nf.RolloutDocument) bool { return doc.Revision == commit(1) })
	asks := func(node string) nf.FleetNode {
		n := nf.FleetNode{Node: node, Revision: commit(1), Restarts: 1, Progress: &nf.NodeProgress{Generation: doc.Generation, Revision: commit(1), State: nf.ProgressUnaffected}}
		w.mustPut(n)
		return n
	}
	granted := func(node string) {
		w.eventually("a grant of "+node, func() bool {
			g, ok := w.store.Grant(fleet.DefaultChannel, node)
			return ok && g.Until.After(time.Now()) && a.View().Grants[node].Generation == g.Generation
		})
	}
	moves := asks("moves")
	granted("moves")
	asks("stays")
	moves.Channel = "other"
	w.mustPut(moves)
	granted("stays")
}
