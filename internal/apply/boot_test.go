package apply_test

import (
	"errors"
	"syscall"
	"testing"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/host/hosttest"
	"nfsync.dev/nfsync/internal/nf"
)

// saved fails the test unless the boot files hold that value of the key.
func (b *bench) saved(k nf.Key, want nf.Value) {
	b.t.Helper()
	if v := b.machine.BootValue(k); v != want {
		b.t.Errorf("%s is saved as %s, want %s", k, v, want)
	}
}

// Both layers are made, and remembered as one key with its live value.
func TestBootLayer(t *testing.T) {
	b := newBench(t)
	b.bootFiles()
	b.wantNumber(nf.Node, nf.KeyBuckets, 1000)
	b.wantNumber(nf.Node, icmp, 30) // so it is
	b.want(nf.Node, ct, nf.Module(nf.ModuleLoaded, map[string]string{"hashsize": "65536"}))
	if r := b.ok(0); len(r.Results) != 4 {
		t.Errorf("%+v", r.Results)
	}
	b.reads(nf.Node, nf.KeyBuckets, 1024)
	b.saved(nf.KeyBuckets, nf.Number(1000))
	b.saved(icmp, nf.Number(30))
	b.saved(ct, nf.Module(nf.ModuleLoaded, map[string]string{"hashsize": "65536"}))
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
	b.ok(0)
	if calls := b.machine.Calls(); len(calls) != 4 {
		t.Errorf("%+v", calls)
	}
}

// A boot file that cannot be written undoes the node, and no container.
func TestBootFileFails(t *testing.T) {
	b := newBench(t)
	b.bootFiles()
	web := b.container("web", hosttest.ReadOnly)
	b.machine.PutBoot(nf.KeyMax, nf.Number(100))
	b.wantNumber(nf.Node, nf.KeyMax, 300000)
	b.wantNumber(nf.Node, udp, 60)
	b.wantNumber(web, udp, 60)
	b.machine.Inject(hosttest.Fault{Op: hosttest.OpSet, Target: nf.Node, Key: udp, Layer: nf.LayerBoot, Err: syscall.EROFS})
	b.ok(5)
	b.reads(nf.Node, nf.KeyMax, 262144)
	b.reads(nf.Node, udp, 30)
	b.saved(nf.KeyMax, nf.Number(100))
	b.saved(udp, nf.Absent())
	b.reads(web, udp, 60)
}

// A boot value that somebody moves at the last moment is not written over, and
// boot files that became unreadable are not written at all.
func TestBootLastMoment(t *testing.T) {
	for name, test := range map[string]struct {
		meanwhile func(*hosttest.Machine)
		outcome   apply.Outcome
	}{
		"moved":      {func(m *hosttest.Machine) { m.PutBoot(udp, nf.Number(45)) }, apply.Failed},
		"as wanted":  {func(m *hosttest.Machine) { m.PutBoot(udp, nf.Number(30)) }, apply.Applied},
		"unreadable": {func(m *hosttest.Machine) { m.SetBootUnknown("EIO") }, apply.Refused},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.bootFiles()
			b.wantNumber(nf.Node, udp, 30)
			b.when(nf.Node, udp, func() { test.meanwhile(b.machine) })
			r, err := b.run()
			if err != nil {
				t.Fatal(err)
			}
			b.outcome(r, nf.Node, udp, test.outcome)
			if len(b.machine.Calls()) != 0 {
				t.Errorf("%+v", b.machine.Calls())
			}
		})
	}
}

// What keeps a module out at the next start is written only once it is
// unloaded.
func TestKeptOutOnlyWhenUnloaded(t *testing.T) {
	for name, stays := range map[string]bool{"unloaded": false, "stays": true} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.bootFiles()
			extra := nf.ModuleKey("xt_extra")
			b.machine.SetModule(nf.ModuleFact{Name: "xt_extra", State: nf.ModuleLoaded})
			b.machine.PutBoot(extra, loaded)
			b.want(nf.Node, extra, unloaded)
			if !stays {
				b.ok(0)
				b.saved(extra, unloaded)
				return
			}
			b.when(nf.Node, extra, func() {
				b.machine.SetModule(nf.ModuleFact{Name: "xt_extra", State: nf.ModuleLoaded, Refs: 1})
			})
			r, err := b.run()
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Results) != 2 || r.Results[0].Outcome != apply.Refused || r.Results[1].Outcome == apply.Applied {
				t.Errorf("%+v", r.Results)
			}
			b.saved(extra, loaded)
		})
	}
}

// A boot value outlives the start that it is for: what an interrupted run has
// left of it is undone after a restart too.
func TestRecoveryOfBootFilesAfterReboot(t *testing.T) {
	b := newBench(t)
	b.bootFiles()
	b.machine.PutBoot(icmp, nf.Number(7))
	b.wantNumber(nf.Node, icmp, 20)
	b.wantNumber(nf.Node, udp, 60)
	for at := 1; b.machine.BootValue(icmp) == nf.Number(7); at++ {
		b.blast(at)
	}
	b.machine.Reboot()
	b.wants = nil
	r := b.ok(0)
	b.saved(icmp, nf.Number(7))
	b.saved(udp, nf.Absent())
	if len(r.Recovered) != 4 {
		t.Errorf("recovered %+v", r.Recovered)
	}
}

// Boot files that became unreadable do not read as saving nothing: what an
// interrupted run may have left in them is not settled.
func TestRecoveryOfUnreadableBootFiles(t *testing.T) {
	b := newBench(t)
	b.bootFiles()
	b.wantNumber(nf.Node, udp, 30)
	for at := 1; b.machine.BootValue(udp).IsAbsent(); at++ {
		b.blast(at)
	}
	b.wrapped = nil
	b.machine.SetBootUnknown("EIO")
	if _, err := b.run(); !errors.Is(err, apply.ErrStuck) {
		t.Errorf("error %v", err)
	}
	left := b.recover(false).Left
	if len(left) != 1 || !left[0].Stuck || left[0].Reads != nf.Unknown("EIO") {
		t.Errorf("left %+v", left)
	}
}
