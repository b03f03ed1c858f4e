package agent

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"nfsync.dev/nfsync/internal/nf"
)

var web1 = nf.Target{Kind: nf.TargetContainer, Runtime: nf.RuntimeNetns, ID: "web-1", Name: "web-1"}

// run is a table that is read each minute.
type run struct {
	t     *table
	limit int64
	// alarms are the minutes at which the table began to fill, and ends those at which it ended.
	alarms, ends []int
}

func newRun(limit int64) *run {
	return &run{t: &table{}, limit: limit}
}

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func (r *run) read(minute int, count float64) {
	was := r.t.fills
	elapsed := time.Duration(minute) * time.Minute
	r.t.read(nf.ConntrackTable{Target: web1, Count: int64(max(count, 0)), Max: r.limit}, noon.Add(elapsed), elapsed)
	switch {
	case r.t.fills && !was:
		r.alarms = append(r.alarms, minute)
	case was && !r.t.fills:
		r.ends = append(r.ends, minute)
	}
}

// fill reads a table at the minutes from one up to another.
func (r *run) fill(from, to int, count func(minute float64) float64) *run {
	for minute := from; minute < to; minute++ {
		r.read(minute, count(float64(minute)))
	}
	return r
}

// noise returns the same numbers between -1 and 1 in each run.
func noise() func() float64 {
	r := rand.New(rand.NewPCG(1, 2))
	return func() float64 { return 2*r.Float64() - 1 }
}

const limit = 100_000

// TestForecast follows tables for days and counts how often they are found to fill.
func TestForecast(t *testing.T) {
	n := noise()
	flat := func(share float64) func(float64) float64 { return func(float64) float64 { return share * limit } }
	// A day that rises to a peak over 18 hours and falls at night.
	day := func(peak float64) func(float64) float64 {
		return func(minute float64) float64 {
			hour := math.Mod(minute/60, 24)
			if hour < 18 {
				return limit * (0.1 + (peak-0.1)*hour/18)
			}
			return limit * (peak - (peak-0.1)*(hour-18)/6)
		}
	}
	const hour, oneDay = 60, 24 * 60
	for name, test := range map[string]struct {
		run        *run
		alarms     int
		after, til int // where there is an alarm: the minutes between which the first one is
		fills      bool
	}{
		"empty":            {newRun(limit).fill(0, 2*oneDay, flat(0)), 0, 0, 0, false},
		"flat":             {newRun(limit).fill(0, 2*oneDay, flat(0.8)), 0, 0, 0, false},
		"noise":            {newRun(limit).fill(0, 3*oneDay, func(float64) float64 { return limit * (0.7 + 0.1*n()) }), 0, 0, 0, false},
		"strong noise":     {newRun(limit).fill(0, 3*oneDay, func(float64) float64 { return limit * (0.6 + 0.3*n()) }), 0, 0, 0, false},
		"linear, 4 hours":  {newRun(limit).fill(0, 239, func(m float64) float64 { return limit * m / 240 }), 1, 120, 130, true},
		"linear, 24 hours": {newRun(limit).fill(0, oneDay-1, func(m float64) float64 { return limit * m / oneDay }), 1, 18 * hour, 18*hour + 10, true},
		"linear with noise": {newRun(limit).fill(0, 590, func(m float64) float64 { return limit * (m/600 + 0.01*n()) }),
			1, 5 * hour, 6 * hour, true},
		"slow": {newRun(limit).fill(0, 5*oneDay, func(m float64) float64 { return limit * (0.5 + m/(30*oneDay)) }), 0, 0, 0, false},
		"sudden leak": {newRun(limit).fill(0, 600, flat(0.55)).fill(600, 680, func(m float64) float64 { return limit * (0.55 + 0.45*(m-600)/90) }),
			1, 610, 640, true},
		"below half": {newRun(limit).fill(0, 90, func(m float64) float64 { return limit * m / 200 }), 0, 0, 0, false},
		"sawtooth that returns each night, first day":  {newRun(limit).fill(0, oneDay, day(0.85)), 1, 9 * hour, 18 * hour, false},
		"sawtooth that returns each night, later days": {after(newRun(limit), oneDay, 4*oneDay, day(0.85)), 0, 0, 0, false},
		"sawtooth that grows": {after(newRun(limit), 2*oneDay, 4*oneDay, func(m float64) float64 {
			return day(0.6 + 0.1*math.Floor(m/oneDay))(m) // 90 % on the last day
		}), 2, 2*oneDay + 12*hour, 2*oneDay + 18*hour, false},
		"a leak that somebody empties":       {after(newRun(limit), oneDay, 2*oneDay-5, func(m float64) float64 { return limit * math.Mod(m, 480) / 480 }), 3, oneDay + 240, oneDay + 320, true},
		"short sawtooth":                     {after(newRun(limit), 2*hour, oneDay, func(m float64) float64 { return limit * (0.5 + 0.3*math.Mod(m, 60)/60) }), 0, 0, 0, false},
		"step":                               {newRun(limit).fill(0, 200, flat(0.3)).fill(200, 2*oneDay, flat(0.8)), 0, 0, 0, false},
		"step and noise":                     {newRun(limit).fill(0, 200, flat(0.3)).fill(200, oneDay, func(float64) float64 { return limit * (0.8 + 0.02*n()) }), 0, 0, 0, false},
		"quick saturation":                   {newRun(limit).fill(0, oneDay, func(m float64) float64 { return limit * 0.85 * (1 - math.Exp(-m/5)) }), 0, 0, 0, false},
		"a leak up to a level that was left": {newRun(limit).fill(0, 200, func(m float64) float64 { return limit * 0.8 * math.Exp(-m/400) }).fill(200, 290, func(m float64) float64 { return limit * (0.485 + 0.5*(m-200)/100) }), 1, 270, 275, true},
		"a fall, then a leak": {newRun(limit).fill(0, 200, func(m float64) float64 { return limit * (0.54 - m/5000) }).fill(200, 290, func(m float64) float64 { return limit * (0.5 + 0.5*(m-200)/100) }),
			1, 210, 240, true},
		"saturation":          {newRun(limit).fill(0, oneDay, func(m float64) float64 { return limit * 0.8 * (1 - math.Exp(-m/20)) }), 0, 0, 0, false},
		"decay":               {newRun(limit).fill(0, oneDay, func(m float64) float64 { return limit * 0.94 * math.Exp(-m/200) }), 0, 0, 0, false},
		"nearly full, flat":   {newRun(limit).fill(0, hour, flat(0.95)), 1, 0, 0, true},
		"nearly full, falls":  {newRun(limit).fill(0, 11, func(m float64) float64 { return limit * (0.99 - m/200) }), 1, 0, 0, true},
		"full":                {newRun(limit).fill(0, 1, flat(1)), 1, 0, 0, true},
		"no limit":            {newRun(0).fill(0, 239, func(m float64) float64 { return limit * m / 240 }), 0, 0, 0, false},
		"around nearly full":  {newRun(limit).fill(0, oneDay, func(m float64) float64 { return limit * (0.95 + 0.03*math.Sin(m)) }), 1, 0, 1, true},
		"a gap in the middle": {newRun(limit).fill(0, 100, func(m float64) float64 { return limit * m / 240 }).fill(135, 160, func(m float64) float64 { return limit * m / 240 }), 1, 135, 160, true},
		"a gap of two days":   {newRun(limit).fill(0, 100, flat(0.2)).fill(2*oneDay, 2*oneDay+14, func(m float64) float64 { return limit * (0.6 + (m-2*oneDay)/100) }), 0, 0, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := test.run
			if len(r.alarms) != test.alarms || r.t.fills != test.fills {
				t.Fatalf("began at %v, ended at %v, fills %v; want %d alarms, %v", r.alarms, r.ends, r.t.fills, test.alarms, test.fills)
			}
			if test.alarms > 0 && (r.alarms[0] < test.after || r.alarms[0] > test.til) {
				t.Errorf("began at minute %d, want %d to %d", r.alarms[0], test.after, test.til)
			}
		})
	}
}

// after follows a table from the start, and counts only from a minute.
func after(r *run, from, to int, count func(float64) float64) *run {
	r.fill(0, from, count)
	r.alarms, r.ends = nil, nil
	return r.fill(from, to, count)
}

// TestRiseEnds: once a table does not rise any more, the long look at it does not go on to say so.
func TestRiseEnds(t *testing.T) {
	r := newRun(limit).fill(0, 130, func(m float64) float64 { return limit * (0.4 + 0.3*m/130) }).fill(130, 300, func(float64) float64 { return limit * 0.7 })
	if len(r.alarms) != 1 || len(r.ends) != 1 || r.ends[0] > 165 {
		t.Errorf("began at %v, ended at %v", r.alarms, r.ends)
	}
}

// TestRise: a rise after a fall does not slow down.
func TestRise(t *testing.T) {
	var list []point
	for m := range 30 {
		list = append(list, point{time.Duration(m) * time.Minute, 1000 + float64(max(-m, 100*(m-14)))})
	}
	if r := shortTrend.rise(list); !r.steadily || !math.IsInf(r.rest, 1) || r.slope <= 0 {
		t.Errorf("%+v", r)
	}
}

// TestHistory: a history is the last reading of each minute and the mean of each ten.
func TestHistory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := newHistory()
		last, means := map[time.Duration]int64{}, map[time.Duration][]int64{}
		var at time.Duration
		most := rapid.SampledFrom([]int{1, 60, 300, 10_000, 100_000}).Draw(t, "most seconds")
		for range rapid.IntRange(1, 400).Draw(t, "readings") {
			at += time.Duration(rapid.IntRange(1, most).Draw(t, "seconds")) * time.Second
			count := rapid.Int64Range(0, math.MaxInt32).Draw(t, "count")
			h.add(at, count)
			last[at/fineSlot] = count
			means[at/coarseSlot] = append(means[at/coarseSlot], count)
		}
		var minutes, day []point
		for slot := max(at/fineSlot-fineSlots+1, 0); slot <= at/fineSlot; slot++ {
			if count, ok := last[slot]; ok {
				minutes = append(minutes, point{slot * fineSlot, float64(count)})
			}
		}
		for slot := max(at/coarseSlot-coarseSlots+1, 0); slot <= at/coarseSlot; slot++ {
			if list, ok := means[slot]; ok {
				var sum int64
				for _, count := range list {
					sum += count
				}
				day = append(day, point{slot * coarseSlot, float64(sum / int64(len(list)))})
			}
		}
		if !slices.Equal(minutes, h.minutes()) || !slices.Equal(day, h.day()) {
			t.Fatalf("%v and %v, want %v and %v", h.minutes(), h.day(), minutes, day)
		}
	})
}

// TestFullAt: the time of a linear rise is that of the line.
func TestFullAt(t *testing.T) {
	for name, count := range map[string]func(float64) float64{
		"exact": func(m float64) float64 { return limit * m / 300 },
		"noise": func(m float64) float64 { return limit * (m/300 + 0.005*math.Sin(m*m)) },
	} {
		r := newRun(limit).fill(0, 201, count)
		f := r.t.filling()
		if f.FullAt == nil || f.Full || f.FullAt.Sub(noon.Add(300*time.Minute)).Abs() > 10*time.Minute {
			t.Errorf("%s: full at %v, want %v", name, f.FullAt, noon.Add(300*time.Minute))
		}
	}
}

// TestChangedMax: a limit that is lowered or raised counts at once.
func TestChangedMax(t *testing.T) {
	r := newRun(limit).fill(0, 60, func(float64) float64 { return limit * 0.5 })
	r.limit = limit / 2
	if r.read(60, limit*0.5); !r.t.fills || !r.t.full {
		t.Error("a table is not full at the lowered limit")
	}
	r.limit = 2 * limit
	if r.fill(61, 61+overAfter, func(float64) float64 { return limit * 0.5 }); r.t.fills || r.t.full {
		t.Error("a table is full at the raised limit")
	}
}

// TestClockJumps: only the clock that goes forward counts for the rate.
func TestClockJumps(t *testing.T) {
	tab := &table{}
	for minute := range 160 {
		elapsed := time.Duration(minute) * time.Minute
		now := noon.Add(elapsed)
		if minute%3 == 1 {
			now = now.Add(-1000 * time.Hour)
		}
		tab.read(nf.ConntrackTable{Target: web1, Count: int64(minute) * limit / 240, Max: limit}, now, elapsed)
	}
	if !tab.fills || (tab.left-81*time.Minute).Abs() > 2*time.Minute {
		t.Errorf("fills %v, in %v", tab.fills, tab.left)
	}
	tab.history.add(0, 5)
	if list := tab.history.minutes(); list[len(list)-1].count == 5 {
		t.Error("an older reading is the newest")
	}
}

// TestLost: what is lost is counted since the reading before the first loss, until the table does
// not fill any more.
func TestLost(t *testing.T) {
	r := newRun(limit)
	read := func(minute int, share float64, dropped, evicted uint64) nf.FillingTable {
		elapsed := time.Duration(minute) * time.Minute
		r.t.read(nf.ConntrackTable{Target: web1, Count: int64(limit * share), Max: limit, Drops: &nf.Drops{Dropped: dropped, Evicted: evicted}}, noon.Add(elapsed), elapsed)
		return r.t.filling()
	}
	if f := read(0, 0.2, 1000, 5000); f.Lost != nil || r.t.fills {
		t.Errorf("what was lost before counts: %+v", f.Lost)
	}
	if f := read(1, 1, 1000, 5000); f.Lost != nil || !r.t.fills || !f.Full || f.FullAt.Sub(noon) != time.Minute {
		t.Errorf("%+v", f)
	}
	if f := read(2, 0.97, 1007, 5000); !f.Full || f.FullAt.Sub(noon) != time.Minute || f.Lost == nil || f.Lost.Drops != (nf.Drops{Dropped: 7}) || f.Lost.Since.Sub(noon) != time.Minute {
		t.Errorf("%+v", f)
	}
	if f := read(3, 0.3, 1009, 5004); !f.Full || f.Lost.Drops != (nf.Drops{Dropped: 9, Evicted: 4}) {
		t.Errorf("a table that was full between two readings: %+v", f)
	}
	for minute := range overAfter {
		read(4+minute, 0.3, 1009, 5004)
	}
	if r.t.fills || r.t.filling().Lost != nil {
		t.Error("it fills for ever")
	}
	if f := read(20, 1, 3, 0); !r.t.fills || f.Lost != nil {
		t.Errorf("counters that went back are losses: %+v", f.Lost)
	}
	if f := read(21, 1, 5, 0); f.Lost == nil || f.Lost.Dropped != 2 {
		t.Errorf("%+v", f.Lost)
	}
}

// TestForecastProperties holds for any readings.
func TestForecastProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := newHistory()
		var at time.Duration
		step := rapid.Int64Range(0, 1_000_000).Draw(t, "step")
		pause := rapid.IntRange(0, 2000).Draw(t, "pause")
		var count int64
		for range rapid.IntRange(0, 300).Draw(t, "readings") {
			at += time.Duration(rapid.IntRange(0, pause).Draw(t, "seconds")) * time.Second
			count += rapid.Int64Range(-step/4, step).Draw(t, "growth")
			h.add(at, count)
		}
		most := rapid.Int64Range(-1, 2*max(count, 1)).Draw(t, "limit")
		was := rapid.Bool().Draw(t, "was")
		minutes, day := h.minutes(), h.day()
		if len(minutes) > fineSlots || len(day) > coarseSlots {
			t.Fatalf("%d minutes and %d of the day", len(minutes), len(day))
		}
		for _, list := range [][]point{minutes, day} {
			for i, p := range list {
				if p.at > h.newest || p.at <= h.newest-coarseSlots*coarseSlot-coarseSlot || i > 0 && p.at <= list[i-1].at {
					t.Fatalf("point %d is at %v, the newest at %v", i, p.at, h.newest)
				}
			}
		}
		left, ok := forecast(minutes, day, float64(most), was)
		if !ok {
			return
		}
		now := minutes[len(minutes)-1].count
		if left < 0 || left > time.Duration(stillAhead*float64(longTrend.ahead)) || most <= 0 || now < stillFillingFrom*float64(most) || len(minutes) < enoughPoints {
			t.Fatalf("full in %v with %v of %d entries after %d readings", left, now, most, len(minutes))
		}
		// What grows by a common factor fills at the same time.
		for _, list := range [][]point{minutes, day} {
			for i := range list {
				list[i].count *= 2
			}
		}
		if again, ok := forecast(minutes, day, 2*float64(most), was); !ok || (again-left).Abs() > time.Second {
			t.Fatalf("in other units it is full in %v, not %v", again, left)
		}
		if now < float64(most)/2 && !was {
			t.Fatal("a table below half of its limit fills")
		}
	})
}

// TestRising: a table that rises steadily enough is found to fill, whatever its limit and rate.
func TestRising(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		most := rapid.Int64Range(1000, math.MaxInt32).Draw(t, "limit")
		minutes := rapid.IntRange(120, 5*60).Draw(t, "minutes until full")
		r := newRun(most).fill(0, minutes*9/10, func(m float64) float64 { return float64(most) * m / float64(minutes) })
		if len(r.alarms) != 1 || !r.t.fills {
			t.Fatalf("began at %v, ended at %v", r.alarms, r.ends)
		}
		at := r.t.filling().FullAt
		if want := noon.Add(time.Duration(minutes) * time.Minute); at == nil || at.Sub(want).Abs() > 3*time.Minute {
			t.Fatalf("full at %v, want %v", at, want)
		}
	})
}
