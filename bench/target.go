package main

import (
	"fmt"
	"strings"
	"time"
)

// target is a number that nfsync is to reach.
type target struct {
	what    string // what is limited: "times as long as the bare scan"
	of      *row   // that is to reach it
	limit   float64
	got     float64
	atLeast bool
	unit    func(float64) string
}

// met reports whether the target is reached.
func (t target) met() bool {
	if t.atLeast {
		return t.got >= t.limit
	}
	return t.got <= t.limit
}

// wanted returns the target as a text.
func (t target) wanted() string {
	bound := "at most"
	if t.atLeast {
		bound = "at least"
	}
	return strings.TrimSpace(fmt.Sprintf("%s %s %s", bound, t.unit(t.limit), t.what))
}

// result returns whether it is met.
func (t target) result() string {
	if t.met() {
		return "met"
	}
	return "**missed**"
}

// cell returns the target with its result, for the row that it is about.
func (t target) cell() string {
	return fmt.Sprintf("%s: %s, %s", t.wanted(), t.unit(t.got), t.result())
}

// missed returns the sentence about a target that is not met.
func (t target) missed() string {
	return fmt.Sprintf("%s, %s: %s is wanted, %s was measured.", t.of.what, t.of.scene, t.wanted(), t.unit(t.got))
}

// times is the unit of ratios.
func times(v float64) string { return number(v) }

// nanoseconds is the unit of times.
func nanoseconds(v float64) string { return duration(time.Duration(v)) }

// aim adds a target to the row, if what it compares was measured.
func (r *row) aim(t target) {
	if t.got > 0 && len(r.samples) > 0 {
		t.of = r
		r.targets = append(r.targets, t)
	}
}

// quotient is a/b, and 0 if one of them is not known.
func quotient(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

// aimFaster wants the row to be some times faster than another one.
func (r *row) aimFaster(than *row, limit float64) {
	r.aim(target{what: "times as fast as " + than.what, limit: limit, got: quotient(than.wall(), r.wall()), atLeast: true, unit: times})
}

// aimWithin wants the row to take at most some times as long as another one.
func (r *row) aimWithin(of *row, limit float64, name string) {
	r.aim(target{what: "times as long as " + name, limit: limit, got: quotient(r.wall(), of.wall()), unit: times})
}

// aimUnder wants the row to end within a time.
func (r *row) aimUnder(limit time.Duration) {
	r.aim(target{limit: float64(limit), got: r.wall(), unit: nanoseconds})
}

// aimCPU wants the row to take at most that much of a processor.
func (r *row) aimCPU(limit time.Duration) {
	r.aim(target{what: "of CPU", limit: float64(limit), got: r.cpu(), unit: nanoseconds})
}

// aimMemory wants the row to take at most that many MiB.
func (r *row) aimMemory(limit float64) {
	peak, _ := r.peak()
	r.aim(target{what: "of memory", limit: limit * mib, got: peak, unit: bytes})
}
