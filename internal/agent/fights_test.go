package agent_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"nfsync.dev/nfsync/internal/agent"
	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/host/hosttest"
	"nfsync.dev/nfsync/internal/nf"
)

// clock is a clock that tests set.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// arena is an agent that fights over one value.
type arena struct {
	*running
	clock  *clock
	stop   func() // the agent
	commit int
	flip   func(n int) // another program sets the nth value of its own
	mine   func() bool // the value is what nfsync wants
	policy func(n int) string
}

// arenas make an arena for each kind of value.
var arenas = map[string]func(*arena){
	"node": func(a *arena) {
		a.policy = func(n int) string { return policy(41 + n) }
		a.flip = func(n int) { a.machine.Put(nf.Node, udp, int64(90+n)) }
		a.mine = func() bool { return a.machine.Value(nf.Node, udp) == nf.Number(int64(41+a.wanted())) }
	},
	"container": func(a *arena) {
		web := a.machine.AddContainer("web")
		a.policy = func(n int) string {
			return strings.ReplaceAll(policy(41+n), "NodePolicy", "ContainerPolicy")
		}
		a.flip = func(n int) { a.machine.Put(web, udp, int64(90+n)) }
		a.mine = func() bool { return a.machine.Value(web, udp) == nf.Number(int64(41+a.wanted())) }
	},
	"boot layer": func(a *arena) {
		a.machine.SetBootFiles()
		a.policy = func(n int) string { return policy(41 + n) }
		a.flip = func(n int) { a.machine.PutBoot(udp, nf.Number(int64(90+n))) }
		a.mine = func() bool { return a.machine.BootValue(udp) == nf.Number(int64(41+a.wanted())) }
	},
	"module": func(a *arena) {
		a.policy = func(n int) string {
			want := "loaded"
			if n > 0 {
				want = fmt.Sprintf("{state: loaded, parameters: {max_sets: %d}}", 256+n)
			}
			return "apiVersion: nfsync.dev/v1alpha1\nkind: NodePolicy\nmetadata: {name: node}\nspec:\n  modules: {ip_set: " + want + "}\n"
		}
		a.flip = func(int) {
			a.machine.SetModule(nf.ModuleFact{Name: "ip_set", State: nf.ModuleUnloaded, Deps: []string{"nfnetlink"}, Parameters: map[string]nf.Parameter{"max_sets": {Value: "256"}}})
		}
		a.mine = func() bool {
			v := a.machine.Value(nf.Node, nf.ModuleKey("ip_set"))
			state, _, _ := v.Module()
			return state == nf.ModuleLoaded
		}
	},
}

// wanted returns which of its policies is in force.
func (a *arena) wanted() int {
	var n int
	_, _ = fmt.Sscanf(strings.TrimPrefix(a.repo.tip, "w"), "%d-", &n)
	return n
}

// want commits the nth policy.
func (a *arena) want(n int) {
	a.commit++
	parent := a.repo.tip
	a.repo.commitText(fmt.Sprintf("w%d-%d", n, a.commit), parent, a.policy(n))
}

// start starts the agent, also again.
func (a *arena) start() {
	b := a.bench
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan bool)
	a.running = &running{bench: b, setup: agent.Setup{Lap: b.in, Interval: time.Hour, Drift: time.Hour, Apply: func() (apply.Input, error) { return b.in.Apply, nil }}}
	a.agent = agent.New(agent.NewStatus("hn-1", url, "enforce", nf.AgentInfo{}))
	a.agent.Configure = func() (agent.Setup, error) { return a.setup, nil }
	a.updates, _ = a.agent.Listen()
	running := a.agent
	go func() {
		running.Run(ctx, nil)
		close(ended)
	}()
	a.stop = func() { cancel(); <-ended }
	a.next()
}

// TestFights: what something else changes back three times within an hour is left. The steps: f another
// program changes the value and nfsync changes it back; F the same, and nfsync leaves it; p half an hour
// passes without a change; w another want; v the want of before; s nfsync sync; r the agent restarts; b the clock is set back
// by a day; a it is set forward by one; - a lap that finds nothing to do.
func TestFights(t *testing.T) {
	for kind, prepare := range arenas {
		for _, steps := range []string{
			"fffFF",
			"f-f--f-F",
			"ffpppfffF",        // two, and an hour's pause
			"fpfpfpfpfpf",      // never three within an hour
			"fffFwfffF",        // another want is another fight
			"fffFwvfffF",       // and so is the one of before, once it has come back
			"ffwvfffF",         // a want ends the count too
			"fffFsffF",         // a sync changes it back once more
			"ffsfffF",          // and forgets what was counted
			"ffrfF",            // the count outlives the agent
			"fffFrFF",          // and so does the fight
			"fffFrwfffF",       //
			"ffbfffF",          // the flips of tomorrow do not count
			"ffb-pp-pfffF",     //
			"fffFbFF",          // what was left stays left
			"ffafffF",          // the flips of yesterday do not count
			"fffFaFF", "fffFp", // nor does time end a fight
		} {
			t.Run(kind+"/"+steps, func(t *testing.T) {
				t.Parallel() // it mostly waits for its laps
				a := &arena{running: &running{bench: newBench(t)}, clock: &clock{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}}
				prepare(a)
				a.in.Apply.Now = a.clock.Now
				a.want(0)
				a.start()
				defer func() { a.stop() }()
				for i, step := range steps {
					if !a.step(i, step) {
						t.Fatalf("after %q the value is %v", steps[:i+1], a.machine.Value(nf.Node, udp))
					}
				}
			})
		}
	}
}

// step makes a step, and reports whether nfsync did what it should.
func (a *arena) step(i int, step rune) bool {
	a.clock.add(time.Second)
	switch step {
	case 'f', 'F':
		a.flip(i)
		s := a.wake(agent.WakeDrift)
		left := step == 'F'
		return a.mine() != left && (len(s.Fights) > 0 || !left) && (s.Condition(nf.Drifted).Status == nf.ConditionTrue) == left
	case 'p':
		a.clock.add(30 * time.Minute)
		return true
	case 'b':
		a.clock.add(-24 * time.Hour)
	case 'a':
		a.clock.add(24 * time.Hour)
	case 'w':
		a.want(7)
		a.wake(agent.WakeInterval)
		return a.mine()
	case 'v':
		a.want(0)
		a.wake(agent.WakeInterval)
		return a.mine()
	case 's':
		a.wake(agent.WakeSync)
		return a.mine()
	case 'r':
		a.stop()
		a.start()
	case '-':
		a.wake(agent.WakeDrift)
	}
	return true
}

// TestFightInstances: the values of a new instance are nobody's flips, and are set even where those of
// the one before were left.
func TestFightInstances(t *testing.T) {
	b := newBench(t)
	web := b.machine.AddContainer("web")
	b.repo.commitText("c2", "c1", strings.ReplaceAll(policy(41), "NodePolicy", "ContainerPolicy"))
	r := b.run()
	for range 5 {
		b.machine.Recreate(web)
		r.want(r.wake(agent.WakeContainer), nf.LapApplied, nf.Ready)
	}
	for range 3 {
		b.machine.Put(web, udp, 99)
		r.want(r.wake(agent.WakeDrift), nf.LapApplied, nf.Ready)
	}
	b.machine.Put(web, udp, 99)
	r.want(r.wake(agent.WakeDrift), nf.LapInSync, nf.Ready, nf.Drifted)
	b.machine.Recreate(web)
	r.want(r.wake(agent.WakeContainer), nf.LapApplied, nf.Ready)
	b.machine.Put(web, udp, 99)
	r.want(r.wake(agent.WakeDrift), nf.LapInSync, nf.Ready, nf.Drifted)
	b.machine.Remove(web)
	if s := r.wake(agent.WakeContainer); len(s.Fights) != 0 {
		t.Errorf("the container has gone: %+v", s.Fights)
	}
}

// TestFightAmongOthers: only the value that something else changes back is left.
func TestFightAmongOthers(t *testing.T) {
	b := newBench(t)
	icmp := nf.TimeoutKey("icmp")
	web := b.machine.AddContainer("web")
	b.repo.commitText("c2", "c1", strings.ReplaceAll(policy(41), "{udp: 41}", "{udp: 41, icmp: 42}")+"---\n"+strings.ReplaceAll(policy(41), "NodePolicy", "ContainerPolicy"))
	r := b.run()
	for i := range 6 {
		b.machine.Put(nf.Node, udp, 99)
		if i%2 == 0 {
			b.machine.Put(nf.Node, icmp, 99)
		} else {
			b.machine.Put(web, udp, int64(100+i))
		}
		r.wake(agent.WakeDrift)
	}
	s := r.wake(agent.WakeDrift)
	if b.machine.Value(nf.Node, udp) != nf.Number(99) || b.machine.Value(nf.Node, icmp) != nf.Number(42) || b.machine.Value(web, udp) != nf.Number(41) {
		t.Errorf("%v %v %v", b.machine.Value(nf.Node, udp), b.machine.Value(nf.Node, icmp), b.machine.Value(web, udp))
	}
	if len(s.Fights) != 3 || s.Fights[0].Target != nf.Node {
		t.Errorf("%+v", s.Fights)
	}
}

// TestFightOfARange: a want that is a range is one want, whatever bound is nearest.
func TestFightOfARange(t *testing.T) {
	b := newBench(t)
	b.repo.commitText("c2", "c1", strings.ReplaceAll(policy(41), "{timeouts: {udp: 41}}", "{max: {atLeast: 1000, atMost: 2000}}"))
	r := b.run()
	for _, n := range []int64{10, 9000, 10} {
		b.machine.Put(nf.Node, nf.KeyMax, n)
		r.want(r.wake(agent.WakeDrift), nf.LapApplied, nf.Ready)
	}
	b.machine.Put(nf.Node, nf.KeyMax, 9000)
	r.want(r.wake(agent.WakeDrift), nf.LapInSync, nf.Ready, nf.Drifted)
}

// TestFightWriter: the status names what else sets the value, what sets the present one first.
func TestFightWriter(t *testing.T) {
	b := newBench(t)
	r := b.run()
	r.setup.Writers = func(k nf.Key) []nf.Writer {
		if k != udp {
			return nil
		}
		return []nf.Writer{{Where: "/etc/sysctl.conf:2", Value: nf.Number(7)}, {Where: "/etc/sysctl.d/90-x.conf:3", Value: nf.Number(99)}}
	}
	r.wake(agent.WakeConfig)
	for range 4 {
		b.machine.Put(nf.Node, udp, 99)
		r.wake(agent.WakeDrift)
	}
	s := r.agent.Status()
	if len(s.Fights) != 1 || s.Fights[0].Flips != 3 || s.Fights[0].From != nf.Number(99) || s.Fights[0].To != nf.Number(41) || len(s.Fights[0].SetBy) != 2 {
		t.Fatalf("%+v", s.Fights)
	}
	if got := s.Condition(nf.Drifted).Message; !strings.Contains(got, "node conntrack.timeouts.udp (99s, probably set by /etc/sysctl.d/90-x.conf:3)") {
		t.Errorf("%s", got)
	}
	b.machine.Put(nf.Node, udp, 55)
	s = r.wake(agent.WakeDrift)
	if got := s.Condition(nf.Drifted).Message; !strings.Contains(got, "55s, perhaps set by /etc/sysctl.conf:2, which says 7s") {
		t.Errorf("%s", got)
	}
}

// TestFightAtOnce: what something else changes back before it is read back fails, and is left as well, even
// where it was never set and reads another value each time.
func TestFightAtOnce(t *testing.T) {
	b := newBench(t)
	web, other := b.machine.AddContainer("web"), b.machine.AddContainer("other")
	b.repo.commitText("c2", "c1", udpOfContainers(41))
	b.machine.Inject(hosttest.Fault{Op: hosttest.OpSet, Target: web, Kind: hosttest.Swallow})
	r := b.run()
	for i := range 3 {
		b.machine.Put(web, udp, int64(100+i))
		r.wake(agent.WakeDrift)
	}
	tried := b.sets(web)
	for i := range 2 {
		b.machine.Put(web, udp, int64(200+i))
		b.machine.Put(other, udp, 99)
		s := r.wake(agent.WakeDrift)
		r.want(s, nf.LapApplied, nf.Ready, nf.Drifted)
		if len(s.Fights) != 1 || s.Fights[0].Target != web || s.Fights[0].From != nf.Number(int64(200+i)) {
			t.Errorf("%+v", s.Fights)
		}
	}
	if got := b.sets(web); got != tried {
		t.Errorf("it was tried %d times more", got-tried)
	}
	b.machine.Heal()
	b.machine.Recreate(web) // another instance is another chance
	r.wake(agent.WakeContainer)
	if got := b.machine.Value(web, udp); got != nf.Number(41) {
		t.Errorf("the new instance reads %v", got)
	}
}
