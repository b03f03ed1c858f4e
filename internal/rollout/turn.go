package rollout

import (
	"slices"
	"strconv"
	"time"

	"nfsync.dev/nfsync/internal/nf"
)

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
func TurnOf(doc nf.RolloutDocument, node nf.NodeIdentity, inForce string) Turn {
	group := GroupOf(doc, node.Labels)
	if doc.Revision == "" || group < 0 {
		return Turn{Reason: "there is no roll-out"}
	}
	turn := Turn{Group: doc.Groups[group].Name, Within: doc.FetchSpread.Duration()}
	if inForce == doc.Revision {
		turn.Commit, turn.Within = doc.Revision, 0
		return turn
	}
	// What the store has lost may have withdrawn the previous revision.
	if doc.Previous != inForce && doc.Previous != doc.Revision && !isWithdrawn(doc, doc.Previous) && !doc.Recovered {
		turn.Meanwhile = doc.Previous
	}
	switch {
	case isWithdrawn(doc, doc.Revision):
		turn.Reason = "its revision is withdrawn"
	case !doc.State.MayBegin():
		turn.Reason = "the roll-out is " + string(doc.State)
	case isWithdrawn(doc, inForce) && Position(doc.Seed, node.Name) < doc.Rescue:
		turn = Turn{Commit: doc.Revision, Rescue: true, Within: doc.RescueSpread.Duration(), Group: turn.Group}
	case Position(doc.Seed, node.Name) < doc.Groups[group].Fraction:
		turn = Turn{Commit: doc.Revision, Within: doc.Spread.Duration(), Group: turn.Group}
	default:
		turn.Commit, turn.OnlyUnaffected = doc.Revision, true
		turn.Reason = "its turn has not come: of group " + turn.Group + " it is that of the first " + about(doc.Groups[group].Fraction)
	}
	return turn
}

// about returns a fraction as a percentage of two digits.
func about(fraction float64) string {
	two, err := strconv.ParseFloat(strconv.FormatFloat(fraction, 'g', 2, 64), 64)
	if err != nil {
		two = fraction
	}
	return nf.Percent(two)
}

// isWithdrawn reports whether no node may begin a revision. Nodes on it take another one first.
func isWithdrawn(doc nf.RolloutDocument, revision string) bool {
	return revision != "" && slices.Contains(doc.Withdrawn, revision)
}
