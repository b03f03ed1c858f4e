package coordinator

import (
	"fmt"
	"slices"
	"time"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/rollout"
)

// situation is what the next document follows from.
type situation struct {
	doc   *nf.RolloutDocument // nil: there is none
	nodes []nf.HeardNode      // of the channel
	head  *head               // nil: no good commit is known
	// channel and coordinator are ours. seed is for a roll-out that begins.
	channel, coordinator, seed string
	now                        time.Time
}

// next returns the document that has to be written; false: none has.
func (s situation) next() (nf.RolloutDocument, bool) {
	if s.doc == nil {
		return s.first()
	}
	was := *s.doc
	next, changed := was, was.Coordinator != s.coordinator // taking over is a change
	switch known, node := newest(s.nodes); {
	case known > was.Generation:
		return s.recovered(was, known, node), true
	case was.Recovered && was.State == nf.RolloutHalted:
		if s.isNew(was) {
			return s.recovered(was, known, node), true
		}
	case s.isNew(was):
		next, changed = rollout.Begin(was, s.head.commit, s.head.plan, s.seed, s.nodes, s.now), true
	default:
		if decided, other := rollout.Decide(was, s.nodes, s.now); other {
			next, changed = decided, true
		}
	}
	return s.signedOff(next, was.Generation), changed
}

// first returns the first document of a store. If a node has had one before, the store has lost it.
func (s situation) first() (nf.RolloutDocument, bool) {
	if s.head == nil || s.head.after != "" {
		return nf.RolloutDocument{}, false
	}
	if known, node := newest(s.nodes); known > 0 {
		return s.recovered(nf.RolloutDocument{}, known, node), true
	}
	return s.signedOff(rollout.Begin(nf.RolloutDocument{}, s.head.commit, s.head.plan, s.seed, s.nodes, s.now), 0), true
}

// isNew reports whether the newest commit of the branch is another one than that of a document, and descends from it.
func (s situation) isNew(was nf.RolloutDocument) bool {
	return s.head != nil && s.head.after == was.Revision && s.head.commit != was.Revision && !slices.Contains(was.Withdrawn, s.head.commit)
}

// recovered returns a document above all that nodes have had. It is halted, with the newest commit: a person
// resumes it, and it goes on from the canaries, or aborts it.
func (s situation) recovered(was nf.RolloutDocument, known uint64, node string) nf.RolloutDocument {
	next := was
	if was.Revision == "" || s.isNew(was) {
		from := was
		if from.State == nf.RolloutHalted {
			from.State = nf.RolloutPaused // nothing is known against its revision: it is not withdrawn
		}
		next = rollout.Begin(from, s.head.commit, s.head.plan, s.seed, s.nodes, s.now)
	}
	if known > was.Generation {
		next.Reason = fmt.Sprintf("%s has had generation %d of the roll-out document, and the store has %s: an older copy of the store was restored, or the node lies. nfsync fleet rollout resume goes on with the canaries of this revision",
			node, known, generationOf(was))
	} else {
		next.Reason = was.Reason
	}
	next.State, next.Recovered = nf.RolloutHalted, true
	return s.signedOff(next, max(known, was.Generation))
}

func generationOf(doc nf.RolloutDocument) string {
	if doc.Generation == 0 {
		return "none"
	}
	return fmt.Sprintf("generation %d", doc.Generation)
}

// signedOff returns a document as it is written: with the next generation after one, and who writes it.
func (s situation) signedOff(doc nf.RolloutDocument, after uint64) nf.RolloutDocument {
	if s.doc == nil || doc.Revision != s.doc.Revision { // it begins
		doc.Began = after + 1
	}
	if s.doc != nil {
		doc.Term = s.doc.Term
	}
	if s.doc == nil || s.doc.Coordinator != s.coordinator {
		doc.Term++
	}
	doc.APIVersion, doc.Kind, doc.Channel = nf.APIVersion, nf.KindRolloutDocument, s.channel
	doc.Generation, doc.Coordinator, doc.UpdatedAt = after+1, s.coordinator, s.now
	return doc
}
