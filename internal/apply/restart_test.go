package apply_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/host/hosttest"
	"nfsync.dev/nfsync/internal/nf"
)

var (
	stateless = nf.LevelStateless.Value()
	stateful  = nf.LevelStateful.Value()
	full      = nf.LevelFull.Value()
)

// newVirtuozzo returns a bench with a node of Virtuozzo 7.
func newVirtuozzo(t testing.TB) *bench {
	b := newBench(t)
	b.useVirtuozzo()
	return b
}

// useVirtuozzo replaces the node by one of Virtuozzo 7, on which all modules are
// loaded, so that no level needs a change of modules.
func (b *bench) useVirtuozzo() {
	b.machine = hosttest.NewVirtuozzo()
	listed, err := b.machine.List(context.Background())
	if err != nil {
		b.t.Fatal(err)
	}
	s, err := b.machine.Observe(context.Background(), listed, nf.Ask{})
	if err != nil {
		b.t.Fatal(err)
	}
	for _, f := range s.Modules.List {
		f.State = nf.ModuleLoaded
		b.machine.SetModule(f)
	}
}

// addRunning adds a running container with the level full, live and saved.
func (b *bench) addRunning(id string) nf.Target {
	return b.machine.AddVZ(hosttest.VZ{ID: id, Saved: full})
}

func (b *bench) wantLevel(t nf.Target, v nf.Value, restart nf.Restart) {
	b.want(t, nf.KeyLevel, v)
	b.wants[len(b.wants)-1].Restart = restart
}

// checkLevels checks the live and the saved level of a container.
func (b *bench) checkLevels(t nf.Target, live, saved nf.Value) {
	b.t.Helper()
	if l, s := b.machine.Level(t, nf.LayerLive), b.machine.Level(t, nf.LayerBoot); l != live || s != saved {
		b.t.Errorf("the level of %s is %s, saved %s; want %s, saved %s", t, l, s, live, saved)
	}
}

// calls returns the calls of Set as text.
func (b *bench) calls() []string {
	var list []string
	for _, c := range b.machine.Calls() {
		list = append(list, strings.Join([]string{c.Change.Target.ID, string(c.Change.Key), string(c.Change.Layer), c.Change.To.String()}, " "))
	}
	return list
}

func (b *bench) checkCalls(want ...string) {
	b.t.Helper()
	if diff := cmp.Diff(want, b.calls()); diff != "" {
		b.t.Errorf("calls of Set (-want +got):\n%s", diff)
	}
}

// restarts returns the number of calls of Set that restart a container.
func (b *bench) restarts(t nf.Target) int {
	n := 0
	for _, c := range b.machine.Calls() {
		if c.Change.Key == nf.KeyRestart && c.Change.Target == t {
			n++
		}
	}
	return n
}

// memory returns the memory without the keys of modules.
func (b *bench) memory() nf.Memory {
	b.t.Helper()
	m, err := b.state.Memory()
	if err != nil {
		b.t.Fatal(err)
	}
	m.Keys = slices.DeleteFunc(m.Keys, func(k nf.MemoryKey) bool {
		_, module := k.Key.Module()
		return module
	})
	return m
}

func (b *bench) instance(t nf.Target) string {
	_, instance := b.machine.State(t)
	return instance
}

// A restart is planned after its level is saved, made once, read back, and
// remembered with the instance that it has ended.
func TestRestart(t *testing.T) {
	b := newVirtuozzo(t)
	web := b.addRunning("101")
	was := b.instance(web)
	b.wantLevel(web, stateful, nf.RestartAllow)
	r := b.mustRun(0)
	b.checkCalls("101 level boot stateful", "101 restart live stateful")
	b.checkLevels(web, stateful, stateful)
	if len(r.Results) != 2 || r.Summary.Applied != 2 {
		t.Errorf("summary %+v", r.Summary)
	}
	m := b.memory()
	done := nf.RestartDone{Target: web, UUID: "101", Asked: nf.Exactly(stateful), Instance: was, State: nf.RestartMade, Became: b.instance(web), Level: stateful}
	if len(m.Restarts) != 1 || m.Restarts[0] != done {
		t.Errorf("restarts %+v, want %+v", m.Restarts, done)
	}
	want := nf.MemoryKey{Target: web, Key: nf.KeyLevel, Asked: nf.Exactly(stateful), Applied: stateful, Instance: b.instance(web), Set: true}
	if len(m.Keys) != 1 || m.Keys[0] != want || want.Instance == was {
		t.Errorf("keys %+v", m.Keys)
	}
	if r := b.mustRun(0); r.Summary.InSync == 0 || len(r.Results) != 0 {
		t.Errorf("the second run: %+v", r)
	}
	if b.restarts(web) != 1 {
		t.Error("restarted again")
	}
}

// If a restart does not make the wanted level live, another restart is refused until
// another level is wanted.
func TestRestartBringsAnotherLevel(t *testing.T) {
	b := newVirtuozzo(t)
	web := b.addRunning("101")
	b.machine.SetStartLevel(web, full)
	b.wantLevel(web, stateful, nf.RestartAllow)
	r := b.mustRun(3)
	b.checkLevels(web, full, stateful)
	if got := b.checkOutcome(r, web, nf.KeyRestart, apply.Applied); !strings.Contains(got.Reason, "full") {
		t.Errorf("%+v", got)
	}
	if len(r.Refusals) != 1 || r.Refusals[0].Code != nf.RestartRequired || r.Refusals[0].From != full || r.Refusals[0].Key != nf.KeyLevel || r.Summary.Refusals != 1 {
		t.Errorf("refusals %+v, %+v", r.Refusals, r.Summary)
	}
	m := b.memory()
	if len(m.Keys) != 1 || m.Keys[0].Applied != full || m.Keys[0].Instance != b.instance(web) {
		t.Errorf("keys %+v", m.Keys)
	}
	for range 2 {
		if r := b.mustRun(3); len(r.Results) != 0 || len(r.Refusals) != 1 {
			t.Errorf("%+v", r)
		}
	}
	b.machine.SetStartLevel(web, nf.Absent())
	was := b.instance(web)
	b.wants = nil
	b.wantLevel(web, stateless, nf.RestartAllow)
	b.mustRun(0)
	b.checkLevels(web, stateless, stateless)
	if m := b.memory(); len(m.Restarts) != 1 || m.Restarts[0].Asked != nf.Exactly(stateless) || m.Restarts[0].Instance != was {
		t.Errorf("restarts %+v", m.Restarts)
	}
}

// The outcome of a restart is what is read afterwards, and not its error.
func TestRestartFails(t *testing.T) {
	for name, test := range map[string]struct {
		fault   hosttest.Fault
		code    int
		outcome apply.Outcome
		message string
		saved   nf.Value
		state   string
		again   int // restarts in all, after the next run
	}{
		"before it":        {hosttest.Fault{Kind: hosttest.Fail}, 5, apply.Failed, "still the same instance", full, nf.StateRunning, 2},
		"swallowed":        {hosttest.Fault{Kind: hosttest.Swallow}, 5, apply.Failed, "still the same instance", full, nf.StateRunning, 2},
		"never ends":       {hosttest.Fault{Kind: hosttest.Block}, 5, apply.Failed, "deadline exceeded", full, nf.StateRunning, 2},
		"half-way":         {hosttest.Fault{Kind: hosttest.Halt}, 6, apply.Stuck, "stopped after its restart", full, nf.StateStopped, 1},
		"after its effect": {hosttest.Fault{Kind: hosttest.FailAfter}, 0, apply.Applied, "ended with an error: input/output error", stateful, nf.StateRunning, 1},
	} {
		t.Run(name, func(t *testing.T) {
			b := newVirtuozzo(t)
			web, other := b.addRunning("101"), b.addRunning("102")
			b.wantLevel(web, stateful, nf.RestartAllow)
			b.wantLevel(other, stateless, nf.RestartStage)
			test.fault.Op, test.fault.Key, test.fault.Times = hosttest.OpSet, nf.KeyRestart, 1
			b.machine.Inject(test.fault)
			r := b.mustRun(test.code)
			got := b.checkOutcome(r, web, nf.KeyRestart, test.outcome)
			if !strings.Contains(got.Error+got.Reason, test.message) {
				t.Errorf("%+v", got)
			}
			if state, _ := b.machine.State(web); state != test.state {
				t.Errorf("it is %s", state)
			}
			if saved := b.machine.Level(web, nf.LayerBoot); saved != test.saved {
				t.Errorf("saved is %s", saved)
			}
			b.checkLevels(other, full, stateless)
			if test.state == nf.StateStopped {
				b.machine.Start(web)
			}
			if _, err := b.run(); err != nil {
				t.Fatal(err)
			}
			if n := b.restarts(web); n != test.again {
				t.Errorf("%d restarts in all, want %d", n, test.again)
			}
		})
	}
}

// If another program locks the container after its level was saved, neither the
// restart nor the undo is possible. The level stays saved, which is not stuck, and
// the next run goes on.
func TestRestartOfLockedContainer(t *testing.T) {
	b := newVirtuozzo(t)
	web := b.addRunning("101")
	b.wantLevel(web, stateful, nf.RestartAllow)
	b.machine.Inject(hosttest.Fault{Op: hosttest.OpSet, Target: web, Kind: hosttest.Fail, Skip: 1})
	r := b.mustRun(5)
	b.checkOutcome(r, web, nf.KeyRestart, apply.Failed)
	if got := b.checkOutcome(r, web, nf.KeyLevel, apply.Kept); !strings.Contains(got.Error, "cannot undo it") {
		t.Errorf("%+v", got)
	}
	b.checkLevels(web, full, stateful)
	b.mustRun(5)
	b.machine.Heal()
	b.mustRun(0)
	b.checkLevels(web, stateful, stateful)
}

// A container that has changed since the plan is not restarted.
func TestRestartLastMoment(t *testing.T) {
	for name, test := range map[string]struct {
		meanwhile func(*bench, nf.Target)
		outcome   apply.Outcome
	}{
		"restarted":      {func(b *bench, c nf.Target) { b.machine.Start(c) }, apply.Gone},
		"stopped":        {func(b *bench, c nf.Target) { b.machine.Stop(c) }, apply.Gone},
		"removed":        {func(b *bench, c nf.Target) { b.machine.Remove(c) }, apply.Gone},
		"paused":         {func(b *bench, c nf.Target) { b.machine.SetState(c, nf.StatePaused) }, apply.Refused},
		"saved again":    {func(b *bench, c nf.Target) { b.machine.PutLevel(c, nf.LayerBoot, full) }, apply.Refused},
		"as wanted":      {func(b *bench, c nf.Target) { b.machine.PutLevel(c, nf.LayerLive, stateful) }, apply.Applied},
		"another level":  {func(b *bench, c nf.Target) { b.machine.PutLevel(c, nf.LayerLive, stateless) }, apply.Failed},
		"not observable": {func(b *bench, c nf.Target) { b.machine.SetUnobservable(c, "its configuration cannot be read") }, apply.Refused},
	} {
		t.Run(name, func(t *testing.T) {
			b := newVirtuozzo(t)
			web := b.addRunning("101")
			b.wantLevel(web, stateful, nf.RestartAllow)
			b.beforeChange(web, nf.KeyRestart, func() { test.meanwhile(b, web) })
			r, err := b.run()
			if err != nil {
				t.Fatal(err)
			}
			b.checkOutcome(r, web, nf.KeyRestart, test.outcome)
			if b.restarts(web) != 0 || len(b.memory().Restarts) != 0 {
				t.Errorf("made %v, remembered %+v", b.calls(), b.memory().Restarts)
			}
		})
	}
}

// beforeRestart is a machine that calls do before each restart, when the entry in
// memory is durable.
type beforeRestart struct {
	*hosttest.Machine
	do func()
}

func (m beforeRestart) Set(ctx context.Context, s *nf.Snapshot, c nf.Change) error {
	if c.Key == nf.KeyRestart {
		m.do()
	}
	return m.Machine.Set(ctx, s, c)
}

// If another program restarts the container first, that restart does not count as
// nfsync's.
func TestRestartOvertaken(t *testing.T) {
	b := newVirtuozzo(t)
	web := b.addRunning("101")
	b.wantLevel(web, stateful, nf.RestartAllow)
	recorded := 0
	b.wrapped = beforeRestart{b.machine, func() {
		recorded = len(b.memory().Restarts)
		b.machine.SetStartLevel(web, full)
		b.machine.Start(web)
	}}
	b.checkOutcome(b.mustRun(0), web, nf.KeyRestart, apply.Gone)
	if recorded != 1 || len(b.memory().Restarts) != 0 {
		t.Errorf("memory has %d restarts before it, %+v after it", recorded, b.memory().Restarts)
	}
	b.machine.SetStartLevel(web, nf.Absent())
	b.wrapped = nil
	b.mustRun(0)
	b.checkLevels(web, stateful, stateful)
}

// If the entry in memory cannot be made durable, the restart is not made.
func TestRestartNeedsItsEntry(t *testing.T) {
	b := newVirtuozzo(t)
	web := b.addRunning("101")
	b.wantLevel(web, stateful, nf.RestartAllow)
	b.beforeChange(web, nf.KeyRestart, func() {
		failed := false
		b.disk.Before = func(_, path string) error {
			if failed || !strings.Contains(path, "memory") {
				return nil
			}
			failed = true
			return context.DeadlineExceeded
		}
	})
	r := b.mustRun(5)
	b.checkOutcome(r, web, nf.KeyRestart, apply.Failed)
	b.checkLevels(web, full, full)
	if b.restarts(web) != 0 {
		t.Error("restarted")
	}
}

// A run restarts at most as many containers as the bounds allow. A restart that
// fails does not prevent those of other containers.
func TestRestartsAreBounded(t *testing.T) {
	b := newVirtuozzo(t)
	var all []nf.Target
	for _, id := range []string{"101", "102", "103", "104"} {
		c := b.addRunning(id)
		b.wantLevel(c, stateful, nf.RestartAllow)
		all = append(all, c)
	}
	b.restartBounds.Held = closed
	if r := b.mustRun(0); len(r.Pending) != 4 || !strings.Contains(r.Pending[0].Reason, "outside the restart window") {
		t.Errorf("pending %+v", r.Pending)
	}
	total := func() (n int) {
		for _, c := range all {
			n += b.restarts(c)
		}
		return n
	}
	if total() != 0 {
		t.Error("restarted outside the window")
	}
	b.restartBounds.Held = nil
	if r := b.mustRun(0); total() != 1 || len(r.Pending) != 3 {
		t.Errorf("%d restarts, pending %+v", total(), r.Pending)
	}
	b.restartBounds.Max = 2
	b.machine.Inject(hosttest.Fault{Op: hosttest.OpSet, Key: nf.KeyRestart, Times: 1})
	b.mustRun(5)
	if total() != 3 {
		t.Errorf("%d restarts after one that failed", total())
	}
	b.mustRun(0)
	b.mustRun(0)
	for _, c := range all {
		b.checkLevels(c, stateful, stateful)
	}
	if total() != 5 { // of which one has failed
		t.Errorf("%d restarts in all", total())
	}
}

// The memory of a restart ends with its container, but stays while the runtime is
// disabled, so that nfsync cannot determine whether the container exists.
func TestRestartsForgotten(t *testing.T) {
	b := newVirtuozzo(t)
	web := b.addRunning("101")
	b.wantLevel(web, stateful, nf.RestartAllow)
	b.mustRun(0)
	remembered := func(want int) {
		t.Helper()
		b.mustRun(0)
		if m := b.memory(); len(m.Restarts) != want || len(m.Keys) != want {
			t.Errorf("restarts %+v, keys %+v", m.Restarts, m.Keys)
		}
	}
	b.wants = nil
	remembered(1)
	b.machine.Remove(web)
	b.runtimes = []string{nf.RuntimeNetns}
	remembered(1)
	b.runtimes = []string{nf.RuntimeNetns, nf.RuntimeVZ}
	remembered(0)
}

// A run that is interrupted during a restart finishes it.
func TestInterruptedDuringRestart(t *testing.T) {
	b := newVirtuozzo(t)
	web := b.addRunning("101")
	b.wantLevel(web, stateful, nf.RestartAllow)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	b.wrapped = beforeRestart{b.machine, cancel}
	r, err := apply.Run(ctx, b.input())
	if err != nil {
		t.Fatal(err)
	}
	b.checkOutcome(r, web, nf.KeyRestart, apply.Applied)
	b.checkLevels(web, stateful, stateful)
}

// A run that is interrupted before a restart undoes the saved level.
func TestInterruptedBeforeRestart(t *testing.T) {
	b := newVirtuozzo(t)
	web := b.addRunning("101")
	b.wantLevel(web, stateful, nf.RestartAllow)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	b.onEvent = func(e apply.Event) {
		if e.Kind == apply.EventDone {
			cancel()
		}
	}
	if _, err := apply.Run(ctx, b.input()); err == nil {
		t.Fatal("no error")
	}
	b.checkLevels(web, full, full)
	if b.restarts(web) != 0 {
		t.Error("restarted")
	}
}

// A custom saved mask can be replaced, but not put back: that change is one-way.
func TestCustomSavedLevelIsOneWay(t *testing.T) {
	b := newVirtuozzo(t)
	custom := nf.MaskValue(0x4c004003)
	web := b.machine.AddVZ(hosttest.VZ{ID: "101", Saved: custom})
	b.wantLevel(web, stateful, nf.RestartAllow)
	b.machine.Inject(hosttest.Fault{Op: hosttest.OpSet, Key: nf.KeyRestart})
	r := b.mustRun(5)
	b.checkOutcome(r, web, nf.KeyLevel, apply.Kept)
	b.checkOutcome(r, web, nf.KeyRestart, apply.Failed)
	b.checkLevels(web, custom, stateful)
	if i := slices.IndexFunc(r.Results, func(r apply.Result) bool { return r.Key == nf.KeyLevel }); !r.Results[i].OneWay {
		t.Errorf("%+v", r.Results[i])
	}
}

// A saved level is changed in every state. The level in the dump of a suspended
// container cannot be changed, and is refused.
func TestSavedLevels(t *testing.T) {
	b := newVirtuozzo(t)
	suspended := b.machine.AddVZ(hosttest.VZ{ID: "101", Saved: full, State: nf.StateSuspended})
	stopped := b.machine.AddVZ(hosttest.VZ{ID: "102", Saved: full, State: nf.StateStopped})
	staged := b.machine.AddVZ(hosttest.VZ{ID: "103", Saved: full})
	wrong := b.machine.AddVZ(hosttest.VZ{ID: "104", Saved: full, Live: stateful})
	for _, c := range []nf.Target{suspended, stopped, staged} {
		b.wantLevel(c, stateful, nf.RestartStage)
	}
	b.wantLevel(wrong, stateful, nf.RestartRefuse)
	r := b.mustRun(3)
	b.checkCalls("101 level boot stateful", "102 level boot stateful", "103 level boot stateful", "104 level boot stateful")
	if len(r.Refusals) != 1 || r.Refusals[0].Code != nf.RestoreKeepsLevel || len(r.Pending) != 1 {
		t.Errorf("%+v, %+v", r.Refusals, r.Pending)
	}
	b.mustRun(3)
	if len(b.calls()) != 4 {
		t.Errorf("made again: %v", b.calls())
	}
	b.machine.Inject(hosttest.Fault{Op: hosttest.OpSet, Target: stopped, Layer: nf.LayerBoot, Kind: hosttest.Swallow, Times: 1})
	b.wants = nil
	b.wantLevel(stopped, full, nf.RestartRefuse)
	b.checkOutcome(b.mustRun(5), stopped, nf.KeyLevel, apply.Failed)
	b.mustRun(0)
	b.checkLevels(stopped, nf.Absent(), full)
}

// The memory of a restart ends when another level is wanted.
func TestRestartOfAnotherWant(t *testing.T) {
	b := newVirtuozzo(t)
	web := b.addRunning("101")
	b.wantLevel(web, stateful, nf.RestartAllow)
	b.mustRun(0)
	b.wants = nil
	b.wantLevel(web, full, nf.RestartRefuse)
	b.mustRun(3)
	if m := b.memory(); len(m.Restarts) != 0 {
		t.Errorf("restarts %+v", m.Restarts)
	}
}
