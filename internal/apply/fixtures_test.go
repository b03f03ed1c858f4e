package apply_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/host/hosttest"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/state"
	"nfsync.dev/nfsync/internal/state/statetest"
)

var (
	udp      = nf.TimeoutKey("udp")
	icmp     = nf.TimeoutKey("icmp")
	generic  = nf.TimeoutKey("generic")
	ct       = nf.ModuleKey("nf_conntrack")
	loaded   = nf.Module(nf.ModuleLoaded, nil)
	unloaded = nf.Module(nf.ModuleUnloaded, nil)
)

// bench holds a node, its state directory and the wants.
type bench struct {
	t             testing.TB
	machine       *hosttest.Machine
	wrapped       apply.Machine // the machine of the input; nil: machine
	wants         []nf.Want
	disk          *statetest.Disk
	state         *state.Dir
	path          string // of the state directory
	runDir        string
	now           time.Time
	tick          time.Duration // added to the clock at each reading
	events        []apply.Event
	onEvent       func(apply.Event)
	plan          string // the id of a saved plan; may be empty
	hasBoot       bool   // the node has a boot layer
	restartBounds apply.Restarts
	parallel      int
	runtimes      []string // that the machine lists; empty: all
	confirm       *apply.Confirm
	uptime        time.Duration
}

func newBench(t testing.TB) *bench {
	b := &bench{t: t, machine: hosttest.New(), disk: &statetest.Disk{}, path: t.TempDir(), runDir: t.TempDir(),
		now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), tick: time.Second}
	b.open()
	return b
}

// open opens the state directory again, as a new process does.
func (b *bench) open() {
	b.t.Helper()
	d, err := state.OpenOn(b.path, b.disk)
	if err != nil {
		b.t.Fatal(err)
	}
	b.state = d
}

func (b *bench) addContainer(name string, scope hosttest.Scope) nf.Target {
	t := b.machine.AddContainer(name)
	b.machine.SetScope(t, scope)
	return t
}

func (b *bench) want(t nf.Target, k nf.Key, v nf.Value) {
	b.wants = append(b.wants, nf.Want{Target: t, Key: k, Wish: nf.Exactly(v),
		Source: nf.Source{Name: "p", File: "p.yaml", Line: len(b.wants) + 1, Column: 1}})
}

func (b *bench) wantNumber(t nf.Target, k nf.Key, n int64) { b.want(t, k, nf.Number(n)) }

func (b *bench) wantRange(t nf.Target, k nf.Key, atLeast, atMost int64) {
	b.want(t, k, nf.Absent())
	b.wants[len(b.wants)-1].Wish = nf.Wish{AtLeast: atLeast, AtMost: atMost}
}

func (b *bench) input() apply.Input {
	m := b.wrapped
	if m == nil {
		m = b.machine
	}
	return apply.Input{Machine: m, State: b.state, Lock: apply.NewLock(b.runDir), Revision: "rev", Reviewed: b.reviewed,
		Wants: func(*nf.Snapshot) nf.Wants {
			list := slices.Clone(b.wants)
			slices.SortFunc(list, func(a, b nf.Want) int {
				if d := a.Target.Compare(b.Target); d != 0 {
					return d
				}
				return slices.Compare([]byte(a.Key), []byte(b.Key))
			})
			return nf.Wants{List: list}
		},
		Progress: func(e apply.Event) {
			b.events = append(b.events, e)
			if b.onEvent != nil {
				b.onEvent(e)
			}
		},
		Now: func() time.Time {
			b.now = b.now.Add(b.tick)
			return b.now
		},
		Restarts: b.restartBounds, Parallel: b.parallel, Runtimes: b.runtimes, Timeout: time.Second, RestartTimeout: 100 * time.Millisecond,
		Confirm: b.confirm, Uptime: func() time.Duration { return b.uptime },
	}
}

func (b *bench) run() (apply.Receipt, error) { return apply.Run(context.Background(), b.input()) }

// reviewed returns ErrStale for another plan than the saved one, if there is one.
func (b *bench) reviewed(p nf.Plan) error {
	if b.plan != "" && b.plan != p.ID {
		return apply.ErrStale
	}
	return nil
}

// exitOf returns the exit code that the command has for a verdict.
func exitOf(v apply.Verdict) int {
	return map[apply.Verdict]int{apply.Clean: 0, apply.Incomplete: 3, apply.RolledBack: 5, apply.Unsettled: 6}[v]
}

// mustRun runs, and fails the test on an error or another exit code.
func (b *bench) mustRun(code int) apply.Receipt {
	b.t.Helper()
	r, err := b.run()
	if err != nil {
		b.t.Fatal(err)
	}
	if exitOf(r.Verdict()) != code {
		b.t.Fatalf("exit code %d, want %d: %+v", exitOf(r.Verdict()), code, r.Results)
	}
	return r
}

func (b *bench) recover(accept bool) apply.Report {
	b.t.Helper()
	r, err := apply.Recover(context.Background(), apply.RecoverInput{Machine: b.machine, State: b.state, Lock: apply.NewLock(b.runDir), Accept: accept})
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

// checkValue checks the live value of a target's key.
func (b *bench) checkValue(t nf.Target, k nf.Key, n int64) {
	b.t.Helper()
	if v := b.machine.Value(t, k); v != nf.Number(n) {
		b.t.Errorf("%s of %s is %s, want %d", k, t, v, n)
	}
}

// checkOutcome checks the outcome of the first change of a target's key, and returns
// its result.
func (b *bench) checkOutcome(r apply.Receipt, t nf.Target, k nf.Key, want apply.Outcome) apply.Result {
	b.t.Helper()
	for _, result := range r.Results {
		if result.Target == t && result.Key == k {
			if result.Outcome != want {
				b.t.Errorf("%s of %s is %s (%s%s), want %s", k, t, result.Outcome, result.Error, result.Reason, want)
			}
			return result
		}
	}
	b.t.Errorf("%s of %s has no result", k, t)
	return apply.Result{}
}

// beforeChange calls do when a change of that target and key starts.
func (b *bench) beforeChange(t nf.Target, k nf.Key, do func()) {
	b.onEvent = func(e apply.Event) {
		if e.Kind == apply.EventStarted && e.Change.Target == t && e.Change.Key == k {
			do()
		}
	}
}
