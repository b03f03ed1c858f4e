package agent_test

import (
	"errors"
	"testing"

	"nfsync.dev/nfsync/internal/agent"
	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/source"
)

// TestRunningLocked: a lap that fetched while another nfsync was at work is made again with a fetch,
// and what a person has accepted is not lost.
func TestRunningLocked(t *testing.T) {
	b := newBench(t)
	run := t.TempDir()
	b.in.Apply.Lock = apply.NewLock(run)
	r := b.run()
	unlock, err := apply.NewLock(run).Take()
	if err != nil {
		t.Fatal(err)
	}
	r.repo.commit("c2", "", 42)
	r.agent.Sync("c2")
	r.want(r.next(), nf.LapError, nf.Reconciling)
	unlock()
	s := r.wake(agent.WakeWindow) // as after lockedPause
	r.want(s, nf.LapApplied, nf.Ready)
	if !s.LastLap.Fetched || s.Revision.Commit != "c2" {
		t.Errorf("%+v, %+v", s.LastLap, s.Revision)
	}
	r.checkValue(42)
}

// TestRunningAcceptedUnreachable: a commit that a person has accepted is taken once a server answers,
// and no lap that does not fetch loses it.
func TestRunningAcceptedUnreachable(t *testing.T) {
	r := newBench(t).run()
	r.repo.commit("c2", "", 42)
	r.repo.err = &source.FetchError{URL: url, Err: errors.New("dead")}
	r.agent.Sync("c2")
	r.want(r.next(), nf.LapFallback, nf.Reconciling)
	r.want(r.wake(agent.WakeDrift), nf.LapFallback, nf.Reconciling)
	r.repo.err = nil
	r.want(r.wake(agent.WakeInterval), nf.LapApplied, nf.Ready)
	r.checkValue(42)
	r.repo.commit("c3", "", 43)
	r.want(r.wake(agent.WakeInterval), nf.LapFallback, nf.Stalled)
}

// TestRunningLockedUnreachable: a server that does not answer is not asked again because another nfsync
// is at work.
func TestRunningLockedUnreachable(t *testing.T) {
	b := newBench(t)
	run := t.TempDir()
	b.in.Apply.Lock = apply.NewLock(run)
	r := b.run()
	unlock, err := apply.NewLock(run).Take()
	if err != nil {
		t.Fatal(err)
	}
	r.repo.err = &source.FetchError{URL: url, Err: errors.New("dead")}
	r.want(r.wake(agent.WakeInterval), nf.LapError, nf.Reconciling)
	unlock()
	s := r.wake(agent.WakeWindow)
	r.want(s, nf.LapFallback, nf.Reconciling)
	if s.LastLap.Fetched {
		t.Error("it fetched")
	}
}
