package apply_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"nfsync.dev/nfsync/internal/host/hosttest"
	"nfsync.dev/nfsync/internal/nf"
)

var conntrackTable = nf.Table{Backend: nf.BackendNft, Family: "ip", Name: "filter", Rules: 1, Uses: []nf.Use{{Level: nf.LevelStateful, Chain: "input", What: "ct", Count: 1}}}

// ledger returns the remembered latches: the instance by target.
func (b *bench) ledger() map[string]string {
	list := map[string]string{}
	for _, l := range b.memory().Latches {
		list[l.Target.String()] = l.Instance
	}
	return list
}

// Tracking that was observed on is remembered with the instance, for the node and
// for containers whose rules were read. The entry ends with the instance.
func TestLatches(t *testing.T) {
	b := newVirtuozzo(t)
	web, dns, unwanted := b.addRunning("101"), b.addRunning("102"), b.addRunning("103")
	b.machine.SetRules(web, conntrackTable)
	b.machine.SetRules(unwanted, conntrackTable) // no want for its level: its rules are not read
	b.machine.SetCount(nf.Node, 7)
	b.wantLevel(web, full, nf.RestartRefuse)
	b.wantLevel(dns, full, nf.RestartRefuse)
	b.mustRun(0)
	want := map[string]string{"node": "boot-1", web.String(): b.instance(web)}
	if diff := cmp.Diff(want, b.ledger()); diff != "" {
		t.Errorf("ledger (-want +got):\n%s", diff)
	}
	if l := b.memory().Latches[1]; l.Evidence != "rules need it" {
		t.Errorf("evidence %q", l.Evidence)
	}

	// Without rules and entries tracking still counts as on.
	b.machine.SetRules(web)
	b.machine.SetCount(nf.Node, 0)
	written := 0
	b.disk.Before = func(_, path string) error {
		if strings.Contains(path, "memory") {
			written++
		}
		return nil
	}
	b.mustRun(0)
	if diff := cmp.Diff(want, b.ledger()); diff != "" || written != 0 {
		t.Errorf("written %d times, ledger (-want +got):\n%s", written, diff)
	}
	b.disk.Before = nil
	b.wants[0].Wish = nf.Exactly(stateless)
	if r := b.mustRun(3); len(r.Refusals) != 1 || r.Refusals[0].Code != nf.ConntrackLatched {
		t.Errorf("refusals %+v", r.Refusals)
	}

	// The entry ends with the instance.
	b.machine.Start(web)
	delete(want, web.String())
	b.mustRun(3)
	if diff := cmp.Diff(want, b.ledger()); diff != "" {
		t.Errorf("after a restart (-want +got):\n%s", diff)
	}
	b.machine.Reboot()
	b.wants = nil
	b.mustRun(0)
	if len(b.ledger()) != 0 {
		t.Errorf("after a restart of the node: %v", b.ledger())
	}
}

// An entry stays while its container cannot be listed, because the runtime is broken
// or disabled.
func TestLatchesHidden(t *testing.T) {
	for name, hide := range map[string]func(*bench){
		"broken":   func(b *bench) { b.machine.Warn(nf.Warning{Code: nf.WarnRuntimeBroken, Message: "vz: EIO"}) },
		"disabled": func(b *bench) { b.runtimes = []string{nf.RuntimeNetns} },
		"listed":   func(*bench) {},
	} {
		t.Run(name, func(t *testing.T) {
			b := newVirtuozzo(t)
			web := b.addRunning("101")
			b.machine.SetRules(web, conntrackTable)
			b.wantLevel(web, full, nf.RestartRefuse)
			b.mustRun(0)
			b.wants = nil
			hide(b)
			b.machine.Remove(web)
			b.mustRun(0)
			if remembered := len(b.ledger()) == 1; remembered != (name != "listed") {
				t.Errorf("ledger %v", b.ledger())
			}
		})
	}
}

// Tracking that the first observation of a run shows is remembered, even if later
// ones do not show it.
func TestLatchSeenOnce(t *testing.T) {
	b := newVirtuozzo(t)
	web := b.addRunning("101")
	b.machine.SetRules(web, conntrackTable)
	b.wantLevel(web, full, nf.RestartRefuse)
	b.wantNumber(nf.Node, nf.KeyMax, 1000)
	b.wantNumber(web, nf.KeyMax, 900)
	b.beforeChange(nf.Node, nf.KeyMax, func() {
		b.machine.SetRules(web)
		b.machine.AddVZ(hosttest.VZ{ID: "102"}) // makes the run observe again
	})
	if _, err := b.run(); err != nil {
		t.Fatal(err)
	}
	if len(b.ledger()) != 1 {
		t.Errorf("ledger %v", b.ledger())
	}
}

// What a refresh reads during the changes is judged too: entries that appear
// meanwhile prove that the container tracks.
func TestLatchSeenLater(t *testing.T) {
	b := newVirtuozzo(t)
	web := b.addRunning("101")
	b.machine.PutLevel(web, nf.LayerBoot, stateless)
	b.wantLevel(web, full, nf.RestartRefuse) // live already: one boot change
	b.beforeChange(web, nf.KeyLevel, func() { b.machine.SetCount(web, 3) })
	b.mustRun(0)
	if len(b.ledger()) != 1 {
		t.Errorf("ledger %v", b.ledger())
	}
}

// There are entries only on a kernel that latches.
func TestNoLatches(t *testing.T) {
	for _, latches := range []string{nf.No, nf.MaybeUnknown} {
		b := newVirtuozzo(t)
		b.machine.SetCapabilities(latches == nf.No, latches)
		web := b.addRunning("101")
		b.machine.SetRules(web, conntrackTable)
		b.wantLevel(web, full, nf.RestartRefuse)
		if _, err := b.run(); err != nil {
			t.Fatal(err)
		}
		if len(b.ledger()) != 0 {
			t.Errorf("%s: ledger %v", latches, b.ledger())
		}
	}
}
