package rollout

import (
	"time"

	"nfsync.dev/nfsync/internal/nf"
)

// Position returns where a node is in the order of a roll-out, from 0 to below 1: the first 8 bytes of
// SHA-256(seed, 0, node). The nodes of a group begin in this order.
func Position(seed, node string) float64 { panic("not written") }

// Begin returns the document of a new roll-out. was is the document before; its zero value if there is none.
func Begin(was nf.RolloutDocument, revision string, plan nf.RolloutPlan, seed string, nodes []nf.HeardNode, now time.Time) nf.RolloutDocument {
	panic("not written")
}

// Decide returns the next document, and whether it is another one. It does not set Coordinator and Term.
func Decide(doc nf.RolloutDocument, nodes []nf.HeardNode, now time.Time) (next nf.RolloutDocument, changed bool) {
	panic("not written")
}

// Obey returns the document after an operator's ask. The error says why it is not possible.
func Obey(doc nf.RolloutDocument, ask nf.FleetAsk, nodes []nf.HeardNode, now time.Time) (nf.RolloutDocument, error) {
	panic("not written")
}

// Grants returns the grants that have to be written: new ones, and those that have ended.
func Grants(doc nf.RolloutDocument, nodes []nf.HeardNode, grants map[string]nf.RestartGrant, now time.Time) []nf.RestartGrant {
	panic("not written")
}

// Turn says what a roll-out lets a node do.
type Turn struct {
	// Commit is the revision that the node may have in force; empty: the one that it has.
	Commit string
	// OnlyUnaffected: the turn of the node has not come. It takes Commit only if that changes nothing for it.
	OnlyUnaffected bool
	// Meanwhile is the revision that a node takes until its turn comes if it has none, or an older one in
	// force: the last one whose roll-out is done. A node never goes back to it. Empty: there is none.
	Meanwhile string
	// Rescue: the node has a withdrawn revision in force, and goes first.
	Rescue bool
	// Within is the time over which the nodes of this turn begin: the node waits for a part of it.
	Within time.Duration
	Group  string
	Reason string // why the node takes nothing, or why it waits
}

// TurnOf returns what a roll-out lets a node do that has a revision in force; empty: none.
func TurnOf(doc nf.RolloutDocument, node nf.NodeIdentity, inForce string) Turn { panic("not written") }

// Count counts the nodes of a roll-out: all of them, and those of each group of the document.
func Count(doc nf.RolloutDocument, nodes []nf.HeardNode, now time.Time) (all nf.RolloutCounts, groups []nf.RolloutCounts) {
	panic("not written")
}

// Failed returns the nodes that have failed, and why, by name.
func Failed(doc nf.RolloutDocument, nodes []nf.HeardNode, now time.Time) []NodeReason {
	panic("not written")
}

// Silent returns the names of the nodes that were not heard of lately, sorted.
func Silent(nodes []nf.HeardNode, now time.Time) []string { panic("not written") }

// NodeReason is a node with a reason.
type NodeReason struct{ Node, Reason string }

// Why returns why the roll-out waits, and what comes next, in words for people.
func Why(doc nf.RolloutDocument, nodes []nf.HeardNode, now time.Time) (waits, next string) {
	panic("not written")
}

// GroupOf returns the index of the group of a node with these labels.
func GroupOf(doc nf.RolloutDocument, labels map[string]string) int { panic("not written") }

// Heartbeat is how often a node puts what it is, even if nothing has changed; SilentAfter is when it counts
// as silent.
const (
	Heartbeat   = 10 * time.Minute
	SilentAfter = 25 * time.Minute
)
