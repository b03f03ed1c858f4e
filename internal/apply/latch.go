package apply

import (
	"slices"

	"nfsync.dev/nfsync/internal/nf"
)

// noteTracking keeps where tracking was seen on. On a kernel that latches it is
// on until the instance ends, whatever a later look shows.
func (n *node) noteTracking() {
	if n.snap.Capabilities.Latches != nf.Yes {
		return
	}
	n.noteTrackingOf(nf.Node, n.snap.BootID, &n.snap.Host)
	for i := range n.snap.Containers {
		c := &n.snap.Containers[i]
		n.noteTrackingOf(c.Target(), c.Instance, &c.Namespace)
	}
}

func (n *node) noteTrackingOf(t nf.Target, instance string, ns *nf.Namespace) {
	if ns.Tracking == nil || ns.Tracking.State != nf.TrackingOn {
		return
	}
	if seen, ok := n.latches[t.Nameless()]; !ok || seen.Instance != instance {
		n.latches[t.Nameless()] = nf.Latch{Target: t, Instance: instance, Evidence: ns.Tracking.Evidence}
	}
}

// latch writes the ledger: what was seen, beside what was known, and nothing of
// instances that have ended. What first showed that tracking is on stays as the
// evidence.
func (m *memory) latch(n *node, there present) {
	n.noteTracking()
	known := map[nf.Latch]int{}
	for i, l := range m.Latches {
		known[nf.Latch{Target: l.Target.Nameless(), Instance: l.Instance}] = i
	}
	for id, seen := range n.latches {
		if i, ok := known[nf.Latch{Target: id, Instance: seen.Instance}]; ok {
			m.Latches[i].Target = seen.Target // it may have been renamed
		} else {
			m.Latches = append(m.Latches, seen)
		}
	}
	m.Latches = slices.DeleteFunc(m.Latches, func(l nf.Latch) bool { return there.ended(l.Target, l.Instance) })
	slices.SortFunc(m.Latches, func(a, b nf.Latch) int { return a.Target.Compare(b.Target) })
}
