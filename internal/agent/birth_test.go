package agent_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"nfsync.dev/nfsync/internal/agent"
	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/host/hosttest"
	"nfsync.dev/nfsync/internal/nf"
)

const containerPolicy = `apiVersion: nfsync.dev/v1alpha1
kind: ContainerPolicy
metadata: {name: all}
spec:
  containers: {names: ["*"]}
  conntrack: {timeouts: {udp: 42}}
---
apiVersion: nfsync.dev/v1alpha1
kind: NodePolicy
metadata: {name: node}
spec:
  conntrack: {timeouts: {udp: 41}}
`

// born adds a container and wakes the lap for it.
func (r *running) born(name string) (nf.Target, nf.NodeStatus) {
	r.Helper()
	c := r.machine.AddContainer(name)
	r.agent.WakeBirth(nf.Container{Runtime: nf.RuntimeNetns, ID: name})
	return c, r.next()
}

func (b *bench) checkTarget(t nf.Target, n int64) {
	b.Helper()
	if got := b.machine.Value(t, udp); got != nf.Number(n) {
		b.Errorf("%s has %s, want %d", t, udp.Text(got), n)
	}
}

// TestBirth: a container that is born gets its values, and nothing else is looked at or
// forgotten.
func TestBirth(t *testing.T) {
	b := newBench(t)
	b.repo.commitText("c1", "", containerPolicy)
	web, bad := b.machine.AddContainer("web"), b.machine.AddContainer("bad")
	b.machine.Inject(hosttest.Fault{Op: hosttest.OpSet, Target: bad, Err: errors.New("it fails")})
	r := b.run()
	before := r.agent.Status()
	r.want(before, nf.LapFailed)
	r.machine.Heal()
	r.machine.Put(web, udp, 99)
	r.machine.Put(nf.Node, udp, 98)

	db, s := r.born("db")
	r.checkTarget(db, 42)
	r.checkTarget(web, 99)
	r.checkTarget(nf.Node, 98)
	r.want(s, nf.LapApplied)
	if s.LastLap.Causes[0] != "container" || s.LastLap.Applied != 1 || len(s.Changes) != len(before.Changes) || s.Summary.InSync != before.Summary.InSync+1 {
		t.Errorf("%+v, %+v", s.LastLap, s.Summary)
	}
	s = r.wake(agent.WakeSync)
	r.checkTarget(web, 42)
	r.checkTarget(nf.Node, 41)
	r.want(s, nf.LapApplied, nf.Ready)
	if s.LastLap.Applied != 3 {
		t.Errorf("%d changes: what was known of the others is forgotten", s.LastLap.Applied)
	}
	if memory, err := r.state.Memory(); err != nil || len(memory.Keys) != 4 {
		t.Errorf("%+v, %v", memory.Keys, err)
	}
}

// TestBirthOfOthers: a lap for the whole node is made where one for the container alone cannot
// settle it.
func TestBirthOfOthers(t *testing.T) {
	for name, test := range map[string]struct {
		before func(b *bench, r *running)
		result nf.LapResult
		value  int64
	}{
		"it fails once": {func(b *bench, _ *running) {
			b.machine.Inject(hosttest.Fault{Op: hosttest.OpSet, Err: errors.New("it fails"), Times: 1})
		}, nf.LapApplied, 42},
		"suspended": {func(b *bench, _ *running) {
			if err := b.state.SaveSuspension(&nf.Suspension{Reason: "moving", By: "ada"}); err != nil {
				b.Fatal(err)
			}
		}, nf.LapObserved, 30},
		"unreadable memory": {func(b *bench, _ *running) { b.damage("memory") }, nf.LapError, 30},
		"no revision":       {func(b *bench, r *running) { b.damage("lastgood"); r.wake(agent.WakeDrift) }, nf.LapError, 30},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.repo.commitText("c1", "", containerPolicy)
			r := b.run()
			test.before(b, r)
			db, s := r.born("db")
			r.checkTarget(db, test.value)
			if s.LastLap.Result != test.result || s.LastLap.Causes[0] != "container" {
				t.Errorf("%+v", s.LastLap)
			}
		})
	}
}

const labelPolicy = `apiVersion: nfsync.dev/v1alpha1
kind: ContainerPolicy
metadata: {name: web}
spec:
  containers: {labels: {app: web}}
  conntrack: {timeouts: {udp: 42}}
`

// TestBirthWithLabels: laps ask for labels if the policies select by them, also at the birth of a
// container. One that is born with unknown labels, or is a container of another runtime, gets a lap for
// the whole node.
func TestBirthWithLabels(t *testing.T) {
	b := newBench(t)
	b.repo.commitText("c1", "", labelPolicy)
	web := b.machine.AddContainerOf(nf.RuntimeDocker, "web")
	b.machine.SetLabels(web, map[string]string{"app": "web"})
	r := b.run()
	r.checkTarget(web, 42)

	db := b.machine.AddContainer("db")
	b.machine.SetLabels(db, map[string]string{"app": "web"})
	asked := b.machine.Labelled()
	r.agent.WakeBirth(nf.Container{Runtime: nf.RuntimeNetns, ID: "db"})
	r.next()
	r.checkTarget(db, 42)
	if b.machine.Labelled() != asked+1 {
		t.Errorf("asked for labels %d times", b.machine.Labelled()-asked)
	}

	dns := b.machine.AddContainer("dns")
	b.machine.SetLabelsUnknown(dns, "no answer")
	r.agent.WakeBirth(nf.Container{Runtime: nf.RuntimeNetns, ID: "dns"})
	s := r.next()
	if !slices.ContainsFunc(s.Warnings, func(w nf.Warning) bool { return w.Code == nf.WarnLabelsUnknown }) {
		t.Errorf("%+v", s.Warnings)
	}

	shop := b.machine.AddContainerOf(nf.RuntimePodman, "shop")
	b.machine.SetLabels(shop, map[string]string{"app": "web"})
	r.agent.WakeBirth(nf.Container{Runtime: nf.RuntimeNetns, ID: "netns-of-shop"})
	r.next()
	r.checkTarget(shop, 42)
}

// damage damages a file of the state.
func (b *bench) damage(name string) {
	b.Helper()
	if err := os.WriteFile(filepath.Join(b.path, name), []byte("garbage"), 0o600); err != nil {
		b.Fatal(err)
	}
}

// TestBirthKeepsErrors: what the last fetch has brought and could not be enforced stays known.
func TestBirthKeepsErrors(t *testing.T) {
	b := newBench(t)
	b.repo.commitText("c1", "", containerPolicy)
	r := b.run()
	r.repo.texts["c2"], r.repo.parents["c2"], r.repo.tip = "nonsense", "c1", "c2"
	r.want(r.wake(agent.WakeSync), nf.LapFallback, nf.Stalled)
	_, s := r.born("db")
	r.want(s, nf.LapApplied, nf.Stalled)
	if len(s.Errors) == 0 || s.Condition(nf.Ready).Reason != "InvalidPolicies" {
		t.Errorf("%+v", s)
	}
	r.repo.commitText("c2", "c1", containerPolicy)
	r.want(r.wake(agent.WakeInterval), nf.LapInSync, nf.Ready)
}

// begunMachine is a machine that knows which containers run their programs, by their names.
type begunMachine struct {
	*hosttest.Machine
	begun []string
}

func (m begunMachine) HasBegun(c *nf.Container) bool { return slices.Contains(m.begun, c.Name) }

// TestLate: a change of a container that has begun since the last lap is late. One of a container that has not
// begun, or that was there before, is not.
func TestLate(t *testing.T) {
	b := newBench(t)
	b.in.Apply.Machine = begunMachine{b.machine, []string{"old", "begun", "missed"}}
	b.repo.commitText("c1", "", containerPolicy)
	old := b.machine.AddContainer("old")
	r := b.run()
	r.checkLate("the first lap", "old=false")

	r.born("fresh")
	r.checkLate("a birth", "fresh=false")
	begun, _ := r.born("begun")
	r.checkLate("a birth that was seen too late", "begun=true")
	r.machine.AddContainer("missed")
	r.machine.AddContainer("waiting")
	r.machine.Put(old, udp, 99)
	r.machine.Put(begun, udp, 99)
	r.wake(agent.WakeSync)
	r.checkLate("a lap for the whole node", "begun=false", "missed=true", "old=false", "waiting=false")
}

// checkLate checks which changes of containers in the last receipt were late.
func (b *bench) checkLate(step string, want ...string) {
	b.Helper()
	receipt, err := apply.FindReceipt(b.path, apply.LatestReceipt)
	if err != nil {
		b.Fatal(err)
	}
	var got []string
	for _, c := range receipt.Results {
		if c.Target != nf.Node {
			got = append(got, fmt.Sprintf("%s=%t", c.Target.ID, c.Late))
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		b.Errorf("%s: late are %v, want %v", step, got, want)
	}
}
