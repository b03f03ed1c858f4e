package agent

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/spec"
)

// Restarts returns the bounds of the restarts of containers that a run may make. now
// returns the time in the node's time zone.
func Restarts(r spec.Restarts, now func() time.Time) apply.Restarts {
	return apply.Restarts{Max: r.MaxRestarts, Held: func(takes time.Duration) string { return held(r.Window, now(), takes) }}
}

// held says why no restart may begin now that takes that long; empty if it may. It must
// begin and end in the window.
func held(w *spec.Window, now time.Time, takes time.Duration) string {
	switch {
	case w == nil:
		return ""
	case !isInside(w, now):
		return "outside the restart window " + describe(w)
	case !isInside(w, now.Add(takes)):
		return fmt.Sprintf("the restart window %s ends before another restart, if that takes %s as one of this run did", describe(w), takes.Round(time.Second))
	}
	return ""
}

// isInside reports whether a time is in the window. The start belongs to the window,
// the end does not. A window that passes midnight ends on the day after it began.
func isInside(w *spec.Window, now time.Time) bool {
	at := time.Duration(now.Hour())*time.Hour + time.Duration(now.Minute())*time.Minute
	today := now.Weekday()
	if w.Start < w.End {
		return beginsOn(w, today) && w.Start <= at && at < w.End
	}
	yesterday := (today + 6) % 7
	return beginsOn(w, today) && at >= w.Start || beginsOn(w, yesterday) && at < w.End
}

// beginsOn reports whether the window begins on that day of the week.
func beginsOn(w *spec.Window, day time.Weekday) bool {
	return len(w.Days) == 0 || slices.Contains(w.Days, day)
}

// nextStart returns when the window begins next after a time, which must be in the node's time
// zone.
func nextStart(w *spec.Window, now time.Time) time.Time {
	hour, minute := int(w.Start/time.Hour), int(w.Start%time.Hour/time.Minute)
	for day := 0; ; day++ {
		at := time.Date(now.Year(), now.Month(), now.Day()+day, hour, minute, 0, 0, now.Location())
		if at.After(now) && beginsOn(w, at.Weekday()) {
			return at
		}
	}
}

// describe returns the window as text, such as "Sat,Sun 02:00–04:00".
func describe(w *spec.Window) string {
	var days []string
	for i := range 7 {
		day := time.Weekday(i+1) % 7 // from Monday
		if slices.Contains(w.Days, day) {
			days = append(days, day.String()[:3])
		}
	}
	clock := func(sinceMidnight time.Duration) string { return time.Time{}.Add(sinceMidnight).Format("15:04") }
	text := clock(w.Start) + "–" + clock(w.End)
	if days != nil {
		text = strings.Join(days, ",") + " " + text
	}
	return text
}
