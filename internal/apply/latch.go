package apply

import (
	"slices"

	"nfsync.dev/nfsync/internal/diff"
	"nfsync.dev/nfsync/internal/nf"
)

// noteLatches notes the instances in which tracking is on: on a kernel that
// latches it stays on until they end, whatever is observed later.
func (n *node) noteLatches() {
	for _, seen := range diff.Latches(n.snap) {
		t := seen.Target.Nameless()
		if known, ok := n.latches[t]; !ok || known.Instance != seen.Instance {
			n.latches[t] = seen
		}
	}
}

// latch adds to the ledger what this run has noted, and drops the instances that
// have ended. The first evidence of an instance stays.
func (m *memory) latch(n *node, now existing) {
	n.noteLatches()
	known := map[nf.Latch]int{}
	for i, l := range m.Latches {
		known[nf.Latch{Target: l.Target.Nameless(), Instance: l.Instance}] = i
	}
	for id, seen := range n.latches {
		if i, ok := known[nf.Latch{Target: id, Instance: seen.Instance}]; ok {
			m.Latches[i].Target = seen.Target // the container may have been renamed
		} else {
			m.Latches = append(m.Latches, seen)
		}
	}
	m.Latches = slices.DeleteFunc(m.Latches, func(l nf.Latch) bool { return now.ended(l.Target, l.Instance) })
	slices.SortFunc(m.Latches, func(a, b nf.Latch) int { return a.Target.Compare(b.Target) })
}
