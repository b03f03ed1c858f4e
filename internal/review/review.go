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
	// Now and MaxAge say which snapshots are stale: those older than MaxAge, unless that is 0 or
	// AllowStale is set.
	Now        time.Time
	MaxAge     time.Duration
	AllowStale bool
	// Expect names the nodes that must have a snapshot.
	Expect []string
}

// Fleet returns the plans of all nodes whose snapshots are read from files. A snapshot that
// cannot be read does not affect the others. Of several snapshots of one node the newest counts;
// the files of the others are returned as unused.
//
// Snapshots are read one by one and forgotten once they are planned, by as many goroutines as
// there are processors.
func Fleet(ctx context.Context, files []string, read func(file string) (spec.File, error), q Question) (f nf.FleetPlan, unused []string, err error) {
	f = nf.FleetPlan{APIVersion: nf.APIVersion, Kind: nf.KindFleetPlan, Revision: q.Revision, Nodes: []nf.NodePlan{}}
	var mu sync.Mutex
	found := func(n nf.NodePlan) {
		mu.Lock()
		defer mu.Unlock()
		f.Nodes = append(f.Nodes, n)
	}
	documents := make(chan spec.Document)
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for doc := range documents {
				found(q.plan(ctx, doc))
			}
		})
	}
	for _, name := range files {
		if ctx.Err() != nil {
			break
		}
		file, err := read(name)
		if err != nil {
			found(nf.NodePlan{Node: name, Snapshot: name, State: nf.SnapshotUnreadable, Error: err.Error()})
			continue
		}
		for doc := range spec.Documents(file) {
			documents <- doc
		}
	}
	close(documents)
	workers.Wait()
	if err := ctx.Err(); err != nil {
		return f, nil, err
	}
	f.Nodes, unused = newest(f.Nodes)
	f.Nodes = append(f.Nodes, missing(f.Nodes, q.Expect)...)
	slices.SortFunc(f.Nodes, func(a, b nf.NodePlan) int {
		return cmp.Or(nf.CompareNames(a.Node, b.Node), nf.CompareNames(a.Snapshot, b.Snapshot))
	})
	f.Summarize()
	return f, unused, nil
}

// plan plans for the node of one snapshot.
func (q Question) plan(ctx context.Context, doc spec.Document) nf.NodePlan {
	s, diagnostics := doc.Snapshot()
	if len(diagnostics) > 0 {
		return nf.NodePlan{Node: doc.Name, Snapshot: doc.Name, State: nf.SnapshotUnreadable, Error: "the snapshot is not valid: " + diagnostics[0].String()}
	}
	taken := s.TakenAt // a pointer into the snapshot would keep all of it in memory
	n := nf.NodePlan{Node: s.Node.Name, Snapshot: doc.Name, TakenAt: &taken, State: nf.SnapshotFresh}
	if old := q.staleness(s.TakenAt); old != "" {
		n.State = nf.SnapshotStale
		if !q.AllowStale {
			n.Error = old
		}
	}
	p, err := apply.Plan(ctx, apply.Question{Facts: apply.Recorded(s), Wants: q.Wants, Revision: q.Revision})
	if err != nil {
		n.Error = err.Error()
		return n
	}
	n.Plan = &p
	return n
}

// staleness returns why a snapshot is stale; "" if it is fresh.
func (q Question) staleness(taken time.Time) string {
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
func newest(nodes []nf.NodePlan) (list []nf.NodePlan, unused []string) {
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

func newer(a, b nf.NodePlan) bool {
	return cmp.Or(a.TakenAt.Compare(*b.TakenAt), strings.Compare(a.Snapshot, b.Snapshot)) > 0
}

// missing returns the expected nodes that have no snapshot.
func missing(nodes []nf.NodePlan, expect []string) []nf.NodePlan {
	have := map[string]bool{}
	for _, n := range nodes {
		have[n.Node] = n.State != nf.SnapshotUnreadable
	}
	var list []nf.NodePlan
	for _, name := range expect {
		if !have[name] {
			have[name] = true
			list = append(list, nf.NodePlan{Node: name, State: nf.SnapshotMissing, Error: "it has no snapshot"})
		}
	}
	return list
}
