package view

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"nfsync.dev/nfsync/internal/nf"
)

// FleetRollouts is the output of fleet rollout, the FleetRollout document.
var FleetRollouts = newKind(fleetRolloutJSON, (*page).fleetRollout)

func fleetRolloutJSON(r nf.FleetRollout) any {
	r.Groups, r.Begun, r.Failed, r.Silent, r.Unread = filled(r.Groups), filled(r.Begun), filled(r.Failed), filled(r.Silent), filled(r.Unread)
	if r.Document != nil {
		d := *r.Document
		d.Groups, d.Plan.Fractions = filled(d.Groups), filled(d.Plan.Fractions)
		r.Document = &d
	}
	return r
}

// FleetRolloutLine returns how far a roll-out is in one line.
func FleetRolloutLine(r nf.FleetRollout) string {
	line := r.At.UTC().Format(time.TimeOnly) + "  "
	d := r.Document
	if d == nil {
		return line + "no roll-out so far\n"
	}
	line += Clean(shortCommit(d.Revision)) + "  " + Clean(string(d.State)) + ", " + stepText(*d) + "  " + countsText(r.Counts)
	if r.Waits != "" {
		line += "  " + Clean(r.Waits)
	}
	return line + "\n"
}

// stepText names the present step: "step 2 of 6 (1%)".
func stepText(d nf.RolloutDocument) string {
	if d.Step < 0 {
		return "no step has begun"
	}
	return fmt.Sprintf("step %d of %d (%s)", d.Step+1, len(d.Plan.StepNames()), d.StepName())
}

// countsText returns the counts that are not zero.
func countsText(c nf.RolloutCounts) string {
	var parts []string
	for _, part := range []struct {
		n    int
		word string
	}{{c.Applied, "applied"}, {c.Refused, "refused"}, {c.Failed, "failed"}, {c.Begun, "begun"}, {c.Waiting, "waiting"}, {c.Unaffected, "unaffected"}, {c.Silent, "silent"}} {
		if part.n > 0 {
			parts = append(parts, countOf(part.n, part.word))
		}
	}
	if parts == nil {
		return "no nodes"
	}
	return strings.Join(parts, ", ")
}

func (p *page) fleetRollout(r nf.FleetRollout) {
	d := r.Document
	if d == nil {
		p.line("Nothing was rolled out on ", Clean(r.Channel), " so far.")
		p.silentNodes(r.Silent, r.At)
		p.nodeReasons(red, "Unreadable", r.Unread)
		return
	}
	p.line(p.paint(bold, "Roll-out of "+Clean(shortCommit(d.Revision))), " on ", Clean(r.Channel), " is ", p.paint(stateStyles[d.State], Clean(string(d.State))), ": ", stepText(*d))
	p.line()
	p.labelled(bold, "Reason", unlessIn(r.Waits, d.Reason))
	p.labelled(bold, "Waits", r.Waits)
	p.labelled(bold, "Next", r.Next)
	p.labelled(bold, "Nodes", fmt.Sprintf("%d: %s", r.Counts.Nodes, countsText(r.Counts)))
	p.labelled(bold, "Revision", d.Revision)
	p.labelled(bold, "Previous", d.Previous)
	p.labelled(bold, "Withdrawn", strings.Join(withdrawn(*d), ", "))
	p.labelled(bold, "Plan", planText(d.Plan))
	p.labelled(bold, "Document", fmt.Sprintf("generation %d, by %s (term %d) at %s", d.Generation, d.Coordinator, d.Term, nf.Clock(d.UpdatedAt)))
	p.groupCounts(r.Groups)
	p.nodeReasons(red, "Failed", r.Failed)
	p.begunNodes(r.Begun, r.At)
	p.silentNodes(r.Silent, r.At)
	p.nodeReasons(red, "Unreadable", r.Unread)
	p.history(d.History)
	p.line()
	p.commands(rolloutCommands(*d))
}

// withdrawn returns the withdrawn revisions that a text names, the newest first.
func withdrawn(d nf.RolloutDocument) []string {
	var list []string
	for i := len(d.Withdrawn) - 1; i >= 0 && len(list) < maxRevisions; i-- {
		list = append(list, shortCommit(d.Withdrawn[i]))
	}
	return list
}

// planText says by which steps a plan goes.
func planText(plan nf.RolloutPlan) string {
	name := "the default"
	if plan.Name != "" {
		name = plan.Name
	}
	return name + ": " + strings.Join(plan.StepNames(), ", ") + "; each is watched for " + policyDuration(int64(plan.Soak))
}

// begunNodes names the nodes at work.
func (p *page) begunNodes(nodes []nf.BegunNode, at time.Time) {
	if len(nodes) == 0 {
		return
	}
	p.heading(cyan, "At work")
	table := list{heads: []string{"node", "group", "begun"}}
	for _, n := range nodes[:min(len(nodes), maxNamed)] {
		table.add(words(plain, Clean(n.Node)), words(plain, Clean(n.Group)), words(plain, ago(n.Since, at)))
	}
	p.list(2, table)
	p.more(len(nodes) - maxNamed)
}

// history writes what has happened last, the newest at the end.
func (p *page) history(records []nf.RolloutRecord) {
	if len(records) == 0 {
		return
	}
	p.heading(plain, "History")
	if more := len(records) - maxNamed; more > 0 {
		p.line("  ", fmt.Sprintf("%d before", more))
		records = records[more:]
	}
	const wide = len("2006-01-02 15:04:05 UTC")
	for _, r := range records {
		p.hanging(wide+4, "  "+p.paint(dim, nf.Clock(r.At)), r.What+" ("+countsText(r.Counts)+")")
	}
}

// rolloutCommands are what a person may do in the state of a roll-out.
func rolloutCommands(d nf.RolloutDocument) [][2]string {
	pause := [2]string{"nfsync fleet rollout pause", "lets no more nodes begin"}
	switch d.State {
	case nf.RolloutRolling, nf.RolloutSoaking:
		return [][2]string{pause}
	case nf.RolloutPaused:
		if d.AwaitsApproval {
			return [][2]string{{"nfsync fleet rollout approve", "lets the next step begin"}}
		}
		return [][2]string{{"nfsync fleet rollout resume", "ends the pause"}}
	case nf.RolloutHalted:
		if slices.Contains(d.Withdrawn, d.Revision) {
			break
		}
		return [][2]string{{"nfsync fleet withdraw " + shortCommit(d.Revision), "lets no node begin it, and the next revision go first to those that have it"},
			{"nfsync fleet rollout resume", "goes on in spite of what has failed"}, {"nfsync fleet rollout abort", "ends the roll-out, and withdraws its revision"}}
	}
	return [][2]string{{"nfsync fleet status", "counts the nodes"}}
}
