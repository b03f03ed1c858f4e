package apply_test

import (
	"strings"
	"testing"

	"nfsync.dev/nfsync/internal/host/hosttest"
	"nfsync.dev/nfsync/internal/nf"
)

// A restart that was refused, as by a lock, was not made: it does not count, and is
// made when the container is another instance, as after it was suspended and resumed.
func TestRefusedRestartIsNotMade(t *testing.T) {
	for name, kind := range map[string]hosttest.Kind{"refused": hosttest.Fail, "swallowed": hosttest.Swallow, "never ends": hosttest.Block} {
		t.Run(name, func(t *testing.T) {
			b := newVirtuozzo(t)
			web := b.addRunning("101")
			b.wantLevel(web, stateful, nf.RestartAllow)
			b.machine.Inject(hosttest.Fault{Op: hosttest.OpSet, Key: nf.KeyRestart, Kind: kind, Times: 1})
			b.mustRun(5)
			if m := b.memory(); len(m.Restarts) != 0 {
				t.Errorf("remembered %+v", m.Restarts)
			}
			b.machine.Suspend(web)
			b.machine.Start(web)
			b.mustRun(0)
			b.checkLevels(web, stateful, stateful)
		})
	}
}

// A run that was killed between the entry and the restart has not made it either: the
// recovery sees the same instance.
func TestKilledBeforeRestart(t *testing.T) {
	b := newVirtuozzo(t)
	web := b.addRunning("101")
	b.wantLevel(web, stateful, nf.RestartAllow)
	b.wrapped = beforeRestart{b.machine, func() { panic(crash{}) }}
	b.runCrashing(&crasher{})
	if m := b.memory(); len(m.Restarts) != 1 || m.Restarts[0].State != nf.RestartBegun {
		t.Errorf("remembered %+v", m.Restarts)
	}
	b.open()
	wants := b.wants
	b.wants = nil
	b.mustRun(0)
	if m := b.memory(); len(m.Restarts) != 0 {
		t.Errorf("remembered %+v", m.Restarts)
	}
	b.machine.Suspend(web)
	b.machine.Start(web)
	b.wants = wants
	b.mustRun(0)
	b.checkLevels(web, stateful, stateful)
}

// If somebody sets the level back after a restart that brought it, the refusal says so.
func TestLevelSetBackByHand(t *testing.T) {
	b := newVirtuozzo(t)
	web := b.addRunning("101")
	b.wantLevel(web, stateful, nf.RestartAllow)
	b.mustRun(0)
	b.machine.PutLevel(web, nf.LayerBoot, full)
	b.machine.Start(web)
	r := b.mustRun(3)
	if len(r.Refusals) != 1 || !strings.Contains(r.Refusals[0].Reason, "which brought the level stateful live") {
		t.Errorf("%+v", r.Refusals)
	}
	b.checkLevels(web, full, stateful)
}

// A container that was destroyed and made again under the same id is another one.
func TestRestartOfRecreatedContainer(t *testing.T) {
	b := newVirtuozzo(t)
	web := b.addRunning("101")
	b.wantLevel(web, stateful, nf.RestartAllow)
	b.mustRun(0)
	b.machine.Remove(web)
	web = b.machine.AddVZ(hosttest.VZ{ID: "101", UUID: "another", Saved: full})
	b.mustRun(0)
	b.checkLevels(web, stateful, stateful)
}
