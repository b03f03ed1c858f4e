package agent

import (
	"math"
	"time"
)

// A history keeps a reading of the last two hours for each minute, and the mean of each ten minutes
// of the last day: about 1 KiB for each table.
const (
	fineSlot    = time.Minute
	fineSlots   = 120
	coarseSlot  = 10 * time.Minute
	coarseSlots = 144
)

// noReading marks a slot without a reading. No table has as many entries: its limit is an int.
const noReading = math.MaxUint32

// history holds the entries of one table over the last day.
type history struct {
	fine   [fineSlots]uint32
	coarse [coarseSlots]uint32
	newest time.Duration // when the newest reading was made
	sum    uint64        // of the readings of the coarse slot under way
	n      uint64
}

func newHistory() *history {
	h := &history{newest: -1}
	for i := range h.fine {
		h.fine[i] = noReading
	}
	for i := range h.coarse {
		h.coarse[i] = noReading
	}
	return h
}

// add stores a reading. The times are those of a clock that only goes forward: a reading that is
// not newer than the last one is left out.
func (h *history) add(at time.Duration, count int64) {
	if at <= h.newest {
		return
	}
	if h.newest >= 0 {
		forget(h.fine[:], h.newest/fineSlot, at/fineSlot)
		forget(h.coarse[:], h.newest/coarseSlot, at/coarseSlot)
	}
	if h.newest < 0 || h.newest/coarseSlot != at/coarseSlot {
		h.sum, h.n = 0, 0
	}
	h.newest = at
	h.sum += uint64(max(count, 0))
	h.n++
	h.fine[at/fineSlot%fineSlots] = uint32(min(max(count, 0), noReading-1))
	h.coarse[at/coarseSlot%coarseSlots] = uint32(min(h.sum/h.n, noReading-1))
}

// forget empties the slots after the last one, up to this one.
func forget(slots []uint32, last, this time.Duration) {
	size := time.Duration(len(slots))
	for slot := max(last+1, this-size+1); slot <= this; slot++ {
		slots[slot%size] = noReading
	}
}

// point is a number of entries at a time.
type point struct {
	at    time.Duration
	count float64
}

// minutes returns the readings of the last two hours, the oldest first.
func (h *history) minutes() []point { return points(h.fine[:], fineSlot, h.newest) }

// day returns the means of the last day, the oldest first.
func (h *history) day() []point { return points(h.coarse[:], coarseSlot, h.newest) }

func points(slots []uint32, width, newest time.Duration) []point {
	var list []point
	size := time.Duration(len(slots))
	for slot := max(newest/width-size+1, 0); slot <= newest/width; slot++ {
		if count := slots[slot%size]; count != noReading {
			list = append(list, point{slot * width, float64(count)})
		}
	}
	return list
}
