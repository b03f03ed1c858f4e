package view

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"nfsync.dev/nfsync/internal/nf"
)

// richFleet has nodes in every state, entries that many nodes have, and some that one has.
func richFleet() nf.FleetPlan {
	f := nf.FleetPlan{APIVersion: nf.APIVersion, Kind: nf.KindFleetPlan, Revision: "3f2a9c41d7be0c6a5f8e1d2b4a6978c0e1f20354"}
	taken := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	source := nf.Source{Name: "web", File: "policies/web.yaml", Line: 13, Column: 24}
	for i := range 12 {
		p := nf.Plan{APIVersion: nf.APIVersion, Kind: nf.KindPlan, ID: planID, Node: fmt.Sprintf("hn-%d", i+1)}
		for c := range 5 {
			p.Changes = append(p.Changes, nf.Change{Target: foldedTarget(c), Key: nf.TimeoutKey("udp"), Layer: nf.LayerLive, From: nf.Number(int64(30 + 30*(i%2))), To: nf.Number(90), Cause: nf.CausePolicy, Source: source})
		}
		if i == 3 {
			p.Changes = append(p.Changes, nf.Change{Target: foldedTarget(1), Key: nf.KeyRestart, Layer: nf.LayerLive, From: nf.Text("full"), To: nf.Text("stateful"), OneWay: true, Disruptive: true, Cause: nf.CausePolicy, Source: source})
		}
		if i%2 == 0 {
			p.Refusals = append(p.Refusals, nf.Refusal{Target: nf.Node, Key: nf.KeyMax, Layer: nf.LayerLive, From: nf.Number(9), To: nf.Number(1), Code: nf.BelowCount, Until: nf.UntilEntriesDrained,
				Reason: fmt.Sprintf("%d connections are tracked", i+5), Remedy: "wait, or want a higher limit", Source: source})
		}
		p.Warnings = append(p.Warnings, nf.Warning{Code: nf.WarnNodeTracking, Target: nf.Node, Message: "the node itself tracks connections"})
		p.Summary = nf.Summary{Changes: len(p.Changes), Refusals: len(p.Refusals), InSync: 3}
		f.Nodes = append(f.Nodes, nf.NodePlan{NodeSnapshot: nf.NodeSnapshot{Node: p.Node, Snapshot: "snapshots/" + p.Node + ".yaml", TakenAt: &taken, State: nf.SnapshotFresh}, Plan: &p})
	}
	f.Nodes[1].State, f.Nodes[1].Error = nf.SnapshotStale, "its snapshot was taken 3 days ago, and may be 24 hours old"
	f.Nodes = append(f.Nodes, nf.NodePlan{NodeSnapshot: nf.NodeSnapshot{Node: "hn-\u202e13", State: nf.SnapshotMissing, Error: "it has no snapshot"}},
		nf.NodePlan{NodeSnapshot: nf.NodeSnapshot{Node: "snapshots/x.yaml", Snapshot: "snapshots/x.yaml", State: nf.SnapshotUnreadable, Error: "the snapshot is not valid: snapshots/x.yaml:1:1: not YAML"}})
	f.Summarize()
	return f
}

// TestFleetStream: the JSON that is written part by part is that of the whole document.
func TestFleetStream(t *testing.T) {
	for name, f := range map[string]nf.FleetPlan{"rich": richFleet(), "empty": {}} {
		var streamed bytes.Buffer
		if err := FleetPlans.Write(&streamed, FormatJSON, f, Options{}); err != nil {
			t.Fatal(err)
		}
		if whole, err := encodeJSON(fleetJSON(f)); err != nil || !bytes.Equal(whole, streamed.Bytes()) {
			t.Errorf("%s, %v:\n%s\nwant\n%s", name, err, streamed.Bytes(), whole)
		}
	}
}
