package view

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"nfsync.dev/nfsync/internal/nf"
)

// Status is the result of a check of doctor.
type Status string

// The statuses.
const (
	OK   Status = "ok"
	Warn Status = "warn" // nfsync works, but a part of it does not
	Fail Status = "fail" // nfsync does not work
	// Unknown is a check that this user could not make.
	Unknown Status = "unknown"
)

// Group is what checks are about.
type Group string

// The groups, in the order in which they are shown.
const (
	GroupNode          Group = "node"
	GroupState         Group = "state"
	GroupConfiguration Group = "configuration"
	GroupFleet         Group = "fleet"
	GroupAgent         Group = "agent"
	GroupService       Group = "service"
	GroupInstallation  Group = "installation"
)

// Groups lists the groups.
func Groups() []Group {
	return []Group{GroupNode, GroupState, GroupConfiguration, GroupFleet, GroupAgent, GroupService, GroupInstallation}
}

// Check is one check of doctor.
type Check struct {
	Group  Group  `json:"group"`
	Name   string `json:"name"`
	Status Status `json:"status"`
	Detail string `json:"detail"` // what was found
	Remedy string `json:"remedy"` // what to do; empty if nothing
}

// Checks is the output of doctor, the Doctor document: its checks, in the order given.
var Checks = newKind(checksJSON, (*page).doctor)

type doctorJSON struct {
	header
	Checks []Check `json:"checks"`
}

func checksJSON(checks []Check) any { return doctorJSON{headerOf(nf.KindDoctor), filled(checks)} }

var statusSpans = map[Status]span{OK: {green, "✓"}, Warn: {yellow, "!"}, Fail: {red, "✗"}, Unknown: {yellow, "?"}}

func (p *page) doctor(checks []Check) {
	counts := map[Status]int{}
	wide := 0
	for _, c := range checks {
		wide = max(wide, utf8.RuneCountInString(Clean(c.Name)))
	}
	last := Group("")
	for _, c := range checks {
		if c.Group != last {
			p.checkHeading(last, c.Group)
			last = c.Group
		}
		counts[c.Status]++
		status := statusSpans[c.Status]
		p.hanging(2+wide+2, p.paint(status.style, status.text)+" "+pad(Clean(c.Name), wide), c.Detail)
		if c.Remedy != "" {
			p.hanging(2+wide+2, strings.Repeat(" ", 2+wide), "→ "+c.Remedy)
		}
	}
	p.line()
	total := []string{p.paint(bold, fmt.Sprintf("%d ok", counts[OK])), ", ", count(counts[Warn], "warning"), ", ", countOf(counts[Fail], "failed")}
	if counts[Unknown] > 0 {
		total = append(total, ", ", countOf(counts[Unknown], "not checked"))
	}
	p.line(total...)
}

// checkHeading writes the name of a group, apart from the one before it.
func (p *page) checkHeading(before, group Group) {
	if before != "" {
		p.line()
	}
	p.line(p.paint(bold, strings.ToUpper(string(group[:1]))+string(group[1:])))
}
