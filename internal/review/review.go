// Package review plans for nodes that are not here, from their snapshots, so that a change of the
// policies can be reviewed before it reaches any node.
package review

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/spec"
)

// Question is what is asked of each node.
type Question struct {
	// Wants resolves the policies for a node.
	Wants    func(*nf.Snapshot) nf.Wants
	Revision string // the policies' commit, or empty
	// Base resolves the policies before a change, and BaseRevision is their commit; nil: there is
	// no change to be reviewed.
	Base         func(*nf.Snapshot) nf.Wants
	BaseRevision string
	// Now and MaxAge say which snapshots are stale: those older than MaxAge, unless that is 0 or
	// AllowStale is set.
	Now        time.Time
	MaxAge     time.Duration
	AllowStale bool
	// Expect names the nodes that must have a snapshot.
	Expect []string
	// Filter selects targets and keys.
	Filter nf.Filter

	effective bool // the effective policy is asked, not a plan
}

// Source is where snapshots are read.
type Source struct {
	Files []string
	Read  func(file string) (spec.File, error)
	// Node returns the node whose snapshot a file should hold; "" if any will do. It may be nil.
	Node func(file string) string
}

// Fleet returns the plans of all nodes whose snapshots are read. A snapshot that cannot be read
// does not affect the others. Of several snapshots of one node the newest counts; the files of
// the others are returned as unused.
//
// Snapshots are read one by one and forgotten once they are planned, by as many goroutines as
// there are processors.
func Fleet(ctx context.Context, from Source, q Question) (f nf.FleetPlan, unused []string, err error) {
	f = nf.FleetPlan{APIVersion: nf.APIVersion, Kind: nf.KindFleetPlan, Revision: q.Revision, Nodes: []nf.NodePlan{}}
	nodes, unused, err := q.nodes(ctx, from)
	for _, n := range nodes {
		f.Nodes = append(f.Nodes, nf.NodePlan{NodeSnapshot: n.NodeSnapshot, Plan: n.plan})
	}
	f.Summarize()
	return f, unused, err
}

// node is a node with its plans.
type node struct {
	nf.NodeSnapshot
	plan *nf.Plan // nil: there is none
	base *nf.Plan // that of the policies before the change
	// The effective policy.
	keys     []nf.EffectiveKey
	warnings []nf.Warning
	lacks    []nf.TargetPattern // of the filter
}

// nodes plans for all nodes, in the order of their names.
func (q Question) nodes(ctx context.Context, from Source) (list []node, unused []string, err error) {
	var mu sync.Mutex
	found := func(n node) {
		mu.Lock()
		defer mu.Unlock()
		list = append(list, n)
	}
	documents := make(chan document)
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for doc := range documents {
				found(q.read(ctx, doc.Document, doc.of))
			}
		})
	}
	for _, name := range from.Files {
		if ctx.Err() != nil {
			break
		}
		of := ""
		if from.Node != nil {
			of = from.Node(name)
		}
		file, err := from.Read(name)
		if err != nil {
			found(unreadable(name, of, err.Error()))
			continue
		}
		for doc := range spec.Documents(file) {
			documents <- document{doc, of}
		}
	}
	close(documents)
	workers.Wait()
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	if err := q.checkTargets(list); err != nil {
		return nil, nil, err
	}
	list, unused = newest(list)
	list = append(list, missing(list, q.Expect)...)
	slices.SortFunc(list, func(a, b node) int {
		return cmp.Or(nf.CompareNames(a.Node, b.Node), nf.CompareNames(a.Snapshot, b.Snapshot))
	})
	return list, unused, nil
}

// document is a document with the node whose snapshot it should be; "" is any.
type document struct {
	spec.Document
	of string
}

// unreadable returns a node without a snapshot. One whose name is not known has that of the file.
// checkTargets returns an error for a target of the filter that none of the nodes has.
func (q Question) checkTargets(nodes []node) error {
	if len(nodes) == 0 {
		return nil
	}
	var lacking [][]nf.TargetPattern
	for _, n := range nodes {
		if n.State == nf.SnapshotUnreadable {
			n.lacks = q.Filter.Targets
		}
		lacking = append(lacking, n.lacks)
	}
	return q.Filter.CheckAny(lacking)
}

func unreadable(file, of, why string) node {
	return node{NodeSnapshot: nf.NodeSnapshot{Node: cmp.Or(of, file), Snapshot: file, State: nf.SnapshotUnreadable, Error: why}}
}

// read plans for the node of one snapshot, which should be that of a node; "" is any.
func (q Question) read(ctx context.Context, doc spec.Document, of string) node {
	s, diagnostics := doc.Snapshot()
	switch {
	case len(diagnostics) > 0:
		return unreadable(doc.Name, of, "the snapshot is not valid: "+diagnostics[0].String())
	case of != "" && s.Node.Name != of:
		return unreadable(doc.Name, of, OtherNode(&s))
	}
	n := q.planned(ctx, s)
	n.Snapshot = doc.Name
	if old := q.Stale(s.TakenAt); old != "" {
		n.State = nf.SnapshotStale
		if !q.AllowStale {
			n.Error = old
		}
	}
	return n
}

// planned plans for one node.
func (q Question) planned(ctx context.Context, s nf.Snapshot) node {
	taken := s.TakenAt // a pointer into the snapshot would keep all of it in memory
	n := node{NodeSnapshot: nf.NodeSnapshot{Node: s.Node.Name, TakenAt: &taken, State: nf.SnapshotFresh}, lacks: q.Filter.Lacking(&s)}
	if q.effective {
		q.show(&n, &s)
		return n
	}
	plan := func(wants func(*nf.Snapshot) nf.Wants, revision string) *nf.Plan {
		p, err := apply.Plan(ctx, apply.Question{Facts: apply.Recorded(s), Wants: func(s *nf.Snapshot) nf.Wants { return q.Filter.Wants(wants(s)) }, Revision: revision})
		if err != nil {
			n.Error = err.Error()
			return nil
		}
		p.Warnings = q.Filter.Warnings(p.Warnings)
		return &p
	}
	if n.plan = plan(q.Wants, q.Revision); q.Base != nil && n.plan != nil {
		n.base = plan(q.Base, q.BaseRevision)
	}
	return n
}

// OtherNode returns why a snapshot is not taken for the node that has published it: it is that of another one.
func OtherNode(s *nf.Snapshot) string {
	return fmt.Sprintf("what it has published is the snapshot of node %s", s.Node.Name)
}

// Stale returns why a snapshot is stale; "" if it is fresh.
func (q Question) Stale(taken time.Time) string {
	age := q.Now.Sub(taken)
	if q.MaxAge == 0 || age <= q.MaxAge {
		return ""
	}
	return fmt.Sprintf("its snapshot was taken %s ago, and may be %s old", about(age), about(q.MaxAge))
}

// about returns a duration in the unit that people would use.
func about(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", int(d.Hours()/24))
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d hours", int(d.Hours()))
	case d >= 2*time.Minute:
		return fmt.Sprintf("%d minutes", int(d.Minutes()))
	}
	return d.Round(time.Second).String()
}

// newest returns the plans of the newest snapshot of each node, and the files of the others.
func newest(nodes []node) (list []node, unused []string) {
	at := map[string]int{}
	for _, n := range nodes {
		i, known := at[n.Node]
		switch {
		case n.State == nf.SnapshotUnreadable:
			list = append(list, n)
		case !known:
			at[n.Node] = len(list)
			list = append(list, n)
		default:
			older := n
			if newer(n, list[i]) {
				older, list[i] = list[i], n
			}
			unused = append(unused, older.Snapshot)
		}
	}
	slices.Sort(unused)
	return list, unused
}

func newer(a, b node) bool {
	return cmp.Or(a.TakenAt.Compare(*b.TakenAt), strings.Compare(a.Snapshot, b.Snapshot)) > 0
}

// missing returns the expected nodes that have no snapshot.
func missing(nodes []node, expect []string) []node {
	have := map[string]bool{}
	for _, n := range nodes {
		have[n.Node] = true
	}
	var list []node
	for _, name := range expect {
		if !have[name] {
			have[name] = true
			list = append(list, node{NodeSnapshot: nf.NodeSnapshot{Node: name, State: nf.SnapshotMissing, Error: "it has no snapshot"}})
		}
	}
	return list
}
