package view

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"iter"
	"runtime"

	"nfsync.dev/nfsync/internal/nf"
)

// FleetPlans is the output of plan for many nodes.
var FleetPlans = streamed(newKind(fleetJSON, outlined(fleetOutline)).with(reportFormats(fleetOutline, fleetSuites, "plan")...), writeFleet)

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
	part, err := encodeIndented(&bytes.Buffer{}, filledNode(n), "    ")
	return encodedNode{bytes.TrimSpace(part), err}
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

func fleetOutline(f nf.FleetPlan, opt Options) outline {
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
	c := contents{above: foldAt(opt, true)}
	c.add(snapshotChapter(c.above, f.Nodes))
	c.addPlans(plans)
	return outline{title: title("Plan for "+count(len(names), "node"), "", f.Revision), chapters: c.chapters, summary: fleetSummary(f), commands: explained(refusals)}
}

func fleetSummary(f nf.FleetPlan) []cell {
	s := f.Summary
	var changes []nf.Change
	for _, n := range f.Nodes {
		if n.Plan != nil {
			changes = append(changes, only(n.Plan.Changes, isRisky)...)
		}
	}
	return []cell{
		{{bold, count(s.Nodes, "node")}, {plain, fmt.Sprintf(": %d with changes, %d with refusals, %d with an error", s.Changed, s.Refused, s.Failed)}},
		countsOf(nf.Summary{Changes: s.Changes, Refusals: s.Refusals, Pending: s.Pending, InSync: s.InSync}, changes),
	}
}
