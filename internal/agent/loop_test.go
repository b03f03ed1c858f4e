package agent

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"nfsync.dev/nfsync/internal/nf"
)

// recorder is a Lap that stores its trips with the time since the start.
type recorder struct {
	schedule    Schedule
	unreachable bool
	takes       time.Duration
	started     time.Time
	trips       []string
	at          []time.Duration
}

func (r *recorder) lap(_ context.Context, t Trip) (Schedule, bool) {
	trip := fmt.Sprint(t.Causes, t.Fetch)
	if len(t.Born) > 0 {
		var names []string
		for _, c := range t.Born {
			names = append(names, c.ID)
		}
		trip += " " + fmt.Sprint(names)
	}
	r.trips = append(r.trips, trip)
	r.at = append(r.at, time.Since(r.started))
	<-time.After(r.takes)
	return r.schedule, r.unreachable
}

// wakeBirth wakes a lap for a named namespace that was born.
func (l *Loop) wakeBirth(name string) {
	l.WakeBirth(nf.Container{Runtime: nf.RuntimeNetns, ID: name})
}

// looping runs a loop for a time, in a bubble with its own clock.
func looping(t *testing.T, r *recorder, d time.Duration, events func(l *Loop)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), d)
		defer cancel()
		r.started = time.Now()
		l := NewLoop(r.lap)
		go events(l)
		l.Run(ctx)
	})
}

func (r *recorder) want(t *testing.T, trips ...string) {
	t.Helper()
	if !reflect.DeepEqual(r.trips, trips) {
		t.Errorf("%q at %v, want %q", r.trips, r.at, trips)
	}
}

const never = 1000 * time.Hour

func TestLoopTimers(t *testing.T) {
	r := &recorder{schedule: Schedule{Interval: time.Minute, Drift: 40 * time.Second}}
	looping(t, r, 140*time.Second, func(*Loop) {})
	r.want(t, "[start] true", "[drift] false", "[interval] true", "[drift] false", "[interval] true")
}

// TestLoopObserves: fetches that find nothing new, and do not observe the node, do not put its observation off.
func TestLoopObserves(t *testing.T) {
	r := &recorder{schedule: Schedule{Interval: time.Minute, Drift: 5 * time.Minute, Unobserved: true}}
	looping(t, r, 12*time.Minute, func(*Loop) {})
	observed := 0
	for i, trip := range r.trips {
		if strings.Contains(trip, string(WakeDrift)) {
			observed++
			if r.at[i] > time.Duration(observed)*6*time.Minute {
				t.Errorf("observation %d is after %s", observed, r.at[i])
			}
		}
	}
	if fetched := len(r.trips) - observed; observed < 1 || fetched < 10 {
		t.Errorf("%d observations and %d fetches: %q", observed, fetched, r.trips)
	}
}

// TestLoopBurst: events that come together wake one lap, and a stream of them wakes one every
// five seconds.
func TestLoopBurst(t *testing.T) {
	r := &recorder{schedule: Schedule{Interval: never, Drift: never}}
	looping(t, r, time.Minute, func(l *Loop) {
		<-time.After(10 * time.Second)
		l.Wake(WakeFiles)
		<-time.After(100 * time.Millisecond)
		l.Wake(WakeContainer)
		<-time.After(20 * time.Second)
		for range 100 {
			l.Wake(WakeWebhook)
			<-time.After(100 * time.Millisecond)
		}
	})
	r.want(t, "[start] true", "[container files] true", "[webhook] true", "[webhook] true")
	if r.at[1] != 10350*time.Millisecond || r.at[2] != 35100*time.Millisecond {
		t.Errorf("at %v", r.at)
	}
}

// TestLoopBirth: the first container that is born has a lap at once. After it there is none for as long
// as it took, and at most for a quarter of a second. The next one is for all that were born meanwhile.
// None is for the whole node, and none moves the time of one.
func TestLoopBirth(t *testing.T) {
	for takes, pause := range map[time.Duration]time.Duration{
		time.Millisecond: time.Millisecond, 100 * time.Millisecond: 100 * time.Millisecond, time.Second: burstPause,
	} {
		t.Run(takes.String(), func(t *testing.T) { testLoopBirth(t, takes, pause) })
	}
}

func testLoopBirth(t *testing.T, takes, pause time.Duration) {
	r := &recorder{schedule: Schedule{Interval: never, Drift: 11 * time.Second}, takes: takes}
	looping(t, r, 14*time.Second, func(l *Loop) {
		<-time.After(5 * time.Second)
		for i := range 50 {
			l.wakeBirth(fmt.Sprint("c", i))
			<-time.After(20 * time.Millisecond)
		}
	})
	var born []string
	for i, trip := range r.trips[1 : len(r.trips)-1] {
		names, ok := strings.CutPrefix(trip, "[container] false ")
		if !ok || i > 0 && r.at[i+1]-r.at[i] < takes+pause {
			t.Errorf("%q at %v", r.trips, r.at)
		}
		born = append(born, strings.Fields(strings.Trim(names, "[]"))...)
	}
	if len(born) != 50 || r.at[1] != 5*time.Second || r.trips[len(r.trips)-1] != "[drift] false" || r.at[len(r.at)-1] > 13300*time.Millisecond {
		t.Errorf("%d born: %q at %v", len(born), r.trips, r.at)
	}
}

// TestLoopBirthAndOthers: a birth does not wait for a burst, nor does it end one. It comes before a
// lap for the whole node that is due.
func TestLoopBirthAndOthers(t *testing.T) {
	r := &recorder{schedule: Schedule{Interval: never, Drift: never}}
	looping(t, r, time.Minute, func(l *Loop) {
		<-time.After(5 * time.Second)
		l.Wake(WakeModule)
		l.wakeBirth("a")
		<-time.After(5 * time.Second)
		l.wakeBirth("b")
		l.Wake(WakeSync)
	})
	r.want(t, "[start] true", "[container] false [a]", "[module] false", "[container] false [b]", "[sync] true")
}

// TestLoopDuringLap: what comes while a lap runs wakes another one.
func TestLoopDuringLap(t *testing.T) {
	r := &recorder{schedule: Schedule{Interval: never, Drift: never}, takes: 3 * time.Second}
	looping(t, r, time.Minute, func(l *Loop) {
		<-time.After(time.Second)
		l.Wake(WakeModule)
		l.Wake(WakeSync)
	})
	r.want(t, "[start] true", "[module sync] true")
	if r.at[1] != 3*time.Second {
		t.Errorf("at %v", r.at)
	}
}

// TestLoopBackoff: fetches that fail come less and less often, at most fifteen minutes apart,
// while the node is still observed.
func TestLoopBackoff(t *testing.T) {
	r := &recorder{schedule: Schedule{Interval: time.Minute, Drift: never}, unreachable: true}
	looping(t, r, 2*time.Hour, func(*Loop) {})
	for i, want := range []time.Duration{1, 2, 4, 8, 15, 15, 15} {
		gap := r.at[i+1] - r.at[i]
		if gap < want*time.Minute*9/10 || gap > want*time.Minute*11/10 {
			t.Errorf("gap %d is %s, want %d minutes", i, gap, want)
		}
	}
}

func TestBackoffOfLongInterval(t *testing.T) {
	if got := backoff(time.Hour, 5); got != time.Hour {
		t.Errorf("%s", got)
	}
}

// TestLoopUntil: a lap is made when the restart window begins.
func TestLoopUntil(t *testing.T) {
	r := &recorder{}
	r.schedule = Schedule{Interval: never, Drift: never}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Hour)
		defer cancel()
		r.started = time.Now()
		r.schedule.Until = r.started.Add(time.Hour)
		l := NewLoop(func(ctx context.Context, trip Trip) (Schedule, bool) {
			s, u := r.lap(ctx, trip)
			if len(r.trips) > 1 {
				s.Until = time.Time{}
			}
			return s, u
		})
		l.Run(ctx)
	})
	r.want(t, "[start] true", "[window] false")
}

// TestLoopAlive: a loop that waits shows that it is alive.
func TestLoopAlive(t *testing.T) {
	r := &recorder{schedule: Schedule{Interval: never, Drift: never}}
	beats := 0
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		l := NewLoop(r.lap)
		l.Alive = func() { beats++ }
		l.Run(ctx)
	})
	if beats < 30 {
		t.Errorf("%d signs of life in five minutes", beats)
	}
}

// TestLoopFlood: who asks again and again does not make one lap follow the other without a pause, and
// a flood of webhooks costs a lap in five seconds.
func TestLoopFlood(t *testing.T) {
	for cause, most := range map[Cause]int{WakeWebhook: 14, WakeSync: 610} {
		r := &recorder{schedule: Schedule{Interval: never, Drift: never}}
		looping(t, r, time.Minute, func(l *Loop) {
			for range 60_000 {
				l.Wake(cause)
				<-time.After(time.Millisecond)
			}
		})
		if n := len(r.trips); n < 10 || n > most {
			t.Errorf("a minute of %s costs %d laps", cause, n)
		}
	}
}

// TestLoopBirthFirst: a lap for the whole node that is due comes after one for a container, and is not
// held up by many of these.
func TestLoopBirthFirst(t *testing.T) {
	r := &recorder{schedule: Schedule{Interval: never, Drift: never}, takes: 10 * time.Millisecond}
	looping(t, r, time.Minute, func(l *Loop) {
		<-time.After(10 * time.Second)
		l.wakeBirth("a")
		l.Wake(WakeSync)
		<-time.After(5 * time.Millisecond)
		l.wakeBirth("b")
		<-time.After(10 * time.Millisecond)
		l.wakeBirth("c")
		<-time.After(time.Second)
		l.wakeBirth("d")
	})
	r.want(t, "[start] true", "[container] false [a]", "[sync] true", "[container] false [b c]", "[container] false [d]")
}

// TestNewsOfALap: what may change the policies is news for a lap that runs; a wake-up of the fleet, which anybody in it may send, is none.
func TestNewsOfALap(t *testing.T) {
	for cause, want := range map[Cause]bool{WakeFleet: false, WakeDrift: false, WakeContainer: false, WakeInterval: true, WakeSync: true, WakeConfig: true} {
		l := NewLoop(nil)
		l.Wake(cause)
		if got := l.hasNews(); got != want {
			t.Errorf("%s: %v", cause, got)
		}
	}
}
