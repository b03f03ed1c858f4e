package web

import (
	"strings"
	"testing"
	"time"

	"nfsync.dev/nfsync/internal/agent"
	"nfsync.dev/nfsync/internal/nf"
)

// TestCurve: where nothing was read the line has a gap, and each part of the area is closed.
func TestCurve(t *testing.T) {
	var d agent.Day
	for i := range d {
		if d[i] = int64(i); i >= 20 && i < 40 || i >= 100 {
			d[i] = agent.NoCount
		}
	}
	s := newSpark(d, 0)
	if strings.Count(s.Line, "M") != 2 || strings.Count(s.Area, "Z") != 2 || strings.Contains(s.Line, "NaN") || !strings.HasPrefix(s.Line, "M0.7 18.8L2 18.5L") {
		t.Errorf("%s\n%s", s.Line, s.Area)
	}
	if s.Label != "last day: 0 to 99 entries" {
		t.Error(s.Label)
	}
	for i := range d {
		d[i] = agent.NoCount
	}
	if s := newSpark(d, 10); s.Line != "" || s.Area != "" || s.Label != "last day: 0 to 0 entries" {
		t.Errorf("of nothing: %+v", s)
	}
	for i := range d {
		d[i] = 5
	}
	if s := newSpark(d, 100_000); !strings.HasPrefix(s.Line, "M0.7 19") {
		t.Errorf("five entries of many are a mountain: %s", s.Line)
	}
}

// TestChart: the forecast leads to the limit, if there is one.
func TestChart(t *testing.T) {
	var d agent.Day
	at := sceneNow.Add(12 * time.Hour)
	f := nf.FillingTable{Count: 50, Max: 100, FullAt: &at}
	if c := newChart(d, f, sceneNow); c.Ahead != "M400 38.5L480 13" || c.LimitY != "13" || c.NowX != "400" {
		t.Errorf("%+v", c)
	}
	at = sceneNow.Add(time.Hour)
	if c := newChart(d, f, sceneNow); c.Ahead != "M400 38.5L416.7 13" {
		t.Errorf("%+v", c)
	}
	for name, f := range map[string]nf.FillingTable{"full": {Count: 100, Max: 100, Full: true, FullAt: &at}, "does not rise": {Count: 96, Max: 100}, "should be full by now": {Count: 99, Max: 100, FullAt: &sceneNow}} {
		if c := newChart(d, f, sceneNow); c.Ahead != "" {
			t.Errorf("%s: %s", name, c.Ahead)
		}
	}
}

// TestBar: a table that is nearly full has another colour, and none is wider than its box.
func TestBar(t *testing.T) {
	for _, test := range []struct {
		n, limit int64
		want     pageBar
	}{{0, 0, pageBar{quiet, 0}}, {7, 0, pageBar{quiet, 0}}, {74, 100, pageBar{quiet, 74}}, {75, 100, pageBar{yellow, 75}}, {95, 100, pageBar{red, 95}}, {300, 100, pageBar{red, 100}}} {
		if got := newBar(test.n, test.limit); got != test.want {
			t.Errorf("%d of %d: %+v, want %+v", test.n, test.limit, got, test.want)
		}
	}
}

// TestPageTexts: numbers and times as people read them.
func TestPageTexts(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1048576: "1,048,576", -1234567: "-1,234,567", -12: "-12"} {
		if got := grouped(n); got != want {
			t.Errorf("%d: %s", n, got)
		}
	}
	for d, want := range map[time.Duration]string{0: "now", 900 * time.Millisecond: "now", -time.Second: "1 s ago", -59 * time.Minute: "59 min ago", -25 * time.Hour: "1 d ago", 90 * time.Minute: "in 1 h"} {
		if got := ago(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
	for d, want := range map[time.Duration]string{214 * time.Millisecond: "214 ms", 2500 * time.Millisecond: "2.5 s", 90 * time.Second: "1m30s"} {
		if got := took(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
	if got := plural(1, "change") + ", " + plural(1000, "change"); got != "1 change, 1,000 changes" {
		t.Error(got)
	}
}
