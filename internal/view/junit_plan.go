package view

import (
	"strings"

	"nfsync.dev/nfsync/internal/nf"
)

// FormatJUnit is a JUnit report: a suite for each node, in which what is refused has failed.
const FormatJUnit = "junit"

func junitFormat[T any](suites func(T) []junitSuite) format[T] {
	return format[T]{name: FormatJUnit, encode: func(doc T, _ Options) ([]byte, error) { return encodeJUnit(suites(doc)) }}
}

// cases collects the test cases of a node.
type cases struct {
	node string
	list []junitCase
}

// add adds a case for an entry: its key, of its target.
func (c *cases) add(e entry, failure, skipped string) {
	name := e.cells[columnKey].plain()
	k := junitCase{Name: name, Class: placeList([]place{{c.node, e.target}})}
	var details []string
	for _, n := range append(e.notes, e.advice...) {
		if n.text != "" {
			details = append(details, n.label+": "+oneNote(n))
		}
	}
	if e.source.File != "" {
		details = append(details, "policy: "+e.source.Name+" "+e.source.String())
	}
	outcome := &junitOutcome{Type: e.rule, Message: name + " " + e.cells[columnFrom].plain() + " → " + e.cells[columnTo].plain(), Text: strings.Join(details, "\n")}
	switch {
	case failure != "":
		outcome.Message += ": " + failure
		k.Failure = outcome
	case skipped != "":
		outcome.Message += ": " + skipped
		k.Skipped = outcome
	}
	c.list = append(c.list, k)
}

// oneNote returns the text of a note as one line.
func oneNote(n note) string { return strings.ReplaceAll(n.text, "\n", `\n`) }

func (c *cases) refusals(list []nf.Refusal) {
	for _, r := range list {
		c.add(refusalEntry(r), string(r.Code), "")
	}
}

func (c *cases) changes(list []nf.Change) {
	for _, change := range list {
		c.add(changeEntry(change), "", "")
	}
}

func (c *cases) pending(list []nf.Pending) {
	for _, d := range list {
		c.add(pendingEntry(d), "", "until "+UntilText(d.Until))
	}
}

// suite returns a suite with the cases. If the snapshot of its node cannot be relied on, that is an
// error; if there is nothing to do, that is a case too: a report without one counts as broken.
func (c *cases) suite(n nf.NodeSnapshot) junitSuite {
	class := placeList([]place{{c.node, nf.Node}})
	if n.Error != "" {
		c.list = append(c.list, junitCase{Name: "snapshot", Class: class, Error: &junitOutcome{Type: snapshotRule + string(n.State), Message: n.Error}})
	}
	if len(c.list) == 0 {
		c.list = append(c.list, junitCase{Name: "in sync", Class: class})
	}
	return junitSuite{Name: c.node, Cases: c.list}
}

func (c *cases) plan(p nf.Plan) {
	for _, s := range p.Stuck {
		c.add(stuckEntry(s), "stuck", "")
	}
	c.refusals(p.Refusals)
	c.changes(p.Changes)
	c.pending(p.Pending)
}

func planSuites(p nf.Plan) []junitSuite {
	c := cases{node: p.Node}
	c.plan(p)
	return []junitSuite{c.suite(nf.NodeSnapshot{})}
}

func fleetSuites(f nf.FleetPlan) []junitSuite {
	var list []junitSuite
	for _, n := range f.Nodes {
		c := cases{node: n.Node}
		if n.Plan != nil {
			c.plan(*n.Plan)
		}
		list = append(list, c.suite(n.NodeSnapshot))
	}
	if list == nil {
		list = append(list, junitSuite{Name: "nodes", Cases: []junitCase{{Name: "there is no node", Class: "nodes"}}})
	}
	return list
}

// reviewSuites has what a change of the policies brings. What is refused anyway is skipped.
func reviewSuites(r nf.Review) []junitSuite {
	var list []junitSuite
	for _, n := range r.Nodes {
		c := cases{node: n.Node}
		c.refusals(n.Brings.Refusals)
		c.changes(n.Brings.Changes)
		for _, refusal := range n.Anyway.Refusals {
			c.add(refusalEntry(refusal), "", string(refusal.Code)+", different anyway")
		}
		list = append(list, c.suite(n.NodeSnapshot))
	}
	return list
}

// validationSuites has a suite for each file with an error, in their order.
func validationSuites(doc Validation) []junitSuite {
	var list []junitSuite
	for _, d := range doc.Diagnostics {
		if n := len(list); n == 0 || list[n-1].File != d.File {
			list = append(list, junitSuite{Name: d.File, File: d.File})
		}
		at := nf.Source{File: d.File, Line: d.Line, Column: d.Column}
		s := &list[len(list)-1]
		s.Cases = append(s.Cases, junitCase{Name: at.String(), Class: string(d.Rule), Failure: &junitOutcome{Type: string(d.Rule), Message: d.Message, Text: strings.TrimSpace(d.Text + "\n" + d.Hint)}})
	}
	if list == nil {
		list = append(list, junitSuite{Name: "policies", Cases: []junitCase{{Name: doc.total(), Class: "policies"}}})
	}
	return list
}
