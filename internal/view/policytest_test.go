package view

import (
	"strings"
	"testing"

	"nfsync.dev/nfsync/internal/nf"
)

// richTests has each kind of difference, and names that others have chosen.
func richTests() nf.PolicyTestResults {
	number := func(n int64) *nf.Value { v := nf.Number(n); return &v }
	absent, unknown, full := nf.Absent(), nf.Unknown("no permission"), nf.LevelFull.Value()
	wanted, wantedRange := nf.Exactly(nf.Number(7200)), nf.Wish{AtLeast: 1000}
	yes, no := true, false
	at := func(line int) nf.Source {
		return nf.Source{Name: "web-is-limited", File: "policies/web_test.yaml", Line: line, Column: 18}
	}
	web := nf.Source{Name: "web", File: "policies/web.yaml", Line: 12, Column: 10}
	max, udp := nf.KeyMax, nf.TimeoutKey("udp")
	r := nf.PolicyTestResults{APIVersion: nf.APIVersion, Kind: nf.KindPolicyTestResults, Path: "policies", Updated: []string{"policies/db_\x1btest.yaml"}, Tests: []nf.PolicyTestResult{
		{Source: at(3), Snapshot: "snapshots/hn-1.yaml", Node: "hn-1", Differences: []nf.TestDifference{
			{List: nf.ExpectWants, Line: 9, Column: 9, Expected: &nf.TestEntry{Target: "container/web-1", Key: udp, Wanted: &wantedRange}, Got: &nf.TestEntry{Target: "container/web-1", Key: udp, Wanted: &wanted, State: nf.KeyDiffers, Policy: "web"}, Policy: &web},
			{List: nf.ExpectChanges, Line: 11, Column: 9, Expected: &nf.TestEntry{Target: "container/web-1", Key: max, From: number(262144), To: number(60000)},
				Got: &nf.TestEntry{Target: "container/web-1", Key: max, Layer: nf.LayerLive, From: number(262144), To: number(50000), Cause: nf.CauseNew, OneWay: &no, Disruptive: &no, Policy: "web"}, Policy: &web},
			{List: nf.ExpectChanges, Line: 12, Column: 9, Expected: &nf.TestEntry{Target: "container/web-9", Key: max, Layer: nf.LayerBoot, From: &absent, Cause: nf.CauseDrift, OneWay: &no}, Hint: `node hn-1 has no container/web-9: did you mean "container/web-1"?`},
			{List: nf.ExpectChanges, Line: 10, Column: 7, Got: &nf.TestEntry{Target: "vz/a\x1b[31m", Key: nf.KeyRestart, Layer: nf.LayerLive, From: &unknown, To: &full, Cause: nf.CauseNew, OneWay: &yes, Disruptive: &yes, Policy: "web"}, Policy: &web},
			{List: nf.ExpectRefusals, Line: 14, Column: 9, Expected: &nf.TestEntry{Target: "container/db-*", Key: nf.KeyLevel, Code: "conntrack-latched"},
				Got: &nf.TestEntry{Target: "container/db-1", Key: nf.KeyLevel, Code: "restart-required", Layer: nf.LayerLive, From: &full, To: &full, Until: nf.UntilContainerRestart, Policy: "db"}, Policy: &web},
			{List: nf.ExpectPending, Line: 15, Column: 9, Expected: &nf.TestEntry{Target: "node", Key: max, Until: nf.UntilNodeRestart}, Hint: "it is changed: 1 → 2"},
			{List: nf.ExpectWarnings, Line: 16, Column: 9, Got: &nf.TestEntry{Target: "node", Code: nf.WarnNodeTracking}},
		}},
		{Source: at(30), Snapshot: "snapshots/hn-2.yaml", Error: "cannot read the snapshot: open snapshots/hn-2.yaml: no such file or directory"},
		{Source: at(50), Snapshot: "snapshots/hn-1.yaml", Node: "hn-1", Passed: true},
	}}
	r.Summarize()
	return r
}

// TestPassedTests: those that passed are listed if all are asked for.
func TestPassedTests(t *testing.T) {
	d := documentOf("tests", "", PolicyTests, richTests())
	line := "ok    policies/web_test.yaml:50:18: web-is-limited (node hn-1, snapshots/hn-1.yaml)"
	if text := string(written(t, d, FormatText, Options{Full: true})); !strings.Contains(text, line) {
		t.Errorf("without %s:\n%s", line, text)
	}
	if text := string(written(t, d, FormatText, Options{})); strings.Contains(text, "ok  ") {
		t.Error(text)
	}
}
