package nf

import "time"

// KindFleetPlan is the kind of a FleetPlan.
const KindFleetPlan = "FleetPlan"

// FleetPlan is the plans of many nodes, made from their snapshots: the FleetPlan document. Its
// slices are never nil.
type FleetPlan struct {
	APIVersion string       `json:"apiVersion"`
	Kind       string       `json:"kind"`
	Revision   string       `json:"revision"` // the policies' commit, or empty
	Nodes      []NodePlan   `json:"nodes"`    // by name
	Summary    FleetSummary `json:"summary"`
}

// NodePlan is the plan of one node of a fleet.
type NodePlan struct {
	NodeSnapshot
	Plan *Plan `json:"plan"` // null: there is none
}

// NodeSnapshot says where the facts of a node come from, and whether they can be relied on.
type NodeSnapshot struct {
	// Node is the node's name; where its snapshot cannot be read, the name of the file.
	Node     string        `json:"node"`
	Snapshot string        `json:"snapshot,omitempty"` // where it was read
	TakenAt  *time.Time    `json:"takenAt"`            // null: there is no snapshot
	State    SnapshotState `json:"state"`
	// Error is why there is no plan, or why the plan cannot be relied on; empty if it can.
	Error string `json:"error,omitempty"`
}

// Taken returns what is said of the snapshot, of any type that embeds it.
func (n NodeSnapshot) Taken() NodeSnapshot { return n }

// SnapshotState says whether a snapshot can be relied on.
type SnapshotState string

// The states of snapshots.
const (
	SnapshotFresh      SnapshotState = "fresh"
	SnapshotStale      SnapshotState = "stale"      // too old
	SnapshotMissing    SnapshotState = "missing"    // an expected node has none
	SnapshotUnreadable SnapshotState = "unreadable" // it is invalid, or cannot be read
)

// FleetSummary counts the nodes of a fleet, and the entries of their plans.
type FleetSummary struct {
	Nodes int `json:"nodes"`
	// Changed, Refused and Failed count the nodes with changes, with refusals, and with an error.
	Changed int `json:"changed"`
	Refused int `json:"refused"`
	Failed  int `json:"failed"`
	Summary
}

// Summarize counts.
func (f *FleetPlan) Summarize() {
	f.Summary = FleetSummary{Nodes: len(f.Nodes)}
	s := &f.Summary
	for _, n := range f.Nodes {
		if n.Error != "" {
			s.Failed++
		}
		if n.Plan == nil {
			continue
		}
		p := n.Plan.Summary
		if p.Changes > 0 {
			s.Changed++
		}
		if p.Refusals > 0 {
			s.Refused++
		}
		s.Changes, s.Refusals, s.Pending, s.InSync = s.Changes+p.Changes, s.Refusals+p.Refusals, s.Pending+p.Pending, s.InSync+p.InSync
	}
}
