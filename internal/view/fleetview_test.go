package view

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"nfsync.dev/nfsync/internal/nf"
)

const (
	rolledOut = "3f2a9c41d7be0c6a5f8e1d2b4a6978c0e1f20354"
	before    = "1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e"
)

func richNode(name string, minutes int, p *nf.NodeProgress) nf.HeardNode {
	return nf.HeardNode{FleetNode: nf.FleetNode{Node: name, Channel: "main", Labels: map[string]string{"role": "edge", "0x10": "no"}, Version: "0.1.0", BootID: "44877559-7580-96e7-0000-000000000000", Generation: 17,
		Revision: before, Progress: p, Conditions: map[nf.ConditionType]nf.ConditionStatus{nf.Ready: nf.ConditionTrue, nf.Drifted: nf.ConditionFalse},
		Containers: 12, Refusals: 1, SnapshotAt: statusTime.Add(-3 * time.Hour)}, Heard: statusTime.Add(-time.Duration(minutes) * time.Minute)}
}

func richRolloutDocument() nf.RolloutDocument {
	ended := statusTime.Add(-time.Minute)
	plan := nf.DefaultRolloutPlan()
	plan.Name, plan.Groups = "production", []nf.PlanGroup{{Name: "edge", Match: map[string]string{"role": "edge"}, Canaries: ptr(5)}}
	plan.Windows = []nf.RolloutWindow{{Days: []time.Weekday{time.Monday}, Start: 32400, End: 57600, Zone: "Europe/Berlin"}}
	plan.PauseBefore = []int{0, 5}
	return nf.RolloutDocument{
		APIVersion: nf.APIVersion, Kind: nf.KindRolloutDocument, Channel: "main", Generation: 17, Began: 12, Revision: rolledOut, Previous: before,
		State: nf.RolloutHalted, Reason: "3 of 20 nodes of the group edge have failed", Seed: "s", Step: 1, Approved: 0, StepBegan: statusTime.Add(-time.Hour), StepEnded: &ended,
		Groups: []nf.RolloutGroup{{Name: "edge", Match: map[string]string{"role": "edge"}, Fraction: 0.0525, Before: 0.01, Forgiven: 1, Step: 1}, {Name: nf.DefaultGroup, Step: -1}},
		Spread: 60, FetchSpread: 100, RescueSpread: 60, Withdrawn: []string{before, strings.Repeat("ab", 20)}, Coordinator: "coord-1\x1b[2J", Term: 3, UpdatedAt: statusTime, Plan: plan,
		History: []nf.RolloutRecord{{At: statusTime.Add(-time.Hour), What: "step 1 of 6 ended", Counts: nf.RolloutCounts{Nodes: 400, Applied: 20, Waiting: 380}},
			{At: statusTime, What: "halted\x1b[2J", Counts: nf.RolloutCounts{Nodes: 400, Applied: 17, Failed: 3, Waiting: 380}}},
		Nodes: 400,
	}
}

func richGroups() []nf.GroupCounts {
	return []nf.GroupCounts{
		{Name: "edge", Fraction: 0.0525, Step: 1, Counts: nf.RolloutCounts{Nodes: 400, Silent: 2, Unaffected: 40, Waiting: 330, Begun: 2, Applied: 22, Refused: 1, Failed: 3, Lost: 1}},
		{Name: nf.DefaultGroup, Step: -1},
	}
}

func richFleetStatus() nf.FleetStatus {
	s := nf.FleetStatus{
		APIVersion: nf.APIVersion, Kind: nf.KindFleetStatus, Channel: "main", At: statusTime,
		Rollout: &nf.RolloutBrief{Revision: rolledOut, State: nf.RolloutHalted, Reason: "3 of 20 nodes of the group edge have failed: \x1b[2J", Step: "1%", Waits: "a person has to resume or abort it", Next: "20%, in the group edge"},
		Nodes:   403, Revisions: []nf.RevisionCount{{Revision: before, Nodes: 370, Silent: 2}, {Revision: rolledOut, Nodes: 31}, {Nodes: 1}},
		Conditions: []nf.ConditionCount{{Type: nf.Ready, True: 390, False: 7, Unknown: 1}, {Type: nf.Stalled, True: 3, False: 395}, {Type: nf.Drifted, False: 398}},
		Groups:     richGroups(), Totals: nf.FleetTotals{Containers: 4711, Refusals: 3, Pending: 2, Stuck: 1, Restarts: 4},
		Silent: []nf.SilentNode{{Node: "hn-7", Heard: statusTime.Add(-26 * time.Minute)}, {Node: "hn-9", Heard: statusTime.Add(-72 * time.Hour)}},
		Unread: []nf.NodeReason{{Node: "hn-11", Reason: "its value is of the node \x1b[2Jhn-12"}},
	}
	return s
}

func emptyFleetStatus() nf.FleetStatus {
	return nf.FleetStatus{APIVersion: nf.APIVersion, Kind: nf.KindFleetStatus, Channel: "main", At: statusTime, RolloutError: "these credentials do not read it"}
}

func richFleetNodes() nf.FleetNodes {
	stuck := richNode("hn-2", 40, &nf.NodeProgress{Generation: 17, Revision: rolledOut, State: nf.ProgressStuck, Reason: "cannot undo", At: statusTime})
	stuck.Message, stuck.Revision, stuck.Conditions = "nothing is changed\x1b[2J\nforged", "", nil
	notReady := richNode("hn-10", 1, nil)
	notReady.Conditions = map[nf.ConditionType]nf.ConditionStatus{nf.Ready: nf.ConditionFalse}
	return nf.FleetNodes{APIVersion: nf.APIVersion, Kind: nf.KindFleetNodes, Channel: "main", At: statusTime, Nodes: []nf.NodeInFleet{
		{HeardNode: richNode("hn-1", 3, &nf.NodeProgress{Generation: 17, Revision: rolledOut, State: nf.ProgressApplied, At: statusTime}), Group: "edge"},
		{HeardNode: stuck, Silent: true, Group: nf.DefaultGroup},
		{HeardNode: notReady},
	}, Unread: richFleetStatus().Unread}
}

func richFleetNode() nf.FleetNodeStatus {
	n := richNode("hn-1", 3, &nf.NodeProgress{Generation: 17, Revision: rolledOut, State: nf.ProgressWaiting, Reason: "its turn has not come", At: statusTime})
	n.Conditions[nf.Drifted], n.Message, n.Restarts, n.Grant = nf.ConditionTrue, "a reason with \x1b[2J", 2, 4
	return nf.FleetNodeStatus{
		APIVersion: nf.APIVersion, Kind: nf.KindFleetNodeStatus, Channel: "main", At: statusTime, Node: nf.NodeInFleet{HeardNode: n, Group: "edge"},
		Turn:     &nf.NodeTurn{Position: 0.25, Fraction: 0.0525, Commit: rolledOut, OnlyUnaffected: true, Meanwhile: rolledOut, Reason: "the roll-out is halted"},
		Snapshot: &nf.PutSnapshot{Put: statusTime.Add(-2 * time.Hour), Bytes: 14400},
	}
}

func richFleetRollout() nf.FleetRollout {
	d := richRolloutDocument()
	return nf.FleetRollout{
		APIVersion: nf.APIVersion, Kind: nf.KindFleetRollout, Channel: "main", At: statusTime, Document: &d, Waits: "a person has to resume or abort it", Next: "20%, in the group edge",
		Counts: richGroups()[0].Counts, Groups: richGroups(), Begun: []nf.BegunNode{{Node: "hn-3", Group: "edge", Since: statusTime.Add(-90 * time.Second)}},
		Failed: []nf.NodeReason{{Node: "hn-4", Reason: "cannot write nf_conntrack_max: invalid argument\x1b[2J"}, {Node: "hn-20", Reason: "silent since it has begun"}},
		Silent: richFleetStatus().Silent, Unread: richFleetStatus().Unread,
	}
}

func doneFleetRollout() nf.FleetRollout {
	r := richFleetRollout()
	d := *r.Document
	d.State, d.Reason, d.Step, d.Withdrawn, d.History = nf.RolloutDone, "", -1, nil, nil
	r.Document, r.Waits, r.Next, r.Begun, r.Failed, r.Silent, r.Unread = &d, "", "", nil, nil, nil, nil
	return r
}

func noFleetRollout() nf.FleetRollout {
	return nf.FleetRollout{APIVersion: nf.APIVersion, Kind: nf.KindFleetRollout, Channel: "main", At: statusTime}
}

func fleetDocuments() []document {
	return []document{
		documentOf("fleetstatus-rich", nf.KindFleetStatus, FleetStatuses, richFleetStatus()),
		documentOf("fleetstatus-empty", nf.KindFleetStatus, FleetStatuses, emptyFleetStatus()),
		documentOf("fleetnodes-rich", nf.KindFleetNodes, FleetNodes, richFleetNodes()),
		documentOf("fleetnodes-none", nf.KindFleetNodes, FleetNodes, nf.FleetNodes{APIVersion: nf.APIVersion, Kind: nf.KindFleetNodes, Channel: "main", At: statusTime}),
		documentOf("fleetnode-rich", nf.KindFleetNodeStatus, FleetNodeStatuses, richFleetNode()),
		documentOf("fleetrollout-rich", nf.KindFleetRollout, FleetRollouts, richFleetRollout()),
		documentOf("fleetrollout-done", nf.KindFleetRollout, FleetRollouts, doneFleetRollout()),
		documentOf("fleetrollout-none", nf.KindFleetRollout, FleetRollouts, noFleetRollout()),
	}
}

// hostileFleet has hostile names wherever nodes, operators and repositories can put them.
func hostileFleet() []document {
	s, nodes, one, r := richFleetStatus(), richFleetNodes(), richFleetNode(), richFleetRollout()
	s.Channel, s.Rollout.Revision, s.Rollout.Reason, s.Rollout.Waits, s.Rollout.Next = hostileNames[0], hostileNames[1], hostileNames[2], hostileNames[0], hostileNames[1]
	s.Rollout.State, s.RolloutError = nf.RolloutState(hostileNames[0]), hostileNames[1]
	r.Channel, r.Document.Reason, r.Document.Revision, r.Document.Coordinator, r.Document.State = hostileNames[0], hostileNames[1], hostileNames[2], hostileNames[0], nf.RolloutState(hostileNames[1])
	for _, name := range hostileNames {
		n := richNode(name, 3, &nf.NodeProgress{Revision: name, State: nf.ProgressState(name), Reason: name})
		n.Message, n.Version, n.BootID, n.Revision = name, name, name, name
		n.Labels[name] = name
		n.Conditions[nf.ConditionType(name)] = nf.ConditionStatus(name)
		in := nf.NodeInFleet{HeardNode: n, Group: name}
		nodes.Nodes, one.Node = append(nodes.Nodes, in), in
		one.Turn = &nf.NodeTurn{Commit: name, Meanwhile: name, OnlyUnaffected: true, Reason: name}
		one.Snapshot = &nf.PutSnapshot{Error: name}
		reason := nf.NodeReason{Node: name, Reason: name}
		s.Unread, r.Unread, r.Failed = append(s.Unread, reason), append(r.Unread, reason), append(r.Failed, reason)
		s.Silent, r.Silent = append(s.Silent, nf.SilentNode{Node: name}), append(r.Silent, nf.SilentNode{Node: name})
		s.Revisions = append(s.Revisions, nf.RevisionCount{Revision: name, Nodes: 1})
		s.Groups, r.Groups = append(s.Groups, nf.GroupCounts{Name: name}), append(r.Groups, nf.GroupCounts{Name: name})
		r.Begun = append(r.Begun, nf.BegunNode{Node: name, Group: name})
		r.Document.Withdrawn = append(r.Document.Withdrawn, name)
		r.Document.History = append(r.Document.History, nf.RolloutRecord{What: name})
	}
	return []document{
		documentOf("fleet status", "", FleetStatuses, s), documentOf("fleet nodes", "", FleetNodes, nodes), documentOf("fleet show", "", FleetNodeStatuses, one), documentOf("fleet rollout", "", FleetRollouts, r),
		lineDocument("fleet status in a line", FleetStatusLine, s), lineDocument("fleet nodes in a line", FleetNodesLine, nodes),
		lineDocument("fleet show in a line", FleetNodeLine, one), lineDocument("fleet rollout in a line", FleetRolloutLine, r),
	}
}

// lineDocument is a document that is written in one line.
func lineDocument[T any](name string, line func(T) string, doc T) document {
	return document{name: name, formats: []string{FormatText}, write: func(w io.Writer, _ string, _ Options) error {
		text := line(doc)
		_, err := io.WriteString(w, text)
		if strings.Count(text, "\n") != 1 {
			return errors.Join(err, fmt.Errorf("it has several lines: %q", text))
		}
		return err
	}}
}

// TestFleetLines: what a fleet does, in one line.
func TestFleetLines(t *testing.T) {
	for _, test := range []struct{ got, want string }{
		{FleetStatusLine(richFleetStatus()), "12:00:00  403 nodes, 390 of 398 ready, 2 silent, 1 unreadable  3f2a9c41d7be halted, 1%: a person has to resume or abort it\n"},
		{FleetStatusLine(emptyFleetStatus()), "12:00:00  0 nodes\n"},
		{FleetNodesLine(richFleetNodes()), "12:00:00  3 nodes, 1 silent\n"},
		{FleetNodeLine(richFleetNode()), "12:00:00  hn-1  yes  1b2c3d4e5f60  waiting  a reason with \\x1b[2J\n"},
		{FleetRolloutLine(richFleetRollout()), "12:00:00  3f2a9c41d7be  halted, step 2 of 6 (1%)  22 applied, 1 refused, 3 failed, 2 begun, 330 waiting, 40 unaffected, 2 silent  a person has to resume or abort it\n"},
		{FleetRolloutLine(noFleetRollout()), "12:00:00  no roll-out so far\n"},
	} {
		if test.got != test.want {
			t.Errorf("%q, want %q", test.got, test.want)
		}
	}
}

// TestFleetIsFolded: the status of 10,000 nodes, all silent, failed, unreadable or with a revision of their own, is
// not a page a node.
func TestFleetIsFolded(t *testing.T) {
	s, r := richFleetStatus(), richFleetRollout()
	for i := range 10_000 {
		name := fmt.Sprintf("hn-%05d", i)
		s.Silent, r.Silent = append(s.Silent, nf.SilentNode{Node: name}), append(r.Silent, nf.SilentNode{Node: name})
		reason := nf.NodeReason{Node: name, Reason: "because"}
		s.Unread, r.Failed, r.Unread = append(s.Unread, reason), append(r.Failed, reason), append(r.Unread, reason)
		r.Begun = append(r.Begun, nf.BegunNode{Node: name})
		s.Revisions = append(s.Revisions, nf.RevisionCount{Revision: name, Nodes: 1})
		r.Document.Withdrawn = append(r.Document.Withdrawn, name)
		r.Document.History = append(r.Document.History, nf.RolloutRecord{What: name})
	}
	for _, d := range []document{documentOf("status", "", FleetStatuses, s), documentOf("rollout", "", FleetRollouts, r)} {
		text := string(written(t, d, FormatText, Options{}))
		if n := strings.Count(text, "\n"); n > 150 {
			t.Errorf("%s: %d lines", d.name, n)
		}
		if !strings.Contains(text, "and 9982 more") {
			t.Errorf("%s does not say how many more nodes are silent:\n%s", d.name, text)
		}
	}
}
