package rollout

import (
	"slices"
	"time"

	"nfsync.dev/nfsync/internal/nf"
)

// rescue lets the first nodes on withdrawn revisions take the revision of the roll-out before all others: as many as the
// first step lets begin of all nodes. What they get may be as bad, so that it obeys the rate too.
func rescue(doc *nf.RolloutDocument, nodes []nf.HeardNode, now time.Time) {
	waiting := toRescue(doc, nodes)
	doc.RescueSpread = spread(doc.Plan, len(waiting))
	first := min(len(waiting), max(1, nodesOf(&doc.Plan, 0, len(doc.Plan.Groups), live(nodes, now))))
	doc.Rescue = 1
	if first < len(waiting) {
		doc.Rescue = above(waiting[first-1])
	}
}

// toRescue returns the positions of the nodes that have a withdrawn revision in force, rising. Those that are silent are
// among them: they may come back at any time.
func toRescue(doc *nf.RolloutDocument, nodes []nf.HeardNode) []float64 {
	var positions []float64
	for i := range nodes {
		if isWithdrawn(*doc, nodes[i].Revision) {
			positions = append(positions, Position(doc.Seed, nodes[i].Node))
		}
	}
	slices.Sort(positions)
	return positions
}

// rescueOthers lets the other nodes on withdrawn revisions follow the first ones, once these have ended and none has
// failed. It reports whether it is time for that. If more than half of the nodes have withdrawn revisions, the others
// follow with the steps: then the revision of the roll-out would be nearly everywhere at once.
func (d *decision) rescueOthers() bool {
	if d.doc.Rescue >= 1 {
		return false
	}
	waiting, succeeded := 0, false
	for i := range d.survey.members {
		m := &d.survey.members[i]
		withdrawn, first := isWithdrawn(d.doc, m.node.Revision), m.position < d.doc.Rescue
		switch {
		case first && m.standing == standsApplied, first && m.standing == standsRefused && !d.doc.Plan.RefusalsFail:
			succeeded = true
		case first && m.hasBegun(), first && withdrawn && m.standing == standsWaiting:
			return false // it is at work, has failed, or is to begin
		case withdrawn:
			waiting++
		}
	}
	return succeeded && waiting > 0 && 2*waiting <= d.survey.live()
}
