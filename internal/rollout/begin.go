package rollout

import (
	"math"
	"slices"
	"time"

	"nfsync.dev/nfsync/internal/nf"
)

// Bounds of a document.
const (
	maxHistory   = 50
	maxWithdrawn = 50
	maxText      = 300 // bytes of a reason
)

// minSpread is the least time over which nodes begin.
const minSpread = nf.Seconds(60)

// Begin returns the document of a new roll-out, of which no step has begun: Decide begins it. was is the document
// before; its zero value if there is none, and then Channel is still to be set.
//
// A roll-out that is under way is superseded. The revision of one that was halted before it was done is withdrawn: the
// nodes that have it must get another one first. What a person has paused stays paused: a commit that somebody pushes does
// not end that.
func Begin(was nf.RolloutDocument, revision string, plan nf.RolloutPlan, seed string, nodes []nf.HeardNode, now time.Time) nf.RolloutDocument {
	doc := nf.RolloutDocument{
		APIVersion: nf.APIVersion, Kind: nf.KindRolloutDocument, Channel: was.Channel,
		Generation: was.Generation + 1, Began: was.Generation + 1,
		Revision: revision, Previous: was.Previous, State: nf.RolloutRolling, Seed: seed,
		Step: -1, Approved: -1, StepBegan: now, Groups: groupsOf(plan), Plan: plan,
		Withdrawn: slices.Clone(was.Withdrawn), Coordinator: was.Coordinator, Term: was.Term, UpdatedAt: now,
		Nodes: max(was.Nodes, len(nodes)), Live: max(was.Live, live(nodes, now)),
	}
	if was.State == nf.RolloutDone {
		doc.Previous = was.Revision
	}
	if isPaused(&was) {
		doc.State, doc.Reason = nf.RolloutPaused, was.Reason
		if was.State == nf.RolloutHalted {
			doc.Reason = "the one before was paused, and then halted"
		}
	}
	// A store that has lost something has halted a roll-out, not nodes that failed. A revision that all nodes may have is
	// withdrawn by a person only.
	if was.State == nf.RolloutHalted && !was.Recovered && was.DoneAt == nil && was.Revision != revision {
		withdraw(&doc, was.Revision)
	}
	if isWithdrawn(doc, doc.Previous) {
		doc.Previous = ""
	}
	doc.FetchSpread = spread(plan, live(nodes, now))
	rescue(&doc, nodes, now)
	d := decide(doc, Heard{Nodes: nodes}, now)
	d.record("the roll-out of " + short(revision) + " began")
	if isWithdrawn(doc, revision) {
		d.halt("revision " + short(revision) + " is withdrawn: roll out another one")
	}
	return d.doc
}

// withdraw adds a revision to those that no node may begin.
func withdraw(doc *nf.RolloutDocument, revision string) {
	if revision == "" || isWithdrawn(*doc, revision) {
		return
	}
	doc.Withdrawn = append(slices.Clone(doc.Withdrawn), revision)
	if more := len(doc.Withdrawn) - maxWithdrawn; more > 0 {
		doc.Withdrawn = doc.Withdrawn[more:]
	}
}

// spread returns the time over which so many nodes begin.
func spread(plan nf.RolloutPlan, nodes int) nf.Seconds {
	if plan.Rate <= 0 {
		return minSpread
	}
	return max(minSpread, nf.Seconds(math.Ceil(float64(nodes)/plan.Rate)))
}

// live counts the nodes that were heard of lately.
func live(nodes []nf.HeardNode, now time.Time) int {
	n := 0
	for i := range nodes {
		if !isSilent(&nodes[i], now) {
			n++
		}
	}
	return n
}
