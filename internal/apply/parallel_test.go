package apply_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/host/hosttest"
	"nfsync.dev/nfsync/internal/nf"
)

// slowMachine is a machine on which saving a level takes time. It counts how many are saved
// at once.
type slowMachine struct {
	*hosttest.Machine
	takes    time.Duration
	now      *atomic.Int32
	most     *atomic.Int32
	restarts *atomic.Int32 // that began while a level was saved
}

func (m slowMachine) Set(ctx context.Context, s *nf.Snapshot, c nf.Change) error {
	if c.Key == nf.KeyRestart && m.now.Load() > 0 {
		m.restarts.Add(1)
	}
	if c.Layer == nf.LayerBoot {
		m.most.Store(max(m.most.Load(), m.now.Add(1)))
		select {
		case <-time.After(m.takes):
		case <-ctx.Done():
		}
		m.now.Add(-1)
	}
	return m.Machine.Set(ctx, s, c)
}

func (b *bench) slow(takes time.Duration) slowMachine {
	m := slowMachine{b.machine, takes, new(atomic.Int32), new(atomic.Int32), new(atomic.Int32)}
	b.wrapped = m
	return m
}

// Levels of several containers are saved at once, as many as may be; the receipt has the
// order of the plan, and restarts come after.
func TestSavesSideBySide(t *testing.T) {
	b := newVirtuozzo(t)
	b.parallel = 4
	var all []nf.Target
	for i := range 12 {
		c := b.addRunning(fmt.Sprint(101 + i))
		b.wantLevel(c, stateful, nf.RestartAllow)
		b.wantNumber(c, udp, 60)
		all = append(all, c)
	}
	m := b.slow(50 * time.Millisecond)
	began := time.Now()
	r := b.mustRun(0)
	if took := time.Since(began); took > 450*time.Millisecond || m.most.Load() != 4 || m.restarts.Load() != 0 {
		t.Errorf("12 saves of 50 ms took %s, %d at once, %d restarts between them", took, m.most.Load(), m.restarts.Load())
	}
	for i, c := range all {
		udpResult, level := r.Results[2*i], r.Results[2*i+1]
		if udpResult.Target != c || udpResult.Key != udp || level.Target != c || level.Key != nf.KeyLevel || level.Outcome != apply.Applied {
			t.Errorf("result %d is %+v, %+v", i, udpResult, level)
		}
	}
	b.parallel = 0
	b.wants = b.wants[:0]
	for _, c := range all {
		b.wantLevel(c, stateless, nf.RestartStage)
	}
	m = b.slow(time.Millisecond)
	b.mustRun(0)
	if m.most.Load() != 1 {
		t.Errorf("%d at once without the setting", m.most.Load())
	}
}

// A program that hangs holds up its own container, and no other one.
func TestHungSaves(t *testing.T) {
	b := newVirtuozzo(t)
	b.parallel = 4
	for i := range 8 {
		c := b.addRunning(fmt.Sprint(101 + i))
		b.wantLevel(c, stateful, nf.RestartStage)
		if i < 4 {
			b.machine.Inject(hosttest.Fault{Op: hosttest.OpSet, Target: c, Kind: hosttest.Block, Times: 1})
		}
	}
	began := time.Now()
	r := b.mustRun(5)
	if took := time.Since(began); took > 2500*time.Millisecond {
		t.Errorf("it took %s", took)
	}
	if r.Summary.Failed != 4 || r.Summary.Applied != 4 || r.Summary.Pending != 4 {
		t.Errorf("%+v", r.Summary)
	}
}

// A run that is stopped finishes what it has begun, and begins no more.
func TestStoppedSideBySide(t *testing.T) {
	b := newVirtuozzo(t)
	b.parallel = 4
	for i := range 12 {
		b.wantLevel(b.addRunning(fmt.Sprint(101+i)), stateful, nf.RestartStage)
	}
	b.slow(50 * time.Millisecond)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	b.onEvent = func(e apply.Event) {
		if e.Kind == apply.EventDone {
			cancel()
		}
	}
	r, err := apply.Run(ctx, b.input())
	if err == nil || !r.Interrupted || r.Summary.Applied != 4 || r.Summary.Skipped != 8 {
		t.Errorf("%v, %+v", err, r.Summary)
	}
	b.onEvent = nil
	b.mustRun(0)
}
