package apply_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/host/hosttest"
	"nfsync.dev/nfsync/internal/nf"
)

// A receipt is read as it was: levels, modules, ranges and rivals too.
func TestReceiptIsReadBack(t *testing.T) {
	b := newVirtuozzo(t)
	web, mail := b.addRunning("101"), b.addRunning("102")
	b.wantLevel(web, stateful, nf.RestartAllow)
	b.wantLevel(mail, stateful, nf.RestartAllow)
	b.wantNumber(web, nf.KeyMax, 50000)
	b.wantNumber(mail, udp, 31)
	for _, wish := range []nf.Wish{nf.Exactly(nf.Number(32)), {AtLeast: 40, AtMost: 50}} {
		b.wants[len(b.wants)-1].Rivals = append(b.wants[len(b.wants)-1].Rivals, nf.Rival{Wish: wish})
	}
	b.machine.Inject(hosttest.Fault{Op: hosttest.OpSet, Target: web, Key: nf.KeyMax, Times: 1})
	want := b.mustRun(5)
	got, err := apply.FindReceipt(b.path, apply.LatestReceipt)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []*apply.Receipt{&want, &got} { // what is not written
		for _, list := range [][]apply.Result{r.Recovered, r.Results} {
			for i := range list {
				list[i].Asked, list[i].Instance, list[i].Busy = nf.Wish{}, "", false
			}
		}
		for i := range r.Refusals {
			r.Refusals[i].Asked = nf.Wish{}
		}
		for i := range r.Pending {
			r.Pending[i].MayRestart = false
		}
		r.StartedAt, r.FinishedAt = r.StartedAt.Round(0), r.FinishedAt.Round(0)
	}
	equal := cmp.Comparer(func(a, b nf.Value) bool { return a == b })
	if diff := cmp.Diff(want, got, equal); diff != "" {
		t.Error(diff)
	}
	list, err := apply.ListReceipts(b.path)
	if err != nil || len(list.Receipts) != 1 || list.Receipts[0].Verdict != apply.RolledBack || list.Receipts[0].ID != want.ID {
		t.Errorf("%+v, %v", list, err)
	}
}

// Memory forgets what no policy names, as a whole or not at all, and not while a run holds the lock.
func TestForget(t *testing.T) {
	b := newBench(t)
	b.wantNumber(nf.Node, udp, 31)
	b.wantNumber(nf.Node, icmp, 32)
	b.mustRun(0)
	forget := func(wanted func(nf.Target, nf.Key) *nf.Source, keys ...nf.Key) (apply.Forgotten, error) {
		return apply.Forget(apply.ForgetInput{State: b.state, Lock: apply.NewLock(b.runDir), Keys: keys, Wanted: wanted})
	}
	keys := func() int {
		m, err := b.state.Memory()
		if err != nil {
			t.Fatal(err)
		}
		return len(m.Keys)
	}
	all := keys()
	unlock, err := apply.NewLock(b.runDir).Take()
	if err != nil {
		t.Fatal(err)
	}
	other := apply.NewLock(b.runDir)
	if _, err := apply.Forget(apply.ForgetInput{State: b.state, Lock: other, Keys: []nf.Key{udp}}); !errors.Is(err, apply.ErrLocked) {
		t.Errorf("while the lock is held: %v", err)
	}
	unlock()
	asks := func(_ nf.Target, k nf.Key) *nf.Source {
		if k == udp {
			return &nf.Source{Name: "node", File: "a.yaml", Line: 3, Column: 4}
		}
		return nil
	}
	for _, test := range []struct {
		keys []nf.Key
		err  string
	}{{[]nf.Key{icmp, "conntrack.timeouts.imcp"}, "remembers nothing of it"}, {[]nf.Key{icmp, udp}, "the policy node asks for it at a.yaml:3:4"}} {
		if _, err := forget(asks, test.keys...); err == nil || !strings.Contains(err.Error(), test.err) || keys() != all {
			t.Errorf("%v: %v, %d keys", test.keys, err, keys())
		}
	}
	got, err := forget(asks, icmp)
	if err != nil || len(got.Keys) != 1 || got.Keys[0].Applied != nf.Number(32) || keys() != all-1 {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := forget(asks, icmp); err == nil {
		t.Error("it is forgotten twice")
	}
}
