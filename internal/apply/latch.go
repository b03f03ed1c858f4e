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

// latch writes the ledger: what was seen, beside what was known, and nothing of
// instances that have ended. What first showed that tracking is on stays as the
// evidence.
func (m *memory) latch(n *node, there present) {
	n.noteLatches()
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
