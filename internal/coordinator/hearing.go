package coordinator

import (
	"time"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/rollout"
)

// hearing is since when nodes can be heard without a break.
type hearing struct {
	since      time.Time // by the store's clock; the zero time: they cannot
	reconnects uint64    // of the connection, when it began
}

// note takes how a read of the store has ended. A connection that was made again means that nodes could not be heard
// between.
func (h *hearing) note(err error, reconnects uint64, now time.Time) {
	switch {
	case err != nil:
		h.since = time.Time{}
	case h.since.IsZero() || h.reconnects != reconnects:
		h.since, h.reconnects = now, reconnects
	}
}

// allSince reports whether all nodes that were heard of lately have been heard since.
func (h *hearing) allSince(nodes []nf.HeardNode, now time.Time) bool {
	for i := range nodes {
		if n := &nodes[i]; n.Heard.Before(h.since) && now.Sub(n.Heard) <= rollout.SilentAfter {
			return false
		}
	}
	return true
}
