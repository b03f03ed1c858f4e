package apply_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"nfsync.dev/nfsync/internal/host/hosttest"
	"nfsync.dev/nfsync/internal/nf"
)

var tracks = nf.Table{Backend: nf.BackendNft, Family: "ip", Name: "filter", Rules: 1, Uses: []nf.Use{{Level: nf.LevelStateful, Chain: "input", What: "ct", Count: 1}}}

// ledger is who is remembered to track.
func (b *bench) ledger() map[string]string {
	list := map[string]string{}
	for _, l := range b.memory().Latches {
		list[l.Target.String()] = l.Instance
	}
	return list
}

// Tracking, once seen on, is remembered with its instance: of containers whose
// rules were looked at, and of the node. It goes with the instance.
func TestLatches(t *testing.T) {
	b := newVirtuozzo(t)
	web, dns, away := b.running("101"), b.running("102"), b.running("103")
	b.machine.SetRules(web, tracks)
	b.machine.SetRules(away, tracks) // nobody asks for its level
	b.machine.SetCount(nf.Node, 7)
	b.wantLevel(web, full, nf.RestartRefuse)
	b.wantLevel(dns, full, nf.RestartRefuse)
	b.ok(0)
	want := map[string]string{"node": "boot-1", web.String(): b.instance(web)}
	if diff := cmp.Diff(want, b.ledger()); diff != "" {
		t.Errorf("ledger (-want +got):\n%s", diff)
	}
	if l := b.memory().Latches[1]; l.Evidence != "rules need it" {
		t.Errorf("evidence %q", l.Evidence)
	}

	// The rules are gone and so are the entries: it is on all the same.
	b.machine.SetRules(web)
	b.machine.SetCount(nf.Node, 0)
	written := 0
	b.disk.Before = func(_, path string) error {
		if strings.Contains(path, "memory") {
			written++
		}
		return nil
	}
	b.ok(0)
	if diff := cmp.Diff(want, b.ledger()); diff != "" || written != 0 {
		t.Errorf("written %d times, ledger (-want +got):\n%s", written, diff)
	}
	b.disk.Before = nil
	b.wants[0].Wish = nf.Exactly(stateless)
	if r := b.ok(3); len(r.Refusals) != 1 || r.Refusals[0].Code != nf.ConntrackLatched {
		t.Errorf("refusals %+v", r.Refusals)
	}

	// Another instance, another ledger.
	b.machine.Start(web)
	delete(want, web.String())
	b.ok(3)
	if diff := cmp.Diff(want, b.ledger()); diff != "" {
		t.Errorf("after a restart (-want +got):\n%s", diff)
	}
	b.machine.Reboot()
	b.wants = nil
	b.ok(0)
	if len(b.ledger()) != 0 {
		t.Errorf("after a restart of the node: %v", b.ledger())
	}
}

// A ledger outlasts what hides its containers: a runtime that is broken, or that
// was not looked for.
func TestLatchesHidden(t *testing.T) {
	for name, hide := range map[string]func(*bench){
		"broken":         func(b *bench) { b.machine.Warn(nf.Warning{Code: nf.WarnRuntimeBroken, Message: "vz: EIO"}) },
		"not looked for": func(b *bench) { b.runtimes = []string{nf.RuntimeNetns} },
		"there":          func(*bench) {},
	} {
		t.Run(name, func(t *testing.T) {
			b := newVirtuozzo(t)
			web := b.running("101")
			b.machine.SetRules(web, tracks)
			b.wantLevel(web, full, nf.RestartRefuse)
			b.ok(0)
			b.wants = nil
			hide(b)
			b.machine.Remove(web)
			b.ok(0)
			if kept := len(b.ledger()) == 1; kept != (name != "there") {
				t.Errorf("ledger %v", b.ledger())
			}
		})
	}
}

// What is seen only for a moment counts: the first look shows it, the look
// after a change does not.
func TestLatchSeenOnce(t *testing.T) {
	b := newVirtuozzo(t)
	web := b.running("101")
	b.machine.SetRules(web, tracks)
	b.wantLevel(web, full, nf.RestartRefuse)
	b.wantNumber(nf.Node, nf.KeyMax, 1000)
	b.wantNumber(web, nf.KeyMax, 900)
	b.when(nf.Node, nf.KeyMax, func() {
		b.machine.SetRules(web)
		b.machine.AddVZ(hosttest.VZ{ID: "102"}) // all is observed anew
	})
	if _, err := b.run(); err != nil {
		t.Fatal(err)
	}
	if len(b.ledger()) != 1 {
		t.Errorf("ledger %v", b.ledger())
	}
}

// What is read again while the changes are made is judged as the rest: entries
// that appear meanwhile show that the container tracks.
func TestLatchSeenLater(t *testing.T) {
	b := newVirtuozzo(t)
	web := b.running("101")
	b.machine.PutLevel(web, nf.LayerBoot, stateless)
	b.wantLevel(web, full, nf.RestartRefuse) // so it is live: one boot change
	b.when(web, nf.KeyLevel, func() { b.machine.SetCount(web, 3) })
	b.ok(0)
	if len(b.ledger()) != 1 {
		t.Errorf("ledger %v", b.ledger())
	}
}

// Only on a kernel that latches is there a ledger.
func TestNoLatches(t *testing.T) {
	for _, latches := range []string{nf.No, nf.MaybeUnknown} {
		b := newVirtuozzo(t)
		b.machine.SetCapabilities(latches == nf.No, latches)
		web := b.running("101")
		b.machine.SetRules(web, tracks)
		b.wantLevel(web, full, nf.RestartRefuse)
		if _, err := b.run(); err != nil {
			t.Fatal(err)
		}
		if len(b.ledger()) != 0 {
			t.Errorf("%s: ledger %v", latches, b.ledger())
		}
	}
}
