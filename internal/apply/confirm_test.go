package apply_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/host/hosttest"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/state"
)

const within = time.Minute

// bootID is that of the bench's node.
func (b *bench) bootID() string {
	b.t.Helper()
	s, err := b.machine.List(context.Background())
	if err != nil {
		b.t.Fatal(err)
	}
	return s.BootID
}

func (b *bench) confirmRun() (nf.Confirmation, error) {
	return apply.ConfirmRun(apply.ConfirmInput{State: b.state, Lock: apply.NewLock(b.runDir), BootID: b.bootID(),
		Now: func() time.Time { return b.now }, Uptime: func() time.Duration { return b.uptime }})
}

// unconfirmed makes a run that waits for its confirmation.
func (b *bench) unconfirmed() apply.Receipt {
	b.t.Helper()
	b.confirm = &apply.Confirm{Within: within}
	r := b.mustRun(0)
	b.confirm = nil
	if r.ConfirmUntil == nil {
		b.t.Fatalf("it waits for no confirmation: %+v", r)
	}
	return r
}

// newUnconfirmed returns a bench with a run that waits, and the memory before it.
func newUnconfirmed(t testing.TB) (*bench, nf.Target, nf.Memory, apply.Receipt) {
	b := newBench(t)
	web := b.addContainer("web", hosttest.Own)
	b.wantNumber(nf.Node, icmp, 20)
	b.mustRun(0)
	memory := b.memory()
	b.wantNumber(nf.Node, udp, 60)
	b.wantNumber(web, udp, 60)
	return b, web, memory, b.unconfirmed()
}

// As long as a run waits nothing else is changed. Confirmed, everything is as after any run.
func TestConfirmed(t *testing.T) {
	b, web, memory, r := newUnconfirmed(t)
	b.checkValue(web, udp, 60)
	if !reflect.DeepEqual(b.memory(), memory) {
		t.Error("memory has changed before the confirmation")
	}
	var waits *apply.UnconfirmedError
	if _, err := b.run(); !errors.As(err, &waits) || !errors.Is(err, apply.ErrUnconfirmed) || waits.Run != r.ID || waits.Left != within {
		t.Errorf("the next run: %v", err)
	}
	b.uptime += within - time.Second
	c, err := b.confirmRun()
	if err != nil || c != (nf.Confirmation{Run: r.ID, Changes: 2}) {
		t.Errorf("%+v, %v", c, err)
	}
	if err := b.checkMemory(); err != nil {
		t.Error(err)
	}
	b.uptime += time.Hour
	if r := b.mustRun(0); len(r.Recovered)+len(r.Results) > 0 || r.TakenBack != "" {
		t.Errorf("%+v", r)
	}
	if _, err := b.confirmRun(); !errors.Is(err, apply.ErrNothingWaits) || !strings.Contains(err.Error(), "run "+r.ID+" was confirmed at") {
		t.Errorf("the second confirmation: %v", err)
	}
}

// When the time is up the next run first takes the changes back, and forgets nothing that it
// knew before. The confirmation comes too late, and names the receipt.
func TestTakenBack(t *testing.T) {
	b, web, memory, r := newUnconfirmed(t)
	b.uptime += within
	if _, err := b.confirmRun(); !errors.Is(err, apply.ErrNothingWaits) || !strings.Contains(err.Error(), "was up at") {
		t.Errorf("the late confirmation: %v", err)
	}
	b.wants = nil
	next := b.mustRun(0)
	b.checkValue(web, udp, 30)
	b.checkValue(nf.Node, udp, 30)
	b.checkValue(nf.Node, icmp, 20)
	if next.TakenBack != r.ID || len(next.Recovered) != 2 || next.Recovered[0].Outcome != apply.Undone {
		t.Errorf("%+v", next)
	}
	if now := b.memory(); !reflect.DeepEqual(now.Keys, memory.Keys) {
		t.Errorf("memory is %+v, and was %+v", now.Keys, memory.Keys)
	}
	failed, err := b.state.Failures()
	if err != nil || len(failed) != 2 || !failed[0].Unconfirmed || failed[0].Changes[0].Why != "it was not confirmed" {
		t.Fatalf("%+v, %v", failed, err)
	}
	if _, err := b.confirmRun(); !errors.Is(err, apply.ErrNothingWaits) || !strings.Contains(err.Error(), "receipt "+failed[0].Receipt) {
		t.Errorf("the confirmation of what was taken back: %v", err)
	}
}

// Tracking that the run has seen stays remembered when its changes are taken back.
func TestTakeBackKeepsLatch(t *testing.T) {
	b := newVirtuozzo(t)
	web := b.addRunning("101")
	b.machine.SetRules(web, conntrackTable)
	b.wantNumber(web, udp, 60)
	b.wantLevel(web, full, nf.RestartRefuse)
	b.unconfirmed()
	b.machine.SetRules(web)
	b.uptime += within
	if _, err := apply.TakeBack(context.Background(), b.input()); err != nil {
		t.Fatal(err)
	}
	b.checkValue(web, udp, 30)
	if list := b.ledger(); list[web.String()] != b.instance(web) {
		t.Errorf("the latches are %v", list)
	}
}

// Of a confirmation and a take-back the first one holds.
func TestFirstDecisionHolds(t *testing.T) {
	b, web, _, r := newUnconfirmed(t)
	if d, err := b.state.Decide(r.ID, state.Confirmed); d != state.Confirmed || err != nil {
		t.Fatal(d, err)
	}
	b.uptime += within
	if back, err := apply.TakeBack(context.Background(), b.input()); err != nil || back.Kind != "" {
		t.Errorf("%+v, %v", back, err)
	}
	b.checkValue(web, udp, 60)
	if err := b.checkMemory(); err != nil {
		t.Error(err)
	}

	b, web, _, r = newUnconfirmed(t)
	if d, err := b.state.Decide(r.ID, state.TakenBack); d != state.TakenBack || err != nil {
		t.Fatal(d, err)
	}
	if _, err := b.confirmRun(); !errors.Is(err, apply.ErrNothingWaits) || !strings.Contains(err.Error(), "are being taken back") {
		t.Error(err)
	}
	back, err := apply.TakeBack(context.Background(), b.input())
	if err != nil || back.TakenBack != r.ID || back.Summary.Undone != 2 {
		t.Errorf("%+v, %v", back, err)
	}
	b.checkValue(web, udp, 30)
}

// A confirmation does not wait for the lock. Who takes it next saves what it brings.
func TestConfirmWhileLocked(t *testing.T) {
	b, _, _, r := newUnconfirmed(t)
	unlock, err := apply.NewLock(b.runDir).Take()
	if err != nil {
		t.Fatal(err)
	}
	if c, err := b.confirmRun(); err != nil || c.Run != r.ID {
		t.Errorf("%+v, %v", c, err)
	}
	unlock()
	b.uptime += time.Hour
	if r := b.mustRun(0); r.TakenBack != "" || len(r.Results) > 0 {
		t.Errorf("%+v", r)
	}
	if err := b.checkMemory(); err != nil {
		t.Error(err)
	}
}

// After a restart of the node the time is up: live values have ended, saved ones are restored.
func TestRestartEndsWait(t *testing.T) {
	b := newBench(t)
	b.addBootLayer()
	b.machine.PutBoot(udp, nf.Number(31))
	b.wantNumber(nf.Node, udp, 60)
	r := b.unconfirmed()
	b.machine.Reboot()
	if _, err := b.confirmRun(); !errors.Is(err, apply.ErrNothingWaits) || !strings.Contains(err.Error(), "was restarted") {
		t.Error(err)
	}
	b.wants = nil
	if next := b.mustRun(0); next.TakenBack != r.ID {
		t.Errorf("%+v", next)
	}
	if v := b.machine.BootValue(udp); v != nf.Number(31) {
		t.Errorf("the saved value is %s", v)
	}
}

// What something else has changed meanwhile is left as it is.
func TestTakeBackLeavesOthers(t *testing.T) {
	b, web, _, _ := newUnconfirmed(t)
	b.machine.Put(web, udp, 77)
	b.uptime += within
	back, err := apply.TakeBack(context.Background(), b.input())
	if err != nil {
		t.Fatal(err)
	}
	b.checkValue(web, udp, 77)
	b.checkValue(nf.Node, udp, 30)
	if result := b.checkOutcome(back, web, udp, apply.Skipped); !strings.Contains(result.Reason, "something else has changed it to 77") {
		t.Errorf("%+v", result)
	}
}

// What a rule forbids to undo stays and is named; the rest is undone.
func TestTakeBackForbidden(t *testing.T) {
	b := newBench(t)
	web := b.addContainer("web", hosttest.Own)
	b.wantNumber(nf.Node, nf.KeyMax, 300000)
	b.wantNumber(nf.Node, udp, 60)
	b.unconfirmed()
	b.machine.Put(web, nf.KeyMax, 290000)
	b.uptime += within
	back, err := apply.TakeBack(context.Background(), b.input())
	if err != nil {
		t.Fatal(err)
	}
	b.checkValue(nf.Node, nf.KeyMax, 300000)
	b.checkValue(nf.Node, udp, 30)
	b.checkOutcome(back, nf.Node, nf.KeyMax, apply.Kept)
	if exitOf(back.Verdict()) != 5 {
		t.Errorf("%+v", back)
	}
}

// What cannot be undone needs a person, as after any run.
func TestTakeBackFails(t *testing.T) {
	b, web, _, _ := newUnconfirmed(t)
	b.machine.Inject(hosttest.Fault{Op: hosttest.OpSet, Target: web, Key: udp})
	b.uptime += within
	back, err := apply.TakeBack(context.Background(), b.input())
	if err != nil || exitOf(back.Verdict()) != 6 {
		t.Errorf("%+v, %v", back, err)
	}
	b.checkValue(nf.Node, udp, 30)
	if report := b.recover(true); len(report.Left) != 1 {
		t.Errorf("%+v", report)
	}
}

// A container that cannot be read keeps nothing else from being undone. It is tried again.
func TestTakeBackLater(t *testing.T) {
	b, web, _, r := newUnconfirmed(t)
	b.machine.SetUnobservable(web, "it starts")
	b.uptime += within
	if _, err := apply.TakeBack(context.Background(), b.input()); err == nil || !strings.Contains(err.Error(), "it starts") {
		t.Error(err)
	}
	b.checkValue(nf.Node, udp, 30)
	b.machine.SetUnobservable(web, "")
	if back, err := apply.TakeBack(context.Background(), b.input()); err != nil || back.TakenBack != r.ID {
		t.Errorf("%+v, %v", back, err)
	}
	b.checkValue(web, udp, 30)
}

// One-way changes are left out, with what depends on them.
func TestOneWayLeftOut(t *testing.T) {
	b := newBench(t)
	b.addBootLayer()
	b.machine.SetModule(nf.ModuleFact{Name: "xt_extra", State: nf.ModuleLoaded})
	b.machine.PutBoot(nf.ModuleKey("xt_extra"), loaded)
	b.want(nf.Node, nf.ModuleKey("xt_extra"), unloaded)
	b.wantNumber(nf.Node, udp, 60)
	b.confirm = &apply.Confirm{Within: within}
	r, err := b.run()
	if err != nil {
		t.Fatal(err)
	}
	b.checkOutcome(r, nf.Node, nf.ModuleKey("xt_extra"), apply.Refused) // the boot file
	left := r.Results[len(r.Results)-1]
	if left.Outcome != apply.Skipped || !left.OneWay || !strings.Contains(left.Reason, "could not be taken back") || b.machine.Value(nf.Node, nf.ModuleKey("xt_extra")) != loaded {
		t.Errorf("%+v", left)
	}
	if v := b.machine.BootValue(nf.ModuleKey("xt_extra")); v != loaded {
		t.Errorf("the boot file says %s", v)
	}
	b.checkValue(nf.Node, udp, 60)
}

// A run without a change waits for nothing. So does one whose changes were all undone.
func TestNothingToConfirm(t *testing.T) {
	b := newBench(t)
	guards := 0
	b.confirm = &apply.Confirm{Within: within, Guard: func() error { guards++; return nil }}
	b.wantNumber(nf.Node, udp, 30)
	if r := b.mustRun(0); r.ConfirmUntil != nil || guards != 0 {
		t.Errorf("%+v, %d guards", r, guards)
	}
	if err := b.checkMemoryHas(udp); err != nil {
		t.Error(err)
	}
	b.wantNumber(nf.Node, icmp, 20)
	b.machine.Inject(hosttest.Fault{Op: hosttest.OpSet, Key: icmp, Times: 1})
	if r := b.mustRun(5); r.ConfirmUntil != nil || guards != 1 {
		t.Errorf("%+v, %d guards", r, guards)
	}
	b.confirm.Guard = func() error { return errors.New("no process") }
	if _, err := b.run(); err == nil || err.Error() != "no process" {
		t.Error(err)
	}
	b.checkValue(nf.Node, icmp, 30)
}

func (b *bench) checkMemoryHas(k nf.Key) error {
	if m := b.memory(); !slices.ContainsFunc(m.Keys, func(x nf.MemoryKey) bool { return x.Key == k }) {
		return fmt.Errorf("memory is %+v", m.Keys)
	}
	return nil
}

// The present state of a run that waits is not accepted in place of its confirmation.
func TestAcceptWhileWaiting(t *testing.T) {
	b, web, _, r := newUnconfirmed(t)
	b.uptime += within
	if report := b.recover(false); report.Run != r.ID || !strings.Contains(report.Unconfirmed, "was not confirmed in time") {
		t.Errorf("%+v", report) // the node that the bench does not name is another one
	}
	b.mustRun(0)
	b.wantNumber(nf.Node, generic, 500)
	now := time.Now()
	b.confirm = &apply.Confirm{Within: within}
	in := b.input()
	in.Uptime, in.Now = nil, func() time.Time { return now }
	if _, err := apply.Run(context.Background(), in); err != nil {
		t.Fatal(err)
	}
	_, err := apply.Recover(context.Background(), apply.RecoverInput{Machine: b.machine, State: b.state, Lock: apply.NewLock(b.runDir), BootID: b.bootID(), Accept: true})
	if !errors.Is(err, apply.ErrUnconfirmed) {
		t.Error(err)
	}
	b.checkValue(web, udp, 60)
}

// The process that guards a run takes its changes back when the time is up, and does nothing
// after a confirmation or without a run.
func TestAwaitDecision(t *testing.T) {
	b, web, _, _ := newUnconfirmed(t)
	in := b.input()
	start := time.Now()
	in.Uptime = func() time.Duration { return within - 50*time.Millisecond + time.Since(start) }
	if err := apply.AwaitDecision(context.Background(), in, b.bootID()); err != nil {
		t.Fatal(err)
	}
	b.checkValue(web, udp, 30)
	if err := apply.AwaitDecision(context.Background(), in, b.bootID()); err != nil {
		t.Fatal(err)
	}
	b, web, _, _ = newUnconfirmed(t)
	if _, err := b.confirmRun(); err != nil {
		t.Fatal(err)
	}
	if err := apply.AwaitDecision(context.Background(), b.input(), b.bootID()); err != nil {
		t.Fatal(err)
	}
	b.checkValue(web, udp, 60)

	// After a restart of the node nothing waits any more.
	b, _, _, _ = newUnconfirmed(t)
	b.machine.Reboot()
	soon, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := apply.AwaitDecision(soon, b.input(), b.bootID()); err != nil {
		t.Errorf("after a restart of the node: %v", err)
	}
}

// restored returns an error unless each value is as it was.
func (b *bench) restored(before map[place]nf.Value) error {
	if now := b.wantedValues(); !maps.Equal(now, before) {
		return fmt.Errorf("the values are %v, and were %v", now, before)
	}
	return nil
}

// reversible are the scenarios in which no change fails.
func reversible() []scenario {
	return slices.DeleteFunc(scenarios(), func(s scenario) bool { return s.code != 0 })
}

// TestCrashUnconfirmed crashes a run that is to be confirmed at each of its steps, and the
// taking back at some of its own. Nothing is left of it.
func TestCrashUnconfirmed(t *testing.T) {
	for _, s := range reversible() {
		t.Run(s.name, func(t *testing.T) {
			for at := 1; ; at++ {
				crashed := false
				for again := 0; again >= 0; {
					crashed, again = crashUnconfirmed(t, s, at, again)
				}
				if !crashed {
					return
				}
			}
		})
	}
}

// crashUnconfirmed crashes the run at one step and the next run at another, as crashTwice does.
// It reports whether the first one has crashed.
func crashUnconfirmed(t *testing.T, s scenario, at, again int) (crashed bool, next int) {
	t.Helper()
	b := newCrashBench(t)
	defer b.close()
	s.prepare(b)
	before := b.wantedValues()
	b.confirm = &apply.Confirm{Within: within}
	_, crashed, _, err := b.crashAt(at)
	if !crashed && err != nil {
		t.Fatal(err)
	}
	b.confirm = nil
	b.uptime += within
	b.open()
	next = -1
	wants := b.wants
	b.wants = nil // the next run only takes back
	if again > 0 {
		if _, crashed, _, _ := b.crashAt(again); crashed {
			next = again + 7
		}
		b.open()
	} else {
		next = 1 + at%7
	}
	r, err := b.run()
	b.wants = wants
	if err != nil || exitOf(r.Verdict()) != 0 {
		t.Fatalf("crash at step %d, then at %d: %v, %+v", at, again, err, r)
	}
	if err := b.restored(before); err != nil {
		t.Fatalf("crash at step %d, then at %d: %v", at, again, err)
	}
	return crashed, next
}

// TestCrashConfirm crashes a confirmation at each of its steps. The run waits as before, or is
// confirmed, and a power cut loses nothing of that.
func TestCrashConfirm(t *testing.T) {
	for at := 1; ; at++ {
		b, web, _, _ := newUnconfirmed(t)
		m := &crasher{at: at}
		b.disk.Before, b.disk.After = m.disk, m.disk
		crashed := func() (crashed bool) {
			defer func() {
				b.disk.Before, b.disk.After = nil, nil
				if p := recover(); p != nil {
					crashed = true
				}
			}()
			if _, err := b.confirmRun(); err != nil {
				t.Fatal(err)
			}
			return false
		}()
		if err := b.disk.PowerCut(b.path, func(int) int { return 0 }); err != nil {
			t.Fatal(err)
		}
		b.open()
		run, open, err := b.state.Unfinished()
		if err != nil {
			t.Fatal(err)
		}
		confirmed := !open || run.Decision == state.Confirmed
		b.uptime += within
		r, err := apply.TakeBack(context.Background(), b.input())
		if err != nil || (r.TakenBack == "") != confirmed {
			t.Fatalf("step %d: confirmed %v, %+v, %v", at, confirmed, r, err)
		}
		if want := map[bool]int64{true: 60, false: 30}[confirmed]; b.machine.Value(web, udp) != nf.Number(want) {
			t.Fatalf("step %d: confirmed %v, and the value is %s", at, confirmed, b.machine.Value(web, udp))
		}
		if err := b.checkMemory(); confirmed && err != nil {
			t.Fatalf("step %d: %v", at, err)
		}
		if !crashed {
			if !confirmed {
				t.Error("it returned, and is not confirmed")
			}
			return
		}
	}
}

// TestUnconfirmedProperty crashes runs that are to be confirmed several times, with the loss of
// what was not fsynced.
func TestUnconfirmedProperty(t *testing.T) {
	all := reversible()
	rapid.Check(t, func(rt *rapid.T) {
		s := rapid.SampledFrom(all).Draw(rt, "scenario")
		b := newCrashBench(t)
		defer b.close()
		s.prepare(b)
		before := b.wantedValues()
		b.confirm = &apply.Confirm{Within: within}
		for range rapid.IntRange(1, 4).Draw(rt, "crashes") {
			b.crashAt(rapid.IntRange(1, 150).Draw(rt, "step"))
			if rapid.Bool().Draw(rt, "power cut") {
				if err := b.disk.PowerCut(b.path, func(n int) int { return rapid.IntRange(0, n).Draw(rt, "survives") }); err != nil {
					rt.Fatal(err)
				}
			}
			b.open()
			b.uptime += within
		}
		if _, err := apply.TakeBack(context.Background(), b.input()); err != nil {
			rt.Fatal(err)
		}
		if err := b.restored(before); err != nil {
			rt.Fatal(err)
		}
	})
}
