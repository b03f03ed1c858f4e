package rollout

import (
	"slices"
	"time"

	"nfsync.dev/nfsync/internal/nf"
)

// isOpen reports whether a step may begin now. A window in a time zone that is not known here is never open:
// in any other one a step might begin at a time at which nobody watches.
func isOpen(windows []nf.RolloutWindow, now time.Time) bool {
	return len(windows) == 0 || slices.ContainsFunc(windows, func(w nf.RolloutWindow) bool {
		zone, err := time.LoadLocation(w.Zone)
		return err == nil && isWithin(w, now.In(zone))
	})
}

// isWithin reports whether a local time is in a window.
func isWithin(w nf.RolloutWindow, local time.Time) bool {
	hour, minute, second := local.Clock()
	clock := nf.Seconds(hour*3600 + minute*60 + second)
	today := local.Weekday()
	if w.Start < w.End {
		return startsOn(w, today) && clock >= w.Start && clock < w.End
	}
	// It passes midnight: it began today, or yesterday.
	return startsOn(w, today) && clock >= w.Start || startsOn(w, (today+6)%7) && clock < w.End
}

func startsOn(w nf.RolloutWindow, day time.Weekday) bool {
	return len(w.Days) == 0 || slices.Contains(w.Days, day)
}

// opens returns when the next window opens; false: none does.
func opens(windows []nf.RolloutWindow, now time.Time) (time.Time, bool) {
	var next time.Time
	for _, w := range windows {
		zone, err := time.LoadLocation(w.Zone)
		if err != nil {
			continue
		}
		local := now.In(zone)
		for day := range 8 {
			// The seconds are those of the clock on the wall: a day may have 23 or 25 hours.
			start := time.Date(local.Year(), local.Month(), local.Day()+day, int(w.Start/3600), int(w.Start%3600/60), 0, 0, zone)
			if startsOn(w, start.Weekday()) && start.After(now) {
				if next.IsZero() || start.Before(next) {
					next = start
				}
				break
			}
		}
	}
	return next, !next.IsZero()
}
