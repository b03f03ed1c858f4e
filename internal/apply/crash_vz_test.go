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

// halved is a mined machine on which a crash can also come in the middle of a
// restart: the container is stopped, and nobody has started it yet. It counts the
// instances that nfsync has ended.
type halved struct {
	mined
	ended map[nf.Target]int
}

func (m halved) Set(ctx context.Context, s *nf.Snapshot, c nf.Change) error {
	if c.Key != nf.KeyRestart {
		return m.mined.Set(ctx, s, c)
	}
	m.bomb.step()
	if m.bomb.steps+1 == m.bomb.at {
		m.Stop(c.Target)
		m.ended[c.Target]++
	}
	m.bomb.step()
	_, was := m.State(c.Target)
	err := m.Machine.Set(ctx, s, c)
	if _, is := m.State(c.Target); is != was {
		m.ended[c.Target]++
	}
	m.bomb.step()
	return err
}

// vzScenario is a node with containers of Virtuozzo, and what is wanted of it.
type vzScenario struct {
	name    string
	prepare func(*bench)
	code    int // of a run that does not crash
	// broken restarts do not bring the level, whatever nfsync does.
	broken bool
}

func vzScenarios() []vzScenario {
	return []vzScenario{
		{"one restart", func(b *bench) {
			b.wantLevel(b.running("101"), stateful, nf.RestartAllow)
		}, 0, false},
		{"restarts beside everything else", func(b *bench) {
			b.bounds.Max = 2
			web, mail := b.running("101"), b.running("102")
			b.wantLevel(web, stateful, nf.RestartAllow)
			b.wantNumber(web, udp, 60)
			b.wantLevel(mail, stateless, nf.RestartAllow)
			b.wantLevel(b.running("103"), stateless, nf.RestartStage)
			b.wantLevel(b.machine.AddVZ(hosttest.VZ{ID: "104", Saved: full, State: nf.StateStopped}), stateful, nf.RestartAllow)
			b.wantNumber(nf.Node, udp, 60)
		}, 0, false},
		{"a saved level that is saved already", func(b *bench) {
			b.wantLevel(b.machine.AddVZ(hosttest.VZ{ID: "101", Saved: stateful, Live: full}), stateful, nf.RestartAllow)
		}, 0, false},
		{"a restart that brings nothing", func(b *bench) {
			web := b.running("101")
			b.machine.SetStartLevel(web, full)
			b.wantLevel(web, stateful, nf.RestartAllow)
		}, 3, true},
		{"a restart that fails", func(b *bench) {
			b.wantLevel(b.running("101"), stateful, nf.RestartAllow)
			b.machine.Inject(hosttest.Fault{Op: hosttest.OpSet, Key: nf.KeyRestart, Times: 1})
		}, 5, false},
		{"a restart that fails half-way", func(b *bench) {
			b.wantLevel(b.running("101"), stateful, nf.RestartAllow)
			b.machine.Inject(hosttest.Fault{Op: hosttest.OpSet, Key: nf.KeyRestart, Kind: hosttest.Halt})
		}, 5, true},
	}
}

// vzBench is a bench with what it counts.
type vzBench struct {
	*bench
	ended   map[nf.Target]int    // instances that nfsync has ended
	initial map[nf.Target]string // the containers' instances
}

func (s vzScenario) bench(b *bench) *vzBench {
	b.virtuozzo()
	s.prepare(b)
	v := &vzBench{b, map[nf.Target]int{}, map[nf.Target]string{}}
	for _, w := range b.wants {
		if w.Key == nf.KeyLevel {
			v.initial[w.Target] = b.instance(w.Target)
		}
	}
	return v
}

// blast runs until the bomb goes off at that step, or the run ends.
func (b *vzBench) blast(at int) (steps int, crashed bool, r apply.Receipt, err error) {
	m := &bomb{at: at}
	b.wrapped = halved{mined{b.machine, m}, b.ended}
	return b.explode(m)
}

func (b *vzBench) run() (apply.Receipt, error) {
	_, _, r, err := b.blast(0)
	return r, err
}

// honest checks what holds at any time: no container is restarted twice for one
// want, and none that may not be.
func (b *vzBench) honest() error {
	for _, w := range b.wants {
		if n := b.ended[w.Target]; w.Key == nf.KeyLevel && (n > 1 || n > 0 && w.Restart != nf.RestartAllow) {
			return fmt.Errorf("%s was restarted %d times", w.Target, n)
		}
	}
	return nil
}

// savedOrAsBefore is an error unless each saved level is as before or as wanted.
func (b *vzBench) savedOrAsBefore() error {
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

// afterwards checks what the contract promises after a crash: a recovery that
// restarts nothing, then runs that bring what is wanted with no restart too many.
func (b *vzBench) afterwards(s vzScenario) error {
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
	if err := errors.Join(b.savedOrAsBefore(), b.honest(), plain(r)); err != nil {
		return fmt.Errorf("after the recovery: %w", err)
	}
	stopped := b.startStopped()
	for range 3 {
		if _, err := b.run(); err != nil {
			return err
		}
	}
	made := len(b.made())
	r, err = b.run()
	if err != nil || len(b.made()) != made {
		return fmt.Errorf("it does not come to rest: %v, %w", r.Results, err)
	}
	return errors.Join(b.honest(), b.reached(s, r, stopped))
}

// plain is an error where a recovery claims something without saying why.
func plain(r apply.Receipt) error {
	for _, result := range r.Recovered {
		if result.Outcome == "" || result.Reason == "" || result.Outcome == apply.Stuck {
			return fmt.Errorf("%s of %s ended as %q: %q %s", result.Key, result.Target, result.Outcome, result.Reason, result.Error)
		}
	}
	return nil
}

// startStopped starts, as an admin, the containers that a crash in the middle of
// their restart has left stopped.
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

// reached is an error unless all is as wanted in the end, or refused where no
// restart brings it, and remembered. Where a crash left a container stopped with
// its old level, the one restart that it may have is used up.
func (b *vzBench) reached(s vzScenario, r apply.Receipt, stopped map[nf.Target]bool) error {
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

// TestCrashAroundRestarts crashes a run at each of its steps, and the next one
// at each of its steps again.
func TestCrashAroundRestarts(t *testing.T) {
	for _, s := range vzScenarios() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			probe := s.bench(newBench(t))
			steps, _, r, err := probe.blast(0)
			if err != nil || exitOf(r.Verdict()) != s.code {
				t.Fatalf("without a crash: exit %d, %v", exitOf(r.Verdict()), err)
			}
			if planned, made := len(r.Results), len(probe.made()); planned != made && s.code == 0 {
				t.Errorf("%d changes planned, %v made", planned, probe.made())
			}
			for at := 1; at <= steps; at++ {
				for again := 0; again >= 0; {
					again = s.crashTwice(t, at, again)
				}
			}
		})
	}
}

// crashTwice crashes a run at one step and the next run at another; it returns
// the step for the next time, or -1 where the second run had fewer steps.
func (s vzScenario) crashTwice(t *testing.T, at, again int) int {
	t.Helper()
	b := s.bench(newCrashBench(t))
	defer b.close()
	if _, crashed, _, err := b.blast(at); !crashed {
		t.Fatalf("step %d: no crash, %v", at, err)
	}
	next := -1
	if again > 0 {
		b.open()
		if _, crashed, _, _ := b.blast(again); crashed {
			next = again + 23
		}
	} else {
		next = 1 + at%23
	}
	if err := b.afterwards(s); err != nil {
		t.Fatalf("crash at step %d, then at %d: %v", at, again, err)
	}
	return next
}

// TestRestartProperty crashes again and again, with and without the loss of what
// was not fsynced.
func TestRestartProperty(t *testing.T) {
	all := vzScenarios()
	rapid.Check(t, func(rt *rapid.T) {
		s := rapid.SampledFrom(all).Draw(rt, "scenario")
		b := s.bench(newCrashBench(t))
		defer b.close()
		for range rapid.IntRange(1, 5).Draw(rt, "crashes") {
			b.blast(rapid.IntRange(1, 90).Draw(rt, "step"))
			if rapid.Bool().Draw(rt, "power cut") {
				if err := b.disk.PowerCut(b.path, func(n int) int { return rapid.IntRange(0, n).Draw(rt, "survives") }); err != nil {
					rt.Fatal(err)
				}
			}
			b.open()
			if err := b.honest(); err != nil {
				rt.Fatal(err)
			}
		}
		if err := b.afterwards(s); err != nil {
			rt.Fatal(err)
		}
	})
}
