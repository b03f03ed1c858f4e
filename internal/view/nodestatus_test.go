package view

import (
	"strings"
	"testing"
	"time"

	"nfsync.dev/nfsync/internal/nf"
)

var statusTime = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func startingStatus() nf.NodeStatus {
	s := nf.NodeStatus{APIVersion: nf.APIVersion, Kind: nf.KindNodeStatus, Node: "hn-1", UpdatedAt: statusTime, Source: "https://git.example.com/policies.git", Mode: "enforce",
		Agent:   nf.AgentInfo{Version: "0.1.0", PID: 4711, StartedAt: statusTime},
		Changes: []nf.Change{}, Refusals: []nf.Refusal{}, Pending: []nf.Pending{}, Stuck: []nf.StuckChange{}, Fights: []nf.Fight{}, URLs: []nf.SourceURL{}, Warnings: []nf.Warning{}, Tables: []nf.FillingTable{}, Errors: []string{}, Next: []nf.NextLap{}}
	for _, t := range nf.ConditionTypes() {
		s.Conditions = append(s.Conditions, nf.Condition{Type: t, Status: nf.ConditionUnknown, Reason: "Starting", Message: "the first lap has not ended", LastTransitionTime: statusTime})
	}
	return s
}

func richStatus() nf.NodeStatus {
	s := startingStatus()
	p := richPlan()
	s.Changes, s.Refusals, s.Pending, s.Warnings, s.Summary = p.Changes, p.Refusals, p.Pending, p.Warnings, &p.Summary
	s.Stuck = append(s.Stuck, p.Stuck...)
	s.Changes[0].Cause = nf.CauseDrift
	fought := s.Changes[0]
	s.Fights = []nf.Fight{
		{Target: fought.Target, Key: fought.Key, Layer: fought.Layer, From: fought.From, To: fought.To, Flips: 3, Since: statusTime,
			SetBy: []nf.Writer{{Where: "/etc/sysctl.d/90-x\x1b[2J.conf:3", Value: fought.From}, {Where: "kube-proxy (process 812)", Value: nf.Unknown("its flags name no limit")}}},
		{Target: nf.Node, Key: nf.TimeoutKey("udp"), Layer: nf.LayerLive, From: nf.Number(99), To: nf.Number(41), Flips: 4, Since: statusTime, SetBy: []nf.Writer{}},
	}
	s.URLs = []nf.SourceURL{{URL: s.Source, Error: "cannot fetch: \x1b[2J", RetryAt: ptr(statusTime.Add(time.Minute))}, {URL: "ssh://git@mirror.example.com/p.git", LastFetch: &statusTime}}
	s.Revision = &nf.InForce{Commit: strings.Repeat("4b825dc6", 5), URL: s.Source, Branch: "main", Signer: "ada@example.org\x1b[2J", Since: statusTime}
	s.LastLap = &nf.LapStatus{StartedAt: statusTime, FinishedAt: statusTime.Add(time.Second), Causes: []string{"container", "files"}, Result: nf.LapRefused, Error: "cannot fetch", Applied: 3, Receipt: "00000001-x"}
	s.CurrentLap = &nf.CurrentLap{StartedAt: statusTime.Add(time.Minute), Causes: []string{"sync"}}
	s.LastSuccess = &statusTime
	s.Errors = []string{"policies/a.yaml:1:1: one", "policies/\x1b[2J.yaml:2:1: two"}
	until := statusTime.Add(time.Hour)
	s.Suspension = &nf.Suspension{Since: statusTime, Until: &until, Reason: "moving\x1b[2J", By: "root"}
	s.Next = []nf.NextLap{{Cause: "interval", At: statusTime.Add(time.Minute)}, {Cause: "drift", At: statusTime.Add(5 * time.Minute)}}
	web := nf.Target{Kind: nf.TargetContainer, Runtime: nf.RuntimeVZ, ID: "132694", Name: "web\x1b[2J"}
	s.Tables = []nf.FillingTable{
		{Target: web, Count: 262142, Max: 262144, Full: true, FullAt: &statusTime, Since: statusTime, Lost: &nf.Lost{Drops: nf.Drops{Dropped: 7, Evicted: 37858}, Since: statusTime}},
		{Target: nf.Target{Kind: nf.TargetContainer, Runtime: nf.RuntimeNetns, ID: "db-1", Name: "db-1"}, Count: 200000, Max: 262144, FullAt: &until, Since: statusTime},
		{Target: nf.Node, Count: 252000, Max: 262144, Since: statusTime},
	}
	s.Fleet = &nf.FleetPlace{Channel: "main", Server: "tls://fleet.example.com:4222\x1b[2J", ConnectedSince: &statusTime, HeardAt: &statusTime, Generation: 12, Revision: strings.Repeat("5c825dc6", 5),
		State: nf.RolloutRolling, Group: "edge", BeginsAt: &until, Grant: &nf.RestartGrant{Channel: "main", Node: "hn-1", Generation: 3, Until: until, Revision: strings.Repeat("4b825dc6", 5)},
		Progress: &nf.NodeProgress{Generation: 11, Revision: strings.Repeat("5c825dc6", 5), State: nf.ProgressWaiting, Reason: "its turn has not come\x1b[2J", At: statusTime}}
	for i := range s.Conditions {
		s.Conditions[i].Status = nf.ConditionTrue
		s.Conditions[i].Reason, s.Conditions[i].Message = "Because", "a reason with \x1b[2J"
	}
	s.Conditions[0].Status, s.Conditions[0].Message = nf.ConditionFalse, "another reason with \x1b[2J"
	return s
}

func TestStatusLine(t *testing.T) {
	if got, want := StatusLine(startingStatus()), "12:00:00  starting  the first lap has not ended\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	s := richStatus()
	if got, want := StatusLine(s), "12:00:00  not ready  a lap runs (sync)  Stalled  Drifted  RestartPending  Suspended  TableFilling  FleetUnreachable  another reason with \\x1b[2J\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	s.CurrentLap = nil
	if got, want := StatusLine(s), "12:00:00  not ready  refused (container files)  3 applied  Stalled  Drifted  RestartPending  Suspended  TableFilling  FleetUnreachable  another reason with \\x1b[2J\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestStatusSaysItOnce: what makes the node not ready is not repeated where another condition says it.
func TestStatusSaysItOnce(t *testing.T) {
	s := startingStatus()
	for i := range s.Conditions {
		switch c := &s.Conditions[i]; c.Type {
		case nf.Ready:
			c.Status, c.Message = nf.ConditionFalse, "the branch was rewritten"
		case nf.Stalled:
			c.Status, c.Message = nf.ConditionTrue, "the branch was rewritten"
		}
	}
	var out strings.Builder
	if err := NodeStatuses.Write(&out, FormatText, s, Options{}); err != nil {
		t.Fatal(err)
	}
	if text := out.String(); strings.Count(text, "rewritten") != 1 || !strings.Contains(text, "Stalled") {
		t.Errorf("%s", text)
	}
}
