package agent_test

import (
	"context"
	"testing"
	"time"

	"nfsync.dev/nfsync/internal/agent"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/source"
)

// holdLap makes a lap that waits in its fetch until release is called.
func (r *running) holdLap() (begun <-chan bool, release func()) {
	begins, goOn := make(chan bool), make(chan bool)
	held := false
	r.setup.Lap.Fetch = func(ctx context.Context, last []source.Position, accept string) (source.Revision, error) {
		if !held {
			held = true
			begins <- true
			<-goOn
		}
		return r.in.Fetch(ctx, last, accept)
	}
	r.agent.Wake(agent.WakeConfig) // which takes the changed setup
	return begins, func() { close(goOn) }
}

// TestSuspendDuringLap: the status has a suspension and its end at once, while a lap runs, and also
// after that lap, which knows nothing of it.
func TestSuspendDuringLap(t *testing.T) {
	r := newBench(t).run()
	begun, release := r.holdLap()
	<-begun
	if s := r.agent.Status(); s.CurrentLap == nil || len(s.CurrentLap.Causes) != 1 || s.CurrentLap.Causes[0] != "config" {
		t.Errorf("the lap that runs is %+v", s.CurrentLap)
	}
	suspension := &nf.Suspension{Since: time.Now(), Reason: "maintenance", By: "root"}
	if err := r.agent.Suspend(suspension); err != nil {
		t.Fatal(err)
	}
	s := r.update()
	since := s.Condition(nf.Suspended).LastTransitionTime
	if s.Suspension != suspension || s.Condition(nf.Suspended).Status != nf.ConditionTrue || s.CurrentLap == nil || !s.UpdatedAt.Equal(since) {
		t.Errorf("during the lap: %+v", s)
	}
	release()
	for i := range 2 { // the lap that was held, and the one that the suspension wakes
		s = r.next()
		if c := s.Condition(nf.Suspended); s.Suspension == nil || s.Suspension.Reason != "maintenance" || c.Status != nf.ConditionTrue || !c.LastTransitionTime.Equal(since) || s.CurrentLap != nil {
			t.Errorf("after lap %d: %+v", i, s)
		}
	}
	r.want(s, nf.LapObserved, nf.Ready, nf.Suspended)
	begun, release = r.holdLap()
	<-begun
	if err := r.agent.Suspend(nil); err != nil {
		t.Fatal(err)
	}
	if s := r.update(); s.Suspension != nil || s.Condition(nf.Suspended).Status != nf.ConditionFalse {
		t.Errorf("resumed: %+v", s)
	}
	release()
	r.want(r.next(), nf.LapObserved, nf.Ready)
	r.want(r.next(), nf.LapInSync, nf.Ready)
}

// TestLongLap: listeners learn of a lap that takes longer than a second, and of its end.
func TestLongLap(t *testing.T) {
	r := newBench(t).run()
	begun, release := r.holdLap()
	<-begun
	if s := r.update(); s.CurrentLap == nil || s.LastLap == nil || time.Since(s.CurrentLap.StartedAt) < time.Second {
		t.Errorf("%+v", s)
	}
	release()
	if s := r.update(); s.CurrentLap != nil {
		t.Errorf("after the lap: %+v", s.CurrentLap)
	}
}

// TestSyncKeepsAccepted: who only wakes the agent does not take back the commit that a person has
// accepted.
func TestSyncKeepsAccepted(t *testing.T) {
	r := newBench(t).run()
	r.repo.commit("c2", "", 42)
	r.want(r.wake(agent.WakeSync), nf.LapFallback, nf.Stalled)
	begun, release := r.holdLap()
	<-begun
	r.agent.Sync("c2")
	r.agent.Sync("")
	release()
	for s := r.next(); s.Revision.Commit != "c2"; s = r.next() {
		if s.LastLap.Causes[0] == "sync" {
			t.Fatalf("%+v", s)
		}
	}
}

// TestPublished: each status that listeners receive is published once, one after the other.
func TestPublished(t *testing.T) {
	a := agent.New(agent.NewStatus("hn-1", url, "enforce", nf.AgentInfo{StartedAt: time.Now()}))
	a.SaveSuspension = func(*nf.Suspension) error { return nil }
	busy, calls := false, 0 // the race detector sees calls at the same time
	a.Published = func(nf.NodeStatus) {
		if busy {
			t.Error("two at once")
		}
		busy = true
		calls++
		busy = false
	}
	done := make(chan error)
	for range 8 {
		go func() { done <- a.Suspend(&nf.Suspension{Reason: "x"}) }()
	}
	for range 8 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if calls != 8 {
		t.Errorf("%d calls", calls)
	}
}
