package agent_test

import (
	"errors"
	"strings"
	"testing"

	"nfsync.dev/nfsync/internal/agent"
	"nfsync.dev/nfsync/internal/host/hosttest"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/source"
	"nfsync.dev/nfsync/internal/spec"
)

// udpOfContainers is a policy that wants that udp timeout of each container.
func udpOfContainers(udp int) string {
	return strings.ReplaceAll(policy(udp), "NodePolicy", "ContainerPolicy")
}

// sets returns the changes of a target that the machine was asked for.
func (b *bench) sets(t nf.Target) int {
	n := 0
	for _, c := range b.machine.Calls() {
		if c.Change.Target.Nameless() == t.Nameless() {
			n++
		}
	}
	return n
}

// TestFailedTarget: a container whose change fails is not tried again because others drift, and does not
// hold them up. The receipts of the laps that leave it are not stored.
func TestFailedTarget(t *testing.T) {
	b := newBench(t)
	bad, good := b.machine.AddContainer("bad"), b.machine.AddContainer("good")
	b.repo.commitText("c2", "c1", udpOfContainers(41))
	b.machine.Inject(hosttest.Fault{Op: hosttest.OpSet, Target: bad})
	r := b.run()
	r.want(r.agent.Status(), nf.LapFailed)
	if b.machine.Value(good, udp) != nf.Number(41) {
		t.Fatal("the first lap has not made the change of the other")
	}
	tried, receipts := b.sets(bad), b.receipts()
	for i := range 2 {
		b.machine.Put(good, udp, int64(90+i))
		s := r.wake(agent.WakeDrift)
		r.want(s, nf.LapFailed, nf.Stalled)
		if b.machine.Value(good, udp) != nf.Number(41) || s.LastLap.Applied != 1 {
			t.Errorf("lap %d: the other reads %v", i, b.machine.Value(good, udp))
		}
		if got := s.Condition(nf.Stalled); got.Reason != "FailedBefore" || !strings.Contains(got.Message, "netns/bad conntrack.timeouts.udp") {
			t.Errorf("%+v", got)
		}
		if len(s.Changes) != 1 || s.Changes[0].Target != bad || s.Changes[0].LastFailure == nil {
			t.Errorf("lap %d: %+v", i, s.Changes)
		}
	}
	if got := b.sets(bad); got != tried {
		t.Errorf("it was tried %d times more", got-tried)
	}
	if got := b.receipts(); got != receipts+2 {
		t.Errorf("%d receipts, then %d", receipts, got)
	}
	// What the agent has seen is known after a restart.
	again := b.run()
	again.want(again.agent.Status(), nf.LapFailed, nf.Stalled)
	if got := b.sets(bad); got != tried {
		t.Errorf("after a restart it was tried %d times more", got-tried)
	}
	// A container that comes has its values.
	other := b.machine.AddContainer("other")
	again.wake(agent.WakeContainer)
	if b.machine.Value(other, udp) != nf.Number(41) || b.sets(bad) != tried {
		t.Errorf("%v, %d", b.machine.Value(other, udp), b.sets(bad)-tried)
	}
}

// TestFailedAgain: what has failed is tried again when its facts, the commit or the wants change, or
// somebody asks.
func TestFailedAgain(t *testing.T) {
	for name, event := range map[string]func(*running, nf.Target) nf.NodeStatus{
		"sync": func(r *running, _ nf.Target) nf.NodeStatus { return r.wake(agent.WakeSync) },
		"another value": func(r *running, bad nf.Target) nf.NodeStatus {
			r.machine.Put(bad, udp, 77)
			return r.wake(agent.WakeDrift)
		},
		"another instance": func(r *running, bad nf.Target) nf.NodeStatus {
			r.machine.Recreate(bad)
			return r.wake(agent.WakeContainer)
		},
		"another commit": func(r *running, _ nf.Target) nf.NodeStatus {
			r.repo.commitText("c3", "c2", "# a comment\n"+udpOfContainers(41))
			return r.wake(agent.WakeWebhook)
		},
		"another want": func(r *running, _ nf.Target) nf.NodeStatus {
			r.repo.commitText("c3", "c2", udpOfContainers(42))
			return r.wake(agent.WakeWebhook)
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			bad := b.machine.AddContainer("bad")
			b.repo.commitText("c2", "c1", udpOfContainers(41))
			b.machine.Inject(hosttest.Fault{Op: hosttest.OpSet, Target: bad})
			r := b.run()
			tried := b.sets(bad)
			r.want(r.wake(agent.WakeDrift), nf.LapFailed, nf.Stalled)
			if got := b.sets(bad); got != tried {
				t.Fatalf("it was tried %d times more", got-tried)
			}
			r.want(event(r, bad), nf.LapFailed)
			if got := b.sets(bad); got == tried {
				t.Error("it was not tried again")
			}
			r.machine.Heal()
			r.want(r.wake(agent.WakeDrift), nf.LapFailed, nf.Stalled)
			r.want(r.wake(agent.WakeSync), nf.LapApplied, nf.Ready)
			r.want(r.wake(agent.WakeDrift), nf.LapInSync, nf.Ready)
		})
	}
}

// TestFailedUnit: what was undone because another change of its target failed is left with it. Other keys of
// the target are not.
func TestFailedUnit(t *testing.T) {
	b := newBench(t)
	icmp, generic := nf.TimeoutKey("icmp"), nf.TimeoutKey("generic")
	web := b.machine.AddContainer("web")
	b.repo.commitText("c2", "c1", strings.ReplaceAll(udpOfContainers(41), "{udp: 41}", "{generic: 600, icmp: 42, udp: 41}"))
	b.machine.Inject(hosttest.Fault{Op: hosttest.OpSet, Target: web, Key: udp})
	r := b.run()
	r.want(r.agent.Status(), nf.LapFailed)
	tried, receipts := b.sets(web), b.receipts()
	r.want(r.wake(agent.WakeDrift), nf.LapFailed, nf.Stalled)
	if b.machine.Value(web, icmp) != nf.Number(30) || b.sets(web) != tried || b.receipts() != receipts {
		t.Errorf("icmp reads %v, %d changes more, %d receipts", b.machine.Value(web, icmp), b.sets(web)-tried, b.receipts())
	}
	b.machine.Put(web, generic, 99)
	r.want(r.wake(agent.WakeDrift), nf.LapFailed, nf.Stalled)
	if b.machine.Value(web, generic) != nf.Number(600) || b.sets(web) != tried+1 {
		t.Errorf("generic reads %v, %d changes more", b.machine.Value(web, generic), b.sets(web)-tried)
	}
	// Once the change that failed is made by somebody else, the others follow.
	b.machine.Put(web, udp, 41)
	r.want(r.wake(agent.WakeDrift), nf.LapApplied, nf.Ready)
	if b.machine.Value(web, icmp) != nf.Number(42) {
		t.Errorf("icmp reads %v", b.machine.Value(web, icmp))
	}
}

// TestFailedAndMissed: that changes have failed before hides neither an invalid revision nor a dead
// server.
func TestFailedAndMissed(t *testing.T) {
	b := newBench(t)
	bad := b.machine.AddContainer("bad")
	b.repo.commitText("c2", "c1", udpOfContainers(41))
	b.machine.Inject(hosttest.Fault{Op: hosttest.OpSet, Target: bad})
	r := b.run()
	b.repo.commitText("c3", "c2", "nonsense")
	s := r.wake(agent.WakeWebhook)
	r.want(s, nf.LapFailed, nf.Stalled)
	if len(s.Errors) == 0 || s.Condition(nf.Ready).Reason != "InvalidPolicies" {
		t.Errorf("%v %+v", s.Errors, s.Condition(nf.Ready))
	}
	b.repo.err = &source.FetchError{URL: url, Err: errors.New("dead")}
	s = r.wake(agent.WakeWebhook)
	r.want(s, nf.LapFailed, nf.Stalled)
	if s.Condition(nf.Ready).Reason != "FetchFailed" || s.Condition(nf.Stalled).Reason != "FailedBefore" {
		t.Errorf("%+v %+v", s.Condition(nf.Ready), s.Condition(nf.Stalled))
	}
}

// TestFailedRestart: a container whose level cannot be saved is neither restarted nor tried again, and the
// others have their turn.
func TestFailedRestart(t *testing.T) {
	b := newBench(t)
	node := hosttest.NewVirtuozzo()
	bad := node.AddVZ(hosttest.VZ{ID: "101", Saved: nf.LevelFull.Value()})
	other := node.AddVZ(hosttest.VZ{ID: "102", Saved: nf.LevelFull.Value()})
	b.machine = node
	b.in.Apply.Machine = node
	b.repo.commitText("c2", "c1", "apiVersion: nfsync.dev/v1alpha1\nkind: ContainerPolicy\nmetadata: {name: p}\nspec: {level: stateful, restart: allow}\n")
	node.Inject(hosttest.Fault{Op: hosttest.OpSet, Target: bad, Key: nf.KeyLevel})
	r := b.run()
	for range 3 {
		r.wake(agent.WakeDrift)
	}
	restarts := map[string]int{}
	for _, c := range node.Calls() {
		if c.Change.Key == nf.KeyRestart {
			restarts[c.Change.Target.ID]++
		}
	}
	if restarts[bad.ID] != 0 || restarts[other.ID] != 1 {
		t.Errorf("restarts %v", restarts)
	}
	calls, receipts := len(node.Calls()), b.receipts()
	s := r.wake(agent.WakeDrift)
	r.want(s, nf.LapFailed, nf.Stalled)
	if len(node.Calls()) != calls || b.receipts() != receipts {
		t.Errorf("calls %v, %d receipts", node.Calls()[calls:], b.receipts()-receipts)
	}
}

// TestFailedDirectory: the policies of a directory have no commit; another want is tried.
func TestFailedDirectory(t *testing.T) {
	b := newBench(t)
	bad := b.machine.AddContainer("bad")
	text := udpOfContainers(41)
	b.directory = func() (spec.Policies, error) {
		policies, _ := spec.Parse([]spec.File{{Name: "p.yaml", Data: []byte(text)}})
		return policies, nil
	}
	b.machine.Inject(hosttest.Fault{Op: hosttest.OpSet, Target: bad})
	r := b.run()
	tried := b.sets(bad)
	r.want(r.wake(agent.WakeFiles), nf.LapFailed, nf.Stalled)
	if b.sets(bad) != tried {
		t.Error("it was tried again")
	}
	b.machine.Heal()
	text = udpOfContainers(42)
	r.want(r.wake(agent.WakeFiles), nf.LapApplied, nf.Ready)
}

// TestBirthForgetsNothing: a lap for a container that is born does not make the agent forget what has failed
// or is fought over elsewhere.
func TestBirthForgetsNothing(t *testing.T) {
	b := newBench(t)
	bad, web := b.machine.AddContainer("bad"), b.machine.AddContainer("web")
	b.repo.commitText("c2", "c1", udpOfContainers(41))
	b.machine.Inject(hosttest.Fault{Op: hosttest.OpSet, Target: bad})
	r := b.run()
	for range 4 {
		b.machine.Put(web, udp, 99)
		r.wake(agent.WakeDrift)
	}
	tried := b.sets(bad)
	for _, name := range []string{"db", "mail"} {
		c, s := r.born(name)
		r.checkTarget(c, 41)
		if len(s.Fights) != 1 {
			t.Errorf("%+v", s.Fights)
		}
		r.wake(agent.WakeDrift)
	}
	r.checkTarget(web, 99)
	if got := b.sets(bad); got != tried {
		t.Errorf("it was tried %d times more", got-tried)
	}
}
