package agent_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"nfsync.dev/nfsync/internal/agent"
	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/nf"
)

// byHand applies the tip as a person does, with a confirmation within a minute.
func (b *bench) byHand() apply.Receipt {
	b.Helper()
	in := b.in.Apply
	in.Confirm = &apply.Confirm{Within: time.Minute}
	last, err := b.state.Positions()
	if err != nil {
		b.Fatal(err)
	}
	rev, err := agent.Fetch(b.Context(), b.in.Fetch, "", last, "")
	if err != nil {
		b.Fatal(err)
	}
	r, err := agent.Enforce(b.Context(), in, rev)
	if err != nil || r.ConfirmUntil == nil {
		b.Fatalf("%+v, %v", r, err)
	}
	return r
}

// uptime makes the bench's node one with a clock of its own; the function that is returned sets it.
func (b *bench) uptime() (set func(time.Duration)) {
	now := make(chan time.Duration, 1)
	now <- time.Hour
	b.in.Apply.Uptime = func() time.Duration {
		d := <-now
		now <- d
		return d
	}
	return func(d time.Duration) { <-now; now <- d }
}

func (b *bench) confirm() (nf.Confirmation, error) {
	listed, err := b.machine.List(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	return apply.ConfirmRun(apply.ConfirmInput{State: b.state, Lock: b.in.Apply.Lock, BootID: listed.BootID, Now: b.in.Apply.Now, Uptime: b.in.Apply.Uptime})
}

// The revision of a run that waits becomes the last good one with the confirmation.
func TestConfirmedRevision(t *testing.T) {
	b := newBench(t)
	b.uptime()
	b.mustFollowTip()
	b.repo.commit("c2", "c1", 42)
	b.byHand()
	b.checkValue(42)
	check := func(want string) {
		t.Helper()
		good, err := b.state.LastGood()
		positions, err2 := b.state.Positions()
		if err != nil || err2 != nil || good.Revision != want || len(positions) != 1 || positions[0].Commit != want {
			t.Errorf("the last good revision is %s, the positions are %v, want %s; %v %v", good.Revision, positions, want, err, err2)
		}
	}
	check("c1")
	b.repo.commit("c3", "c2", 43)
	if _, err := b.lap(); !errors.Is(err, apply.ErrUnconfirmed) {
		t.Error(err)
	}
	check("c1")
	b.in.Observe = true
	if _, err := b.lap(); err != nil {
		t.Error(err)
	}
	b.in.Observe = false
	check("c1")
	b.checkValue(42)
	if _, err := b.confirm(); err != nil {
		t.Fatal(err)
	}
	check("c2")
	b.mustFollowTip()
	check("c3")
}

// Where there is nothing to confirm the revision is the last good one at once.
func TestNothingToConfirm(t *testing.T) {
	b := newBench(t)
	b.machine.Put(nf.Node, udp, 41)
	in := b.in.Apply
	in.Confirm = &apply.Confirm{Within: time.Minute}
	rev, err := agent.Fetch(t.Context(), b.in.Fetch, "", nil, "")
	if err != nil {
		t.Fatal(err)
	}
	if r, err := agent.Enforce(t.Context(), in, rev); err != nil || r.ConfirmUntil != nil {
		t.Fatalf("%+v, %v", r, err)
	}
	if good, err := b.state.LastGood(); err != nil || good.Revision != "c1" {
		t.Errorf("%+v, %v", good, err)
	}
}

// TestRunningUnconfirmed: while changes wait the agent changes nothing and says so. It takes them
// back when the time is up, and does not make them again by itself.
func TestRunningUnconfirmed(t *testing.T) {
	b := newBench(t)
	setUptime := b.uptime()
	r := b.run()
	r.repo.commit("c2", "c1", 42)
	run := r.byHand()
	r.machine.Put(nf.Node, udp, 42)
	s := r.wake(agent.WakeInterval)
	r.want(s, nf.LapError, nf.Reconciling)
	if c := s.Condition(nf.Reconciling); c.Reason != "Unconfirmed" || !strings.Contains(c.Message, "run "+run.ID+" waits for nfsync confirm until") {
		t.Errorf("%+v", c)
	}
	if len(s.Next) != 3 || s.Next[0].Cause != string(agent.WakeWindow) || time.Until(s.Next[0].At) > time.Minute {
		t.Errorf("%+v", s.Next)
	}
	setUptime(time.Hour + time.Minute)
	s = r.wake(agent.WakeInterval)
	r.want(s, nf.LapFailed, nf.Stalled)
	r.checkValue(41)
	if c := s.Condition(nf.Ready); c.Reason != "FailedBefore" || !strings.Contains(c.Message, "it was not confirmed") {
		t.Errorf("%+v", c)
	}
	r.want(r.wake(agent.WakeDrift), nf.LapFailed, nf.Stalled)
	r.checkValue(41)
	// Another revision that needs no change does not make the agent forget it.
	r.repo.commit("c3", "c2", 41)
	r.want(r.wake(agent.WakeInterval), nf.LapInSync, nf.Ready)
	r.repo.tip, r.repo.parents["c2"] = "c2", "c3"
	r.want(r.wake(agent.WakeInterval), nf.LapFailed, nf.Stalled)
	r.checkValue(41)
	r.want(r.wake(agent.WakeSync), nf.LapApplied, nf.Ready)
	r.checkValue(42)
}

// TestRunningConfirmed: the agent goes on after the confirmation.
func TestRunningConfirmed(t *testing.T) {
	b := newBench(t)
	b.uptime()
	r := b.run()
	r.agent.ConfirmRun = b.confirm
	r.repo.commit("c2", "c1", 42)
	r.byHand()
	r.want(r.wake(agent.WakeDrift), nf.LapError, nf.Reconciling)
	if c, err := r.agent.Confirm(); err != nil || c.Changes != 1 {
		t.Errorf("%+v, %v", c, err)
	}
	r.want(r.wake(agent.WakeConfirm), nf.LapInSync, nf.Ready)
	r.checkValue(42)
	if _, err := r.agent.Confirm(); !errors.Is(err, apply.ErrNothingWaits) {
		t.Error(err)
	}
}

// TestSuspendedTakesBack: a suspended agent changes nothing else, and takes back what is not
// confirmed.
func TestSuspendedTakesBack(t *testing.T) {
	b := newBench(t)
	setUptime := b.uptime()
	r := b.run()
	if err := r.agent.Suspend(&nf.Suspension{Reason: "x", By: "root"}); err != nil {
		t.Fatal(err)
	}
	r.next()
	r.repo.commit("c2", "c1", 42)
	r.byHand()
	r.want(r.wake(agent.WakeDrift), nf.LapError, nf.Reconciling, nf.Drifted, nf.Suspended)
	r.checkValue(42)
	setUptime(time.Hour + time.Minute)
	s := r.wake(agent.WakeDrift)
	r.want(s, nf.LapObserved, nf.Ready, nf.Suspended)
	r.checkValue(41)
}
