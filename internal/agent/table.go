package agent

import (
	"time"

	"nfsync.dev/nfsync/internal/nf"
)

// A table is found to fill after a few readings in turn that say so, or at once if it is nearly
// full, and not to fill any more after more of them: the condition does not flap.
const (
	sureAfter = 3
	overAfter = 10
)

// goneAfter is the number of readings in turn after which a table that cannot be read is forgotten:
// what is said of it may not be true any more.
const goneAfter = 3

// A table that is nearly empty is read less often.
const (
	readEvery  = time.Minute
	quietEvery = 5 * time.Minute
	quietBelow = 0.10
)

// table is what the agent knows of one conntrack table.
type table struct {
	reading nf.ConntrackTable // the last one; its Drops are those last read
	at      time.Time         // of the reading
	due     time.Duration     // when it is to be read next
	history *history          // nil: it was always empty

	missed int // readings in turn that were due and not made

	fills  bool
	since  time.Time     // when it was found to fill
	others int           // readings in turn that say the opposite of fills
	rises  bool          // and left is the time until it is full
	left   time.Duration // at the time of the reading
	full   bool
	fullAt time.Time // when it was first seen full
	base   nf.Drops  // the counters before it began to lose
	losing time.Time // when they were read; zero: it has lost nothing
}

// read adds a reading. elapsed is the time of a clock that only goes forward, which now may not
// be.
func (t *table) read(r nf.ConntrackTable, now time.Time, elapsed time.Duration) {
	lost := t.lose(r.Drops)
	if r.Drops == nil {
		r.Drops = t.reading.Drops
	}
	if t.history == nil && r.Count > 0 {
		t.history = newHistory()
	}
	if t.history != nil {
		t.history.add(elapsed, r.Count)
	}
	t.reading, t.at, t.missed = r, now, 0
	filled := 0.0
	if r.Max > 0 {
		filled = float64(r.Count) / float64(r.Max)
	}
	wasFull := t.full
	t.full = filled >= full || r.Max > 0 && lost.Evicted > 0 || filled >= nearlyFull && lost.Dropped > 0
	if t.full && !wasFull {
		t.fullAt = now
	}
	t.rises = false
	if filled >= stillFillingFrom { // else there is nothing to compute
		t.left, t.rises = forecast(t.history.minutes(), t.history.day(), float64(r.Max), t.fills)
	}
	nearly := filled >= nearlyFull || t.fills && filled >= stillNearlyFull
	t.judge(t.full || nearly || t.rises, t.full || nearly, now)
	t.due = elapsed + readEvery
	if filled < quietBelow && !t.fills {
		t.due = elapsed + quietEvery
	}
}

// lose returns what the table has lost since the last reading. Counters that went back were reset.
func (t *table) lose(now *nf.Drops) (lost nf.Drops) {
	was := t.reading.Drops
	if now == nil || was == nil {
		return lost
	}
	if now.Dropped > was.Dropped {
		lost.Dropped = now.Dropped - was.Dropped
	}
	if now.Evicted > was.Evicted {
		lost.Evicted = now.Evicted - was.Evicted
	}
	if lost != (nf.Drops{}) && t.losing.IsZero() {
		t.base, t.losing = *was, t.at
	}
	return lost
}

// judge decides whether the table fills, given what a reading says.
func (t *table) judge(says, atOnce bool, now time.Time) {
	if says == t.fills {
		t.others = 0
		return
	}
	t.others++
	enough := overAfter
	if says {
		enough = sureAfter
	}
	if t.others < enough && !atOnce {
		return
	}
	t.fills, t.others, t.since = says, 0, now
	if !says {
		t.losing = time.Time{}
	}
}

// filling returns what is to be said of a table that fills.
func (t *table) filling() nf.FillingTable {
	r := t.reading
	f := nf.FillingTable{Target: r.Target, Count: r.Count, Max: r.Max, Full: t.full, Since: t.since}
	at := t.at.Add(t.left).Truncate(time.Second)
	if t.full {
		at = t.fullAt
	}
	if t.full || t.rises {
		f.FullAt = &at
	}
	if d := r.Drops; d != nil && !t.losing.IsZero() && d.Dropped >= t.base.Dropped && d.Evicted >= t.base.Evicted {
		f.Lost = &nf.Lost{Drops: nf.Drops{Dropped: d.Dropped - t.base.Dropped, Evicted: d.Evicted - t.base.Evicted}, Since: t.losing}
	}
	return f
}
