package view

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"iter"
	"runtime"
	"slices"
	"time"

	"nfsync.dev/nfsync/internal/nf"
)

// FleetPlans is the output of plan for many nodes.
var FleetPlans = streamed(newKind(fleetJSON, (*page).fleetPlan), writeFleet)

// streamed returns a kind whose JSON is written part by part.
func streamed[T any](k Kind[T], write func(io.Writer, T) error) Kind[T] {
	for i := range k {
		if k[i].name == FormatJSON {
			k[i].stream = write
		}
	}
	return k
}

// writeFleet writes the JSON of a fleet plan node by node: that of a thousand nodes takes a
// hundred megabytes.
func writeFleet(w io.Writer, f nf.FleetPlan) error {
	out := bufio.NewWriterSize(w, 1<<20)
	nodes := f.Nodes
	f.Nodes = nil
	whole, err := encodeJSON(fleetJSON(f))
	if err != nil {
		return err
	}
	before, after, _ := bytes.Cut(whole, []byte("[]"))
	_, _ = out.Write(before)
	_, _ = out.WriteString("[")
	separator := "\n    "
	for part := range encodedNodes(nodes) {
		if part.err != nil {
			return part.err
		}
		_, _ = out.WriteString(separator)
		_, _ = out.Write(part.text)
		separator = ",\n    "
	}
	if len(nodes) > 0 {
		_, _ = out.WriteString("\n  ")
	}
	_, _ = out.WriteString("]")
	_, _ = out.Write(after)
	if err := out.Flush(); err != nil { // the first error of any write
		return fmt.Errorf("cannot write the output: %w", err)
	}
	return nil
}

// encodedNode is the JSON of a node in the list of a fleet.
type encodedNode struct {
	text []byte
	err  error
}

// encodedNodes encodes nodes on all processors, and returns them in their order. A few are in
// memory at a time.
func encodedNodes(nodes []nf.NodePlan) iter.Seq[encodedNode] {
	return func(yield func(encodedNode) bool) {
		stop := make(chan struct{})
		defer close(stop)
		queue := make(chan chan encodedNode, runtime.GOMAXPROCS(0))
		go func() {
			defer close(queue)
			for _, n := range nodes {
				done := make(chan encodedNode, 1)
				select {
				case queue <- done:
					go func() { done <- encodeNode(n) }()
				case <-stop:
					return
				}
			}
		}()
		for done := range queue {
			if !yield(<-done) {
				return
			}
		}
	}
}

func encodeNode(n nf.NodePlan) encodedNode {
	part, err := encodeJSON(filledNode(n))
	return encodedNode{bytes.ReplaceAll(bytes.TrimSpace(part), []byte("\n"), []byte("\n    ")), err}
}

func fleetJSON(f nf.FleetPlan) any {
	f.Nodes = filled(f.Nodes)
	for i := range f.Nodes {
		f.Nodes[i] = filledNode(f.Nodes[i])
	}
	return f
}

func filledNode(n nf.NodePlan) nf.NodePlan {
	if n.Plan != nil {
		full := filledPlan(*n.Plan)
		n.Plan = &full
	}
	return n
}

func (p *page) fleetPlan(f nf.FleetPlan) {
	p.many = true
	var names []string
	var plans []nodePlan
	var refusals []nf.Refusal
	for _, n := range f.Nodes {
		names = append(names, Clean(n.Node))
		if n.Plan != nil {
			plans = append(plans, nodePlan{n.Node, n.Plan})
			refusals = append(refusals, n.Plan.Refusals...)
		}
	}
	p.title("Plan for "+count(len(names), "node"), "", f.Revision)
	failedNodes(p, f.Nodes)
	p.planSections(plans)
	p.line()
	p.fleetSummary(f)
	p.next(nil, refusals)
}

// of is a node of a document, with what is said of its snapshot.
type of interface{ Taken() nf.NodeSnapshot }

// failedNodes lists the nodes whose snapshots cannot be relied on.
func failedNodes[N of](p *page, nodes []N) {
	var list []nf.NodeSnapshot
	for _, node := range nodes {
		if n := node.Taken(); n.Error != "" || n.State != nf.SnapshotFresh {
			list = append(list, n)
		}
	}
	if len(list) == 0 {
		return
	}
	p.heading(red, "Snapshots")
	type problem struct{ state, text string }
	for _, same := range foldAlike(list, p.foldAbove(), func(n nf.NodeSnapshot) problem { return problem{string(n.State), n.Error} }) {
		var names []string
		for _, n := range same {
			names = append(names, Clean(n.Node))
		}
		text := names[0]
		if len(names) > 1 {
			text = foldNames(names)
		}
		why := same[0].Error
		if why == "" {
			why = "taken at " + same[0].TakenAt.UTC().Format(time.DateTime) + " UTC"
		}
		p.hanging(14, "  "+p.paint(red, pad(string(same[0].State), 10)), text+": "+why)
	}
}

func (p *page) fleetSummary(f nf.FleetPlan) {
	s := f.Summary
	var changes []nf.Change
	for _, n := range f.Nodes {
		if n.Plan != nil {
			changes = slices.Concat(changes, only(n.Plan.Changes, isRisky))
		}
	}
	p.line(p.paint(bold, count(s.Nodes, "node")), fmt.Sprintf(": %d with changes, %d with refusals, %d with an error", s.Changed, s.Refused, s.Failed))
	p.line(p.paint(bold, count(s.Changes, "change")), p.paint(yellow, RiskyCount(changes)), ", ",
		countOf(s.Refusals, "refused"), ", ", countOf(s.Pending, "pending"), ", ", countOf(s.InSync, "in sync"))
}
