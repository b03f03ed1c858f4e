package apply_test

import (
	"strings"
	"testing"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/host/hosttest"
	"nfsync.dev/nfsync/internal/nf"
)

// addThree adds three running containers of which each may be restarted.
func (b *bench) addThree() (all []nf.Target) {
	for _, id := range []string{"101", "102", "103"} {
		c := b.addRunning(id)
		b.wantLevel(c, stateful, nf.RestartAllow)
		all = append(all, c)
	}
	return all
}

// A restart that leaves its container down stops all other restarts, of the same run and
// of later ones, and is stuck: until the container runs again, or a person accepts it.
func TestRestartLeavesContainerDown(t *testing.T) {
	for name, end := range map[string]func(*bench, nf.Target){
		"started by hand": func(b *bench, c nf.Target) { b.machine.Start(c) },
		"accepted":        func(b *bench, _ nf.Target) { b.recover(true) },
		"removed":         func(b *bench, c nf.Target) { b.machine.Remove(c); b.wants = b.wants[1:] },
	} {
		t.Run(name, func(t *testing.T) {
			b := newVirtuozzo(t)
			all := b.addThree()
			b.restartBounds.Max = 3
			b.machine.Inject(hosttest.Fault{Op: hosttest.OpSet, Key: nf.KeyRestart, Kind: hosttest.Halt})
			r := b.mustRun(6)
			b.checkOutcome(r, all[0], nf.KeyRestart, apply.Stuck)
			b.checkOutcome(r, all[1], nf.KeyRestart, apply.Skipped)
			if len(r.Stuck) != 1 || len(r.Pending) != 2 || !strings.Contains(r.Pending[0].Reason, "vz/101 was not seen to run since run "+r.ID) {
				t.Errorf("stuck %+v, pending %+v", r.Stuck, r.Pending)
			}
			for range 2 {
				if r := b.mustRun(6); len(r.Results) != 0 || len(r.Pending) != 2 || len(r.Stuck) != 1 {
					t.Errorf("%+v", r)
				}
				if report := b.recover(false); exitOf(report.Verdict()) != 6 || len(report.Left) != 1 || report.Left[0].Key != nf.KeyRestart {
					t.Errorf("%+v", report)
				}
			}
			b.machine.Heal()
			end(b, all[0])
			for range 3 {
				if _, err := b.run(); err != nil {
					t.Fatal(err)
				}
			}
			b.checkLevels(all[1], stateful, stateful)
			b.checkLevels(all[2], stateful, stateful)
			if b.restarts(all[0]) != 1 {
				t.Errorf("%v", b.calls())
			}
			if report := b.recover(false); len(report.Left) != 0 {
				t.Errorf("%+v", report)
			}
		})
	}
}

// If it cannot be determined what came of a restart, as the container is in transition,
// the same holds until the container is seen to run.
func TestRestartOfUnknownEnd(t *testing.T) {
	b := newVirtuozzo(t)
	all := b.addThree()
	b.restartBounds.Max = 3
	b.wrapped = beforeRestart{b.machine, func() { b.machine.SetState(all[0], "stopping") }}
	r := b.mustRun(6)
	b.checkOutcome(r, all[0], nf.KeyRestart, apply.Stuck)
	b.wrapped = nil
	b.mustRun(6)
	if b.restarts(all[1])+b.restarts(all[2]) != 0 {
		t.Errorf("%v", b.calls())
	}
	b.machine.SetState(all[0], nf.StateRunning) // the same instance: it was not restarted
	b.mustRun(0)
	for _, c := range all {
		b.checkLevels(c, stateful, stateful)
	}
}

// A container whose restart fails, or whose level cannot be saved, does not block the
// others: they take turns.
func TestRestartsTakeTurns(t *testing.T) {
	for name, fault := range map[string]hosttest.Fault{
		"restart": {Op: hosttest.OpSet, Key: nf.KeyRestart},
		"save":    {Op: hosttest.OpSet, Layer: nf.LayerBoot},
	} {
		t.Run(name, func(t *testing.T) {
			b := newVirtuozzo(t)
			all := b.addThree()
			for _, locked := range all[:2] {
				fault.Target = locked
				b.machine.Inject(fault)
			}
			for range 3 {
				if _, err := b.run(); err != nil {
					t.Fatal(err)
				}
			}
			b.checkLevels(all[2], stateful, stateful)
			made := [2]int{b.restarts(all[0]), b.restarts(all[1])}
			for range 4 {
				b.mustRun(5)
			}
			if name == "restart" && (b.restarts(all[0])-made[0] != 2 || b.restarts(all[1])-made[1] != 2) {
				t.Errorf("%v", b.calls())
			}
			b.machine.Heal()
			b.mustRun(0)
			b.mustRun(0)
			b.checkLevels(all[0], stateful, stateful)
			b.checkLevels(all[1], stateful, stateful)
		})
	}
}
