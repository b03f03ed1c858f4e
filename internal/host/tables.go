package host

import (
	"context"

	"nfsync.dev/nfsync/internal/kernel"
	"nfsync.dev/nfsync/internal/netns"
	"nfsync.dev/nfsync/internal/nf"
)

// Tables reads the conntrack tables of the node and of the containers of a listing, the node's
// first. It enters each namespace once and reads a few numbers, one namespace after the other, so
// that it holds up nothing else. It leaves out tables that cannot be read, and containers that have
// gone.
func (m *Machine) Tables(ctx context.Context, listed nf.Snapshot) []nf.ConntrackTable {
	var list []nf.ConntrackTable
	var node nf.ConntrackTable
	_ = m.inNode(func() error { // without the node's table the others are read all the same
		var ok bool
		if node, ok = readTable(m.cfg.FS); ok {
			node.Target, node.Instance = nf.Node, listed.BootID
			list = append(list, node)
		}
		return nil
	})
	netns.OnThread(func(t *netns.Thread) {
		w := worker{t, netns.NewProc(m.cfg.FS)}
		defer w.proc.Close()
		for i := range listed.Containers {
			if ctx.Err() != nil {
				return
			}
			if t, ok := m.tableOf(w, listed.BootID, &listed.Containers[i]); ok {
				t.Max = limitInForce(t.Max, node.Max, listed.Containers[i].Keepers.Limit)
				list = append(list, t)
			}
		}
	})
	return list
}

// tableOf reads the table of a container; false if it does not run, or cannot be read.
func (m *Machine) tableOf(w worker, bootID string, c *nf.Container) (t nf.ConntrackTable, ok bool) {
	if !nf.Runs(c.State) || c.Instance == "" || c.Excluded != "" {
		return t, false
	}
	at := w.fs(m.cfg.FS)
	err := m.inContainer(w.thread, bootID, c, func() error {
		t, ok = readTable(at)
		return nil
	})
	t.Target, t.Instance = c.Target(), c.Instance
	return t, ok && err == nil
}

// limitInForce returns the limit that the kernel compares the entries of a container with; 0 is
// no limit. Virtuozzo's kernel compares them with the container's own limit, and takes the node's
// where that is 0 (nf_conntrack_alloc of vzkernel). Other kernels have one limit for every
// namespace, or the smaller one counts.
func limitInForce(own, node int64, keeper string) int64 {
	switch {
	case own == 0:
		return node
	case node == 0, keeper == nf.KeeperKernel:
		return own
	}
	return min(own, node)
}

// readTable reads the table of the calling thread's network namespace. It returns false if there
// is none. What an empty table has lost is not read.
func readTable(fs kernel.FS) (nf.ConntrackTable, bool) {
	count, limit := fs.ConntrackTable()
	n, counted := count.Number()
	most, limited := limit.Number()
	if !counted || !limited {
		return nf.ConntrackTable{}, false
	}
	t := nf.ConntrackTable{Count: n, Max: max(most, 0)} // Virtuozzo's kernel takes a negative limit for a very large one
	if n > 0 {
		if drops, err := fs.ConntrackDrops(); err == nil {
			t.Drops = &drops
		}
	}
	return t, true
}
