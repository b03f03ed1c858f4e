package rollout

import (
	"fmt"
	"math"
	"slices"
	"time"

	"nfsync.dev/nfsync/internal/nf"
)

// widenAfter is the least time between two changes of a step that replace nodes that turned out to be unaffected. Each
// change is read by all nodes.
const widenAfter = 15 * time.Second

// Heard is what the store knows of the nodes of a fleet.
type Heard struct {
	// Nodes are all that the store knows: a part of them looks like a store that has lost the others.
	Nodes []nf.HeardNode
	// Since is since when nodes could be heard without a break, by the store's clock. That a node was silent before says
	// nothing of it. The zero time: always.
	Since time.Time
	// Retired is how many nodes are gone for good: the store knows that, and has not lost them.
	Retired int
}

// Decide returns the next document, and whether it is another one. It does not set Coordinator and Term.
func Decide(doc nf.RolloutDocument, heard Heard, now time.Time) (next nf.RolloutDocument, changed bool) {
	if doc.Revision == "" {
		return doc, false
	}
	d := decide(doc, heard, now)
	if d.storeIsOlder(heard) || d.storeHasLost(heard) {
		return d.written(heard.Nodes), true
	}
	switch doc.State {
	case nf.RolloutHalted, nf.RolloutAborted:
		return doc, false
	}
	if isForeign(&doc) {
		d.halt(foreign)
		return d.written(heard.Nodes), true
	}
	for d.move() {
		d.survey.lookAgain()
	}
	if !d.changed {
		return doc, false
	}
	return d.written(heard.Nodes), true
}

// A decision is a document that is being changed.
type decision struct {
	doc     nf.RolloutDocument
	survey  survey
	now     time.Time
	changed bool
}

func decide(doc nf.RolloutDocument, heard Heard, now time.Time) *decision {
	doc.Groups = slices.Clone(doc.Groups) // the caller's document stays as it is
	d := &decision{doc: doc, now: now}
	d.survey = look(&d.doc, heard, now)
	return d
}

// written returns the document as it is to be written.
func (d *decision) written(nodes []nf.HeardNode) nf.RolloutDocument {
	d.doc.Generation++
	d.doc.UpdatedAt = d.now
	d.forgiveNoMore(nodes)
	if d.doc.State != nf.RolloutHalted {
		d.doc.Nodes = max(d.doc.Nodes, len(nodes))
	}
	return d.doc
}

// move makes the next move of the roll-out, if it is time, and reports whether another one may follow. Each one that
// does brings the roll-out on, so that there is an end.
func (d *decision) move() bool {
	if reason := d.tooManyFailed(); reason != "" {
		d.doc.PausedBefore = isPaused(&d.doc)
		d.halt(reason)
		return false
	}
	if d.rescueOthers() {
		d.doc.Rescue = 1
		d.record("the first nodes on withdrawn revisions have the revision: the others follow")
	}
	switch {
	case d.doc.State == nf.RolloutDone, d.isDeaf():
		return false
	case d.doc.State == nf.RolloutRolling && d.doc.Step >= 0:
		return d.endStep()
	case d.doc.State == nf.RolloutRolling, d.doc.State == nf.RolloutSoaking && d.hasSoaked():
		return d.goOn()
	}
	return false
}

// isDeaf reports whether fewer than half of the nodes are heard of that were when the step began. Nodes that the store does
// not know any more do not count: they were retired.
func (d *decision) isDeaf() bool {
	return 2*d.survey.live() < min(d.doc.Live, len(d.survey.members))
}

// endStep ends a step whose nodes have ended, or whose deadline has come.
func (d *decision) endStep() bool {
	late := !d.now.Before(d.survey.deadline())
	// Widening first: a step has not ended as long as others are to take the turn of some of its nodes. After the
	// deadline they do so only if the step has brought the turn of nobody who could begin.
	if fractions := d.fractions(); d.isWider(fractions) && (!late || d.isEmpty()) {
		return d.widen(fractions, late)
	}
	if !late && d.isBusy() {
		return false
	}
	if reason := d.stepFailed(); reason != "" {
		d.halt(reason)
		return false
	}
	// A group that has gone silent does not keep those after it from beginning.
	if !d.hasEvidence() && !d.isOfNone() && (!d.doc.Plan.InOrder || d.nextGroup() < 0) || d.isUndecided() {
		return false
	}
	ended := d.now
	d.doc.State, d.doc.StepEnded = nf.RolloutSoaking, &ended
	d.record(d.stepName(d.doc.Step) + " ended")
	return true
}

// isEmpty reports whether the step has brought the turn of no node that has begun or may begin.
func (d *decision) isEmpty() bool {
	return !slices.ContainsFunc(d.survey.members, func(m member) bool { return m.isCandidate() && d.survey.ofStep(&m) })
}

// isBusy reports whether the step waits for nodes: those whose turn it has brought, and all that are at work.
func (d *decision) isBusy() bool {
	for i := range d.survey.members {
		m := &d.survey.members[i]
		if m.standing == standsBegun || m.standing == standsWaiting && d.survey.ofStep(m) {
			return true
		}
	}
	return false
}

// hasEvidence reports whether any node has shown what becomes of the revision. A fleet of which nothing is heard
// must not be taken for one in which nothing is to be done.
func (d *decision) hasEvidence() bool {
	return slices.ContainsFunc(d.survey.members, func(m member) bool {
		return m.standing == standsUnaffected || m.standing > standsBegun
	})
}

// isOfNone reports whether nodes are heard of, and the plan lets none of them begin in the step: groups may have no canaries.
func (d *decision) isOfNone() bool {
	heard := false
	for i, candidates := range d.survey.candidates() {
		if !d.isUnderWay(i) || len(candidates) == 0 {
			continue
		}
		if nodesOf(&d.doc.Plan, d.doc.Step, i, len(candidates)) > 0 {
			return false
		}
		heard = true
	}
	return heard
}

// hasSoaked reports whether the step was watched for long enough. If no node of it has begun there is nothing to watch.
func (d *decision) hasSoaked() bool {
	if watched := d.survey.heardSince(*d.doc.StepEnded); !d.now.Before(watched.Add(d.doc.Plan.Soak.Duration())) {
		return true
	}
	for i := range d.survey.members {
		if m := &d.survey.members[i]; m.hasBegun() && d.survey.ofStep(m) {
			return false
		}
	}
	return true
}

// goOn begins the next step, or ends the group or the roll-out.
func (d *decision) goOn() bool {
	steps := d.doc.Plan.StepNames()
	another := d.doc.Plan.InOrder && d.nextGroup() >= 0
	// While the next group waited for its first step its last node may have gone silent, or turned out to be unaffected.
	if passed := d.doc.Step < 0 && d.group() >= 0 && !another; d.doc.Step+1 < len(steps) && !passed {
		return d.beginStep(d.doc.Step + 1)
	}
	if another {
		d.record("group " + d.doc.Groups[d.group()].Name + " is complete")
		// The steps of the next group count, and are approved, anew.
		d.doc.State, d.doc.Step, d.doc.Approved, d.doc.StepEnded = nf.RolloutRolling, -1, -1, nil
		return true
	}
	for i := range d.doc.Groups {
		g := &d.doc.Groups[i]
		g.Fraction, g.Step = 1, len(steps)-1
	}
	done := d.now
	d.doc.State, d.doc.Rescue, d.doc.DoneAt = nf.RolloutDone, 1, &done
	d.record("the roll-out is done")
	return false
}

// beginStep begins a step, unless it has to wait for a person, a window, or nodes.
func (d *decision) beginStep(step int) bool {
	if step == 0 && d.nextGroup() < 0 {
		return false // no node is heard of
	}
	if slices.Contains(d.doc.Plan.PauseBefore, step) && d.doc.Approved < step {
		d.doc.State, d.doc.AwaitsApproval = nf.RolloutPaused, true
		d.doc.Reason = d.stepName(step) + " waits for approval"
		d.record(d.doc.Reason)
		return false
	}
	if !isOpen(d.doc.Plan.Windows, d.now) {
		return false
	}
	began := d.group()
	if step == 0 {
		began = d.nextGroup()
	}
	for i := range d.doc.Groups {
		g := &d.doc.Groups[i]
		g.Before = g.Fraction
		switch {
		case !d.doc.Plan.InOrder || i == began:
			g.Step = step
		case i < began:
			// It is complete, or had no nodes when its turn came.
			g.Fraction, g.Before, g.Step = 1, 1, len(d.doc.Plan.StepNames())-1
		}
	}
	d.doc.State, d.doc.Step, d.doc.StepBegan, d.doc.StepEnded, d.doc.Live = nf.RolloutRolling, step, d.now, nil, d.survey.live()
	d.doc.StepFrom = d.doc.Generation
	d.setFractions(d.fractions())
	d.doc.Spread = spread(d.doc.Plan, d.waiting(-1))
	d.record(d.stepName(step) + " began")
	return true
}

// nextGroup returns the index of the group whose first step comes next; -1: there is none, or no node is heard of. Groups that
// go side by side begin with the first one. With InOrder those without nodes to begin are passed.
func (d *decision) nextGroup() int {
	began := d.group()
	if began >= 0 && !d.doc.Plan.InOrder {
		return -1
	}
	for i, candidates := range d.survey.candidates() {
		switch {
		case len(candidates) == 0 || i <= began:
		case d.doc.Plan.InOrder:
			return i
		default:
			return 0
		}
	}
	if began < 0 && d.hasEvidence() {
		return len(d.doc.Groups) - 1 // all nodes have turned out to be unaffected
	}
	return -1
}

// group returns the index of the group that is under way, or was last; -1: none has begun.
func (d *decision) group() int {
	last := -1
	for i, g := range d.doc.Groups {
		if g.Step >= 0 {
			last = i
		}
	}
	return last
}

// isUnderWay reports whether the present step is one of the group.
func (d *decision) isUnderWay(group int) bool {
	return d.doc.Groups[group].Step >= 0 && (!d.doc.Plan.InOrder || group == d.group())
}

// fractions returns the fraction of each group that the present step lets begin. They are never below
// those that the groups have.
func (d *decision) fractions() []float64 {
	plan, step := &d.doc.Plan, d.doc.Step
	candidates := d.survey.candidates()
	fractions := make([]float64, len(d.doc.Groups))
	for i, g := range d.doc.Groups {
		fractions[i] = g.Fraction
		if !d.isUnderWay(i) {
			continue
		}
		if step == len(plan.StepNames())-1 {
			fractions[i] = 1
		} else if n := min(nodesOf(plan, step, i, len(candidates[i])), len(candidates[i])); n > 0 {
			fractions[i] = max(g.Fraction, above(candidates[i][n-1]))
		}
	}
	return fractions
}

// nodesOf returns how many of the candidates of a group have their turn in a step.
func nodesOf(plan *nf.RolloutPlan, step, group, candidates int) int {
	if plan.HasCanaries() {
		if step == 0 {
			return canariesOf(*plan, group)
		}
		step--
	}
	if step >= len(plan.Fractions) {
		return 0 // see isForeign
	}
	// 7 % of 100 nodes are 7, although 0.07 * 100 is more.
	return int(math.Ceil(plan.Fractions[step]*float64(candidates) - 1e-9))
}

// isWider reports whether fractions are others than those of the groups.
func (d *decision) isWider(fractions []float64) bool {
	for i, f := range fractions {
		if f != d.doc.Groups[i].Fraction {
			return true
		}
	}
	return false
}

// widen gives the turn of nodes that turned out to be unaffected, or went silent before they began, to others. After the
// deadline these have a time of their own. It reports whether it is time for that.
func (d *decision) widen(fractions []float64, late bool) bool {
	if since := d.now.Sub(d.doc.UpdatedAt); since >= 0 && since < widenAfter {
		return false
	}
	if late {
		d.doc.StepBegan = d.now
	}
	d.setFractions(fractions)
	d.doc.Spread = max(d.doc.Spread, spread(d.doc.Plan, d.waiting(-1)))
	d.changed = true
	return true
}

func (d *decision) setFractions(fractions []float64) {
	for i, f := range fractions {
		d.doc.Groups[i].Fraction = f
	}
}

// waiting counts the nodes of a group that have not begun although the step lets them; group -1: of all groups.
func (d *decision) waiting(group int) int {
	all, _ := d.survey.counts(func(m *member) bool {
		return m.standing == standsWaiting && d.survey.ofStep(m) && (group < 0 || m.group == group)
	})
	return all.Nodes
}

// record adds to the history what has happened.
func (d *decision) record(what string) {
	d.changed = true
	all, _ := d.survey.counts(everyMember)
	history := append(slices.Clone(d.doc.History), nf.RolloutRecord{At: d.now, What: shorten(what), Counts: all})
	if more := len(history) - maxHistory; more > 0 {
		history = history[more:]
	}
	d.doc.History = history
}

// isPaused reports whether a person has paused a roll-out, and nobody has decided anything since.
func isPaused(doc *nf.RolloutDocument) bool {
	return doc.State == nf.RolloutPaused && !doc.AwaitsApproval || doc.State == nf.RolloutHalted && doc.PausedBefore
}

// halt lets no node begin until a person decides.
func (d *decision) halt(reason string) {
	d.doc.State, d.doc.AwaitsApproval, d.doc.Reason = nf.RolloutHalted, false, shorten(reason)
	d.record("halted: " + reason)
}

// stepName names a step as people count them. With InOrder it is one of a group.
func (d *decision) stepName(step int) string {
	name := stepName(&d.doc.Plan, step)
	group := d.group()
	if d.doc.Step < 0 && d.nextGroup() >= 0 {
		group = d.nextGroup()
	}
	if d.doc.Plan.InOrder && group >= 0 {
		name += " of group " + d.doc.Groups[group].Name
	}
	return name
}

func stepName(plan *nf.RolloutPlan, step int) string {
	names := plan.StepNames()
	if step < 0 || step >= len(names) {
		return fmt.Sprintf("step %d", step+1) // see isForeign
	}
	return fmt.Sprintf("step %d of %d (%s)", step+1, len(names), names[step])
}
