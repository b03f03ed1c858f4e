package coordinator

import (
	"testing"
	"time"
	"unsafe"

	"github.com/nats-io/nats.go/jetstream"

	"nfsync.dev/nfsync/internal/fleet"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/rollout"
)

// setForward returns a time as the clock of the machine says it after it was set forward meanwhile. What has passed stays as it is.
func setForward(t time.Time, by time.Duration) time.Time {
	(*[1]uint64)(unsafe.Pointer(&t))[0] += uint64(by/time.Second) << 30 // the seconds of package time
	return t
}

// TestTheClockIsSet: that the clock of the coordinator's machine is set changes nothing, also before the store was asked for the time.
func TestTheClockIsSet(t *testing.T) {
	t.Parallel()
	at := time.Now()
	l := lease{at: at, ahead: time.Minute}
	if set := setForward(at, time.Hour); set.Sub(at) != 0 || set.Round(0).Sub(at.Round(0)) != time.Hour {
		t.Fatalf("the clock is not set: %s, %s", at, set)
	}
	for _, by := range []time.Duration{0, time.Hour, -time.Hour} {
		if is, want := l.time(setForward(at.Add(time.Second), by)), at.Add(time.Minute+time.Second); !is.Equal(want.Round(0)) {
			t.Errorf("set by %s it is %s, not %s", by, is, want)
		}
	}
	if now := time.Now(); !(&lease{}).time(now).Equal(now.Round(0)) {
		t.Error("without the store's time it is not that of the machine")
	}
}

// TestTheStoresClockIsSet: nodes that were heard before the store's clock was set are not silent since then.
func TestTheStoresClockIsSet(t *testing.T) {
	t.Parallel()
	began := time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)
	local := time.Now()
	for by, breaks := range map[time.Duration]bool{0: false, 9 * time.Second: false, time.Hour: true, -time.Hour: true} {
		h := hearing{}
		h.note(nil, 1, began, local)
		now := began.Add(10*time.Second + by)
		h.note(nil, 1, now, local.Add(10*time.Second))
		if h.since.Equal(now) != breaks || !breaks && !h.since.Equal(began) {
			t.Errorf("set by %s they can be heard since %s", by, h.since)
		}
	}

	doc := rollout.Begin(nf.RolloutDocument{Channel: "main"}, commit(1), nf.DefaultRolloutPlan(), "seed", nil, began)
	var nodes []nf.HeardNode
	for _, name := range []string{"hn-1", "hn-2", "hn-3"} {
		p := nf.NodeProgress{Generation: 1, Revision: commit(1), State: nf.ProgressBegun, At: began}
		nodes = append(nodes, nf.HeardNode{Heard: began, FleetNode: nf.FleetNode{Node: name, Progress: &p}})
	}
	h := hearing{}
	h.note(nil, 1, began, local)
	h.note(nil, 1, began.Add(time.Hour), local.Add(time.Second))
	if next, _ := rollout.Decide(doc, rollout.Heard{Nodes: nodes, Since: h.since}, began.Add(time.Hour)); next.State == nf.RolloutHalted {
		t.Errorf("halted: %s", next.Reason)
	}
}

// TestTheStoreTakesNothing: while the lease cannot be written, nodes cannot put what they are either, and are not silent for that.
func TestTheStoreTakesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.branch.push(commit(1))
	a := w.idle("a")
	a.pace.noLease = false
	a.round(t.Context())
	if !a.mayAct() || a.hearing.since.IsZero() {
		t.Fatal("it is not at work")
	}
	js, err := jetstream.New(w.nc)
	w.must(err)
	w.must(js.DeleteStream(t.Context(), fleet.StreamLease))
	a.tried = time.Time{}
	a.round(t.Context())
	if !a.hearing.since.IsZero() {
		t.Errorf("the nodes can be heard since %s", a.hearing.since)
	}
}
