package view

import (
	"time"

	"nfsync.dev/nfsync/internal/nf"
)

// richReview has three nodes with differences of every kind, one of which is stale.
func richReview() nf.Review {
	r := nf.Review{APIVersion: nf.APIVersion, Kind: nf.KindReview, Base: "9d3e2c1b0a4f5e6d7c8b9a0f1e2d3c4b5a697887", Revision: "3f2a9c41d7be0c6a5f8e1d2b4a6978c0e1f20354"}
	taken := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	plan := richPlan()
	for _, name := range []string{"hn-1", "hn-2", "hn-3"} {
		r.Nodes = append(r.Nodes, nf.NodeReview{NodeSnapshot: nf.NodeSnapshot{Node: name, Snapshot: name + ".yaml", TakenAt: &taken, State: nf.SnapshotFresh},
			Brings: nf.Differences{Changes: plan.Changes[4:7], Refusals: plan.Refusals[1:3]},
			Ends:   nf.Differences{Changes: plan.Changes[:1], Refusals: plan.Refusals[:1]},
			Anyway: nf.Differences{Changes: plan.Changes[2:3], Refusals: plan.Refusals[3:4]}, Pending: plan.Pending, Warnings: plan.Warnings})
	}
	r.Nodes[2].State, r.Nodes[2].Error = nf.SnapshotStale, "its snapshot was taken 3 days ago, and may be 24 hours old"
	r.Summarize()
	return r
}

// nothingReview is of a change that brings nothing to the one node.
func nothingReview() nf.Review {
	r := nf.Review{APIVersion: nf.APIVersion, Kind: nf.KindReview, Nodes: []nf.NodeReview{{NodeSnapshot: nf.NodeSnapshot{Node: "hn-1", State: nf.SnapshotFresh}}}}
	r.Summarize()
	return r
}
