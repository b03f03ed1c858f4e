package rollout

import (
	"fmt"
	"slices"

	"nfsync.dev/nfsync/internal/nf"
)

// Unheard is by how many, at least, the document after a loss is later than the latest that a node says it has had: others may have had
// later ones, and not said so yet.
const Unheard = 100

// storeIsOlder halts a roll-out if nodes have had later documents than this one: the store has lost it, or was restored
// from an older copy. The next document is later than all that nodes have had, or they would refuse it.
func (d *decision) storeIsOlder(heard Heard) bool {
	seen, by := Newest(heard.Nodes)
	if seen <= d.doc.Generation {
		return false
	}
	reason := fmt.Sprintf("node %s has had generation %d of the roll-out, and the store had only %d: it has lost what came after", by, seen, d.doc.Generation)
	d.doc.Generation = seen + Unheard
	if d.doc.State != nf.RolloutAborted {
		d.doc.Recovered = true
		d.halt(reason)
	} else {
		d.doc.Reason = shorten(reason)
		d.record(reason)
	}
	return true
}

// Newest returns the highest generation of a document that a node has had, and that node; the first by name.
func Newest(nodes []nf.HeardNode) (generation uint64, node string) {
	for i := range nodes {
		n := &nodes[i]
		if n.Generation > generation || n.Generation == generation && generation > 0 && n.Node < node {
			generation, node = n.Generation, n.Node
		}
	}
	return generation, node
}

// storeHasLost halts a roll-out if the store suddenly knows less than half of the nodes: fractions of those that are
// left would let too many of the others begin.
func (d *decision) storeHasLost(heard Heard) bool {
	switch d.doc.State {
	case nf.RolloutHalted, nf.RolloutAborted, nf.RolloutDone:
		return false
	}
	known := len(heard.Nodes)
	if 2*(known+heard.Retired) >= d.doc.Nodes {
		return false
	}
	d.doc.Recovered = true
	d.halt(fmt.Sprintf("the store knows %d nodes, and knew %d: it has lost what the others have said; resume when they are back", known, d.doc.Nodes))
	return true
}

// foreign is why a document is halted that isForeign.
const foreign = "another version of nfsync-coordinator has written the document, and this one does not understand it: roll out another revision"

// isForeign reports whether a document under way has not what this version writes. What is missing must not look like a step that
// has ended.
func isForeign(doc *nf.RolloutDocument) bool {
	switch doc.State {
	case nf.RolloutHalted, nf.RolloutAborted, nf.RolloutDone:
		return false
	case nf.RolloutSoaking:
		if doc.StepEnded == nil {
			return true
		}
	case nf.RolloutRolling, nf.RolloutPaused:
	default:
		return true
	}
	began := slices.ContainsFunc(doc.Groups, func(g nf.RolloutGroup) bool { return g.Step >= 0 })
	steps := len(doc.Plan.StepNames())
	return steps == 0 || doc.Step < -1 || doc.Step >= steps || doc.Step >= 0 && !began || len(doc.Groups) != len(doc.Plan.Groups)+1
}

// tooManyFailed returns why too many nodes have failed; empty: they have not.
func (d *decision) tooManyFailed() string {
	all, groups := d.survey.counts(everyMember)
	forgiven := 0
	for i, c := range groups {
		g := &d.doc.Groups[i]
		forgiven += g.Forgiven
		if d.isTooMany(c, g.Forgiven) {
			return d.failures(i, c)
		}
	}
	if d.isTooMany(all, forgiven) {
		return d.failures(-1, all)
	}
	return ""
}

// isTooMany reports whether too many of the nodes have failed, besides those that a person has forgiven.
func (d *decision) isTooMany(c nf.RolloutCounts, forgiven int) bool {
	failed := failedOf(&d.doc.Plan, c) - forgiven
	return failed > d.doc.Plan.FailureCount && float64(failed) > d.doc.Plan.FailureFraction*float64(begunOf(c))
}

// stepFailed returns why the step must not be followed by another one, although not too many nodes have failed;
// empty: it may. A group may be so small that a few failures are all of it.
func (d *decision) stepFailed() string {
	_, all := d.survey.counts(everyMember)
	_, step := d.survey.counts(d.survey.ofStep)
	for i, c := range step {
		g := &d.doc.Groups[i]
		if !d.isUnderWay(i) {
			continue
		}
		if failedOf(&d.doc.Plan, c) > 0 && succeededOf(&d.doc.Plan, c) == 0 && c.Begun == 0 && failedOf(&d.doc.Plan, all[i]) > g.Forgiven {
			return "none of the step has succeeded: " + d.failures(i, all[i])
		}
		if waiting := d.waiting(i); waiting > 0 && begunOf(c) == 0 && d.isMore(i) {
			return fmt.Sprintf("no node of group %s has begun in the step by its deadline, and %d were to", g.Name, waiting)
		}
	}
	return ""
}

// isUndecided reports whether none of a group has succeeded in the step, and some are still at work.
func (d *decision) isUndecided() bool {
	_, step := d.survey.counts(d.survey.ofStep)
	for i, c := range step {
		if d.isUnderWay(i) && c.Begun > 0 && succeededOf(&d.doc.Plan, c) == 0 {
			return true
		}
	}
	return false
}

// isMore reports whether nodes of a group wait for later steps.
func (d *decision) isMore(group int) bool {
	for i := range d.survey.members {
		m := &d.survey.members[i]
		if m.group == group && m.standing == standsWaiting && m.position >= d.doc.Groups[group].Fraction {
			return true
		}
	}
	return false
}

// begunOf, failedOf and succeededOf count nodes that have begun in the roll-out, whatever has become of them; those
// that count as failed; and those that have ended and do not.
func begunOf(c nf.RolloutCounts) int { return c.Begun + c.Applied + c.Refused + c.Failed }

func failedOf(plan *nf.RolloutPlan, c nf.RolloutCounts) int {
	if plan.RefusalsFail {
		return c.Failed + c.Refused
	}
	return c.Failed
}

func succeededOf(plan *nf.RolloutPlan, c nf.RolloutCounts) int {
	if plan.RefusalsFail {
		return c.Applied
	}
	return c.Applied + c.Refused
}

// failures says how many nodes of a group have failed, and names some; group -1: of all groups.
func (d *decision) failures(group int, c nf.RolloutCounts) string {
	of := ""
	if group >= 0 {
		of = " of group " + d.doc.Groups[group].Name
	}
	var names []string
	for _, f := range d.survey.failed(group) {
		names = append(names, f.Node+" ("+f.Reason+")")
	}
	return fmt.Sprintf("%d of %s%s that began failed: %s", failedOf(&d.doc.Plan, c), plural(begunOf(c), "node"), of, some(names))
}
