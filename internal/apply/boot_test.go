package apply_test

import (
	"syscall"
	"testing"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/host/hosttest"
	"nfsync.dev/nfsync/internal/nf"
)

// checkSaved checks the value of a key in the boot files.
func (b *bench) checkSaved(k nf.Key, want nf.Value) {
	b.t.Helper()
	if v := b.machine.BootValue(k); v != want {
		b.t.Errorf("%s is saved as %s, want %s", k, v, want)
	}
}

// Both layers of a key are changed, and remembered as one key with its live value.
func TestBootLayer(t *testing.T) {
	b := newBench(t)
	b.addBootLayer()
	b.wantNumber(nf.Node, nf.KeyBuckets, 1000)
	b.wantNumber(nf.Node, icmp, 30) // live already
	b.want(nf.Node, ct, nf.Module(nf.ModuleLoaded, map[string]string{"expect_hashsize": "1024"}))
	if r := b.mustRun(0); len(r.Results) != 4 {
		t.Errorf("%+v", r.Results)
	}
	b.checkValue(nf.Node, nf.KeyBuckets, 1024)
	b.checkSaved(nf.KeyBuckets, nf.Number(1000))
	b.checkSaved(icmp, nf.Number(30))
	b.checkSaved(ct, nf.Module(nf.ModuleLoaded, map[string]string{"expect_hashsize": "1024"}))
	m, err := b.state.Memory()
	if err != nil {
		t.Fatal(err)
	}
	applied := map[nf.Key]nf.Value{}
	for _, k := range m.Keys {
		applied[k.Key] = k.Applied
		if !k.Set {
			t.Errorf("%+v", k)
		}
	}
	if applied[nf.KeyBuckets] != nf.Number(1024) || applied[icmp] != nf.Number(30) || len(applied) != 3 {
		t.Errorf("memory %+v", m.Keys)
	}
	b.mustRun(0)
	if calls := b.machine.Calls(); len(calls) != 4 {
		t.Errorf("%+v", calls)
	}
}

// If a boot file cannot be written, the node is undone, and no container.
func TestBootFileFails(t *testing.T) {
	b := newBench(t)
	b.addBootLayer()
	web := b.addContainer("web", hosttest.ReadOnly)
	b.machine.PutBoot(nf.KeyMax, nf.Number(100))
	b.wantNumber(nf.Node, nf.KeyMax, 300000)
	b.wantNumber(nf.Node, udp, 60)
	b.wantNumber(web, udp, 60)
	b.machine.Inject(hosttest.Fault{Op: hosttest.OpSet, Target: nf.Node, Key: udp, Layer: nf.LayerBoot, Err: syscall.EROFS})
	b.mustRun(5)
	b.checkValue(nf.Node, nf.KeyMax, 262144)
	b.checkValue(nf.Node, udp, 30)
	b.checkSaved(nf.KeyMax, nf.Number(100))
	b.checkSaved(udp, nf.Absent())
	b.checkValue(web, udp, 60)
}

// A boot value that another program has changed since the plan is not overwritten,
// and boot files that cannot be read any more are not written.
func TestBootLastMoment(t *testing.T) {
	for name, test := range map[string]struct {
		meanwhile func(*hosttest.Machine)
		outcome   apply.Outcome
	}{
		"changed":    {func(m *hosttest.Machine) { m.PutBoot(udp, nf.Number(45)) }, apply.Failed},
		"as wanted":  {func(m *hosttest.Machine) { m.PutBoot(udp, nf.Number(30)) }, apply.Applied},
		"unreadable": {func(m *hosttest.Machine) { m.SetBootUnknown("EIO") }, apply.Refused},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.addBootLayer()
			b.wantNumber(nf.Node, udp, 30)
			b.beforeChange(nf.Node, udp, func() { test.meanwhile(b.machine) })
			r, err := b.run()
			if err != nil {
				t.Fatal(err)
			}
			b.checkOutcome(r, nf.Node, udp, test.outcome)
			if len(b.machine.Calls()) != 0 {
				t.Errorf("%+v", b.machine.Calls())
			}
		})
	}
}

// The boot file that keeps out a module is written only after the module has been
// unloaded.
func TestKeptOutOnlyWhenUnloaded(t *testing.T) {
	for name, stays := range map[string]bool{"unloaded": false, "stays": true} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.addBootLayer()
			extra := nf.ModuleKey("xt_extra")
			b.machine.SetModule(nf.ModuleFact{Name: "xt_extra", State: nf.ModuleLoaded})
			b.machine.PutBoot(extra, loaded)
			b.want(nf.Node, extra, unloaded)
			if !stays {
				b.mustRun(0)
				b.checkSaved(extra, unloaded)
				return
			}
			b.beforeChange(nf.Node, extra, func() {
				b.machine.SetModule(nf.ModuleFact{Name: "xt_extra", State: nf.ModuleLoaded, Refs: 1})
			})
			r, err := b.run()
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Results) != 2 || r.Results[0].Outcome != apply.Refused || r.Results[1].Outcome == apply.Applied {
				t.Errorf("%+v", r.Results)
			}
			b.checkSaved(extra, loaded)
		})
	}
}

// A boot value does not end with the boot: if an interrupted run has written it, it
// is undone even after a reboot.
func TestRecoveryOfBootFilesAfterReboot(t *testing.T) {
	b := newBench(t)
	b.addBootLayer()
	b.machine.PutBoot(icmp, nf.Number(7))
	b.wantNumber(nf.Node, icmp, 20)
	b.wantNumber(nf.Node, udp, 60)
	for at := 1; b.machine.BootValue(icmp) == nf.Number(7); at++ {
		b.crashAt(at)
	}
	b.machine.Reboot()
	b.wants = nil
	r := b.mustRun(0)
	b.checkSaved(icmp, nf.Number(7))
	b.checkSaved(udp, nf.Absent())
	if len(r.Recovered) != 4 {
		t.Errorf("recovered %+v", r.Recovered)
	}
}

// Boot files that cannot be read any more do not count as empty: what an interrupted
// run may have written to them is stuck.
func TestRecoveryOfUnreadableBootFiles(t *testing.T) {
	b := newBench(t)
	b.addBootLayer()
	b.wantNumber(nf.Node, udp, 30)
	for at := 1; b.machine.BootValue(udp).IsAbsent(); at++ {
		b.crashAt(at)
	}
	b.wrapped = nil
	b.machine.SetBootUnknown("EIO")
	if r := b.mustRun(6); len(r.Stuck) != 1 || r.Stuck[0].Key != udp {
		t.Errorf("stuck %+v", r.Stuck)
	}
	left := b.recover(false).Left
	if len(left) != 1 || !left[0].Stuck || left[0].Reads != nf.Unknown("EIO") {
		t.Errorf("left %+v", left)
	}
}
