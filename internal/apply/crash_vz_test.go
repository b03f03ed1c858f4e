package apply_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/host/hosttest"
	"nfsync.dev/nfsync/internal/nf"
)

// restartCrashMachine is a crashMachine that can also crash in the middle of a
// restart, when the container is stopped and not yet started. It counts the
// instances that nfsync has ended.
type restartCrashMachine struct {
	crashMachine
	ended map[nf.Target]int
}

func (m restartCrashMachine) Set(ctx context.Context, s *nf.Snapshot, c nf.Change) error {
	if c.Key != nf.KeyRestart {
		return m.crashMachine.Set(ctx, s, c)
	}
	m.crasher.step()
	if m.crasher.steps+1 == m.crasher.at {
		m.Stop(c.Target)
		m.ended[c.Target]++
	}
	m.crasher.step()
	_, was := m.State(c.Target)
	err := m.Machine.Set(ctx, s, c)
	if _, is := m.State(c.Target); is != was {
		m.ended[c.Target]++
	}
	m.crasher.step()
	return err
}

// vzScenario is a node with containers of Virtuozzo, and the wants for it.
type vzScenario struct {
	name    string
	prepare func(*bench)
	code    int  // exit code of a run that does not crash
	broken  bool // no restart makes the wanted level live
}

func vzScenarios() []vzScenario {
	return []vzScenario{
		{"one restart", func(b *bench) {
			b.wantLevel(b.addRunning("101"), stateful, nf.RestartAllow)
		}, 0, false},
		{"restarts beside everything else", func(b *bench) {
			b.restartBounds.Max = 2
			web, mail := b.addRunning("101"), b.addRunning("102")
			b.wantLevel(web, stateful, nf.RestartAllow)
			b.wantNumber(web, udp, 60)
			b.wantLevel(mail, stateless, nf.RestartAllow)
			b.wantLevel(b.addRunning("103"), stateless, nf.RestartStage)
			b.wantLevel(b.machine.AddVZ(hosttest.VZ{ID: "104", Saved: full, State: nf.StateStopped}), stateful, nf.RestartAllow)
			b.wantNumber(nf.Node, udp, 60)
		}, 0, false},
		{"levels saved side by side", func(b *bench) {
			b.parallel = 4
			for _, id := range []string{"101", "102", "103"} {
				b.wantLevel(b.addRunning(id), stateful, nf.RestartStage)
			}
			b.wantLevel(b.addRunning("104"), stateless, nf.RestartAllow)
			b.wantNumber(nf.Node, udp, 60)
		}, 0, false},
		{"a saved level that is saved already", func(b *bench) {
			b.wantLevel(b.machine.AddVZ(hosttest.VZ{ID: "101", Saved: stateful, Live: full}), stateful, nf.RestartAllow)
		}, 0, false},
		{"a restart that brings nothing", func(b *bench) {
			web := b.addRunning("101")
			b.machine.SetStartLevel(web, full)
			b.wantLevel(web, stateful, nf.RestartAllow)
		}, 3, true},
		{"a restart that fails", func(b *bench) {
			b.wantLevel(b.addRunning("101"), stateful, nf.RestartAllow)
			b.machine.Inject(hosttest.Fault{Op: hosttest.OpSet, Key: nf.KeyRestart, Times: 1})
		}, 5, false},
		{"a restart that fails half-way", func(b *bench) {
			b.wantLevel(b.addRunning("101"), stateful, nf.RestartAllow)
			b.machine.Inject(hosttest.Fault{Op: hosttest.OpSet, Key: nf.KeyRestart, Kind: hosttest.Halt})
		}, 6, true},
	}
}

// vzBench is a bench that counts restarts.
type vzBench struct {
	*bench
	ended   map[nf.Target]int    // number of instances that nfsync has ended
	initial map[nf.Target]string // instance before the first run
}

func (s vzScenario) newBench(b *bench) *vzBench {
	b.useVirtuozzo()
	s.prepare(b)
	v := &vzBench{b, map[nf.Target]int{}, map[nf.Target]string{}}
	for _, w := range b.wants {
		if w.Key == nf.KeyLevel {
			v.initial[w.Target] = b.instance(w.Target)
		}
	}
	return v
}

// crashAt is crashAt of bench, with a restartCrashMachine.
func (b *vzBench) crashAt(at int) (steps int, crashed bool, r apply.Receipt, err error) {
	m := &crasher{at: at}
	b.wrapped = restartCrashMachine{crashMachine{b.machine, m}, b.ended}
	return b.runCrashing(m)
}

func (b *vzBench) run() (apply.Receipt, error) {
	_, _, r, err := b.crashAt(0)
	return r, err
}

// checkRestartCounts returns an error if a container was restarted twice for one
// want, or at all without restart: allow. This holds at any time.
func (b *vzBench) checkRestartCounts() error {
	for _, w := range b.wants {
		if n := b.ended[w.Target]; w.Key == nf.KeyLevel && (n > 1 || n > 0 && w.Restart != nf.RestartAllow) {
			return fmt.Errorf("%s was restarted %d times", w.Target, n)
		}
	}
	return nil
}

// checkSavedLevels returns an error unless each saved level is as before or as
// wanted.
func (b *vzBench) checkSavedLevels() error {
	for _, w := range b.wants {
		if w.Key != nf.KeyLevel {
			continue
		}
		if saved := b.machine.Level(w.Target, nf.LayerBoot); saved != full && saved != w.Wish.Value {
			return fmt.Errorf("%s of %s is saved", saved, w.Target)
		}
	}
	return nil
}

// checkRecovery checks the contract after a crash: the recovery restarts nothing,
// and further runs reach what is wanted with at most one restart a container.
func (b *vzBench) checkRecovery(s vzScenario) error {
	b.open()
	b.machine.Heal()
	ended := maps.Clone(b.ended)
	wants := b.wants
	b.wants = nil // the next run only recovers
	r, err := b.run()
	b.wants = wants
	if err != nil {
		return fmt.Errorf("recovery: %w", err)
	}
	if !maps.Equal(ended, b.ended) {
		return errors.New("the recovery has restarted a container")
	}
	if err := errors.Join(b.checkSavedLevels(), b.checkRestartCounts(), checkReasons(r)); err != nil {
		return fmt.Errorf("after the recovery: %w", err)
	}
	stopped := b.startStopped()
	for range 3 {
		if _, err := b.run(); err != nil {
			return err
		}
	}
	made := len(b.calls())
	r, err = b.run()
	if err != nil || len(b.calls()) != made {
		return fmt.Errorf("a further run still makes changes: %v, %w", r.Results, err)
	}
	return errors.Join(b.checkRestartCounts(), b.checkEnd(s, r, stopped))
}

// checkReasons returns an error unless each recovered change has an outcome and a
// reason, and nothing is stuck but a restart that has left its container down.
func checkReasons(r apply.Receipt) error {
	for _, result := range r.Recovered {
		if result.Outcome == "" || result.Reason == "" || result.Outcome == apply.Stuck && result.Key != nf.KeyRestart {
			return fmt.Errorf("%s of %s ended as %q: %q %s", result.Key, result.Target, result.Outcome, result.Reason, result.Error)
		}
	}
	return nil
}

// startStopped starts, as an admin would, the containers that a crash in the middle
// of their restart has left stopped. It returns them.
func (b *vzBench) startStopped() map[nf.Target]bool {
	stopped := map[nf.Target]bool{}
	for t, was := range b.initial {
		if state, _ := b.machine.State(t); state == nf.StateStopped && was != nf.InstanceStopped {
			stopped[t] = true
			b.machine.Start(t)
		}
	}
	return stopped
}

// checkEnd returns an error unless every want is fulfilled in the end and
// remembered. A live level may be refused instead if no restart brings it, or if the
// container is in stopped: then its one restart has been made.
func (b *vzBench) checkEnd(s vzScenario, r apply.Receipt, stopped map[nf.Target]bool) error {
	for _, w := range b.wants {
		if w.Key != nf.KeyLevel {
			if v := b.machine.Value(w.Target, w.Key); v != w.Wish.Value {
				return fmt.Errorf("%s of %s is %s in the end", w.Key, w.Target, v)
			}
			continue
		}
		live, saved := b.machine.Level(w.Target, nf.LayerLive), b.machine.Level(w.Target, nf.LayerBoot)
		refused := slices.ContainsFunc(r.Refusals, func(r nf.Refusal) bool { return r.Target == w.Target && r.Code == nf.RestartRequired })
		if saved != w.Wish.Value {
			return fmt.Errorf("%s of %s is saved in the end", saved, w.Target)
		}
		if w.Restart == nf.RestartAllow && live != w.Wish.Value && !live.IsAbsent() && (!refused || !s.broken && !stopped[w.Target]) {
			return fmt.Errorf("%s is %s in the end, refused: %v", w.Target, live, refused)
		}
		known := slices.ContainsFunc(b.memory().Keys, func(k nf.MemoryKey) bool {
			return k.Target == w.Target && k.Key == w.Key && (k.Set || stopped[w.Target])
		})
		if !known {
			return fmt.Errorf("memory is %+v", b.memory().Keys)
		}
	}
	return nil
}

// TestCrashAroundRestarts crashes a run at each of its steps, and the next run at
// some of its steps.
func TestCrashAroundRestarts(t *testing.T) {
	for _, s := range vzScenarios() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			probe := s.newBench(newBench(t))
			steps, _, r, err := probe.crashAt(0)
			if err != nil || exitOf(r.Verdict()) != s.code {
				t.Fatalf("without a crash: exit %d, %v", exitOf(r.Verdict()), err)
			}
			if planned, made := len(r.Results), len(probe.calls()); planned != made && s.code == 0 {
				t.Errorf("%d changes planned, %v made", planned, probe.calls())
			}
			for at := 1; at <= steps; at++ {
				for again := 0; again >= 0; {
					again = s.crashTwice(t, at, again)
				}
			}
		})
	}
}

// crashTwice crashes a run at one step and the next run at another. If again is 0
// the next run does not crash. It returns the next step to try for again, or -1 if
// the second run had fewer steps.
func (s vzScenario) crashTwice(t *testing.T, at, again int) int {
	t.Helper()
	b := s.newBench(newCrashBench(t))
	defer b.close()
	if _, crashed, _, err := b.crashAt(at); !crashed {
		t.Fatalf("step %d: no crash, %v", at, err)
	}
	next := -1
	if again > 0 {
		b.open()
		if _, crashed, _, _ := b.crashAt(again); crashed {
			next = again + 23
		}
	} else {
		next = 1 + at%23
	}
	if err := b.checkRecovery(s); err != nil {
		t.Fatalf("crash at step %d, then at %d: %v", at, again, err)
	}
	return next
}

// TestRestartProperty crashes runs several times, with and without the loss of what
// was not fsynced.
func TestRestartProperty(t *testing.T) {
	all := vzScenarios()
	rapid.Check(t, func(rt *rapid.T) {
		s := rapid.SampledFrom(all).Draw(rt, "scenario")
		b := s.newBench(newCrashBench(t))
		defer b.close()
		for range rapid.IntRange(1, 5).Draw(rt, "crashes") {
			b.crashAt(rapid.IntRange(1, 90).Draw(rt, "step"))
			if rapid.Bool().Draw(rt, "power cut") {
				if err := b.disk.PowerCut(b.path, func(n int) int { return rapid.IntRange(0, n).Draw(rt, "survives") }); err != nil {
					rt.Fatal(err)
				}
			}
			b.open()
			if err := b.checkRestartCounts(); err != nil {
				rt.Fatal(err)
			}
		}
		if err := b.checkRecovery(s); err != nil {
			rt.Fatal(err)
		}
	})
}
