package rollout

import (
	"testing"
	"time"

	"nfsync.dev/nfsync/internal/nf"
)

// TestWindows: the clock of the time zone counts, also when it is put forward or back (Europe/Berlin: 2026-03-29 and
// 2026-10-25), and a window that passes midnight belongs to the day on which it starts.
func TestWindows(t *testing.T) {
	day := nf.RolloutWindow{Days: []time.Weekday{time.Monday, time.Tuesday}, Start: 9 * 3600, End: 16 * 3600, Zone: "Europe/Berlin"}
	night := nf.RolloutWindow{Days: []time.Weekday{time.Friday}, Start: 22 * 3600, End: 4 * 3600, Zone: "UTC"}
	always := nf.RolloutWindow{Start: 0, End: 3600, Zone: "UTC"}
	unknown := nf.RolloutWindow{Start: 0, End: 86340, Zone: "Mars/Olympus"}
	for _, test := range []struct {
		windows []nf.RolloutWindow
		now     string
		open    bool
		next    string
	}{
		{nil, "2026-03-02T08:00:00Z", true, ""},
		{[]nf.RolloutWindow{day}, "2026-03-02T07:59:59Z", false, "2026-03-02T08:00:00Z"},
		{[]nf.RolloutWindow{day}, "2026-03-02T08:00:00Z", true, "2026-03-03T08:00:00Z"},
		{[]nf.RolloutWindow{day}, "2026-03-02T14:59:59Z", true, "2026-03-03T08:00:00Z"},
		{[]nf.RolloutWindow{day}, "2026-03-02T15:00:00Z", false, "2026-03-03T08:00:00Z"},
		{[]nf.RolloutWindow{day}, "2026-03-04T10:00:00Z", false, "2026-03-09T08:00:00Z"}, // a Wednesday
		{[]nf.RolloutWindow{day}, "2026-03-28T10:00:00Z", false, "2026-03-30T07:00:00Z"}, // summer time since Sunday
		{[]nf.RolloutWindow{day}, "2026-03-30T07:30:00Z", true, "2026-03-31T07:00:00Z"},
		{[]nf.RolloutWindow{day}, "2026-10-24T10:00:00Z", false, "2026-10-26T08:00:00Z"},
		{[]nf.RolloutWindow{night}, "2026-03-06T22:00:00Z", true, "2026-03-13T22:00:00Z"},
		{[]nf.RolloutWindow{night}, "2026-03-07T03:59:59Z", true, "2026-03-13T22:00:00Z"},
		{[]nf.RolloutWindow{night}, "2026-03-07T04:00:00Z", false, "2026-03-13T22:00:00Z"},
		{[]nf.RolloutWindow{night}, "2026-03-06T03:00:00Z", false, "2026-03-06T22:00:00Z"}, // of Thursday, which has none
		{[]nf.RolloutWindow{night}, "2026-03-07T22:30:00Z", false, "2026-03-13T22:00:00Z"},
		{[]nf.RolloutWindow{day, night}, "2026-03-06T20:00:00Z", false, "2026-03-06T22:00:00Z"},
		{[]nf.RolloutWindow{always}, "2026-03-06T00:30:00Z", true, "2026-03-07T00:00:00Z"},
		{[]nf.RolloutWindow{unknown}, "2026-03-06T10:30:00Z", false, ""},
		{[]nf.RolloutWindow{unknown, always}, "2026-03-06T00:30:00Z", true, "2026-03-07T00:00:00Z"},
	} {
		now, err := time.Parse(time.RFC3339, test.now)
		if err != nil {
			t.Fatal(err)
		}
		if got := isOpen(test.windows, now); got != test.open {
			t.Errorf("%s: open %v, %+v", test.now, got, test.windows)
		}
		next := ""
		if at, ok := opens(test.windows, now); ok {
			next = at.UTC().Format(time.RFC3339)
		}
		if next != test.next {
			t.Errorf("%s: opens at %q, want %q", test.now, next, test.next)
		}
	}
}

// TestStepsWaitForWindows: no step begins outside a window, and nodes of a step that has begun do.
func TestStepsWaitForWindows(t *testing.T) {
	f := newFleet(plan(func(p *nf.RolloutPlan) {
		p.Windows = []nf.RolloutWindow{{Start: 11 * 3600, End: 11*3600 + 300, Zone: "UTC"}}
	}), map[string]int{"": 1000})
	if f.decide() || f.doc.Step != -1 {
		t.Fatalf("step %d at 10:00", f.doc.Step)
	}
	waits, next := Why(f.doc, f.nodes, f.now)
	if waits != "no step has begun, and the next one may begin at 2026-03-02 11:00:00 UTC" || next != "step 1 of 6 (canaries)" {
		t.Error(waits, "|", next)
	}
	f.wait(time.Hour).decide()
	if f.all(nf.ProgressApplied) != 20 {
		t.Fatal("no canaries at 11:00")
	}
	f.wait(time.Second).decide()
	f.wait(10 * time.Minute).decide()
	if waits, _ := Why(f.doc, f.nodes, f.now); f.doc.State != nf.RolloutSoaking || waits != "step 1 of 6 (canaries) has ended, and the next one may begin at 2026-03-03 11:00:00 UTC" {
		t.Error(f.doc.State, waits)
	}
	f.wait(24*time.Hour - 10*time.Minute).decide()
	if f.doc.State != nf.RolloutRolling || f.doc.Step != 2 {
		t.Error("the next day:", f.doc.State, f.doc.Step)
	}
}
