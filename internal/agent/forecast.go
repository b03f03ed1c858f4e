package agent

import (
	"math"
	"slices"
	"time"
)

// What the forecast counts as filling. A table is as full as its entries are of its limit.
const (
	fillingFrom  = 0.50 // below this no trend counts
	nearlyFull   = 0.95 // from here on a table fills, whatever the trend
	full         = 0.999
	leftRoom     = 0.90 // a peak below this is no reason to worry when it comes again
	abovePeak    = 1.05 // how far above such a peak a rise is a new one
	cameBack     = 0.80 // a peak has passed when the table was this much of it
	slowsDown    = 0.80 // the slope of the second half of a time, of that of the first
	enoughPoints = 10
	maxPoints    = 40 // more give no better line, and take time
)

// A table that fills does so until it is clearly over.
const (
	stillFillingFrom = 0.45
	stillNearlyFull  = 0.90
	stillAhead       = 1.5 // times the time ahead
)

// A trend is a line through the readings of a time. It is believed for several times as long: a
// steep rise shows soon, a slow one needs a longer look.
type trend struct{ over, ahead time.Duration }

var (
	shortTrend = trend{30 * time.Minute, 2 * time.Hour}
	longTrend  = trend{2 * time.Hour, 6 * time.Hour}
)

// forecast says when a table is full at this rate, from its readings of the last two hours and of
// the last day, each the oldest first. It returns false if the table does not fill: it is not half
// full, it does not rise steadily, it would take longer than the trend is believed, or it was as
// full within the last day and came back by itself. was is whether the table was filling before:
// then it takes more to say that it does not.
func forecast(minutes, day []point, limit float64, was bool) (time.Duration, bool) {
	if limit <= 0 || len(minutes) == 0 {
		return 0, false
	}
	now := minutes[len(minutes)-1]
	from, stretch := fillingFrom, 1.0
	if was {
		from, stretch = stillFillingFrom, stillAhead
	}
	if now.count < from*limit {
		return 0, false
	}
	if peak := passedPeak(day); !was && peak < leftRoom*limit && now.count <= abovePeak*peak {
		return 0, false
	}
	room := max(limit-now.count, 0)
	short := shortTrend.rise(minutes)
	if left, ok := short.reaches(room, stretch*shortTrend.ahead.Seconds()); ok {
		return left, true
	}
	long := longTrend.rise(minutes)
	long.slope = min(long.slope, short.slope) // it goes on
	return long.reaches(room, stretch*longTrend.ahead.Seconds())
}

// rise is how a table has risen over the time of a trend, in entries and seconds.
type rise struct {
	slope    float64 // 0: too few readings
	steadily bool
	rest     float64 // what is still to come of a rise that slows down; else infinite
}

// reaches returns when the rise has used the room. It returns false if that is not within the time
// ahead.
func (r rise) reaches(room, ahead float64) (time.Duration, bool) {
	if !r.steadily || r.slope <= 0 || room > r.rest || room/r.slope > ahead {
		return 0, false
	}
	return time.Duration(room / r.slope * float64(time.Second)), true
}

// rise returns the rise of the readings. It is steady if the slopes between three quarters of all
// pairs of readings rise: noise and a single step do not.
//
// Where the slope of the second half of the time is clearly less than that of the first half, the
// table comes to rest, as after the start of a container: the slope goes on to shrink by the same ratio.
func (t trend) rise(list []point) rise {
	newest := list[len(list)-1].at
	list = thin(slices.DeleteFunc(slices.Clone(list), func(p point) bool { return p.at <= newest-t.over }))
	if len(list) < enoughPoints || newest-list[0].at < t.over/2 {
		return rise{}
	}
	slopes := slopesOf(list)
	r := rise{slope: median(slopes), steadily: slopes[len(slopes)/4] > 0, rest: math.Inf(1)}
	half := len(list) / 2
	before, after := median(slopesOf(list[:half])), median(slopesOf(list[half:]))
	if ratio := after / before; before > 0 && after > 0 && ratio < slowsDown {
		r.rest = after * (newest - list[half].at).Seconds() * ratio / (1 - ratio)
	}
	return r
}

// slopesOf returns the slopes between each two points, in entries a second, the lowest first. Their
// median is the slope of the line that Theil and Sen draw through the points.
func slopesOf(list []point) []float64 {
	var slopes []float64
	for i, p := range list {
		for _, q := range list[i+1:] {
			slopes = append(slopes, (q.count-p.count)/(q.at-p.at).Seconds())
		}
	}
	slices.Sort(slopes)
	return slopes
}

func median(sorted []float64) float64 { return sorted[len(sorted)/2] }

// thin leaves out points until maxPoints remain. The newest remains.
func thin(list []point) []point {
	step := (len(list) + maxPoints - 1) / maxPoints
	if step <= 1 {
		return list
	}
	var thinned []point
	for i := (len(list) - 1) % step; i < len(list); i += step {
		thinned = append(thinned, list[i])
	}
	return thinned
}

// passedPeak returns the highest count after which the table came back by itself; 0 if it never
// did.
func passedPeak(day []point) float64 {
	peak, lowest := 0.0, 0.0
	for i, p := range slices.Backward(day) {
		if i == len(day)-1 || p.count < lowest {
			lowest = p.count
		}
		if lowest <= cameBack*p.count {
			peak = max(peak, p.count)
		}
	}
	return peak
}
