package rollout

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"nfsync.dev/nfsync/internal/nf"
)

// Obey returns the document after an operator's ask. The error says why it is not possible. Asking again for what is done
// already changes nothing and is no error. Wake and release do not change the document.
func Obey(doc nf.RolloutDocument, ask nf.FleetAsk, heard Heard, now time.Time) (nf.RolloutDocument, error) {
	if ask.Verb == nf.AskWake || ask.Verb == nf.AskRelease {
		return doc, nil
	}
	if doc.Revision == "" {
		return doc, errors.New("there is no roll-out yet")
	}
	d := decide(doc, heard, now)
	if err := d.obey(ask, heard.Nodes); err != nil {
		return doc, fmt.Errorf("cannot %s: %w", ask.Verb, err)
	}
	if !d.changed {
		return doc, nil
	}
	// An ask that is made again after it was obeyed has an older generation, and changes nothing.
	if ask.Generation != 0 && ask.Generation != doc.Generation {
		return doc, fmt.Errorf("cannot %s: the roll-out has changed since: it is at generation %d, not %d; look at it again with: nfsync fleet rollout", ask.Verb, doc.Generation, ask.Generation)
	}
	return d.written(heard.Nodes), nil
}

func (d *decision) obey(ask nf.FleetAsk, nodes []nf.HeardNode) error {
	switch ask.Verb {
	case nf.AskPause:
		return d.pause(ask)
	case nf.AskResume:
		return d.resume(ask, nodes)
	case nf.AskHalt:
		return d.haltFor(ask)
	case nf.AskAbort:
		return d.abort(ask)
	case nf.AskApprove:
		return d.approve(ask)
	case nf.AskWithdraw:
		return d.withdraw(ask, nodes)
	}
	return errors.New("there is no such verb")
}

func (d *decision) pause(ask nf.FleetAsk) error {
	switch d.doc.State {
	case nf.RolloutRolling, nf.RolloutSoaking, nf.RolloutPaused:
	default:
		return d.impossible()
	}
	if d.doc.State == nf.RolloutPaused && !d.doc.AwaitsApproval {
		return nil
	}
	// Whoever approves the step that waited does not end this pause.
	d.doc.State, d.doc.AwaitsApproval, d.doc.Reason = nf.RolloutPaused, false, by("paused", ask)
	d.record(d.doc.Reason)
	return nil
}

func (d *decision) resume(ask nf.FleetAsk, nodes []nf.HeardNode) error {
	switch d.doc.State {
	case nf.RolloutRolling, nf.RolloutSoaking, nf.RolloutDone:
		return nil
	case nf.RolloutPaused:
		if d.doc.AwaitsApproval {
			return fmt.Errorf("%s; approve it with: nfsync fleet rollout approve", d.doc.Reason)
		}
	case nf.RolloutHalted:
		if isWithdrawn(d.doc, d.doc.Revision) {
			return d.impossible()
		}
		d.forgive()
		d.doc.Recovered, d.doc.PausedBefore, d.doc.Nodes = false, false, len(nodes)
	default:
		return d.impossible()
	}
	d.doc.Reason = ""
	// The times of the step count anew: while it was held no node could begin.
	if now := d.now; d.doc.DoneAt != nil {
		d.doc.State = nf.RolloutDone
	} else if d.doc.StepEnded == nil {
		d.doc.State, d.doc.StepBegan = nf.RolloutRolling, now
	} else {
		d.doc.State, d.doc.StepEnded = nf.RolloutSoaking, &now
	}
	d.record(by("resumed", ask))
	return nil
}

// forgive accepts the failures so far. They would halt the roll-out again at once.
func (d *decision) forgive() {
	_, groups := d.survey.counts(everyMember)
	for i, c := range groups {
		d.doc.Groups[i].Forgiven = max(d.doc.Groups[i].Forgiven, failedOf(&d.doc.Plan, c))
	}
}

// forgiveNoMore forgets forgiven failures of nodes that have done well since: they are no excuse for others. A node that is at work
// may still fail again, and one that is lost stays so, however often the store was away meanwhile.
func (d *decision) forgiveNoMore(nodes []nf.HeardNode) {
	s := look(&d.doc, Heard{Nodes: nodes}, d.now)
	_, groups := s.counts(everyMember)
	for i, c := range groups {
		d.doc.Groups[i].Forgiven = min(d.doc.Groups[i].Forgiven, failedOf(&d.doc.Plan, c)+c.Begun)
	}
}

func (d *decision) haltFor(ask nf.FleetAsk) error {
	switch d.doc.State {
	case nf.RolloutHalted:
		return nil
	case nf.RolloutAborted:
		return d.impossible()
	}
	d.halt("by " + who(ask))
	return nil
}

// abort ends a roll-out. Its revision is withdrawn, unless it was halted because the store was older: then
// nobody knows that it is bad.
func (d *decision) abort(ask nf.FleetAsk) error {
	switch d.doc.State {
	case nf.RolloutAborted:
		return nil
	case nf.RolloutDone:
		return d.impossible()
	}
	if !d.doc.Recovered {
		withdraw(&d.doc, d.doc.Revision)
	}
	d.doc.State, d.doc.AwaitsApproval, d.doc.Recovered = nf.RolloutAborted, false, false
	d.doc.Reason = by("aborted", ask)
	d.record(d.doc.Reason)
	return nil
}

func (d *decision) approve(ask nf.FleetAsk) error {
	if d.doc.State != nf.RolloutPaused || !d.doc.AwaitsApproval {
		if d.doc.State.MayBegin() && d.doc.Approved >= 0 && d.doc.Approved >= d.doc.Step {
			return nil // it is approved already
		}
		return fmt.Errorf("no step waits for approval: the roll-out is %s", d.doc.State)
	}
	d.doc.Approved = d.doc.Step + 1
	d.doc.State, d.doc.AwaitsApproval, d.doc.Reason = nf.RolloutRolling, false, ""
	if d.doc.StepEnded != nil {
		d.doc.State = nf.RolloutSoaking
	}
	d.record(by(d.stepName(d.doc.Approved)+" approved", ask))
	return nil
}

// commit matches the whole name of a commit, of SHA-1 or SHA-256.
var commit = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)

func (d *decision) withdraw(ask nf.FleetAsk, nodes []nf.HeardNode) error {
	if isWithdrawn(d.doc, ask.Revision) {
		return nil
	}
	if !d.isKnown(ask.Revision, nodes) && !commit.MatchString(ask.Revision) {
		return fmt.Errorf("no node has revision %q: name the whole commit", shorten(ask.Revision))
	}
	withdraw(&d.doc, ask.Revision)
	if d.doc.Previous == ask.Revision {
		d.doc.Previous = ""
	}
	rescue(&d.doc, nodes, d.now)
	what := by("revision "+short(ask.Revision)+" withdrawn", ask)
	if d.doc.Revision == ask.Revision && d.doc.State != nf.RolloutAborted {
		d.halt(what)
		return nil
	}
	d.record(what)
	return nil
}

func (d *decision) isKnown(revision string, nodes []nf.HeardNode) bool {
	return revision != "" && (revision == d.doc.Revision || revision == d.doc.Previous ||
		slices.ContainsFunc(nodes, func(n nf.HeardNode) bool { return n.Revision == revision }))
}

// impossible says why the roll-out cannot be changed so, and what can be done instead.
func (d *decision) impossible() error {
	switch {
	case isWithdrawn(d.doc, d.doc.Revision):
		return fmt.Errorf("revision %s is withdrawn: roll out another one", short(d.doc.Revision))
	case d.doc.State == nf.RolloutAborted:
		return errors.New("it is aborted: roll out another revision")
	case d.doc.State == nf.RolloutDone:
		return fmt.Errorf("it is done: every node may take the revision; halt it with: nfsync fleet rollout halt; withdraw it with: nfsync fleet withdraw %s", d.doc.Revision)
	}
	return fmt.Errorf("it is %s already: %s", d.doc.State, d.doc.Reason)
}

// by says what was done, by whom and why.
func by(what string, ask nf.FleetAsk) string { return shorten(what + " by " + who(ask)) }

func who(ask nf.FleetAsk) string {
	name := ask.By
	if name == "" {
		name = "an operator"
	}
	if ask.Reason != "" {
		name += ": " + ask.Reason
	}
	return name
}
