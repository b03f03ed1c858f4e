package main

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"nfsync.dev/nfsync/internal/nf"
)

// documentedFleet is the fleet of docs/fleet-commands.md: 50 nodes, of which three in one rack have begun a roll-out.
func documentedFleet(t *testing.T) *testFleet {
	t.Helper()
	f := fifty(t, groupedPlan())
	rack := func(i int, state nf.ProgressState) nf.FleetNode {
		n := f.progressed(i, state)
		n.Labels["rack"], n.BootID, n.Progress.Reason, n.Revision = "r7", "0b9d8c1e-5a0f-4c39-9f0e-2d6f1a7c3b54", "", oldRevision
		return n
	}
	applied, begun, failed := rack(10, nf.ProgressApplied), rack(15, nf.ProgressBegun), rack(23, nf.ProgressFailed)
	applied.Revision = newRevision
	failed.Progress.Reason, failed.Message = "cannot write nf_conntrack_max: invalid argument", "1 change failed and was undone"
	failed.Conditions[nf.Ready] = nf.ConditionFalse
	failed.SnapshotAt = time.Now().Add(-2*time.Hour - time.Minute)
	f.put(applied, begun, failed)
	f.putSnapshot("hn-23", snapshotDocuments(t)["hn-7"])
	f.coordinate()
	return f
}

// What differs from run to run. A line may end between a date and its time.
var (
	calendarDay = regexp.MustCompile(`\d{4}-\d\d-\d\d`)
	timeOfDay   = regexp.MustCompile(`\d\d:\d\d:\d\d`)
	timeSince   = regexp.MustCompile(`\d+ seconds? ago`)
)

// atOneTime returns a text as it would be if all had happened at 00:30:45. A deadline is half an hour later.
func atOneTime(text string) string {
	text = timeOfDay.ReplaceAllStringFunc(text, func(at string) string {
		now := time.Now().UTC()
		day, err := time.Parse(time.TimeOnly, at)
		clock := time.Date(now.Year(), now.Month(), now.Day(), day.Hour(), day.Minute(), day.Second(), 0, time.UTC)
		if ahead := (clock.Sub(now) + 24*time.Hour) % (24 * time.Hour); err == nil && ahead > 10*time.Minute && ahead < time.Hour {
			return "01:01:45"
		}
		return "00:30:45"
	})
	return timeSince.ReplaceAllString(calendarDay.ReplaceAllString(text, "2026-12-02"), "1 second ago")
}

// TestFleetDocs: docs/fleet-commands.md has what the commands in it write. With -update it is written.
func TestFleetDocs(t *testing.T) {
	t.Parallel()
	const name = "../../docs/fleet-commands.md"
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	f := documentedFleet(t)
	ran := 0
	got := regexp.MustCompile("(?s)```\n\\$ nfsync.*?```").ReplaceAllStringFunc(string(text), func(block string) string {
		var out strings.Builder
		for _, m := range regexp.MustCompile(`(?m)^\$ .*$`).FindAllString(block, -1) {
			cmd := exec.Command("sh", "-c", strings.TrimPrefix(m, "$ "))
			cmd.Env = f.command().Env
			said, _ := cmd.CombinedOutput() // some are refused
			out.WriteString(m + "\n")
			out.Write(said)
			ran++
		}
		return "```\n" + atOneTime(out.String()) + "```"
	})
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(string(text), got); ran == 0 || diff != "" && !*update {
		t.Errorf("%d commands, -docs +nfsync:\n%s", ran, diff)
	}
}
