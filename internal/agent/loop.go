package agent

import (
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"nfsync.dev/nfsync/internal/nf"
)

// Cause is what woke a lap.
type Cause string

// The causes of laps.
const (
	WakeStart     Cause = "start"     // the agent has started
	WakeInterval  Cause = "interval"  // it is time to fetch
	WakeWebhook   Cause = "webhook"   // a server says that there is something new
	WakeSync      Cause = "sync"      // a person asks: nfsync sync, or SIGHUP
	WakeFiles     Cause = "files"     // the directory of the policies has changed
	WakeConfig    Cause = "config"    // the configuration or a file that it names has changed
	WakeContainer Cause = "container" // a container has come, gone or restarted
	WakeModule    Cause = "module"    // a kernel module was loaded or unloaded
	WakeDrift     Cause = "drift"     // it is time to observe the node
	WakeConfirm   Cause = "confirm"   // changes begin to wait for a confirmation, or were confirmed or taken back
	WakeFleet     Cause = "fleet"     // the fleet's roll-out or a grant may have changed, or the fleet is reached again
	WakeWindow    Cause = "window"    // the restart window begins, a suspension ends, the time for a confirmation is up, or the node's part of a time in a roll-out is over
)

// fetches reports whether a lap that this cause wakes fetches.
func (c Cause) fetches() bool {
	return slices.Contains([]Cause{WakeStart, WakeInterval, WakeWebhook, WakeSync, WakeFiles, WakeConfig, WakeFleet}, c)
}

// triesAll reports whether a lap that this cause wakes asks every server, also one that has failed
// lately: a person, a server or the configuration says that there is news.
func (c Cause) triesAll() bool {
	return slices.Contains([]Cause{WakeWebhook, WakeSync, WakeConfig}, c)
}

// atOnce reports whether a lap begins without waiting for more causes.
func (c Cause) atOnce() bool {
	return slices.Contains([]Cause{WakeStart, WakeInterval, WakeSync, WakeDrift, WakeWindow, WakeFleet}, c)
}

// A burst of events wakes one lap: it begins when there was no event for burstPause, and at
// the latest burstMost after the first one. Containers that are born have a lap of their own, which
// begins at once, because they have no values before it. Between two such laps is the time that the
// first of them took, and at most burstPause: they take at most half of a processor.
const (
	burstPause = 250 * time.Millisecond
	burstMost  = 5 * time.Second
	oncePause  = 100 * time.Millisecond // between the beginnings of laps for the whole node: who asks again and again gets ten a second
)

// maxBackoff is the longest time between two fetches that fail.
const maxBackoff = 15 * time.Minute

// Schedule says when laps are due without an event.
type Schedule struct {
	Interval time.Duration // between two fetches
	Drift    time.Duration // between two observations of the node
	// Unobserved reports whether the lap has not observed the node: the time of the next observation stays.
	// Fetches come more often, and would put it off for ever.
	Unobserved bool
	// Until is the next time at which a lap must be made whatever else happens: the restart window
	// begins, a suspension ends, or the time for a confirmation is up. The zero time is never.
	Until time.Time
}

// Trip is a lap that is due.
type Trip struct {
	Causes []Cause // sorted
	Fetch  bool    // fetch a revision; else the one in force is applied again
	// Born are the containers that were born, if nothing else has woken the lap: it is for
	// them alone. They are sorted by their targets.
	Born []nf.Container
}

// words returns the causes as the status has them.
func (t Trip) words() []string {
	words := []string{}
	for _, c := range t.Causes {
		words = append(words, string(c))
	}
	return words
}

// Loop makes laps, one at a time. Everything else only wakes it.
type Loop struct {
	// Lap makes one lap. It returns when the next ones are due, and whether a fetch failed
	// because of a server.
	Lap func(ctx context.Context, t Trip) (s Schedule, unreachable bool)
	// Scheduled, if set, is called after each lap with the laps that are due without an event,
	// the next one first.
	Scheduled func([]nf.NextLap)
	// Alive, if set, is called at least every aliveEvery while the loop waits, or every AliveEvery if
	// that is set and less, and after each lap.
	Alive      func()
	AliveEvery time.Duration

	mu     sync.Mutex
	born   map[nf.Target]nf.Container // those that were born, by their nameless targets
	causes map[Cause]bool             // of laps for the whole node
	first  time.Time                  // of causes
	last   time.Time
	began  time.Time // the last lap for the whole node
	birth  time.Time // the next lap for born containers, at the earliest
	woken  chan struct{}
}

// aliveEvery is how often a loop that waits shows that it is alive.
const aliveEvery = 10 * time.Second

// NewLoop returns a loop that makes laps.
func NewLoop(lap func(ctx context.Context, t Trip) (Schedule, bool)) *Loop {
	return &Loop{Lap: lap, born: map[nf.Target]nf.Container{}, birth: time.Now(), causes: map[Cause]bool{}, woken: make(chan struct{}, 1)}
}

// Wake wakes a lap. It returns at once. Causes that come while a lap runs wake the next one.
func (l *Loop) Wake(c Cause) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = time.Now()
	if len(l.causes) == 0 {
		l.first = l.last
	}
	l.causes[c] = true
	l.wake()
}

// WakeBirth wakes a lap for a container that was born.
func (l *Loop) WakeBirth(c nf.Container) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.born[c.Target().Nameless()] = c
	l.wake()
}

// wake ends the wait of Run.
func (l *Loop) wake() {
	select {
	case l.woken <- struct{}{}:
	default:
	}
}

// hasNews reports whether the next lap fetches because of something that has come since this one
// began. A wake-up of the fleet is none: anybody in the fleet may send one, and the grant of a restart is asked for again
// before the restart is made.
func (l *Loop) hasNews() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.causes {
		if c.fetches() && c != WakeFleet {
			return true
		}
	}
	return false
}

// due returns the time at which the causes so far wake a lap; the zero time if there is none.
func (l *Loop) due() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	var due time.Time
	if len(l.born) > 0 {
		due = l.birth
	}
	if node := l.dueForNode(); due.IsZero() || !node.IsZero() && node.Before(due) {
		return node
	}
	return due
}

// dueForNode returns the time of the lap for the whole node; the zero time if none is due.
func (l *Loop) dueForNode() time.Time {
	if len(l.causes) == 0 {
		return time.Time{}
	}
	for c := range l.causes {
		if soonest := l.began.Add(oncePause); c.atOnce() && soonest.After(l.first) {
			return soonest
		}
		if c.atOnce() {
			return l.first
		}
	}
	if pause, most := l.last.Add(burstPause), l.first.Add(burstMost); pause.Before(most) {
		return pause
	}
	return l.first.Add(burstMost)
}

// take returns the causes of a lap, and begins to collect those of the next one. Containers that were
// born come first: a lap for the whole node takes longer, and may not see them yet. A lap for these
// alone leaves the causes of one for the whole node.
func (l *Loop) take() Trip {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now(); len(l.born) > 0 && !now.Before(l.birth) {
		born := slices.Collect(maps.Values(l.born))
		nf.SortContainers(born)
		clear(l.born)
		return Trip{Causes: []Cause{WakeContainer}, Born: born}
	}
	t := Trip{Causes: slices.Sorted(maps.Keys(l.causes))}
	t.Fetch = slices.ContainsFunc(t.Causes, Cause.fetches)
	clear(l.causes)
	l.began = time.Now()
	return t
}

// timer is a cause that comes with time.
type timer struct {
	at    time.Time
	cause Cause
}

// Run makes laps until ctx ends, the first one at once.
func (l *Loop) Run(ctx context.Context) {
	var timers []timer
	failures := 0
	l.Wake(WakeStart)
	for l.wait(ctx, timers) {
		t := l.take()
		began := time.Now()
		s, unreachable := l.Lap(ctx, t)
		now := time.Now()
		if len(t.Born) > 0 { // the rest of the node was not observed: its times stay
			l.mu.Lock()
			l.birth = now.Add(min(now.Sub(began), burstPause))
			l.mu.Unlock()
			l.scheduled(timers)
			l.alive()
			continue
		}
		drift := timer{now.Add(jitter(s.Drift)), WakeDrift}
		if i := slices.IndexFunc(timers, func(t timer) bool { return t.cause == WakeDrift }); i >= 0 && s.Unobserved && !slices.Contains(t.Causes, WakeDrift) {
			drift = timers[i]
		}
		switch {
		case !t.Fetch: // the time of the next fetch stays
			timers = slices.DeleteFunc(timers, func(t timer) bool { return t.cause != WakeInterval })
		case unreachable:
			failures++
			timers = []timer{{now.Add(jitter(backoff(s.Interval, failures))), WakeInterval}}
		default:
			failures = 0
			timers = []timer{{now.Add(jitter(s.Interval)), WakeInterval}}
		}
		timers = append(timers, drift)
		if !s.Until.IsZero() {
			until := s.Until
			if soonest := now.Add(time.Second); until.Before(soonest) {
				until = soonest // whatever the clock says, the loop does not spin
			}
			timers = append(timers, timer{until, WakeWindow})
		}
		l.scheduled(timers)
		l.alive()
	}
}

func (l *Loop) scheduled(timers []timer) {
	if l.Scheduled == nil {
		return
	}
	next := make([]nf.NextLap, len(timers))
	for i, t := range timers {
		next[i] = nf.NextLap{Cause: string(t.cause), At: t.at}
	}
	slices.SortFunc(next, func(a, b nf.NextLap) int { return a.At.Compare(b.At) })
	l.Scheduled(next)
}

func (l *Loop) alive() {
	if l.Alive != nil {
		l.Alive()
	}
}

// wait waits until a lap is due. It returns false when ctx ends.
func (l *Loop) wait(ctx context.Context, timers []timer) bool {
	for ctx.Err() == nil {
		now := time.Now()
		for _, t := range timers {
			if !now.Before(t.at) {
				l.Wake(t.cause)
			}
		}
		due := l.due()
		if !due.IsZero() && !now.Before(due) {
			return true
		}
		for _, t := range timers {
			if due.IsZero() || t.at.Before(due) {
				due = t.at
			}
		}
		pause := aliveEvery
		if l.AliveEvery > 0 {
			pause = min(pause, l.AliveEvery)
		}
		if !due.IsZero() {
			pause = min(pause, due.Sub(now))
		}
		clock := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-l.woken:
		case <-clock.C:
		}
		clock.Stop()
		l.alive()
	}
	return false
}

// backoff returns the time until the next fetch after so many failures in turn: it doubles up
// to maxBackoff, or is the interval if that is longer.
func backoff(interval time.Duration, failures int) time.Duration {
	d := interval
	for range failures - 1 {
		d = min(2*d, maxBackoff)
	}
	return max(interval, d)
}

// jitter returns a time up to a tenth shorter or longer, so that the nodes of a fleet do not
// fetch at the same moment.
func jitter(d time.Duration) time.Duration {
	return d - d/10 + rand.N(d/5+1)
}
