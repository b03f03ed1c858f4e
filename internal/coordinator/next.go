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
	since time.Time           // since when they could be heard without a break
	// retired is how many nodes the store knows to be gone for good.
	retired int
	head    *head // nil: no good commit is known
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
	next, changed := rollout.Decide(was, s.heard(), s.now)
	generation := was.Generation + 1
	switch older := changed && next.Generation > generation; {
	case older: // rollout has lifted the generation above those that nodes have had
		generation, next.Recovered = next.Generation, true
		fallthrough
	case next.Recovered:
		if s.isNew(was) {
			reason, from := next.Reason, was
			from.Recovered = true // nothing is known against its revision: it is not withdrawn
			next, changed = s.begin(from), true
			next.Reason, next.Recovered = reason, true
		}
		next.State = nf.RolloutHalted
	case s.isNew(was):
		// What is wrong with the store is found before the document is written.
		next, _ = rollout.Decide(s.begin(was), s.heard(), s.now)
		changed = true
	}
	if was.Coordinator != s.coordinator {
		changed = true // it takes over
	}
	return s.signedOff(next, generation), changed
}

// first returns the first document of a store. If a node has had one before, the store has lost it: then it is
// halted, with the newest commit. A person resumes it, and it begins with the canaries.
func (s situation) first() (nf.RolloutDocument, bool) {
	if s.head == nil || s.head.after != "" {
		return nf.RolloutDocument{}, false
	}
	next := s.begin(nf.RolloutDocument{})
	known, node := rollout.Newest(s.nodes)
	generation := uint64(1)
	if known > 0 {
		generation = known + rollout.Unheard
		next.State, next.Recovered = nf.RolloutHalted, true
		next.Reason = fmt.Sprintf("%s has had generation %d of the roll-out document, and the store has none: it was made anew or restored", node, known)
	}
	return s.signedOff(next, generation), true
}

func (s situation) heard() rollout.Heard {
	return rollout.Heard{Nodes: s.nodes, Since: s.since, Retired: s.retired}
}

// begin returns the document of the roll-out of the newest commit, after another one.
func (s situation) begin(was nf.RolloutDocument) nf.RolloutDocument {
	return rollout.Begin(was, s.head.commit, s.head.plan, s.seed, s.nodes, s.now)
}

// isNew reports whether the newest commit of the branch is another one than that of a document, and descends from it.
func (s situation) isNew(was nf.RolloutDocument) bool {
	return s.head != nil && s.head.after == was.Revision && s.head.commit != was.Revision && !slices.Contains(was.Withdrawn, s.head.commit)
}

// signedOff returns a document as it is written: with its generation, and who writes it.
func (s situation) signedOff(doc nf.RolloutDocument, generation uint64) nf.RolloutDocument {
	if s.doc == nil || doc.Revision != s.doc.Revision { // it begins
		doc.Began = generation
	}
	if s.doc != nil {
		doc.Term = s.doc.Term
	}
	if s.doc == nil || s.doc.Coordinator != s.coordinator {
		doc.Term++
	}
	doc.APIVersion, doc.Kind, doc.Channel = nf.APIVersion, nf.KindRolloutDocument, s.channel
	doc.Generation, doc.Coordinator, doc.UpdatedAt = generation, s.coordinator, s.now
	return doc
}
