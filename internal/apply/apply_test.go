package apply_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/host/hosttest"
	"nfsync.dev/nfsync/internal/nf"
)

// A run changes what differs, reads it back, remembers it and saves its receipt. The
// next run has nothing to do.
func TestApply(t *testing.T) {
	b := newBench(t)
	web := b.addContainer("web", hosttest.ReadOnly)
	b.wantNumber(nf.Node, udp, 60)
	b.wantNumber(web, udp, 90)
	b.wantNumber(web, icmp, 30) // in sync
	r := b.mustRun(0)
	b.checkValue(nf.Node, udp, 60)
	b.checkValue(web, udp, 90)
	want := apply.Summary{Applied: 2, InSync: 1}
	if diff := cmp.Diff(want, r.Summary); diff != "" {
		t.Errorf("summary (-want +got):\n%s", diff)
	}
	if r.APIVersion != nf.APIVersion || r.Kind != nf.KindReceipt || r.Node != "node-1" || r.Revision != "rev" || r.Plan == "" || r.Interrupted {
		t.Errorf("receipt %+v", r)
	}
	if _, err := os.Stat(filepath.Join(b.path, "receipts", r.ID+".json")); err != nil {
		t.Error(err)
	}
	var kinds []string
	for _, e := range b.events {
		kinds = append(kinds, fmt.Sprintf("%s %d/%d %s", e.Kind, e.Index, e.Total, e.Outcome))
	}
	if diff := cmp.Diff([]string{"planned 0/2 ", "started 0/2 ", "done 0/2 applied", "started 1/2 ", "done 1/2 applied"}, kinds); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}

	m, err := b.state.Memory()
	if err != nil {
		t.Fatal(err)
	}
	instance := m.Keys[1].Instance
	wantMemory := nf.Memory{Revision: "rev", Keys: []nf.MemoryKey{
		{Target: nf.Node, Key: udp, Asked: nf.Exactly(nf.Number(60)), Applied: nf.Number(60), Instance: "boot-1", Set: true},
		{Target: web, Key: icmp, Asked: nf.Exactly(nf.Number(30)), Applied: nf.Number(30), Instance: instance},
		{Target: web, Key: udp, Asked: nf.Exactly(nf.Number(90)), Applied: nf.Number(90), Instance: instance, Set: true},
	}}
	if diff := cmp.Diff(wantMemory, m, cmp.Comparer(func(a, b nf.Value) bool { return a == b })); diff != "" || instance == "" {
		t.Errorf("memory (-want +got):\n%s", diff)
	}

	calls := len(b.machine.Calls())
	if r := b.mustRun(0); r.Summary.InSync != 3 || len(b.machine.Calls()) != calls {
		t.Errorf("the second run made changes: %+v", r)
	}
	if again, _ := b.state.Memory(); !again.Keys[0].Set {
		t.Error("memory has lost that nfsync set a key")
	}
	b.machine.Remove(web)
	b.wants = b.wants[:1]
	b.mustRun(0)
	if m, _ := b.state.Memory(); len(m.Keys) != 1 {
		t.Errorf("a removed container is remembered: %v", m.Keys)
	}
}

// While a runtime is broken, the memory of its containers stays.
func TestBrokenRuntimeForgetsNothing(t *testing.T) {
	b := newBench(t)
	web := b.addContainer("web", hosttest.ReadOnly)
	b.wantNumber(web, udp, 90)
	b.mustRun(0)
	b.machine.Remove(web)
	b.wants = nil
	b.machine.Warn(nf.Warning{Code: nf.WarnRuntimeBroken, Message: "netns: EIO"})
	b.mustRun(0)
	if m, _ := b.state.Memory(); len(m.Keys) != 1 {
		t.Errorf("memory %v", m.Keys)
	}
}

// If a change fails, its target is undone and other targets go on.
func TestFailureUndoesItsTargetOnly(t *testing.T) {
	for name, fault := range map[string]hosttest.Fault{
		"EINVAL":                    {Kind: hosttest.Fail, Err: syscall.EINVAL},
		"an error after the effect": {Kind: hosttest.FailAfter, Err: syscall.EIO, Times: 1},
		"a write that is swallowed": {Kind: hosttest.Swallow},
		"a write that never ends":   {Kind: hosttest.Block, Times: 1},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			db, web := b.addContainer("db", hosttest.ReadOnly), b.addContainer("web", hosttest.ReadOnly)
			for _, c := range []nf.Target{db, web} {
				b.wantNumber(c, generic, 500)
				b.wantNumber(c, icmp, 20)
				b.wantNumber(c, udp, 90)
			}
			fault.Op, fault.Target, fault.Key = hosttest.OpSet, db, icmp
			b.machine.Inject(fault)
			r := b.mustRun(5)
			b.checkValue(db, generic, 600)
			b.checkValue(db, icmp, 30)
			b.checkValue(db, udp, 30)
			b.checkValue(web, generic, 500)
			b.checkValue(web, icmp, 20)
			b.checkValue(web, udp, 90)
			b.checkOutcome(r, db, generic, apply.Undone)
			if failed := b.checkOutcome(r, db, icmp, apply.Failed); failed.Error == "" {
				t.Error("the failed change has no error")
			}
			b.checkOutcome(r, db, udp, apply.Skipped)
			b.checkOutcome(r, web, udp, apply.Applied)
			m, _ := b.state.Memory()
			if m.Revision != "" {
				t.Error("a revision that failed is remembered as applied")
			}
			b.machine.Heal()
			b.mustRun(0)
			b.checkValue(db, icmp, 20)
		})
	}
}

func TestSwallowedWriteReportsValue(t *testing.T) {
	b := newBench(t)
	b.wantNumber(nf.Node, udp, 60)
	b.machine.Inject(hosttest.Fault{Op: hosttest.OpSet, Kind: hosttest.Swallow})
	r := b.mustRun(5)
	if failed := b.checkOutcome(r, nf.Node, udp, apply.Failed); !strings.HasPrefix(failed.Error, "the write succeeded, and the value reads 30s afterwards") {
		t.Errorf("error %q", failed.Error)
	}
}

// The changes of a container that vanishes or is recreated end as gone, which is no
// failure.
func TestVanish(t *testing.T) {
	for name, vanish := range map[string]func(*hosttest.Machine, nf.Target){
		"removed":   (*hosttest.Machine).Remove,
		"recreated": (*hosttest.Machine).Recreate,
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			db, web := b.addContainer("db", hosttest.ReadOnly), b.addContainer("web", hosttest.ReadOnly)
			for _, c := range []nf.Target{db, web} {
				b.wantNumber(c, generic, 500)
				b.wantNumber(c, icmp, 20)
				b.wantNumber(c, udp, 90)
			}
			b.beforeChange(db, icmp, func() { vanish(b.machine, db) })
			r := b.mustRun(0)
			b.checkOutcome(r, db, generic, apply.Applied)
			b.checkOutcome(r, db, icmp, apply.Gone)
			b.checkOutcome(r, db, udp, apply.Gone)
			b.checkOutcome(r, web, udp, apply.Applied)
			if name == "recreated" {
				b.checkValue(db, udp, 30)
			}
		})
	}
}

// If the machine has changed since the plan, a rule that now forbids the change
// refuses it, and another value is not overwritten.
func TestLastMoment(t *testing.T) {
	b := newBench(t)
	b.wantNumber(nf.Node, nf.KeyMax, 1000)
	b.beforeChange(nf.Node, nf.KeyMax, func() { b.machine.SetCount(nf.Node, 5000) })
	r := b.mustRun(3)
	if refused := b.checkOutcome(r, nf.Node, nf.KeyMax, apply.Refused); !strings.HasPrefix(refused.Reason, string(nf.BelowCount)+": ") {
		t.Errorf("reason %q", refused.Reason)
	}
	b.checkValue(nf.Node, nf.KeyMax, 262144)

	b = newBench(t)
	b.wantNumber(nf.Node, udp, 60)
	b.beforeChange(nf.Node, udp, func() { b.machine.Put(nf.Node, udp, 45) })
	r = b.mustRun(5)
	if failed := b.checkOutcome(r, nf.Node, udp, apply.Failed); failed.Error != "changed since it was planned: it reads 45s, and was 30s" {
		t.Errorf("error %q", failed.Error)
	}
	b.checkValue(nf.Node, udp, 45)

	b = newBench(t)
	b.wantNumber(nf.Node, udp, 60)
	b.beforeChange(nf.Node, udp, func() { b.machine.Put(nf.Node, udp, 60) })
	r = b.mustRun(0)
	b.checkOutcome(r, nf.Node, udp, apply.Applied)
	if m, _ := b.state.Memory(); len(b.machine.Calls()) != 0 || m.Keys[0].Set {
		t.Error("nfsync remembers another program's change as its own")
	}
}

// A container that appears during the run is observed before the node's limit is
// lowered. The rule refuses the change; the run does not fail.
func TestContainerAppears(t *testing.T) {
	b := newBench(t)
	b.wantNumber(nf.Node, nf.KeyMax, 1000)
	b.beforeChange(nf.Node, nf.KeyMax, func() { b.addContainer("late", hosttest.Own) })
	r := b.mustRun(3)
	if refused := b.checkOutcome(r, nf.Node, nf.KeyMax, apply.Refused); !strings.Contains(refused.Reason, "late") {
		t.Errorf("reason %q", refused.Reason)
	}
}

// newStuckBench returns a bench with a container of which one change fails and the
// change before it cannot be undone.
func newStuckBench(t *testing.T) (b *bench, db, web nf.Target) {
	b = newBench(t)
	db, web = b.addContainer("db", hosttest.ReadOnly), b.addContainer("web", hosttest.ReadOnly)
	b.wantNumber(db, generic, 500)
	b.wantNumber(db, icmp, 20)
	b.wantNumber(db, udp, 90)
	b.wantNumber(web, udp, 90)
	b.machine.Inject(hosttest.Fault{Op: hosttest.OpSet, Target: db, Key: udp, Err: syscall.EINVAL})
	b.machine.Inject(hosttest.Fault{Op: hosttest.OpSet, Target: db, Key: icmp, Skip: 1, Err: syscall.EPERM})
	return b, db, web
}

// What can be neither made nor undone holds back its target, and no other one, until a
// person accepts it.
func TestStuck(t *testing.T) {
	b, db, web := newStuckBench(t)
	r := b.mustRun(6)
	b.checkOutcome(r, db, generic, apply.Undone)
	b.checkOutcome(r, db, icmp, apply.Stuck)
	b.checkOutcome(r, db, udp, apply.Failed)
	b.checkOutcome(r, web, udp, apply.Applied)
	b.checkValue(db, generic, 600)
	b.checkValue(db, icmp, 20)

	b.machine.Heal()
	b.wantNumber(web, icmp, 25)
	for _, want := range []apply.Outcome{apply.Applied, ""} {
		calls := len(b.machine.Calls())
		b.open()
		held := b.mustRun(6)
		if want != "" {
			b.checkOutcome(held, web, icmp, want)
		}
		if len(held.Stuck) != 1 || len(held.Refusals) != 2 || slices.ContainsFunc(b.machine.Calls()[calls:], func(c hosttest.Call) bool { return c.Change.Target == db }) {
			t.Errorf("while a value of db is stuck: %+v, calls %+v", held, b.machine.Calls()[calls:])
		}
		for _, r := range held.Refusals {
			if r.Target != db || r.Code != nf.TargetStuck || r.Until != nf.UntilRecovered || !strings.Contains(r.Reason, "not permitted") {
				t.Errorf("refusal %+v", r)
			}
		}
	}
	if plan, err := apply.Plan(context.Background(), b.question(apply.MemoryOf(b.state))); err != nil || len(plan.Stuck) != 1 || len(plan.Changes) != 0 {
		t.Errorf("the plan is %+v, %v", plan, err)
	}
	report := b.recover(false)
	want := []apply.Leftover{{Target: db, Key: icmp, Layer: nf.LayerLive, From: nf.Number(30), To: nf.Number(20), Reads: nf.Number(20), Stuck: true}}
	if len(report.Left) == 1 {
		if !strings.Contains(report.Left[0].Why, "not permitted") {
			t.Errorf("why %q", report.Left[0].Why)
		}
		report.Left[0].Why = ""
	}
	if diff := cmp.Diff(want, report.Left, cmp.Comparer(func(a, b nf.Value) bool { return a == b })); diff != "" || report.Run != r.ID || exitOf(report.Verdict()) != 6 {
		t.Errorf("report of %s, exit %d (-want +got):\n%s", report.Run, exitOf(report.Verdict()), diff)
	}
	if report := b.recover(true); !report.Accepted || len(report.Left) != 1 || exitOf(report.Verdict()) != 0 {
		t.Errorf("accepted: %+v", report)
	}
	if report := b.recover(false); len(report.Left) != 0 || report.Left == nil || report.Run != "" || exitOf(report.Verdict()) != 0 {
		t.Errorf("after it was accepted: %+v", report)
	}
	b.mustRun(0)
	b.checkValue(db, udp, 90)
}

// A stuck change ends with its instance, or with its target.
func TestStuckEndsWithInstance(t *testing.T) {
	for name, end := range map[string]func(b *bench, db nf.Target){
		"recreated": func(b *bench, db nf.Target) { b.machine.Recreate(db) },
		"removed":   func(b *bench, db nf.Target) { b.machine.Remove(db) },
		"reboot":    func(b *bench, _ nf.Target) { b.machine.Reboot() },
	} {
		t.Run(name, func(t *testing.T) {
			b, db, web := newStuckBench(t)
			b.mustRun(6)
			b.machine.Heal()
			end(b, db)
			if report := b.recover(false); exitOf(report.Verdict()) != 0 || len(report.Left) != 0 {
				t.Errorf("report %+v", report)
			}
			b.mustRun(0)
			b.checkValue(web, udp, 90)
			if stuck, err := b.state.Stuck(); err != nil || len(stuck) != 0 {
				t.Errorf("stuck %+v, %v", stuck, err)
			}
		})
	}
}

// What another program writes to a value while nfsync changes it is drift: it fails, the
// target is rolled back, and nothing is stuck.
func TestFight(t *testing.T) {
	b := newBench(t)
	fighter, web := b.addContainer("fighter", hosttest.ReadOnly), b.addContainer("web", hosttest.ReadOnly)
	b.wantNumber(fighter, generic, 500)
	b.wantNumber(fighter, udp, 90)
	b.wantNumber(web, udp, 90)
	b.wrapped = &scribbler{Machine: b.machine, target: fighter, key: udp}
	r := b.mustRun(5)
	b.checkOutcome(r, web, udp, apply.Applied)
	b.checkOutcome(r, fighter, generic, apply.Undone)
	if failed := b.checkOutcome(r, fighter, udp, apply.Failed); !strings.Contains(failed.Error, "something else changes it") {
		t.Errorf("error %q", failed.Error)
	}
	b.checkValue(fighter, generic, 600)
	if report := b.recover(false); len(report.Left) != 0 {
		t.Errorf("report %+v", report)
	}
	b.mustRun(5)
	b.wrapped = nil
	b.mustRun(0)
	b.checkValue(fighter, udp, 90)
}

// scribbler is a machine with a program that writes another value after each change of a
// key.
type scribbler struct {
	*hosttest.Machine
	target nf.Target
	key    nf.Key
	n      int64
}

func (s *scribbler) Set(ctx context.Context, snap *nf.Snapshot, c nf.Change) error {
	err := s.Machine.Set(ctx, snap, c)
	if c.Target == s.target && c.Key == s.key {
		s.n++
		s.Put(s.target, s.key, 1000+s.n)
	}
	return err
}

// The node's limit cannot be undone while a container relies on it.
func TestUndoForbiddenByAnotherTarget(t *testing.T) {
	b := newBench(t)
	web := b.addContainer("web", hosttest.Own)
	b.wantNumber(nf.Node, nf.KeyMax, 300000)
	b.wantNumber(web, nf.KeyMax, 290000)
	b.machine.SetModule(nf.ModuleFact{Name: "xt_extra", State: nf.ModuleLoaded})
	b.want(nf.Node, nf.ModuleKey("xt_extra"), unloaded) // one-way, so it comes last
	b.machine.Inject(hosttest.Fault{Op: hosttest.OpSet, Key: nf.ModuleKey("xt_extra"), Err: syscall.EBUSY})
	r := b.mustRun(6)
	stuck := b.checkOutcome(r, nf.Node, nf.KeyMax, apply.Stuck)
	if !strings.Contains(stuck.Error, string(nf.BelowContainer)) {
		t.Errorf("error %q", stuck.Error)
	}
	b.checkValue(nf.Node, nf.KeyMax, 300000)
	b.checkValue(web, nf.KeyMax, 290000)
}

// A one-way change is not undone, and the receipt names it.
func TestKept(t *testing.T) {
	for _, after := range []hosttest.Kind{hosttest.Fail, hosttest.FailAfter} {
		b := newBench(t)
		b.machine.SetModule(nf.ModuleFact{Name: "xt_a", State: nf.ModuleLoaded})
		b.machine.SetModule(nf.ModuleFact{Name: "xt_b", State: nf.ModuleLoaded})
		b.wantNumber(nf.Node, udp, 60)
		b.want(nf.Node, nf.ModuleKey("xt_a"), unloaded)
		b.want(nf.Node, nf.ModuleKey("xt_b"), unloaded)
		b.machine.Inject(hosttest.Fault{Op: hosttest.OpSet, Key: nf.ModuleKey("xt_b"), Kind: after, Err: syscall.EBUSY})
		r := b.mustRun(5)
		b.checkOutcome(r, nf.Node, udp, apply.Undone)
		if kept := b.checkOutcome(r, nf.Node, nf.ModuleKey("xt_a"), apply.Kept); !strings.Contains(kept.Reason, "never undone") {
			t.Errorf("reason %q", kept.Reason)
		}
		last := apply.Failed
		if after == hosttest.FailAfter {
			last = apply.Kept
		}
		b.checkOutcome(r, nf.Node, nf.ModuleKey("xt_b"), last)
		b.checkValue(nf.Node, udp, 30)
		if m, _ := b.state.Memory(); len(m.Keys) == 0 || m.Keys[0].Key != nf.ModuleKey("xt_a") || !m.Keys[0].Set {
			t.Errorf("memory %v", m.Keys)
		}
	}
}

// The first write of a container's conntrack.max shows whether it is the node's.
func TestMaxScope(t *testing.T) {
	for scope, want := range map[hosttest.Scope]string{hosttest.Shared: nf.ScopeNode, hosttest.Own: nf.ScopeOwn} {
		b := newBench(t)
		web := b.addContainer("web", scope)
		b.wantNumber(web, nf.KeyMax, 1000)
		b.wantNumber(web, udp, 60)
		code := 0
		if scope == hosttest.Shared {
			code = 5
		}
		b.mustRun(code)
		b.checkValue(nf.Node, nf.KeyMax, 262144)
		m, err := b.state.Memory()
		if err != nil || m.MaxScope["6.12.0-test"] != want {
			t.Errorf("scope %d: memory %v, %v; want %s", scope, m.MaxScope, err, want)
		}
		if scope == hosttest.Shared {
			r := b.mustRun(3) // refused as read-only; the other change is made
			if r.Refusals[0].Code != nf.ReadOnly {
				t.Errorf("refusal %+v", r.Refusals[0])
			}
			b.checkValue(web, udp, 60)
		}
	}
}

// A value that exists only once a module of the plan is loaded is read before it is
// changed, so that it can be undone.
func TestValuesThatAModuleBrings(t *testing.T) {
	b := newBench(t)
	web := b.addContainer("web", hosttest.ReadOnly)
	b.machine.SetModule(nf.ModuleFact{Name: "nf_conntrack", State: nf.ModuleUnloaded, Deps: []string{"nf_defrag_ipv4", "nf_defrag_ipv6"}})
	b.want(nf.Node, ct, loaded)
	b.wantNumber(nf.Node, udp, 60)
	b.wantNumber(web, generic, 500)
	b.wantNumber(web, udp, 90)
	b.machine.Inject(hosttest.Fault{Op: hosttest.OpSet, Target: web, Key: udp, Err: syscall.EINVAL})
	r := b.mustRun(5)
	b.checkOutcome(r, web, generic, apply.Undone)
	b.checkValue(web, generic, 600)
	b.checkValue(nf.Node, udp, 60)
	b.machine.Heal()
	b.mustRun(0)
	b.checkValue(web, udp, 90)
}

// If the module cannot be loaded, the changes of its values are refused: they could
// not be undone.
func TestModuleThatCannotBeLoaded(t *testing.T) {
	b := newBench(t)
	web := b.addContainer("web", hosttest.ReadOnly)
	b.machine.SetModule(nf.ModuleFact{Name: "nf_conntrack", State: nf.ModuleUnloaded})
	b.want(nf.Node, ct, loaded)
	b.wantNumber(nf.Node, udp, 60)
	b.wantNumber(web, udp, 90)
	b.machine.Inject(hosttest.Fault{Op: hosttest.OpSet, Key: ct, Err: syscall.ENOEXEC})
	r := b.mustRun(5)
	b.checkOutcome(r, nf.Node, ct, apply.Failed)
	b.checkOutcome(r, nf.Node, udp, apply.Skipped)
	b.checkOutcome(r, web, udp, apply.Refused)
}

// A run that is stopped leaves no target half done.
func TestCancel(t *testing.T) {
	b := newBench(t)
	db, web := b.addContainer("db", hosttest.ReadOnly), b.addContainer("web", hosttest.ReadOnly)
	for _, c := range []nf.Target{nf.Node, db, web} {
		b.wantNumber(c, icmp, 20)
		b.wantNumber(c, udp, 90)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	b.beforeChange(db, icmp, func() { cancel(errors.New("SIGTERM")) })
	r, err := apply.Run(ctx, b.input())
	if err == nil || !strings.Contains(err.Error(), "interrupted before change 4 of 6") || !errors.Is(err, context.Canceled) && !strings.Contains(err.Error(), "SIGTERM") {
		t.Errorf("error %v", err)
	}
	if !r.Interrupted || exitOf(r.Verdict()) != 0 {
		t.Errorf("interrupted %v, exit %d", r.Interrupted, exitOf(r.Verdict()))
	}
	b.checkOutcome(r, nf.Node, udp, apply.Applied)
	b.checkOutcome(r, db, icmp, apply.Undone)
	b.checkOutcome(r, db, udp, apply.Skipped)
	b.checkOutcome(r, web, icmp, apply.Skipped)
	b.checkValue(db, icmp, 30)
	b.checkValue(nf.Node, udp, 90)
	if _, err := os.Stat(filepath.Join(b.path, "receipts", r.ID+".json")); err != nil {
		t.Error(err)
	}
	b.onEvent = nil
	if r := b.mustRun(0); len(r.Recovered) != 0 {
		t.Errorf("the stopped run has left changes to recover: %v", r.Recovered)
	}
}

// When a run is stopped, a target on which others rely by then is finished, and not
// undone.
func TestCancelFinishesWhatOthersRelyOn(t *testing.T) {
	b := newBench(t)
	web := b.addContainer("web", hosttest.Own)
	b.wantNumber(nf.Node, nf.KeyMax, 300000)
	b.wantNumber(web, nf.KeyMax, 290000)
	b.machine.SetModule(nf.ModuleFact{Name: "xt_extra", State: nf.ModuleLoaded})
	b.want(nf.Node, nf.ModuleKey("xt_extra"), unloaded)
	ctx, cancel := context.WithCancel(context.Background())
	b.beforeChange(web, nf.KeyMax, cancel)
	r, err := apply.Run(ctx, b.input())
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	b.checkOutcome(r, nf.Node, nf.KeyMax, apply.Applied)
	b.checkOutcome(r, nf.Node, nf.ModuleKey("xt_extra"), apply.Applied)
	b.checkValue(nf.Node, nf.KeyMax, 300000)
}

// If the id of a saved plan is not that of the present plan, it is stale and nothing
// is applied.
func TestStale(t *testing.T) {
	b := newBench(t)
	b.wantNumber(nf.Node, udp, 60)
	b.plan = "sha256:0"
	if _, err := b.run(); !errors.Is(err, apply.ErrStale) {
		t.Errorf("error %v", err)
	}
	if len(b.machine.Calls()) != 0 {
		t.Error("something was applied")
	}
	b.plan = ""
	id := b.mustRun(0).Plan
	b.machine.Put(nf.Node, udp, 30)
	b.plan = id
	// The id does not cover memory: the same difference is the same plan.
	b.mustRun(0)
}

// If the clock is set back, receipts stay in order, and nothing else depends on it.
func TestClockSetBack(t *testing.T) {
	b := newBench(t)
	b.tick = -time.Hour
	b.wantNumber(nf.Node, udp, 60)
	first := b.mustRun(0)
	second := b.mustRun(0)
	if !first.FinishedAt.Before(first.StartedAt) || second.ID <= first.ID {
		t.Errorf("from %s to %s, then %s after %s", first.StartedAt, first.FinishedAt, second.ID, first.ID)
	}
}

// The number of fsyncs does not grow with the number of changes.
func TestFewFsyncs(t *testing.T) {
	b := newBench(t)
	for i := range 500 {
		c := b.addContainer(fmt.Sprintf("c%03d", i), hosttest.ReadOnly)
		b.wantNumber(c, icmp, 20)
		b.wantNumber(c, udp, 90)
	}
	before := b.disk.Syncs
	if r := b.mustRun(0); r.Summary.Applied != 1000 {
		t.Fatalf("%+v", r.Summary)
	}
	if n := b.disk.Syncs - before; n > 8 {
		t.Errorf("%d fsyncs for 1000 changes, want at most 8", n)
	}
}
