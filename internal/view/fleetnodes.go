package view

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"nfsync.dev/nfsync/internal/nf"
)

// FleetNodes is the output of fleet nodes, the FleetNodes document.
var FleetNodes = newKind(fleetNodesJSON, (*page).fleetNodes)

func fleetNodesJSON(f nf.FleetNodes) any {
	f.Nodes, f.Unread = filled(f.Nodes), filled(f.Unread)
	for i := range f.Nodes {
		f.Nodes[i].Conditions = filledConditions(f.Nodes[i].Conditions)
	}
	return f
}

// filledConditions returns conditions that are empty where there are none: documents have no null.
func filledConditions(c map[nf.ConditionType]nf.ConditionStatus) map[nf.ConditionType]nf.ConditionStatus {
	if c == nil {
		return map[nf.ConditionType]nf.ConditionStatus{}
	}
	return c
}

// FleetNodesLine returns a list of nodes in one line.
func FleetNodesLine(f nf.FleetNodes) string {
	silent := 0
	for _, n := range f.Nodes {
		if n.Silent {
			silent++
		}
	}
	return fmt.Sprintf("%s  %s, %d silent\n", f.At.UTC().Format(time.TimeOnly), count(len(f.Nodes), "node"), silent)
}

func (p *page) fleetNodes(f nf.FleetNodes) {
	if len(f.Nodes) == 0 {
		p.line("No node of the fleet is so.")
	} else {
		table := list{heads: []string{"node", "ready", "revision", "roll-out", "group", "containers ", "heard", ""}}
		for _, n := range f.Nodes {
			table.add(words(bold, Clean(n.Node)), nodeReadiness(n), words(plain, cmp.Or(Clean(shortCommit(n.Revision)), "none")), progressCell(n.Progress), words(plain, Clean(n.Group)),
				amount(plain, n.Containers), words(silentStyle(n.Silent), ago(n.Heard, f.At)), words(dim, Clean(n.Message)))
		}
		p.list(0, table)
	}
	p.nodeReasons(red, "Unreadable", f.Unread)
}

// silentStyle is the style of what was not heard of lately.
func silentStyle(silent bool) string {
	if silent {
		return yellow
	}
	return plain
}

// nodeReadiness says whether a node is ready. Of a silent one nobody knows.
func nodeReadiness(n nf.NodeInFleet) cell {
	switch {
	case n.Silent:
		return words(yellow, "silent")
	case n.Conditions[nf.Ready] == nf.ConditionTrue:
		return words(green, "yes")
	case n.Conditions[nf.Ready] == nf.ConditionFalse:
		return words(red, "no")
	}
	return words(yellow, "unknown")
}

// progressStyles are the styles of the states of nodes in a roll-out.
var progressStyles = map[nf.ProgressState]string{
	nf.ProgressBegun: cyan, nf.ProgressApplied: green, nf.ProgressRefused: yellow, nf.ProgressFailed: red, nf.ProgressStuck: red,
}

func progressCell(p *nf.NodeProgress) cell {
	if p == nil {
		return words(dim, "-")
	}
	return words(progressStyles[p.State], Clean(string(p.State)))
}

// FleetNodeStatuses is the output of fleet show, the FleetNodeStatus document.
var FleetNodeStatuses = newKind(func(s nf.FleetNodeStatus) any {
	s.Node.Conditions = filledConditions(s.Node.Conditions)
	return s
}, (*page).fleetNode)

// FleetNodeLine returns what is known of a node in one line.
func FleetNodeLine(s nf.FleetNodeStatus) string {
	n := s.Node
	line := s.At.UTC().Format(time.TimeOnly) + "  " + Clean(n.Node) + "  " + nodeReadiness(n).plain() + "  " + cmp.Or(Clean(shortCommit(n.Revision)), "none")
	if n.Progress != nil {
		line += "  " + Clean(string(n.Progress.State))
	}
	if n.Message != "" {
		line += "  " + Clean(n.Message)
	}
	return line + "\n"
}

func (p *page) fleetNode(s nf.FleetNodeStatus) {
	n := s.Node
	readiness := map[string]string{"yes": "is ready", "no": "is not ready", "silent": "is silent", "unknown": "has not said whether it is ready"}[nodeReadiness(n).plain()]
	p.line(p.paint(bold, "Node "+Clean(n.Node)), " ", p.paint(nodeReadiness(n)[0].style, readiness))
	p.line()
	p.labelled(bold, "Heard", nf.Clock(n.Heard)+", "+ago(n.Heard, s.At))
	p.labelled(bold, "Labels", labelText(n.Labels))
	p.labelled(bold, "nfsync", n.Version)
	p.labelled(bold, "Boot", n.BootID)
	p.labelled(bold, "In force", cmp.Or(n.Revision, "nothing"))
	p.labelled(bold, "Roll-out", progressText(n.Progress))
	if s.Turn != nil {
		p.labelled(bold, "Turn", turnText(n, *s.Turn))
	}
	p.labelled(bold, "Containers", fmt.Sprintf("%d; %d refused, %d pending, %d stuck", n.Containers, n.Refusals, n.Pending, n.Stuck))
	p.labelled(bold, "Restarts", restartText(n))
	p.labelled(bold, "Snapshot", snapshotText(s))
	for _, c := range nf.ConditionTypes() {
		status, reported := n.Conditions[c]
		switch holds := status == nf.ConditionTrue; {
		case !reported, status != nf.ConditionTrue && status != nf.ConditionFalse, holds == c.IsGood():
		case holds:
			p.labelled(yellow, "Condition", string(c))
		default:
			p.labelled(yellow, "Condition", "not "+string(c))
		}
	}
	p.labelled(yellow, "Message", n.Message)
}

// labelText returns labels as a command line has them.
func labelText(labels map[string]string) string {
	var list []string
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		list = append(list, key+"="+labels[key])
	}
	return strings.Join(list, ", ")
}

func progressText(p *nf.NodeProgress) string {
	if p == nil {
		return "it knows of none"
	}
	text := fmt.Sprintf("%s with %s, generation %d, since %s", p.State, shortCommit(p.Revision), p.Generation, nf.Clock(p.At))
	if p.Reason != "" {
		text += ": " + p.Reason
	}
	return text
}

func turnText(n nf.NodeInFleet, t nf.NodeTurn) string {
	text := fmt.Sprintf("group %s, at %.4f of 1; the nodes below %.4f have their turn", n.Group, t.Position, t.Fraction)
	switch {
	case t.Rescue:
		text += "; it has a withdrawn revision and goes first"
	case t.OnlyUnaffected:
		text += "; it takes " + shortCommit(t.Commit) + " only if that changes nothing"
	case t.Commit != "" && t.Commit != n.Revision:
		text += "; it may take " + shortCommit(t.Commit)
	}
	if t.Meanwhile != "" && t.Meanwhile != n.Revision {
		text += "; until then it may take " + shortCommit(t.Meanwhile)
	}
	if t.Reason != "" {
		text += ": " + t.Reason
	}
	return text
}

func restartText(n nf.NodeInFleet) string {
	switch {
	case n.Grant > 0:
		return fmt.Sprintf("%s, with grant %d", count(n.Restarts, "container"), n.Grant)
	case n.Restarts > 0:
		return count(n.Restarts, "container") + " to be restarted, without a grant so far"
	}
	return ""
}

func snapshotText(s nf.FleetNodeStatus) string {
	switch put := s.Snapshot; {
	case put == nil:
		return "it has put none"
	case put.Error != "":
		return "it cannot be read: " + put.Error
	case s.Node.SnapshotAt.IsZero():
		return fmt.Sprintf("put %s, %d bytes", ago(put.Put, s.At), put.Bytes)
	default:
		return fmt.Sprintf("taken %s, put %s, %d bytes", ago(s.Node.SnapshotAt, s.At), ago(put.Put, s.At), put.Bytes)
	}
}
