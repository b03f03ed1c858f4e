package agent

import "nfsync.dev/nfsync/internal/nf"

// The readings of a Day.
const (
	DaySlots = coarseSlots // each of ten minutes
	NoCount  = -1          // nothing was read in that time
)

// Day is the number of entries of a conntrack table over the last day: the means of ten minutes, the
// oldest first, or NoCount. The last one is not over.
type Day [DaySlots]int64

// Days returns the last day of tables. One that was always empty, or is not known, is left out.
func (t *Tables) Days(targets []nf.Target) map[nf.Target]Day {
	t.reading.Lock()
	defer t.reading.Unlock()
	days := map[nf.Target]Day{}
	now := t.elapsed() / coarseSlot
	for _, target := range targets {
		known := t.tables[target.Nameless()]
		if known == nil || known.history == nil {
			continue
		}
		var d Day
		for i := range d {
			d[i] = NoCount
		}
		for _, p := range known.history.day() {
			if i := int(p.at/coarseSlot-now) + DaySlots - 1; i >= 0 && i < DaySlots {
				d[i] = int64(p.count)
			}
		}
		days[target] = d
	}
	return days
}
