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

// A recovery that cannot take a saved level back finishes what stands, and still
// restarts nothing.
func TestRecoveryRestartsNothing(t *testing.T) {
	b := newVirtuozzo(t)
	web := b.running("101")
	b.wantLevel(web, stateful, nf.RestartAllow)
	b.when(web, nf.KeyRestart, func() { panic(crash{}) })
	b.blast(0)
	b.levels(web, full, stateful)
	b.on = nil
	report := b.recover(false)
	if len(report.Left) != 1 || report.Left[0].Key != nf.KeyLevel || report.Left[0].Reads != stateful {
		t.Errorf("report %+v", report)
	}
	b.machine.Inject(hosttest.Fault{Op: hosttest.OpSet, Layer: nf.LayerBoot})
	wants := b.wants
	b.wants = nil
	r := b.ok(0)
	if len(r.Recovered) != 2 || r.Recovered[0].Outcome != apply.Applied || r.Recovered[1].Outcome != apply.Skipped || b.restarts(web) != 0 {
		t.Errorf("recovered %+v, made %v", r.Recovered, b.made())
	}
	b.levels(web, full, stateful)
	b.wants = wants
	b.ok(0)
	b.levels(web, stateful, stateful)
}

// A run that was cut in the middle of a restart says so: what was begun, and
// what the container is now.
func TestCutInTheMiddleOfARestart(t *testing.T) {
	b := newVirtuozzo(t)
	web := b.running("101")
	b.wantLevel(web, stateful, nf.RestartAllow)
	b.wrapped = between{b.machine, func() {
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
	r := b.ok(0)
	if len(r.Recovered) != 2 || r.Recovered[0].Outcome != apply.Applied || r.Recovered[1].Outcome != apply.Kept || !strings.Contains(r.Recovered[1].Reason, "stopped now") {
		t.Errorf("recovered %+v", r.Recovered)
	}
	b.levels(web, nf.Absent(), stateful)
	b.machine.Start(web)
	b.ok(0)
	b.levels(web, stateful, stateful)
	if b.restarts(web) != 0 {
		t.Error("restarted")
	}
}

// What was left in a container that nobody can look into is settled when
// somebody can, and nothing is applied until then.
func TestRecoveryWaits(t *testing.T) {
	for name, test := range map[string]struct{ hide, show func(*bench, nf.Target) }{
		"unobservable": {func(b *bench, c nf.Target) { b.machine.SetUnobservable(c, "its state is starting") },
			func(b *bench, c nf.Target) { b.machine.SetUnobservable(c, "") }},
		"its runtime is broken": {func(b *bench, c nf.Target) {
			b.wrapped = blinded{b.machine, c}
		}, func(b *bench, _ nf.Target) { b.wrapped = nil }},
	} {
		t.Run(name, func(t *testing.T) {
			b := newVirtuozzo(t)
			web := b.running("101")
			b.wantLevel(web, stateful, nf.RestartAllow)
			b.when(web, nf.KeyRestart, func() { panic(crash{}) })
			b.blast(0)
			b.on = nil
			test.hide(b, web)
			for range 2 {
				made := len(b.made())
				if _, err := b.run(); err == nil || !strings.Contains(err.Error(), "cannot settle yet") || len(b.made()) != made {
					t.Errorf("%v, made %v", err, b.made())
				}
			}
			test.show(b, web)
			b.wants = nil
			b.ok(0)
			b.levels(web, full, full)
		})
	}
}

// blinded is a machine whose runtime is broken, so that it does not show a
// container.
type blinded struct {
	*hosttest.Machine
	hidden nf.Target
}

func (m blinded) Observe(ctx context.Context, listed nf.Snapshot, ask nf.Ask) (nf.Snapshot, error) {
	s, err := m.Machine.Observe(ctx, listed, ask)
	s.Containers = slices.DeleteFunc(s.Containers, func(c nf.Container) bool { return c.Target() == m.hidden })
	s.Warnings = append(s.Warnings, nf.Warning{Code: nf.WarnRuntimeBroken, Message: "vz: no program answers"})
	return s, err
}

// A program that restarts may outlive nfsync, and hold the container's lock: what
// is saved for it stays, and nobody is called for that.
func TestRecoveryBesideARestart(t *testing.T) {
	b := newVirtuozzo(t)
	web := b.running("101")
	b.wantLevel(web, stateful, nf.RestartAllow)
	b.wrapped = between{b.machine, func() { panic(crash{}) }}
	func() {
		defer func() { _ = recover() }()
		_, _ = b.run()
	}()
	b.wrapped = nil
	b.open()
	b.machine.Inject(hosttest.Fault{Op: hosttest.OpSet, Layer: nf.LayerBoot})
	wants := b.wants
	b.wants = nil
	r := b.ok(0)
	if len(r.Recovered) != 2 || r.Recovered[0].Outcome != apply.Applied || r.Recovered[1].Outcome != apply.Skipped {
		t.Errorf("recovered %+v", r.Recovered)
	}
	b.makes("101 level boot stateful")
	b.machine.Start(web) // by that program
	b.wants = wants
	b.ok(0)
	b.levels(web, stateful, stateful)
	if b.restarts(web) != 0 {
		t.Error("restarted again")
	}
}
