package apply_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/host/hosttest"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/state/statetest"
)

// crashMachine is a machine with a step before each call, and after each change.
type crashMachine struct {
	*hosttest.Machine
	crasher *crasher
}

func (m crashMachine) List(ctx context.Context) (nf.Snapshot, error) {
	m.crasher.step()
	return m.Machine.List(ctx)
}

func (m crashMachine) Observe(ctx context.Context, listed nf.Snapshot, ask nf.Ask) (nf.Snapshot, error) {
	m.crasher.step()
	return m.Machine.Observe(ctx, listed, ask)
}

func (m crashMachine) Refresh(ctx context.Context, s *nf.Snapshot, c nf.Change) error {
	m.crasher.step()
	return m.Machine.Refresh(ctx, s, c)
}

func (m crashMachine) Set(ctx context.Context, s *nf.Snapshot, c nf.Change) error {
	m.crasher.step()
	err := m.Machine.Set(ctx, s, c)
	m.crasher.step()
	return err
}

// crashAt runs, and crashes at that step if the run has so many. It returns the
// number of steps; 0 runs to the end.
func (b *bench) crashAt(at int) (steps int, crashed bool, r apply.Receipt, err error) {
	m := &crasher{at: at}
	b.wrapped = crashMachine{b.machine, m}
	return b.runCrashing(m)
}

// runCrashing runs with the steps of the crasher. The machine must have them
// already; runCrashing adds those of the disk.
func (b *bench) runCrashing(m *crasher) (steps int, crashed bool, r apply.Receipt, err error) {
	b.disk.Before, b.disk.After = m.disk, m.disk
	defer func() {
		b.wrapped, b.disk.Before, b.disk.After = nil, nil, nil
		steps = m.steps
		if p := recover(); p != nil {
			if p != (crash{}) {
				panic(p)
			}
			crashed = true
		}
	}()
	r, err = b.run()
	return steps, false, r, err
}

// wantedValues returns the present values of the wanted keys, in each layer.
func (b *bench) wantedValues() map[place]nf.Value {
	values := map[place]nf.Value{}
	for _, w := range b.wants {
		for _, l := range b.layers(w) {
			values[placeOf(w, l)] = b.value(w, l)
		}
	}
	return values
}

type place struct {
	target nf.Target
	key    nf.Key
	layer  nf.Layer
}

func placeOf(w nf.Want, l nf.Layer) place { return place{w.Target, w.Key, l} }

// addBootLayer gives the node a boot layer, to which its wants then apply too.
func (b *bench) addBootLayer() {
	b.hasBoot = true
	b.machine.SetBootFiles()
}

func (b *bench) layers(w nf.Want) []nf.Layer {
	if b.hasBoot && w.Target.IsNode() {
		return []nf.Layer{nf.LayerLive, nf.LayerBoot}
	}
	return []nf.Layer{nf.LayerLive}
}

func (b *bench) value(w nf.Want, l nf.Layer) nf.Value {
	if l == nf.LayerBoot {
		return b.machine.BootValue(w.Key)
	}
	return b.machine.Value(w.Target, w.Key)
}

// checkSettled returns an error unless all values of each target are as before, or
// all are as wanted. One-way changes may differ from the rest. A value that was
// absent may be the default of a module that has been loaded.
func (b *bench) checkSettled(before map[place]nf.Value) error {
	fresh := hosttest.New()
	c := fresh.AddContainer("any")
	was, is := map[nf.Target]bool{}, map[nf.Target]bool{}
	for _, w := range b.wants {
		for _, l := range b.layers(w) {
			now, old := b.value(w, l), before[placeOf(w, l)]
			if l == nf.LayerLive && old.IsAbsent() && now == fresh.Value(c, w.Key) {
				now = old
			}
			if w.Wish.IsRange() && now == old && isWanted(w, nf.LayerLive, fresh.Value(c, w.Key)) {
				continue // there is nothing to change
			}
			if now != old && !isWanted(w, l, now) {
				return fmt.Errorf("%s of %s is %s, neither %s nor %s", w.Key, w.Target, now, old, w.Wish)
			}
			if w.Wish.Value == unloaded {
				continue
			}
			was[w.Target] = was[w.Target] || now == old
			is[w.Target] = is[w.Target] || now != old
		}
	}
	for t := range was {
		if was[t] && is[t] {
			return fmt.Errorf("%s is half done: %v", t, b.wantedValues())
		}
	}
	return nil
}

// isWanted reports whether a value of that layer fulfils the want.
func isWanted(w nf.Want, l nf.Layer, v nf.Value) bool {
	if w.Wish.IsRange() {
		n, ok := v.Number()
		if !ok && l == nf.LayerBoot { // saved only if the kernel's own value is outside
			n = 262144
		}
		return n >= w.Wish.AtLeast && (w.Wish.AtMost == 0 || n <= w.Wish.AtMost)
	}
	if l == nf.LayerBoot {
		return v == w.Wish.Value
	}
	if w.Key == nf.KeyBuckets {
		return v == nf.Number(1024) // 1000, as the kernel rounds it
	}
	if state, _, ok := v.Module(); ok {
		want, _, _ := w.Wish.Value.Module()
		return state == want
	}
	return v == w.Wish.Value
}

// checkRecovery checks the contract after a crash: the next run leaves each target
// as before or as wanted, or it is stuck and stays so. faulty means that a change of
// the scenario fails.
func (b *bench) checkRecovery(before map[place]nf.Value, faulty bool) error {
	b.open()
	wants := b.wants
	b.wants = nil // the next run only recovers
	r, err := b.run()
	b.wants = wants
	if err != nil {
		return err
	}
	if len(r.Stuck) > 0 {
		return b.checkStaysStuck(before, faulty)
	}
	if err := b.checkSettled(before); err != nil {
		return err
	}
	if faulty {
		return nil
	}
	r, err = b.run()
	if err != nil || exitOf(r.Verdict()) != 0 {
		return fmt.Errorf("run after the recovery: exit %d, %w, %+v", exitOf(r.Verdict()), err, r.Results)
	}
	for _, w := range wants {
		for _, l := range b.layers(w) {
			if v := b.value(w, l); !isWanted(w, l, v) {
				return fmt.Errorf("%s: %s of %s is %s in the end, want %s", l, w.Key, w.Target, v, w.Wish)
			}
		}
	}
	return b.checkMemory()
}

// checkMemory returns an error unless memory has that nfsync set every wanted key.
func (b *bench) checkMemory() error {
	m, err := b.state.Memory()
	if err != nil {
		return err
	}
	for _, w := range b.wants {
		if !slices.ContainsFunc(m.Keys, func(k nf.MemoryKey) bool {
			return (k.Set || w.Wish.IsRange()) && k.Target == w.Target && k.Key == w.Key
		}) {
			return fmt.Errorf("memory is %+v", m.Keys)
		}
	}
	return nil
}

// checkStaysStuck returns an error unless further runs change nothing of a target that is
// stuck, recover reports what is stuck, and the other targets are settled.
func (b *bench) checkStaysStuck(before map[place]nf.Value, faulty bool) error {
	if !faulty {
		return fmt.Errorf("stuck, although nothing fails: %+v", b.recover(false).Left)
	}
	calls := len(b.machine.Calls())
	report, err := apply.Recover(context.Background(), apply.RecoverInput{Machine: b.machine, State: b.state, Lock: apply.NewLock(b.runDir)})
	if err != nil || exitOf(report.Verdict()) != 6 || len(report.Left) == 0 {
		return fmt.Errorf("the report is %+v, %w", report, err)
	}
	stuck := map[nf.Target]bool{}
	for _, l := range report.Left {
		stuck[l.Target] = true
	}
	all := b.wants
	b.wants = slices.DeleteFunc(slices.Clone(all), func(w nf.Want) bool { return stuck[w.Target] })
	err = b.checkSettled(before)
	b.wants = all
	if err != nil {
		return err
	}
	for range 2 {
		b.open()
		if r, err := b.run(); err != nil || exitOf(r.Verdict()) != 6 || len(r.Stuck) != len(report.Left) {
			return fmt.Errorf("it did not stay stuck: %+v, %w", r, err)
		}
	}
	for _, c := range b.machine.Calls()[calls:] {
		if stuck[c.Change.Target] {
			return fmt.Errorf("%s of %s was changed although its target is stuck", c.Change.Key, c.Change.Target)
		}
	}
	return nil
}

// TestCrashAnywhere crashes a run at each of its steps, and the recovery after each
// crash at some of its steps.
func TestCrashAnywhere(t *testing.T) {
	for _, s := range scenarios() {
		t.Run(s.name, func(t *testing.T) {
			probe := newBench(t)
			s.prepare(probe)
			steps, _, r, err := probe.crashAt(0)
			if err != nil || exitOf(r.Verdict()) != s.code {
				t.Fatalf("without a crash: exit %d, %v", exitOf(r.Verdict()), err)
			}
			for at := 1; at <= steps; at++ {
				for again := 0; again >= 0; {
					again = crashTwice(t, s, at, again)
				}
			}
		})
	}
}

// crashTwice crashes a run at one step and the next run at another. If again is 0
// the next run does not crash. It returns the next step to try for again: every
// fifth, or -1 if the second run had fewer steps.
func crashTwice(t *testing.T, s scenario, at, again int) int {
	t.Helper()
	b := newCrashBench(t)
	defer b.close()
	s.prepare(b)
	before := b.wantedValues()
	if _, crashed, _, err := b.crashAt(at); !crashed {
		t.Fatalf("step %d: no crash, %v", at, err)
	}
	next := -1
	if again > 0 {
		if _, crashed, _, _ := b.crashAt(again); crashed {
			next = again + 5
		}
	} else {
		next = 1 + at%5
	}
	if err := b.checkRecovery(before, s.code != 0); err != nil {
		t.Fatalf("crash at step %d, then at %d: %v", at, again, err)
	}
	return next
}

// newCrashBench returns a bench as newBench does, but with directories in memory, if
// possible, that close removes before the test ends.
func newCrashBench(t testing.TB) *bench {
	b := &bench{t: t, machine: hosttest.New(), disk: &statetest.Disk{}}
	parent := "/dev/shm"
	if _, err := os.Stat(parent); err != nil {
		parent = ""
	}
	for _, dir := range []*string{&b.path, &b.runDir} {
		var err error
		if *dir, err = os.MkdirTemp(parent, "nfsync-crash"); err != nil {
			t.Fatal(err)
		}
	}
	b.open()
	return b
}

func (b *bench) close() {
	_ = os.RemoveAll(b.path)
	_ = os.RemoveAll(b.runDir)
}

// TestCrashProperty crashes random runs several times, with and without the loss of
// what was not fsynced.
func TestCrashProperty(t *testing.T) {
	all := scenarios()
	rapid.Check(t, func(rt *rapid.T) {
		s := rapid.SampledFrom(all).Draw(rt, "scenario")
		b := newCrashBench(t)
		defer b.close()
		s.prepare(b)
		b.wants = slices.DeleteFunc(b.wants, func(w nf.Want) bool {
			_, optional := w.Key.Timeout() // no other want needs it
			return optional && rapid.Bool().Draw(rt, "less")
		})
		before := b.wantedValues()
		faulty := s.code != 0
		for range rapid.IntRange(1, 5).Draw(rt, "crashes") {
			b.crashAt(rapid.IntRange(1, 120).Draw(rt, "step"))
			if rapid.Bool().Draw(rt, "power cut") {
				if err := b.disk.PowerCut(b.path, func(n int) int { return rapid.IntRange(0, n).Draw(rt, "survives") }); err != nil {
					rt.Fatal(err)
				}
			}
			b.open()
		}
		if err := b.checkRecovery(before, faulty); err != nil {
			rt.Fatal(err)
		}
	})
}

// A live value ends with its instance. After a restart of the node or the container,
// or its removal, the recovery changes nothing.
func TestRestartSettles(t *testing.T) {
	for name, restart := range map[string]func(*bench, nf.Target){
		"node":      func(b *bench, _ nf.Target) { b.machine.Reboot() },
		"container": func(b *bench, c nf.Target) { b.machine.Recreate(c) },
		"removed":   func(b *bench, c nf.Target) { b.machine.Remove(c) },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			c := b.addContainer("web", hosttest.ReadOnly)
			b.wantNumber(c, icmp, 20)
			b.wantNumber(c, udp, 60)
			at := 1
			for len(b.machine.Calls()) == 0 {
				b.crashAt(at)
				at++
			}
			restart(b, c)
			calls := len(b.machine.Calls())
			b.wants = nil
			r := b.mustRun(0)
			if len(b.machine.Calls()) != calls || len(r.Recovered) != 2 {
				t.Errorf("changed %v, recovered %+v", b.machine.Calls()[calls:], r.Recovered)
			}
			for _, result := range r.Recovered {
				if result.Outcome != apply.Gone {
					t.Errorf("%+v", result)
				}
			}
		})
	}
}

// A value that is neither as before nor as wanted is undone.
func TestRecoveryUndoesAnotherValue(t *testing.T) {
	b := newBench(t)
	b.wantNumber(nf.Node, udp, 60)
	at := 1
	for len(b.machine.Calls()) == 0 {
		b.crashAt(at)
		at++
	}
	b.machine.Put(nf.Node, udp, 45)
	report := b.recover(false)
	if len(report.Left) != 1 || report.Left[0].Reads != nf.Number(45) || report.Left[0].Stuck || exitOf(report.Verdict()) != 0 {
		t.Errorf("report %+v", report)
	}
	b.checkValue(nf.Node, udp, 45)
	b.wants = nil
	r := b.mustRun(0)
	b.checkValue(nf.Node, udp, 30)
	if len(r.Recovered) != 1 || r.Recovered[0].Outcome != apply.Undone {
		t.Errorf("recovered %+v", r.Recovered)
	}
}

// What an interrupted run has left in a container is undone, even if the container
// was renamed since.
func TestRecoveryOfRenamedContainer(t *testing.T) {
	b := newVirtuozzo(t)
	web := b.addRunning("101")
	b.wantNumber(web, udp, 60)
	for at := 1; len(b.machine.Calls()) == 0 && at < 100; at++ {
		b.crashAt(at)
	}
	b.machine.Put(web, udp, 45)
	renamed := b.machine.Rename(web, "shop")
	b.wants = nil
	r := b.mustRun(0)
	b.checkValue(renamed, udp, 30)
	if len(r.Recovered) != 1 || r.Recovered[0].Outcome != apply.Undone {
		t.Errorf("recovered %+v", r.Recovered)
	}
}

// A container that is renamed after the wants were resolved is the same container.
func TestRenamedAfterList(t *testing.T) {
	b := newVirtuozzo(t)
	web := b.addRunning("101")
	b.wantNumber(web, udp, 60) // under the old name
	renamed := b.machine.Rename(web, "shop")
	r := b.mustRun(0)
	b.checkOutcome(r, renamed, udp, apply.Applied)
	b.checkValue(renamed, udp, 60)
}

// Recovery settles targets in reverse order, so that the containers that rely on the
// node are undone before it.
func TestRecoveryInReverse(t *testing.T) {
	b := newBench(t)
	web := b.addContainer("web", hosttest.Own)
	b.wantNumber(nf.Node, nf.KeyMax, 300000)
	b.wantNumber(web, nf.KeyMax, 290000)
	b.wantNumber(web, udp, 60)
	b.machine.SetModule(nf.ModuleFact{Name: "xt_extra", State: nf.ModuleLoaded})
	b.want(nf.Node, nf.ModuleKey("xt_extra"), unloaded)
	b.beforeChange(web, udp, func() { panic(crash{}) })
	b.crashAt(0)
	b.checkValue(web, nf.KeyMax, 290000)
	b.onEvent, b.wants = nil, nil
	b.mustRun(0)
	b.checkValue(web, nf.KeyMax, 262144)
	b.checkValue(nf.Node, nf.KeyMax, 262144)
	if v := b.machine.Value(nf.Node, nf.ModuleKey("xt_extra")); v != loaded {
		t.Errorf("xt_extra is %s", v)
	}
}

// A person can accept the present state even if the node cannot be observed.
func TestAcceptUnobserved(t *testing.T) {
	b, db, _ := newStuckBench(t)
	b.mustRun(6)
	b.machine.Heal()
	b.machine.Inject(hosttest.Fault{Op: hosttest.OpObserve, Times: 1})
	report := b.recover(true)
	if len(report.Left) != 1 || !report.Left[0].Reads.IsUnknown() {
		t.Errorf("report %+v", report)
	}
	b.mustRun(0)
	b.checkValue(db, udp, 90)
}

// Accepting leaves the values of an interrupted run as they are.
func TestAcceptInterrupted(t *testing.T) {
	b := newBench(t)
	b.wantNumber(nf.Node, icmp, 20)
	b.wantNumber(nf.Node, udp, 60)
	at := 1
	for len(b.machine.Calls()) == 0 {
		b.crashAt(at)
		at++
	}
	b.recover(true)
	b.wants = nil
	if r := b.mustRun(0); len(r.Recovered) != 0 {
		t.Errorf("recovered %+v", r.Recovered)
	}
	b.checkValue(nf.Node, icmp, 20)
}
