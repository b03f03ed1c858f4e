package view

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"nfsync.dev/nfsync/internal/nf"
)

// NodeStatuses is the output of status, the NodeStatus document.
var NodeStatuses = newKind(func(s nf.NodeStatus) any { return s }, (*page).nodeStatus)

// StatusFile returns the JSON of a status.
func StatusFile(s nf.NodeStatus) ([]byte, error) { return encodeJSON(s) }

// StatusLine returns a status in one line.
func StatusLine(s nf.NodeStatus) string {
	ready := s.Condition(nf.Ready)
	line := s.UpdatedAt.UTC().Format(time.TimeOnly) + "  " + readiness(ready)
	if l := s.CurrentLap; l != nil {
		line += fmt.Sprintf("  a lap runs (%s)", strings.Join(l.Causes, " "))
	} else if l := s.LastLap; l != nil {
		line += fmt.Sprintf("  %s (%s)", l.Result, strings.Join(l.Causes, " "))
		if l.Applied > 0 {
			line += "  " + countOf(l.Applied, "applied")
		}
	}
	for _, c := range s.Conditions {
		switch {
		case c.Type == nf.Published && c.Status == nf.ConditionFalse:
			line += "  " + c.Reason
		case !c.Type.IsGood() && c.Type != nf.Reconciling && c.Status == nf.ConditionTrue:
			line += "  " + string(c.Type)
		}
	}
	if ready.Status != nf.ConditionTrue {
		line += "  " + Clean(ready.Message)
	}
	return line + "\n"
}

func readiness(c nf.Condition) string {
	switch c.Status {
	case nf.ConditionTrue:
		return "ready"
	case nf.ConditionFalse:
		return "not ready"
	}
	return "starting"
}

// The columns that labels take.
const (
	statusLabel    = 12
	conditionLabel = 16
)

func (p *page) nodeStatus(s nf.NodeStatus) {
	field := func(label, text string) {
		if text != "" {
			p.hanging(statusLabel, p.paint(bold, pad(label, statusLabel-2)), text)
		}
	}
	ready := s.Condition(nf.Ready)
	style := map[nf.ConditionStatus]string{nf.ConditionTrue: green, nf.ConditionFalse: red}[ready.Status]
	p.line(p.paint(bold, "Node "+Clean(s.Node)), " is ", p.paint(style, readiness(ready)), p.paint(dim, " since "+nf.Clock(ready.LastTransitionTime)))
	p.line()
	field("Policies", s.Source)
	for _, u := range s.URLs {
		if len(s.URLs) > 1 || u.Error != "" {
			field("", urlText(u))
		}
	}
	field("In force", inForce(s.Revision))
	field("Last lap", lastLap(s.LastLap))
	if l := s.CurrentLap; l != nil {
		field("Now", fmt.Sprintf("a lap, since %s, after %s", nf.Clock(l.StartedAt), strings.Join(l.Causes, ", ")))
	}
	field("Next", nextLaps(s))
	field("Agent", fmt.Sprintf("%s, process %d, running since %s, mode %s", cmp.Or(s.Agent.Version, "unknown version"), s.Agent.PID, nf.Clock(s.Agent.StartedAt), s.Mode))
	if c := s.Condition(nf.Published); c.Status == nf.ConditionTrue {
		field("Published", c.Message)
	}
	if f := s.Fleet; f != nil {
		field("Fleet", fleetLink(f))
		field("", fleetProgress(f))
	}
	for _, c := range s.Conditions {
		holds := c.Status == nf.ConditionTrue
		if holds == c.Type.IsGood() || c.Status == nf.ConditionUnknown || saidByAnother(s.Conditions, c) {
			continue
		}
		label := string(c.Type)
		if !holds {
			label = "not " + label
		}
		p.line()
		p.hanging(conditionLabel, p.paint(yellow, pad(label, conditionLabel-2)), c.Reason+", since "+nf.Clock(c.LastTransitionTime)+": "+c.Message)
	}
	for _, e := range s.Errors[min(1, len(s.Errors)):] { // the first one is in the conditions
		p.line("  ", p.paint(red, Clean(e)))
	}
	p.tables(s.Tables)
	section(p, red, stuckTitle, s.Stuck, stuckEntry)
	section(p, red, fightTitle, s.Fights, fightEntry)
	section(p, yellow, "Not made", notFought(s), changeEntry)
	section(p, red, "Refused", s.Refusals, refusalEntry)
	section(p, yellow, "Pending", s.Pending, pendingEntry)
	p.chapter(warningChapter(p.foldAbove(), ofOne(s.Warnings)))
	if s.Summary != nil {
		p.line()
		p.line(count(s.Summary.Changes, "change"), " not made, ", countOf(s.Summary.Refusals, "refused"), ", ", countOf(s.Summary.Pending, "pending"), ", ", countOf(s.Summary.InSync, "in sync"))
	}
	var next [][2]string
	if s.Suspension != nil {
		next = append(next, [2]string{"nfsync resume", "lets the agent make changes again"})
	}
	p.commands(append(next, explained(s.Refusals)...))
}

// saidByAnother reports whether a condition that does not hold has the message of one that does:
// what makes the node not ready is most often why the agent has stalled.
func saidByAnother(list []nf.Condition, c nf.Condition) bool {
	return c.Status == nf.ConditionFalse && slices.ContainsFunc(list, func(o nf.Condition) bool {
		return o.Type != c.Type && o.Status == nf.ConditionTrue && o.Message == c.Message
	})
}

// maxTables is how many conntrack tables are named.
const maxTables = 20

// tables writes the conntrack tables that fill.
func (p *page) tables(list []nf.FillingTable) {
	if len(list) == 0 {
		return
	}
	p.heading(yellow, "Conntrack tables")
	for _, f := range list[:min(len(list), maxTables)] {
		p.line("  ", Clean(f.Target.String()), " ", f.When(), p.paint(dim, fmt.Sprintf("  (%d of %d entries)", f.Count, f.Max)))
		if losses := f.Losses(); losses != "" {
			p.line("      ", p.paint(red, losses))
		}
	}
	if more := len(list) - maxTables; more > 0 {
		p.line("  ", fmt.Sprintf("and %d more", more))
	}
}

// urlText says how the fetches from a URL go.
func urlText(u nf.SourceURL) string {
	text := u.URL + ": not tried so far"
	switch worked := u.LastFetch != nil; {
	case worked && u.Error != "":
		text = u.URL + ": last worked at " + nf.Clock(*u.LastFetch) + ", then failed: " + u.Error
	case worked:
		text = u.URL + ": last worked at " + nf.Clock(*u.LastFetch)
	case u.Error != "":
		text = u.URL + ": has not worked: " + u.Error
	}
	if u.RetryAt != nil {
		text += " (while another works, it is tried again at " + nf.Clock(*u.RetryAt) + ")"
	}
	return text
}

// fleetLink says which fleet a node belongs to, and which roll-out it knows.
func fleetLink(f *nf.FleetPlace) string {
	parts := []string{"channel " + f.Channel, "not connected"}
	if f.ConnectedSince != nil {
		parts[1] = "connected to " + f.Server + " since " + nf.Clock(*f.ConnectedSince)
	}
	switch {
	case f.Generation == 0:
		parts = append(parts, "no roll-out is known")
	default:
		parts = append(parts, fmt.Sprintf("roll-out of %s is %s (document %d)", f.Revision, f.State, f.Generation))
	}
	if f.Group != "" {
		parts = append(parts, "group "+f.Group)
	}
	if f.Error != "" {
		parts = append(parts, "what the node is could not be put: "+f.Error)
	}
	return strings.Join(parts, ", ")
}

// fleetProgress says how far a node is with a revision, and why it waits; empty if nothing is known.
func fleetProgress(f *nf.FleetPlace) string {
	var parts []string
	if p := f.Progress; p != nil {
		text := fmt.Sprintf("%s: %s since %s", p.Revision, p.State, nf.Clock(p.At))
		if p.Reason != "" {
			text += ": " + p.Reason
		}
		parts = append(parts, text)
	}
	if f.BeginsAt != nil {
		parts = append(parts, "begins at "+nf.Clock(*f.BeginsAt))
	}
	if g := f.Grant; g != nil {
		parts = append(parts, "may restart containers until "+nf.Clock(g.Until))
	}
	return strings.Join(parts, "; ")
}

const fightTitle = "Left: something else changes it back, and nfsync has given up until the policy changes or nfsync sync"

func fightEntry(f nf.Fight) entry {
	e := newEntry(span{red, "!"}, f.Target, f.Key, f.Layer, f.From, f.To)
	e.cells = append(e.cells, cell{{plain, fmt.Sprintf("changed back %d times within an hour, left since %s", f.Flips, nf.Clock(f.Since))}})
	e.notes = unknownNow(f.From)
	for _, w := range f.SetBy {
		text := "perhaps set by " + w.Where + ", which says " + value(f.Target, f.Key, w.Value)
		switch {
		case w.Value == f.From:
			text = "probably set by " + w.Where
		case w.Value.IsUnknown():
			text = "perhaps set by " + w.Where + ": " + w.Value.Why()
		}
		e.notes = append(e.notes, note{dim, "why", text})
	}
	return e
}

// notFought returns the changes that were not made, without those that were left to a fight.
func notFought(s nf.NodeStatus) []nf.Change {
	return slices.DeleteFunc(slices.Clone(s.Changes), func(c nf.Change) bool {
		return slices.ContainsFunc(s.Fights, func(f nf.Fight) bool {
			return f.Target == c.Target && f.Key == c.Key && f.Layer == c.Layer
		})
	})
}

func inForce(r *nf.InForce) string {
	if r == nil {
		return "nothing"
	}
	var parts []string
	for _, part := range []struct{ what, text string }{{"commit", r.Commit}, {"branch", r.Branch}, {"tag", r.Tag}, {"signed by", r.Signer}} {
		if part.text != "" {
			parts = append(parts, part.what+" "+part.text)
		}
	}
	if parts == nil {
		parts = []string{"the policies of the directory"}
	}
	return strings.Join(parts, ", ") + ", since " + nf.Clock(r.Since)
}

func lastLap(l *nf.LapStatus) string {
	if l == nil {
		return "the first one has not ended"
	}
	text := fmt.Sprintf("%s at %s, after %s", l.Result, nf.Clock(l.FinishedAt), strings.Join(l.Causes, ", "))
	if l.Applied > 0 {
		text += fmt.Sprintf(": %d applied (receipt %s)", l.Applied, l.Receipt)
	}
	return text
}

func nextLaps(s nf.NodeStatus) string {
	var parts []string
	for _, n := range s.Next {
		parts = append(parts, n.Cause+" at "+nf.Clock(n.At))
	}
	return strings.Join(parts, ", ")
}
