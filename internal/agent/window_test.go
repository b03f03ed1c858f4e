package agent_test

import (
	"testing"
	"time"

	"nfsync.dev/nfsync/internal/agent"
	"nfsync.dev/nfsync/internal/spec"
)

// A window is a time of day in the node's time zone. A window that passes midnight
// belongs to the day on which it begins. 2026-03-01 is a Sunday.
func TestRestartWindow(t *testing.T) {
	const outside = "outside the restart window "
	clock := func(hours, minutes int) time.Duration {
		return time.Duration(hours)*time.Hour + time.Duration(minutes)*time.Minute
	}
	weekend := &spec.Window{Days: []time.Weekday{time.Sunday, time.Saturday}, Start: clock(2, 0), End: clock(4, 0)}
	night := &spec.Window{Days: []time.Weekday{time.Friday, time.Saturday}, Start: clock(22, 30), End: clock(1, 15)}
	daily := &spec.Window{Start: clock(0, 0), End: clock(6, 0)}
	toMidnight := &spec.Window{Days: []time.Weekday{time.Saturday}, Start: clock(23, 0), End: 0}
	for _, test := range []struct {
		name   string
		window *spec.Window
		now    string
		held   string
	}{
		{"no window", nil, "2026-03-04 12:00:00", ""},
		{"just before it", weekend, "2026-03-01 01:59:59", outside + "Sat,Sun 02:00–04:00"},
		{"its first second", weekend, "2026-03-01 02:00:00", ""},
		{"its last second", weekend, "2026-03-01 03:59:59", ""},
		{"its end", weekend, "2026-03-01 04:00:00", outside + "Sat,Sun 02:00–04:00"},
		{"its other day", weekend, "2026-03-07 03:00:00", ""},
		{"a day that it does not name", weekend, "2026-03-02 03:00:00", outside + "Sat,Sun 02:00–04:00"},
		{"before midnight of its day", night, "2026-03-06 22:30:00", ""},
		{"before midnight of the day after its last", night, "2026-03-01 23:00:00", outside + "Fri,Sat 22:30–01:15"},
		{"after midnight, begun the day before", night, "2026-03-01 01:14:59", ""},
		{"after midnight, not begun the day before", night, "2026-03-06 01:00:00", outside + "Fri,Sat 22:30–01:15"},
		{"its end after midnight", night, "2026-03-07 01:15:00", outside + "Fri,Sat 22:30–01:15"},
		{"after midnight, from Saturday to Sunday", night, "2026-03-08 00:30:00", ""},
		{"every day", daily, "2026-03-04 05:59:00", ""},
		{"every day, outside", daily, "2026-03-04 06:00:00", outside + "00:00–06:00"},
		{"to midnight", toMidnight, "2026-03-07 23:59:59", ""},
		{"at midnight", toMidnight, "2026-03-08 00:00:00", outside + "Sat 23:00–00:00"},
	} {
		t.Run(test.name, func(t *testing.T) {
			// In this zone the day and the hour differ from those in UTC: the
			// window is in the node's zone.
			now, err := time.ParseInLocation(time.DateTime, test.now, time.FixedZone("far", 13*3600))
			if err != nil {
				t.Fatal(err)
			}
			got := agent.Restarts(spec.Restarts{Window: test.window, MaxRestarts: 3}, func() time.Time { return now })
			if held := got.Held(0); got.Max != 3 || held != test.held {
				t.Errorf("%d, held %q, want %q", got.Max, held, test.held)
			}
		})
	}
}

// The window is compared with the clock at each question, and with the end of the next
// restart if that takes as long as an earlier one did.
func TestRestartWindowCloses(t *testing.T) {
	now := time.Date(2026, 3, 1, 3, 59, 50, 0, time.Local)
	window := &spec.Window{Start: 2 * time.Hour, End: 4 * time.Hour}
	bounds := agent.Restarts(spec.Restarts{Window: window, MaxRestarts: 4}, func() time.Time { return now })
	for _, test := range []struct {
		passes, takes time.Duration
		held          string
	}{
		{0, 0, ""},
		{0, 9 * time.Second, ""},
		{0, 11 * time.Second, "the restart window 02:00–04:00 ends before another restart, if that takes 11s as one of this run did"},
		{9 * time.Second, 0, ""},
		{time.Second, 0, "outside the restart window 02:00–04:00"},
	} {
		now = now.Add(test.passes)
		if held := bounds.Held(test.takes); held != test.held {
			t.Errorf("at %s, taking %s: held %q, want %q", now.Format(time.TimeOnly), test.takes, held, test.held)
		}
	}
}
