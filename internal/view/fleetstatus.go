package view

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"nfsync.dev/nfsync/internal/nf"
)

// FleetStatuses is the output of fleet status, the FleetStatus document.
var FleetStatuses = newKind(fleetStatusJSON, (*page).fleetStatus)

func fleetStatusJSON(s nf.FleetStatus) any {
	s.Revisions, s.Conditions, s.Groups, s.Silent, s.Unread = filled(s.Revisions), filled(s.Conditions), filled(s.Groups), filled(s.Silent), filled(s.Unread)
	return s
}

// FleetStatusLine returns the status of a fleet in one line.
func FleetStatusLine(s nf.FleetStatus) string {
	line := s.At.UTC().Format(time.TimeOnly) + "  " + count(s.Nodes, "node")
	if ready, of := readyNodes(s); of > 0 {
		line += fmt.Sprintf(", %d of %d ready", ready, of)
	}
	if n := len(s.Silent); n > 0 {
		line += ", " + countOf(n, "silent")
	}
	if n := len(s.Unread); n > 0 {
		line += ", " + countOf(n, "unreadable")
	}
	if r := s.Rollout; r != nil {
		line += "  " + Clean(shortCommit(r.Revision)) + " " + Clean(string(r.State)) + ", " + r.Step
		if r.Waits != "" {
			line += ": " + Clean(r.Waits)
		}
	}
	return line + "\n"
}

// readyNodes returns how many nodes are ready, of those that have said it.
func readyNodes(s nf.FleetStatus) (ready, of int) {
	for _, c := range s.Conditions {
		if c.Type == nf.Ready {
			return c.True, c.True + c.False + c.Unknown
		}
	}
	return 0, 0
}

// shortCommit returns the first digits of a commit.
func shortCommit(commit string) string { return commit[:min(len(commit), shownCommit)] }

// stateStyles are the styles of the states of roll-outs.
var stateStyles = map[nf.RolloutState]string{
	nf.RolloutPaused: yellow, nf.RolloutHalted: red, nf.RolloutAborted: red, nf.RolloutDone: green,
}

// fleetLabel is the column where the text beside a label begins.
const fleetLabel = 13

// labelled writes a text with a label, unless the text is empty.
func (p *page) labelled(style, label, text string) {
	if text != "" {
		p.hanging(fleetLabel, p.paint(style, pad(label, fleetLabel-2)), text)
	}
}

func (p *page) fleetStatus(s nf.FleetStatus) {
	p.line(p.paint(bold, "Fleet "+Clean(s.Channel)), ": ", count(s.Nodes, "node"), p.paint(dim, ", at "+nf.Clock(s.At)))
	p.line()
	switch r := s.Rollout; {
	case r != nil:
		p.hanging(fleetLabel, p.paint(bold, pad("Roll-out", fleetLabel-2)), r.Revision)
		p.line(strings.Repeat(" ", fleetLabel), p.paint(stateStyles[r.State], Clean(string(r.State))), ", ", r.Step)
		p.labelled(bold, "Reason", unlessIn(r.Waits, r.Reason))
		p.labelled(bold, "Waits", r.Waits)
		p.labelled(bold, "Next", r.Next)
	case s.RolloutError != "":
		p.labelled(bold, "Roll-out", s.RolloutError)
	default:
		p.labelled(bold, "Roll-out", "none so far")
	}
	p.labelled(bold, "Containers", fleetTotals(s.Totals))
	p.revisions(s)
	p.conditionCounts(s.Conditions)
	p.groupCounts(s.Groups)
	p.silentNodes(s.Silent, s.At)
	p.nodeReasons(red, "Unreadable", s.Unread)
	var next [][2]string
	if s.Rollout != nil {
		next = append(next, [2]string{"nfsync fleet rollout", "shows who is where, and what comes next"})
	}
	p.line()
	p.commands(append(next, [2]string{"nfsync fleet nodes", "lists the nodes"}))
}

// unlessIn returns a text, unless another one says the same.
func unlessIn(other, text string) string {
	if strings.Contains(other, text) {
		return ""
	}
	return text
}

func fleetTotals(t nf.FleetTotals) string {
	text := fmt.Sprintf("%d; %d refused, %d pending, %d stuck", t.Containers, t.Refusals, t.Pending, t.Stuck)
	if t.Restarts > 0 {
		text += fmt.Sprintf(", %d wait for a restart", t.Restarts)
	}
	return text
}

// maxRevisions is how many revisions a text has.
const maxRevisions = 10

func (p *page) revisions(s nf.FleetStatus) {
	if len(s.Revisions) == 0 {
		return
	}
	p.heading(plain, "Revisions in force")
	table := list{heads: []string{"revision", "nodes ", "silent ", ""}}
	for _, r := range s.Revisions[:min(len(s.Revisions), maxRevisions)] {
		revision, remark := Clean(shortCommit(r.Revision)), ""
		if revision == "" {
			revision = "none"
		}
		if s.Rollout != nil && s.Rollout.Revision == r.Revision {
			remark = "rolled out"
		}
		table.add(words(plain, revision), amount(plain, r.Nodes), amount(yellow, r.Silent), words(dim, remark))
	}
	p.list(2, table)
	p.more(len(s.Revisions) - maxRevisions)
}

// more says how many more there are, if there are any.
func (p *page) more(n int) {
	if n > 0 {
		p.line("  ", fmt.Sprintf("and %d more", n))
	}
}

func (p *page) conditionCounts(counts []nf.ConditionCount) {
	if len(counts) == 0 {
		return
	}
	p.heading(plain, "Conditions")
	table := list{heads: []string{"condition", "true ", "false ", "unknown "}}
	for _, c := range counts {
		isTrue, isFalse := plain, yellow
		if !c.Type.IsGood() {
			isTrue, isFalse = yellow, plain
		}
		table.add(words(plain, Clean(string(c.Type))), amount(isTrue, c.True), amount(isFalse, c.False), amount(plain, c.Unknown))
	}
	p.list(2, table)
}

// groupCounts writes the groups of a roll-out with their counts.
func (p *page) groupCounts(groups []nf.GroupCounts) {
	if len(groups) == 0 {
		return
	}
	p.heading(plain, "Groups")
	table := list{heads: []string{"group", "turn ", "nodes ", "waiting ", "begun ", "applied ", "refused ", "failed ", "unaffected ", "silent "}}
	for _, g := range groups {
		c := g.Counts
		table.add(words(plain, Clean(g.Name)), words(plain, turnPercent(g.Fraction)), amount(plain, c.Nodes), amount(plain, c.Waiting), amount(cyan, c.Begun), amount(green, c.Applied),
			amount(yellow, c.Refused), amount(red, c.Failed), amount(plain, c.Unaffected), amount(yellow, c.Silent))
	}
	p.list(2, table)
}

// turnPercent returns a fraction in percent, with as many digits as people read.
func turnPercent(fraction float64) string {
	return strconv.FormatFloat(fraction*100, 'g', 3, 64) + "%"
}

// maxNamed is how many nodes a text names.
const maxNamed = 20

// silentNodes names the nodes that were not heard of lately.
func (p *page) silentNodes(nodes []nf.SilentNode, at time.Time) {
	if len(nodes) == 0 {
		return
	}
	p.heading(yellow, "Silent")
	table := list{heads: []string{"node", "heard"}}
	for _, n := range nodes[:min(len(nodes), maxNamed)] {
		table.add(words(plain, Clean(n.Node)), words(plain, ago(n.Heard, at)))
	}
	p.list(2, table)
	p.more(len(nodes) - maxNamed)
}

// nodeReasons names nodes with their reasons.
func (p *page) nodeReasons(style, title string, nodes []nf.NodeReason) {
	if len(nodes) == 0 {
		return
	}
	p.heading(style, title)
	shown := nodes[:min(len(nodes), maxNamed)]
	wide := 0
	for _, n := range shown {
		wide = max(wide, words(plain, Clean(n.Node)).width())
	}
	for _, n := range shown {
		p.hanging(wide+4, "  "+pad(Clean(n.Node), wide), n.Reason)
	}
	p.more(len(nodes) - maxNamed)
}

// ago says how long before a time something was.
func ago(t, at time.Time) string {
	d := at.Sub(t)
	switch {
	case t.IsZero():
		return "never"
	case d < 0:
		return "now"
	case d < 2*time.Minute:
		return count(int(d.Seconds()), "second") + " ago"
	case d < 2*time.Hour:
		return count(int(d.Minutes()), "minute") + " ago"
	case d < 48*time.Hour:
		return count(int(d.Hours()), "hour") + " ago"
	}
	return count(int(d.Hours()/24), "day") + " ago"
}
