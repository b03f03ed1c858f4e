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
)

// Check is one check of doctor.
type Check struct {
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

var statusSpans = map[Status]span{OK: {green, "✓"}, Warn: {yellow, "!"}, Fail: {red, "✗"}}

func (p *page) doctor(checks []Check) {
	counts := map[Status]int{}
	wide := 0
	for _, c := range checks {
		wide = max(wide, utf8.RuneCountInString(Clean(c.Name)))
	}
	for _, c := range checks {
		counts[c.Status]++
		status := statusSpans[c.Status]
		p.hanging(2+wide+2, p.paint(status.style, status.text)+" "+pad(Clean(c.Name), wide), c.Detail)
		if c.Remedy != "" {
			p.hanging(2+wide+2, strings.Repeat(" ", 2+wide), "→ "+c.Remedy)
		}
	}
	p.line()
	p.line(p.paint(bold, fmt.Sprintf("%d ok", counts[OK])), ", ", count(counts[Warn], "warning"), ", ", countOf(counts[Fail], "failed"))
}
