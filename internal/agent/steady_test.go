package agent

import (
	"testing"
	"time"

	"nfsync.dev/nfsync/internal/nf"
)

// TestDigestOfParameters: what a module counts in a read-only parameter is no change, another value of one that can be set is.
func TestDigestOfParameters(t *testing.T) {
	of := func(counted, set string) string {
		s, n := steadyDocuments()
		s.Modules.List = []nf.ModuleFact{{Name: "m", Parameters: map[string]nf.Parameter{"passes": {Value: counted}, "max": {Value: set, Writable: true}}}}
		text, err := digest("", s, n)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	if of("1", "1") != of("2", "1") {
		t.Error("a counter is a change")
	}
	if of("1", "1") == of("1", "2") {
		t.Error("a value that was set is no change")
	}
}

// TestDigest: what a node counts, and when, is not in the digest of what it is. All else is.
func TestDigest(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	web := nf.Target{Kind: nf.TargetContainer, Runtime: nf.RuntimeNetns, ID: "web-1", Name: "web-1"}
	for _, test := range []struct {
		name    string
		change  func(*nf.Snapshot, *nf.NodeStatus)
		differs bool
	}{
		{"nothing", func(*nf.Snapshot, *nf.NodeStatus) {}, false},
		{"times", func(s *nf.Snapshot, n *nf.NodeStatus) {
			s.TakenAt, n.UpdatedAt, n.LastSuccess = now, now, &now
			n.Next = []nf.NextLap{{Cause: "drift", At: now}}
			n.LastLap = &nf.LapStatus{Result: nf.LapUnchanged, FinishedAt: now}
			n.Conditions[0].LastTransitionTime = now
			n.Revision.Since = now
			n.URLs[0].LastFetch, n.URLs[0].RetryAt = &now, &now
		}, false},
		{"another process", func(_ *nf.Snapshot, n *nf.NodeStatus) { n.Agent.PID, n.Agent.StartedAt = 2, now }, false},
		{"another version", func(_ *nf.Snapshot, n *nf.NodeStatus) { n.Agent.Version = "2" }, true},
		{"entries", func(s *nf.Snapshot, _ *nf.NodeStatus) {
			s.Host.Count, s.Containers[0].Count = nf.Number(12), nf.Number(13)
		}, false},
		{"rules", func(s *nf.Snapshot, _ *nf.NodeStatus) {
			table := &s.Containers[0].Rules.Tables[0]
			table.Rules, table.Uses[0].Count, table.MoreUses = 20, 21, map[nf.Level]int{nf.LevelFull: 22}
		}, false},
		{"no rule any more", func(s *nf.Snapshot, _ *nf.NodeStatus) { s.Containers[0].Rules.Tables[0].Rules = 0 }, true},
		{"another use", func(s *nf.Snapshot, _ *nf.NodeStatus) { s.Containers[0].Rules.Tables[0].Uses[0].What = "nat" }, true},
		{"counts in texts", func(s *nf.Snapshot, n *nf.NodeStatus) {
			s.Containers[0].Tracking.Evidence = "97 entries"
			s.Warnings[0].Message = "the file has 13 lines"
			n.Conditions[0].Message = "dial tcp 10.0.0.7:50122: connection refused after 2.5s"
		}, false},
		{"names in texts", func(s *nf.Snapshot, _ *nf.NodeStatus) { s.Warnings[0].Message = "the file has 12 lines-2" }, true},
		{"tracking", func(s *nf.Snapshot, _ *nf.NodeStatus) { s.Containers[0].Tracking.State = nf.TrackingOff }, true},
		{"a value", func(s *nf.Snapshot, _ *nf.NodeStatus) { s.Host.Facts[0].Live = nf.Number(31) }, true},
		{"a label", func(s *nf.Snapshot, _ *nf.NodeStatus) { s.Node.Labels = map[string]string{"role": "edge"} }, true},
		{"a label of a container", func(s *nf.Snapshot, _ *nf.NodeStatus) { s.Containers[0].Labels = map[string]string{"app": "web"} }, true},
		{"unknown labels", func(s *nf.Snapshot, _ *nf.NodeStatus) { s.Containers[0].LabelsUnknown = "no socket" }, true},
		{"counts in why labels are unknown", func(s *nf.Snapshot, _ *nf.NodeStatus) { s.Containers[1].LabelsUnknown = "no answer in 3s" }, false},
		{"another container", func(s *nf.Snapshot, _ *nf.NodeStatus) { s.Containers[0].ID = "web-2" }, true},
		{"another instance", func(s *nf.Snapshot, _ *nf.NodeStatus) { s.Containers[0].Instance = "2" }, true},
		{"memory", func(s *nf.Snapshot, _ *nf.NodeStatus) { s.Memory.Revision = "c2" }, true},
		{"a revision", func(_ *nf.Snapshot, n *nf.NodeStatus) { n.Revision.Commit = "c2" }, true},
		{"a condition", func(_ *nf.Snapshot, n *nf.NodeStatus) { n.Conditions[0].Status = nf.ConditionFalse }, true},
		{"a refusal", func(_ *nf.Snapshot, n *nf.NodeStatus) { n.Refusals = []nf.Refusal{{Target: web}} }, true},
		{"a table that fills", func(_ *nf.Snapshot, n *nf.NodeStatus) { n.Tables = []nf.FillingTable{{Target: web}} }, true},
		{"a suspension", func(_ *nf.Snapshot, n *nf.NodeStatus) { n.Suspension = &nf.Suspension{} }, true},
		{"that it is published", func(_ *nf.Snapshot, n *nf.NodeStatus) {
			n.Conditions = append(n.Conditions, nf.Condition{Type: nf.Published, Status: nf.ConditionTrue})
		}, false},
	} {
		s, n := steadyDocuments()
		want, err := digest("", s, n)
		if err != nil {
			t.Fatal(err)
		}
		test.change(&s, &n)
		got, err := digest("", s, n)
		if err != nil || (got != want) != test.differs {
			t.Errorf("%s: differs is %v, want %v (%v)", test.name, got != want, test.differs, err)
		}
	}
	s, n := steadyDocuments()
	one, _ := digest("", s, n)
	other, _ := digest("fleet", s, n)
	if one == other {
		t.Error("the path is not in the digest")
	}
	if s.Containers[0].Rules.Tables[0].Rules != 2 || s.Warnings[0].Message != "the file has 12 lines" {
		t.Error("the snapshot was changed")
	}
}

func steadyDocuments() (nf.Snapshot, nf.NodeStatus) {
	s := nf.Snapshot{Node: nf.NodeIdentity{Name: "hn-1"}, Warnings: []nf.Warning{{Code: "x", Message: "the file has 12 lines"}}}
	s.Host.Facts = []nf.Fact{{Key: nf.TimeoutKey("udp"), Live: nf.Number(30)}}
	c := nf.Container{Runtime: nf.RuntimeNetns, ID: "web-1", Instance: "1"}
	c.Tracking = &nf.Tracking{State: nf.TrackingOn, Evidence: "96 entries"}
	c.Rules = &nf.Rules{Tables: []nf.Table{{Name: "t", Rules: 2, Uses: []nf.Use{{Chain: "c", What: "ct", Count: 2}}, MoreUses: map[nf.Level]int{nf.LevelFull: 2}}}}
	s.Containers = []nf.Container{c, {Runtime: nf.RuntimePodman, ID: "a01b", Instance: "3", LabelsUnknown: "no answer in 2s"}}
	n := nf.NodeStatus{Node: "hn-1", Revision: &nf.InForce{Commit: "c1"}, URLs: []nf.SourceURL{{URL: "u"}},
		Conditions: []nf.Condition{{Type: nf.Ready, Status: nf.ConditionTrue, Message: "dial tcp 10.0.0.7:40122: connection refused after 3s"}}}
	return s, n
}
