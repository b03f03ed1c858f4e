package coordinator

import (
	"testing"
	"time"

	"nfsync.dev/nfsync/internal/fleet"
	"nfsync.dev/nfsync/internal/nf"
)

// TestRetire retires a node that holds the only place for restarts: the coordinator at work forgets it, and another node gets
// the place.
func TestRetire(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.branch.push(commit(1))
	a := w.start("a")
	s := w.newNodes(6, nil)
	w.untilState(commit(1), nf.RolloutDone)
	s.end()
	s.mu.Lock()
	asking := map[string]bool{}
	for _, n := range s.list {
		if n.Labels["role"] == "web" {
			n.Restarts = 2
			asking[n.Node] = true
			w.mustPut(n.FleetNode)
		}
	}
	s.mu.Unlock()
	holder := func() string {
		for node := range asking {
			if g, ok := w.store.Grant(fleet.DefaultChannel, node); ok && g.Until.After(time.Now()) {
				return node
			}
		}
		return ""
	}
	w.eventually("a grant", func() bool { return holder() != "" })
	gone := holder()
	w.store.Put(fleet.SubjectSnapshot+gone, []byte("a snapshot"))
	known := len(a.View().Nodes)
	retire := func(channel, node string) bool {
		t.Helper()
		found, err := Retire(t.Context(), w.nc, channel, node, w.store.Key())
		w.must(err)
		return found
	}
	if !retire("other", gone) { // its grant names its channel
		t.Error("nothing of the node was found")
	}
	w.eventually("another grant", func() bool { return holder() != "" && holder() != gone })
	if g, _ := w.store.Grant(fleet.DefaultChannel, gone); !g.Until.IsZero() {
		t.Errorf("its grant has not ended: %+v", g)
	}
	w.eventually("the node is forgotten", func() bool { return len(a.View().Nodes) == known-1 })
	for _, stream := range []string{fleet.StreamStatus, fleet.StreamSnapshot} {
		v, err := fleet.Last(t.Context(), w.nc, stream, fleet.Key(stream, gone))
		if err != nil || !fleet.IsRetired(gone, v.Data, w.store.CoordinatorKey()) {
			t.Errorf("%s has %q, %v", stream, v.Data, err)
		}
	}
	for _, node := range []string{gone, "nobody"} {
		if retire(fleet.DefaultChannel, node) {
			t.Errorf("of %s there is something again", node)
		}
	}
}
