package agent

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/spec"
	"nfsync.dev/nfsync/internal/state"
)

// The clock of a node may be set back or forward by a year while the agent runs. Nobody can set the
// clock of the tests' machine: they hand in times instead.
const year = 365 * 24 * time.Hour

func openState(t *testing.T) *state.Dir {
	t.Helper()
	d, err := state.Open(filepath.Join(t.TempDir(), "state"))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestLoopUsesMonotonicClock: the times at which a loop fetches and observes have a reading of the
// monotonic clock, so that time.Time compares these (see package time).
func TestLoopUsesMonotonicClock(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	l := NewLoop(func(context.Context, Trip) (Schedule, bool) {
		return Schedule{Interval: time.Hour, Drift: time.Hour, Until: time.Now().Add(-time.Hour)}, true
	})
	l.Scheduled = func(next []nf.NextLap) {
		cancel()
		if len(next) != 3 {
			t.Errorf("%v", next)
		}
		for _, n := range next {
			if !strings.Contains(n.At.String(), " m=") {
				t.Errorf("%s at %s has no reading of the monotonic clock", n.Cause, n.At)
			}
		}
	}
	l.Run(ctx)
}

// TestLoopAfterClockJump: a time that is past for long wakes a lap a second, and does not make the loop
// spin; one that is far wakes none.
func TestLoopAfterClockJump(t *testing.T) {
	for what, test := range map[string]struct {
		until time.Duration
		laps  int
	}{"forward": {-year, 10}, "back": {year, 1}} {
		r := &recorder{schedule: Schedule{Interval: never, Drift: never}}
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 9500*time.Millisecond)
			defer cancel()
			r.started = time.Now()
			r.schedule.Until = r.started.Add(test.until)
			NewLoop(r.lap).Run(ctx)
		})
		if len(r.trips) != test.laps {
			t.Errorf("%s: %d laps in ten seconds, want %d", what, len(r.trips), test.laps)
		}
	}
}

// TestSuspensionAfterClockJump: a suspension ends at its time, and after its duration at the latest.
func TestSuspensionAfterClockJump(t *testing.T) {
	for _, test := range []struct {
		name        string
		passed, set time.Duration // of time, and by which the clock is set besides
		holds       bool
	}{
		{"within it", time.Hour, 0, true},
		{"after it", 3 * time.Hour, 0, false},
		{"forward by a year", time.Hour, year, false},
		{"back by a year", time.Hour, -year, true},
		{"back by a year, after it", 3 * time.Hour, -year, false},
	} {
		d := openState(t)
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			until := start.Add(2 * time.Hour)
			if err := d.SaveSuspension(&nf.Suspension{Since: start, Until: &until, Reason: "x"}); err != nil {
				t.Fatal(err)
			}
			a := New(nf.NodeStatus{})
			var set time.Duration
			in := apply.Input{State: d, Now: func() time.Time { return time.Now().Add(set) }}
			if s, err := a.suspensionNow(in); err != nil || s == nil {
				t.Fatalf("%v, %v", s, err)
			}
			<-time.After(test.passed)
			set = test.set
			if s, err := a.suspensionNow(in); err != nil || (s != nil) != test.holds {
				t.Errorf("%s: %v, %v", test.name, s, err)
			}
		})
	}
}

// TestScheduleAfterClockJump: each lap asks the clock anew when the window begins.
func TestScheduleAfterClockJump(t *testing.T) {
	a := New(nf.NodeStatus{})
	a.setup = &Setup{Interval: time.Minute, Drift: time.Minute, Window: &spec.Window{Start: 2 * time.Hour, End: 4 * time.Hour}}
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, set := range []time.Duration{0, year, -year} {
		now := noon.Add(set)
		if got, want := a.schedule(Report{Finished: now}).Until, now.Add(14*time.Hour); !got.Equal(want) {
			t.Errorf("%s: %s, want %s", set, got, want)
		}
		if why := held(a.setup.Window, now.Add(15*time.Hour), 0); why != "" {
			t.Errorf("%s: %s", set, why)
		}
	}
}

// TestScheduleOfUnobserved: a lap that has not looked at the node does not count as an observation.
func TestScheduleOfUnobserved(t *testing.T) {
	a := New(nf.NodeStatus{})
	a.setup = &Setup{Interval: time.Minute, Drift: time.Minute}
	for _, unchanged := range []bool{true, false} {
		if s := a.schedule(Report{Result: Result{Unchanged: unchanged}}); s.Unobserved != unchanged {
			t.Errorf("unchanged %t: unobserved %t", unchanged, s.Unobserved)
		}
	}
}

// TestReceiptsAfterClockJump: the numbers of receipts rise whatever the clock says.
func TestReceiptsAfterClockJump(t *testing.T) {
	d := openState(t)
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for i, set := range []time.Duration{0, year, -year, 0} {
		id, err := d.NextReceipt(noon.Add(set))
		if err == nil {
			err = d.SaveReceipt(id, apply.Receipt{ID: id})
		}
		if want := fmt.Sprintf("%08d-", i+1); err != nil || !strings.HasPrefix(id, want) {
			t.Errorf("%s, want %s: %v", id, want, err)
		}
	}
}
