package agent_test

import (
	"strings"
	"testing"
	"time"

	"nfsync.dev/nfsync/internal/agent"
	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/nf"
)

// seen lists the containers of an overview.
func seen(o apply.Overview) string {
	var list []string
	for _, c := range o.Containers {
		list = append(list, c.Target.Name)
	}
	return strings.Join(list, " ")
}

// TestOverviewOfLaps: a lap for a container that was born adds it, one that does not look at the node leaves
// what was seen, and one for the whole node forgets what is gone.
func TestOverviewOfLaps(t *testing.T) {
	b := newBench(t)
	b.repo.commitText("c1", "", containerPolicy)
	web := b.machine.AddContainer("web")
	r := b.run()
	if got := seen(r.agent.Overview()); got != "web" {
		t.Errorf("after the first lap: %s", got)
	}
	b.machine.AddContainer("zoo")
	r.born("db")
	o := r.agent.Overview()
	if got := seen(o); got != "db web" || len(o.Node) == 0 || o.Partial {
		t.Errorf("after a birth: %s, %+v", got, o.Node)
	}
	s := r.wake(agent.WakeInterval)
	if got := seen(r.agent.Overview()); s.LastLap.Result != nf.LapUnchanged || got != "db web" {
		t.Errorf("after a lap that looked at nothing (%s): %s", s.LastLap.Result, got)
	}
	b.machine.Remove(web)
	r.wake(agent.WakeSync)
	if got := seen(r.agent.Overview()); got != "db zoo" {
		t.Errorf("after a lap for the whole node: %s", got)
	}
}

// TestOverviewOfSuspended: who is suspended goes on to look.
func TestOverviewOfSuspended(t *testing.T) {
	b := newBench(t)
	b.repo.commitText("c1", "", containerPolicy)
	r := b.run()
	if err := r.agent.Suspend(&nf.Suspension{Since: time.Now(), Reason: "x"}); err != nil {
		t.Fatal(err)
	}
	r.next()
	b.machine.AddContainer("web")
	r.wake(agent.WakeDrift)
	if got := seen(r.agent.Overview()); got != "web" {
		t.Errorf("%s", got)
	}
}

// TestChanges: each new status is a change; those that nobody has received are one; and after the end
// there is none.
func TestChanges(t *testing.T) {
	b := newBench(t)
	r := b.run()
	changes, done := r.agent.Changes()
	select {
	case <-changes:
		t.Error("a change before anything has changed")
	default:
	}
	r.wake(agent.WakeDrift)
	r.wake(agent.WakeDrift)
	<-changes
	select {
	case <-changes:
		t.Error("two changes that nobody has received are two")
	default:
	}
	done()
	r.wake(agent.WakeDrift)
	select {
	case <-changes:
		t.Error("a change after the end")
	default:
	}
}
