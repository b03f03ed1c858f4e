package overview

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/rollout"
)

const (
	oldRevision = "1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e"
	newRevision = "3f2a9c41d7be0c6a5f8e1d2b4a6978c0e1f20354"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// heard returns a node that was heard of some minutes ago.
func heard(name, role string, minutes int, change ...func(*nf.HeardNode)) nf.HeardNode {
	n := nf.HeardNode{Heard: now.Add(-time.Duration(minutes) * time.Minute), FleetNode: nf.FleetNode{
		Node: name, Channel: "main", Labels: map[string]string{"role": role}, Revision: oldRevision, Containers: 2,
		Conditions: map[nf.ConditionType]nf.ConditionStatus{nf.Ready: nf.ConditionTrue, nf.Drifted: nf.ConditionFalse, "Invented": nf.ConditionTrue},
	}}
	for _, c := range change {
		c(&n)
	}
	return n
}

// at returns a change that sets how far a node is with the new revision.
func at(state nf.ProgressState, generation uint64) func(*nf.HeardNode) {
	return func(n *nf.HeardNode) {
		n.Progress = &nf.NodeProgress{Generation: generation, Revision: newRevision, State: state, Reason: "because", At: now}
		if state.HasEnded() {
			n.Revision = newRevision
		}
	}
}

func testFleet() Fleet {
	d := nf.RolloutDocument{APIVersion: nf.APIVersion, Kind: nf.KindRolloutDocument, Channel: "main", Generation: 9, Began: 7, Revision: newRevision, Previous: oldRevision,
		State: nf.RolloutRolling, Seed: "s", StepBegan: now.Add(-time.Minute), UpdatedAt: now, Plan: nf.DefaultRolloutPlan(), Nodes: 5, Approved: -1,
		Groups: []nf.RolloutGroup{{Name: "edge", Match: map[string]string{"role": "edge"}, Fraction: 1}, {Name: nf.DefaultGroup, Fraction: 1}}}
	return Fleet{
		Channel: "main", At: now, Document: &d, Unread: map[string]error{"hn-11": errors.New("broken")},
		Nodes: []nf.HeardNode{
			heard("hn-10", "edge", 1, at(nf.ProgressBegun, 8)),
			heard("hn-9", "edge", 1, at(nf.ProgressApplied, 8)),
			heard("hn-2", "db", 1, at(nf.ProgressFailed, 8), func(n *nf.HeardNode) {
				n.Conditions[nf.Ready], n.Refusals, n.Stuck = nf.ConditionFalse, 3, 1
			}),
			heard("hn-1", "db", 30),
			heard("hn-3", "db", 1, at(nf.ProgressBegun, 6)), // of the roll-out before
		},
	}
}

func TestStatus(t *testing.T) {
	s := Status(testFleet())
	if want := []nf.RevisionCount{{Revision: oldRevision, Nodes: 3, Silent: 1}, {Revision: newRevision, Nodes: 2}}; !slices.Equal(s.Revisions, want) {
		t.Errorf("the revisions are %v, not %v", s.Revisions, want)
	}
	if want := []nf.ConditionCount{{Type: nf.Ready, True: 3, False: 1}, {Type: nf.Drifted, False: 4}}; !slices.Equal(s.Conditions, want) {
		t.Errorf("the conditions of the nodes that are not silent are %v, not %v", s.Conditions, want)
	}
	if want := []nf.SilentNode{{Node: "hn-1", Heard: now.Add(-30 * time.Minute)}}; !slices.Equal(s.Silent, want) {
		t.Errorf("silent are %v, not %v", s.Silent, want)
	}
	if want := []nf.NodeReason{{Node: "hn-11", Reason: "broken"}}; !slices.Equal(s.Unread, want) {
		t.Errorf("unread are %v, not %v", s.Unread, want)
	}
	if want := (nf.FleetTotals{Containers: 8, Refusals: 3, Stuck: 1}); s.Totals != want || s.Nodes != 6 {
		t.Errorf("%d nodes with %+v, not %+v", s.Nodes, s.Totals, want)
	}
	if len(s.Groups) != 2 || s.Groups[0].Name != "edge" || s.Groups[0].Counts.Applied != 1 || s.Groups[0].Counts.Begun != 1 || s.Groups[1].Counts.Failed != 1 {
		t.Errorf("the groups are %+v", s.Groups)
	}
	if s.Rollout == nil || s.Rollout.Step != "canaries" || s.Rollout.Waits == "" {
		t.Errorf("the roll-out is %+v", s.Rollout)
	}
}

// TestWithoutRollout: who cannot read the roll-out, or of a fleet without one, sees the nodes.
func TestWithoutRollout(t *testing.T) {
	f := testFleet()
	f.Document, f.RolloutError = nil, "not permitted"
	if s := Status(f); s.Rollout != nil || s.RolloutError == "" || s.Groups == nil || len(s.Groups) != 0 || len(s.Revisions) != 2 {
		t.Errorf("%+v", s)
	}
	if r := Rollout(f); r.Document != nil || len(r.Groups)+len(r.Failed)+len(r.Begun) != 0 || len(r.Silent) != 1 {
		t.Errorf("%+v", r)
	}
	if n, ok := Node(f, "hn-9"); !ok || n.Turn != nil || n.Node.Group != "" {
		t.Errorf("%+v, %v", n, ok)
	}
}

func TestRollout(t *testing.T) {
	r := Rollout(testFleet())
	if want := []nf.BegunNode{{Node: "hn-10", Group: "edge", Since: now}}; !slices.Equal(r.Begun, want) {
		t.Errorf("at work are %v, not %v", r.Begun, want)
	}
	if len(r.Failed) != 1 || r.Failed[0].Node != "hn-2" || r.Failed[0].Reason == "" {
		t.Errorf("failed are %v", r.Failed)
	}
	if r.Counts.Applied != 1 || r.Counts.Nodes != 5 {
		t.Errorf("the counts are %+v", r.Counts)
	}
}

func TestNodes(t *testing.T) {
	for _, test := range []struct {
		name   string
		choice Choice
		want   []string
	}{
		{"all", Choice{}, []string{"hn-1", "hn-2", "hn-3", "hn-9", "hn-10", "unread hn-11"}},
		{"label", Choice{Labels: map[string]string{"role": "edge"}}, []string{"hn-9", "hn-10"}},
		{"a label without a value", Choice{Labels: map[string]string{"none": ""}}, nil},
		{"group", Choice{Group: nf.DefaultGroup}, []string{"hn-1", "hn-2", "hn-3"}},
		{"revision", Choice{Revision: newRevision[:7]}, []string{"hn-2", "hn-9"}},
		{"silent", Choice{Silent: true}, []string{"hn-1"}},
		{"all of them", Choice{Labels: map[string]string{"role": "db"}, Group: nf.DefaultGroup, Revision: oldRevision, Silent: true}, []string{"hn-1"}},
		{"none", Choice{Group: "staging"}, nil},
	} {
		list := Nodes(testFleet(), test.choice)
		var got []string
		for _, n := range list.Nodes {
			got = append(got, n.Node)
		}
		for _, n := range list.Unread {
			got = append(got, "unread "+n.Node)
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: %v, not %v", test.name, got, test.want)
		}
	}
}

func TestNode(t *testing.T) {
	n, ok := Node(testFleet(), "hn-1")
	if !ok || !n.Node.Silent || n.Node.Group != nf.DefaultGroup || n.Turn == nil || n.Turn.Fraction != 1 || n.Turn.Position != rollout.Position("s", "hn-1") {
		t.Errorf("%+v, %v", n, ok)
	}
	if _, ok := Node(testFleet(), "hn"); ok {
		t.Error("there is no node hn")
	}
}

// TestOfChannel: nodes that follow another channel do not count; those that name none do.
func TestOfChannel(t *testing.T) {
	other := heard("hn-2", "db", 1, func(n *nf.HeardNode) { n.Channel = "test" })
	none := heard("hn-3", "db", 1, func(n *nf.HeardNode) { n.Channel = "" })
	var got []string
	for _, n := range OfChannel([]nf.HeardNode{heard("hn-1", "db", 1), other, none}, "main") {
		got = append(got, n.Node)
	}
	if want := []string{"hn-1", "hn-3"}; !slices.Equal(got, want) {
		t.Errorf("%v, not %v", got, want)
	}
}

// BenchmarkStatus counts many nodes.
func BenchmarkStatus(b *testing.B) {
	for _, many := range []int{100, 1_000, 10_000} {
		f := testFleet()
		for i := range many {
			f.Nodes = append(f.Nodes, heard(fmt.Sprintf("n-%d", i), "edge", 1, at(nf.ProgressApplied, 8)))
		}
		b.Run(fmt.Sprint(many), func(b *testing.B) {
			for b.Loop() {
				Status(f)
			}
		})
	}
}
