package web

import (
	"fmt"
	"strings"
	"time"

	"nfsync.dev/nfsync/internal/agent"
	"nfsync.dev/nfsync/internal/nf"
)

type (
	// pageBar is how full a table is: the width of its filled part, of 100.
	pageBar struct {
		Class string
		Width int64
	}
	// pageSpark is the last day of a table, as a line in a box of sparkWidth by sparkHeight.
	pageSpark struct{ Line, Area, Label string }
	// pageChart is the same, in a box of chartWidth by chartHeight, with the limit and the forecast. Below is
	// room for words.
	pageChart struct {
		Line, Area, Ahead string // paths; Ahead is empty if it does not rise
		LimitY, NowX      string // where the limit and the present are
		Limit, Label      string
	}
)

// The boxes of the drawings, as their viewBox has them.
const (
	sparkWidth, sparkHeight = 96, 20
	chartWidth, chartHeight = 480, 64
	chartTop                = 13
	chartDay                = 400 // the width of the last day; the rest is what is ahead
)

// The part of the limit from which on a bar has another colour.
const (
	warmFrom = 75
	hotFrom  = 95
)

func newBar(n, limit int64) pageBar {
	p := min(percent(n, limit), 100)
	switch {
	case p >= hotFrom:
		return pageBar{red, p}
	case p >= warmFrom:
		return pageBar{yellow, p}
	}
	return pageBar{quiet, p}
}

// newSpark draws a day. The box is as high as the highest count, and at least a tenth of the limit, so
// that a few entries make no mountains.
func newSpark(d agent.Day, limit int64) *pageSpark {
	low, high := extremes(d)
	top := max(high, limit/10, 1)
	s := &pageSpark{Label: fmt.Sprintf("last day: %s to %s entries", grouped(low), grouped(high))}
	s.Line, s.Area = curve(d, func(i int) float64 { return float64(i) * sparkWidth / (agent.DaySlots - 1) },
		func(n int64) float64 { return sparkHeight - 1 - float64(n)*(sparkHeight-2)/float64(top) }, sparkHeight)
	return s
}

// newChart draws the last day of a table that fills, and how it goes on until it is full.
func newChart(d agent.Day, f nf.FillingTable, now time.Time) *pageChart {
	_, high := extremes(d)
	top := max(high, f.Max, 1)
	x := func(at time.Duration) float64 { return chartDay + at.Hours()*chartDay/24 }
	y := func(n int64) float64 { return chartHeight - float64(n)*(chartHeight-chartTop)/float64(top) }
	c := &pageChart{LimitY: number(y(f.Max)), NowX: number(x(0)), Limit: grouped(f.Max),
		Label: fmt.Sprintf("%s of %s entries; the last day had up to %s", grouped(f.Count), grouped(f.Max), grouped(high))}
	c.Line, c.Area = curve(d, func(i int) float64 { return float64(i) * chartDay / (agent.DaySlots - 1) }, y, chartHeight)
	if f.FullAt != nil && !f.Full {
		if ahead := f.FullAt.Sub(now); ahead > 0 {
			c.Ahead = fmt.Sprintf("M%s %sL%s %s", number(x(0)), number(y(f.Count)), number(min(x(ahead), chartWidth)), number(y(f.Max)))
		}
	}
	return c
}

// extremes returns the lowest and the highest count of a day.
func extremes(d agent.Day) (low, high int64) {
	low = -1
	for _, n := range d {
		if n == agent.NoCount {
			continue
		}
		if low < 0 || n < low {
			low = n
		}
		high = max(high, n)
	}
	return max(low, 0), high
}

// sparkStep is how many readings one point of a curve stands for: the highest of them.
const sparkStep = 2

// curve returns the paths of a line through the counts of a day, and of the area below it. Where
// nothing was read there is a gap.
func curve(d agent.Day, x func(int) float64, y func(int64) float64, floor float64) (line, area string) {
	var l, a strings.Builder
	last, open := 0, false
	end := func() {
		if open {
			fmt.Fprintf(&a, "L%s %sZ", number(x(last)), number(floor))
		}
		open = false
	}
	for i := 0; i < len(d); i += sparkStep {
		n := int64(agent.NoCount)
		for _, other := range d[i:min(i+sparkStep, len(d))] {
			n = max(n, other)
		}
		if n == agent.NoCount {
			end()
			continue
		}
		last = min(i+sparkStep-1, len(d)-1)
		at := number(x(last)) + " " + number(y(n))
		if !open {
			fmt.Fprintf(&l, "M%s", at)
			fmt.Fprintf(&a, "M%s %sL%s", number(x(last)), number(floor), at)
			open = true
			continue
		}
		l.WriteString("L" + at)
		a.WriteString("L" + at)
	}
	end()
	return l.String(), a.String()
}

// number returns a coordinate.
func number(f float64) string {
	return strings.TrimSuffix(fmt.Sprintf("%.1f", f), ".0")
}
