package apply_test

import (
	"context"
	"strings"
	"syscall"
	"testing"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/host/hosttest"
	"nfsync.dev/nfsync/internal/nf"
)

// lowerFromNoLimit makes a node of Virtuozzo 7 that has no limit, and a container that is to be
// lowered with it. Each of the two changes alone is forbidden.
func (b *bench) lowerFromNoLimit() nf.Target {
	b.useVirtuozzo()
	web := b.addRunning("101")
	b.machine.Put(web, nf.KeyMax, 65536)
	b.machine.Put(nf.Node, nf.KeyMax, 0)
	b.wantNumber(nf.Node, nf.KeyMax, 50000)
	b.wantNumber(web, nf.KeyMax, 20000)
	return web
}

func TestIntermediateLimit(t *testing.T) {
	b := newBench(t)
	web := b.lowerFromNoLimit()
	r := b.mustRun(0)
	b.checkCalls(" conntrack.max live 65536", "101 conntrack.max live 20000", " conntrack.max live 50000")
	if len(r.Results) != 3 || r.Summary.Applied != 3 || !r.Results[0].Intermediate || r.Results[2].From != nf.Number(65536) {
		t.Errorf("%+v", r.Results)
	}
	b.checkValue(nf.Node, nf.KeyMax, 50000)
	b.checkValue(web, nf.KeyMax, 20000)
	for _, k := range b.memory().Keys {
		if k.Target.IsNode() && (k.Applied != nf.Number(50000) || !k.Set) {
			t.Errorf("memory has %+v", k)
		}
	}
	if r := b.mustRun(0); len(r.Results) != 0 {
		t.Errorf("the second run: %+v", r.Results)
	}
}

// Nobody wants the intermediate value: it is undone unless the last change is made.
func TestIntermediateLimitIsUndone(t *testing.T) {
	for name, test := range map[string]struct {
		spoil   func(b *bench, web nf.Target)
		outcome apply.Outcome // of the last change
		why     string        // of the first one
	}{
		"the container's change fails": {func(b *bench, web nf.Target) {
			b.machine.Inject(hosttest.Fault{Op: hosttest.OpSet, Target: web, Key: nf.KeyMax, Err: syscall.EINVAL})
		}, apply.Refused, "on the way to 50000"},
		"the container's entries grow": {func(b *bench, web nf.Target) {
			b.beforeChange(web, nf.KeyMax, func() { b.machine.SetCount(web, 30000) })
		}, apply.Refused, "on the way to 50000"},
		"the last change fails": {func(b *bench, _ nf.Target) {
			b.machine.Inject(hosttest.Fault{Op: hosttest.OpSet, Target: nf.Node, Key: nf.KeyMax, Skip: 1, Times: 1, Err: syscall.EINVAL})
		}, apply.Failed, "failed"},
		"somebody else changes the node": {func(b *bench, web nf.Target) {
			b.beforeChange(web, nf.KeyMax, func() { b.machine.Put(nf.Node, nf.KeyMax, 70000) })
		}, apply.Failed, "failed"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			test.spoil(b, b.lowerFromNoLimit())
			r := b.mustRun(5)
			b.checkValue(nf.Node, nf.KeyMax, 0)
			first, last := r.Results[0], r.Results[len(r.Results)-1]
			if first.Outcome != apply.Undone || !strings.Contains(first.Reason, test.why) || last.Outcome != test.outcome {
				t.Errorf("%+v", r.Results)
			}
			b.machine.Heal()
			b.onEvent = nil
		})
	}
}

// A run that is stopped after the intermediate change undoes it.
func TestInterruptedAfterIntermediateLimit(t *testing.T) {
	b := newBench(t)
	web := b.lowerFromNoLimit()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	b.beforeChange(web, nf.KeyMax, cancel)
	if r, err := apply.Run(ctx, b.input()); err == nil || !r.Interrupted {
		t.Errorf("%+v, %v", r, err)
	}
	b.onEvent = nil
	b.checkValue(nf.Node, nf.KeyMax, 0)
	b.mustRun(0)
	b.checkValue(nf.Node, nf.KeyMax, 50000)
	b.checkValue(web, nf.KeyMax, 20000)
}

// If the last change is left, so is the intermediate one.
func TestIntermediateLimitIsLeftWithTheLastOne(t *testing.T) {
	for _, left := range []int64{65536, 50000} {
		b := newBench(t)
		b.lowerFromNoLimit()
		in := b.input()
		in.Leave = func(c nf.Change) string {
			if c.Target.IsNode() && c.To == nf.Number(left) {
				return "fought over"
			}
			return ""
		}
		if _, err := apply.Run(context.Background(), in); err != nil {
			t.Fatal(err)
		}
		b.checkValue(nf.Node, nf.KeyMax, 0)
		b.checkCalls()
	}
}
