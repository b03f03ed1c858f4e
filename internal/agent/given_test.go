package agent_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"nfsync.dev/nfsync/internal/agent"
	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/host/hosttest"
	"nfsync.dev/nfsync/internal/nf"
)

// givenBy makes an agent take the names of hooks for those of containers of its machine.
func givenBy(b *bench) func(nf.Given) (nf.Container, string, error) {
	return func(g nf.Given) (c nf.Container, nothing string, err error) {
		s, err := b.machine.List(context.Background())
		for _, c := range s.Containers {
			if c.Name == g.ID {
				return c, "", err
			}
		}
		return c, "it is not known", err
	}
}

// runGiven runs an agent that hooks call.
func (b *bench) runGiven() *running {
	b.Helper()
	b.given = givenBy(b)
	return b.run()
}

// TestGiven: a hook waits for the values of its container, whatever else the agent does.
func TestGiven(t *testing.T) {
	b := newBench(t)
	b.repo.commitText("c1", "", containerPolicy)
	r := b.runGiven()
	var hooks sync.WaitGroup
	for _, name := range []string{"web", "db", "cache"} {
		c := r.machine.AddContainer(name)
		r.agent.Wake(agent.WakeSync)
		hooks.Go(func() {
			got, err := r.agent.Birth(t.Context(), nf.Given{ID: name})
			if err != nil || got.NotReady || got.Nothing != "" || got.Problems != nil || got.Container != c.String() {
				t.Errorf("%s: %+v, %v", name, got, err)
			}
			r.checkTarget(c, 42)
		})
	}
	hooks.Wait()
	if got, err := r.agent.Birth(t.Context(), nf.Given{ID: "none"}); err != nil || got.Nothing != "it is not known" {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := r.agent.Birth(t.Context(), nf.Given{ID: "web"}); err != nil || got.Changes != 0 || got.Problems != nil {
		t.Errorf("again: %+v, %v", got, err)
	}
}

// TestGivenWithout: what a hook gets as an answer where its container does not get its values.
func TestGivenWithout(t *testing.T) {
	for name, test := range map[string]struct {
		before   func(b *bench, r *running)
		nothing  string
		problem  string
		notReady bool
	}{
		"it fails": {before: func(b *bench, _ *running) {
			b.machine.Inject(hosttest.Fault{Op: hosttest.OpSet, Err: errors.New("no such device")})
		}, problem: "conntrack.timeouts.udp: failed: no such device"},
		"suspended": {before: func(b *bench, _ *running) {
			if err := b.state.SaveSuspension(&nf.Suspension{Reason: "moving", By: "ada"}); err != nil {
				b.Fatal(err)
			}
		}, nothing: "the agent is suspended: moving"},
		"observe": {before: func(_ *bench, r *running) {
			r.setup.Lap.Observe = true
			r.wake(agent.WakeConfig)
		}, nothing: "the mode is observe"},
		"unreadable memory": {before: func(b *bench, _ *running) { b.damage("memory") }, problem: "memory"},
		"no revision":       {before: func(b *bench, r *running) { b.damage("lastgood"); r.wake(agent.WakeDrift) }, notReady: true},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.repo.commitText("c1", "", containerPolicy)
			r := b.runGiven()
			test.before(b, r)
			r.machine.AddContainer("web")
			got, err := r.agent.Birth(t.Context(), nf.Given{ID: "web"})
			if err != nil || got.Nothing != test.nothing || got.NotReady != test.notReady || !strings.Contains(strings.Join(got.Problems, "; "), test.problem) || (test.problem == "") != (got.Problems == nil) {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
}

// TestGivenTimeout: a hook does not wait longer than it wants to, and is forgotten then.
func TestGivenTimeout(t *testing.T) {
	a := agent.New(nf.NodeStatus{})
	if got, err := a.Birth(t.Context(), nf.Given{ID: "web"}); err != nil || !got.NotReady {
		t.Errorf("before the first lap: %+v, %v", got, err)
	}
	b := newBench(t)
	b.repo.commitText("c1", "", containerPolicy)
	r := b.runGiven()
	r.machine.AddContainer("web")
	hold := make(chan bool)
	r.repo.onFetch = func() { <-hold }
	defer close(hold)
	r.agent.Wake(agent.WakeSync)
	for r.agent.Status().CurrentLap == nil {
		<-time.After(time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if got, err := r.agent.Birth(ctx, nf.Given{ID: "web"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestBirthLap applies the last good revision to one container, without an agent.
func TestBirthLap(t *testing.T) {
	b := newBench(t)
	b.repo.commitText("c1", "", containerPolicy)
	b.mustFollowTip()
	web, db := b.machine.AddContainer("web"), b.machine.AddContainer("db")
	b.machine.Put(nf.Node, udp, 98)
	c, _, err := givenBy(b)(nf.Given{ID: "web"})
	if err != nil {
		t.Fatal(err)
	}
	got, err := agent.BirthLap(t.Context(), b.in, c)
	if err != nil || got.Changes != 1 || got.Problems != nil || got.Container != web.String() {
		t.Errorf("%+v, %v", got, err)
	}
	b.checkTarget(web, 42)
	b.checkTarget(db, 30)
	b.checkTarget(nf.Node, 98)

	c.Instance += "1" // another one has its place
	if got, err := agent.BirthLap(t.Context(), b.in, c); err != nil || len(got.Problems) != 1 || !strings.Contains(got.Problems[0], "was not found") {
		t.Errorf("another instance: %+v, %v", got, err)
	}
	release, err := b.in.Apply.Lock.Take()
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	in := b.in
	in.Apply.Lock = apply.NewLock(b.lockDir)
	if got, err := agent.BirthLap(t.Context(), in, c); !errors.Is(err, apply.ErrLocked) {
		t.Errorf("locked: %+v, %v", got, err)
	}
}
