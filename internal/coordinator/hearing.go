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
	now, local time.Time // of the last note, by the store's clock and by ours
}

// maxDrift is how far the store's clock may be from where it should be. Then it was set, or another server has another one: how
// long ago a node was heard is not known.
const maxDrift = 10 * time.Second

// note takes how a read of the store has ended. A connection that was made again means that nodes could not be heard
// between. now is the time by the store's clock, and local by ours.
func (h *hearing) note(err error, reconnects uint64, now, local time.Time) {
	drift := now.Sub(h.now) - local.Sub(h.local)
	h.now, h.local = now, local
	switch {
	case err != nil:
		h.since = time.Time{}
	case h.since.IsZero() || h.reconnects != reconnects || drift.Abs() > maxDrift:
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
