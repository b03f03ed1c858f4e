package apply_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/host/hosttest"
	"nfsync.dev/nfsync/internal/nf"
)

// If a recovery cannot undo a saved level, it finishes the target, but restarts
// nothing.
func TestRecoveryRestartsNothing(t *testing.T) {
	b := newVirtuozzo(t)
	web := b.addRunning("101")
	b.wantLevel(web, stateful, nf.RestartAllow)
	b.beforeChange(web, nf.KeyRestart, func() { panic(crash{}) })
	b.crashAt(0)
	b.checkLevels(web, full, stateful)
	b.onEvent = nil
	report := b.recover(false)
	if len(report.Left) != 1 || report.Left[0].Key != nf.KeyLevel || report.Left[0].Reads != stateful {
		t.Errorf("report %+v", report)
	}
	b.machine.Inject(hosttest.Fault{Op: hosttest.OpSet, Layer: nf.LayerBoot})
	wants := b.wants
	b.wants = nil
	r := b.mustRun(0)
	if len(r.Recovered) != 2 || r.Recovered[0].Outcome != apply.Applied || r.Recovered[1].Outcome != apply.Skipped || b.restarts(web) != 0 {
		t.Errorf("recovered %+v, made %v", r.Recovered, b.calls())
	}
	b.checkLevels(web, full, stateful)
	b.wants = wants
	b.mustRun(0)
	b.checkLevels(web, stateful, stateful)
}

// After a crash in the middle of a restart, recover reports the restart, and the
// next run reports the state of the container.
func TestCrashDuringRestart(t *testing.T) {
	b := newVirtuozzo(t)
	web := b.addRunning("101")
	b.wantLevel(web, stateful, nf.RestartAllow)
	b.wrapped = beforeRestart{b.machine, func() {
		b.machine.Stop(web)
		panic(crash{})
	}}
	func() {
		defer func() { _ = recover() }()
		_, _ = b.run()
	}()
	b.wrapped = nil
	b.open()
	report := b.recover(false)
	if len(report.Left) != 2 || report.Left[1].Key != nf.KeyRestart || report.Left[1].From != full || report.Left[1].To != stateful || !report.Left[1].Reads.IsAbsent() {
		t.Errorf("report %+v", report)
	}
	r := b.mustRun(6)
	if len(r.Recovered) != 2 || r.Recovered[0].Outcome != apply.Applied || r.Recovered[1].Outcome != apply.Stuck || !strings.Contains(r.Recovered[1].Error, "stopped now") {
		t.Errorf("recovered %+v", r.Recovered)
	}
	b.checkLevels(web, nf.Absent(), stateful)
	b.machine.Start(web)
	b.mustRun(0)
	b.checkLevels(web, stateful, stateful)
	if b.restarts(web) != 0 {
		t.Error("restarted")
	}
}

// While a container with intents cannot be read, nothing is settled or applied. It
// is settled when it can be read again.
func TestRecoveryWaits(t *testing.T) {
	for name, test := range map[string]struct{ hide, show func(*bench, nf.Target) }{
		"unobservable": {func(b *bench, c nf.Target) { b.machine.SetUnobservable(c, "its state is starting") },
			func(b *bench, c nf.Target) { b.machine.SetUnobservable(c, "") }},
		"its runtime is broken": {func(b *bench, c nf.Target) {
			b.wrapped = brokenRuntime{b.machine, c}
		}, func(b *bench, _ nf.Target) { b.wrapped = nil }},
	} {
		t.Run(name, func(t *testing.T) {
			b := newVirtuozzo(t)
			web := b.addRunning("101")
			b.wantLevel(web, stateful, nf.RestartAllow)
			b.beforeChange(web, nf.KeyRestart, func() { panic(crash{}) })
			b.crashAt(0)
			b.onEvent = nil
			test.hide(b, web)
			for range 2 {
				made := len(b.calls())
				if _, err := b.run(); err == nil || !strings.Contains(err.Error(), "cannot settle yet") || len(b.calls()) != made {
					t.Errorf("%v, made %v", err, b.calls())
				}
			}
			test.show(b, web)
			b.wants = nil
			b.mustRun(0)
			b.checkLevels(web, full, full)
		})
	}
}

// brokenRuntime is a machine with a broken runtime, which does not list a container.
type brokenRuntime struct {
	*hosttest.Machine
	hidden nf.Target
}

func (m brokenRuntime) Observe(ctx context.Context, listed nf.Snapshot, ask nf.Ask) (nf.Snapshot, error) {
	s, err := m.Machine.Observe(ctx, listed, ask)
	s.Containers = slices.DeleteFunc(s.Containers, func(c nf.Container) bool { return c.Target() == m.hidden })
	s.Warnings = append(s.Warnings, nf.Warning{Code: nf.WarnRuntimeBroken, Message: "vz: no program answers"})
	return s, err
}

// The program that restarts a container may outlive nfsync and hold the container's
// lock. What is saved for the restart stays, and that is not stuck.
func TestRecoveryDuringRestart(t *testing.T) {
	b := newVirtuozzo(t)
	web := b.addRunning("101")
	b.wantLevel(web, stateful, nf.RestartAllow)
	b.wrapped = beforeRestart{b.machine, func() { panic(crash{}) }}
	func() {
		defer func() { _ = recover() }()
		_, _ = b.run()
	}()
	b.wrapped = nil
	b.open()
	b.machine.Inject(hosttest.Fault{Op: hosttest.OpSet, Layer: nf.LayerBoot})
	wants := b.wants
	b.wants = nil
	r := b.mustRun(0)
	if len(r.Recovered) != 2 || r.Recovered[0].Outcome != apply.Applied || r.Recovered[1].Outcome != apply.Skipped {
		t.Errorf("recovered %+v", r.Recovered)
	}
	b.checkCalls("101 level boot stateful")
	b.machine.Start(web) // as that program does
	b.wants = wants
	b.mustRun(0)
	b.checkLevels(web, stateful, stateful)
	if b.restarts(web) != 0 {
		t.Error("restarted again")
	}
}
