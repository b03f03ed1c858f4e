package vz_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nfsync.dev/nfsync/internal/netns"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/vz/vztest"
)

// After each event Refresh has the state and levels that the files show, without running a
// program.
func TestRefresh(t *testing.T) {
	type event struct {
		name        string
		do          func(*vztest.Node)
		from, to    string // states
		live, saved nf.Value
		same        bool // the instance
	}
	text, absent := levelValue, nf.Absent()
	on := func(do func(*vztest.Node, string)) func(*vztest.Node) {
		return func(n *vztest.Node) { do(n, "101") }
	}
	nothing := func(*vztest.Node) {}
	for _, e := range []event{
		{"nothing", nothing, nf.StateRunning, nf.StateRunning, text("full"), text("full"), true},
		{"nothing", nothing, nf.StateStopped, nf.StateStopped, absent, text("full"), true},
		{"nothing", nothing, nf.StateMounted, nf.StateMounted, absent, text("full"), true},
		{"nothing", nothing, nf.StatePaused, nf.StatePaused, text("full"), text("full"), true},
		{"nothing", nothing, nf.StateSuspended, nf.StateSuspended, text("full"), text("full"), true},
		{"start", on((*vztest.Node).Start), nf.StateStopped, nf.StateRunning, text("full"), text("full"), false},
		{"stop", on((*vztest.Node).Stop), nf.StateRunning, nf.StateStopped, absent, text("full"), false},
		{"restart", on((*vztest.Node).Restart), nf.StateRunning, nf.StateRunning, text("full"), text("full"), false},
		{"suspend", on((*vztest.Node).Suspend), nf.StateRunning, nf.StateSuspended, text("full"), text("full"), false},
		{"resume", on((*vztest.Node).Resume), nf.StateSuspended, nf.StateRunning, text("full"), text("full"), false},
		{"restart", on((*vztest.Node).Restart), nf.StateSuspended, nf.StateRunning, text("full"), text("full"), false},
		{"migrate", on((*vztest.Node).Migrate), nf.StateRunning, nf.StateRunning, text("full"), text("full"), false},
		{"start, suspend", func(n *vztest.Node) { n.Start("101"); n.Suspend("101") }, nf.StateStopped, nf.StateSuspended, text("full"), text("full"), false},
		{"drop its dump", func(n *vztest.Node) { n.Restart("101"); n.Stop("101") }, nf.StateSuspended, nf.StateStopped, absent, text("full"), false},
		{"save", func(n *vztest.Node) { save(n, "stateful") }, nf.StateRunning, nf.StateRunning, text("full"), text("stateful"), true},
		{"save", func(n *vztest.Node) { save(n, "stateful") }, nf.StateStopped, nf.StateStopped, absent, text("stateful"), true},
		{"save, restart", func(n *vztest.Node) { save(n, "stateful"); n.Restart("101") }, nf.StateRunning, nf.StateRunning, text("stateful"), text("stateful"), false},
		{"save, suspend, resume", func(n *vztest.Node) { save(n, "stateful"); n.Migrate("101") }, nf.StateRunning, nf.StateRunning, text("full"), text("stateful"), false},
	} {
		t.Run(e.from+", "+e.name, func(t *testing.T) {
			t.Parallel()
			n := vztest.New(t)
			n.Add(web(e.from), vztest.Container{ID: "102", State: nf.StateRunning})
			r := runtimeOn(t, n)
			c := listed(t, r, "101")
			before := c.Instance
			n.ForgetCalls()
			e.do(n)
			if err := r.Refresh(&c); err != nil {
				t.Fatal(err)
			}
			wantCalls(t, n)
			live, saved := levels(c)
			if c.State != e.to || live != e.live || saved != e.saved || c.Unobservable != "" || (c.Instance == before) != e.same {
				t.Errorf("%s, live %v, saved %v, unobservable %q, instance %s, before %s", c.State, live, saved, c.Unobservable, c.Instance, before)
			}
			if again := listed(t, r, "101"); again.Instance != c.Instance || again.State != c.State {
				t.Errorf("a listing has %s as %s, Refresh %s as %s", again.State, again.Instance, c.State, c.Instance)
			}
		})
	}
}

func TestRefreshOfARemovedContainer(t *testing.T) {
	t.Parallel()
	for _, state := range []string{nf.StateRunning, nf.StateStopped, nf.StateSuspended} {
		n := vztest.New(t)
		n.Add(web(state))
		r := runtimeOn(t, n)
		c := listed(t, r, "101")
		n.Remove("101")
		if err := r.Refresh(&c); !errors.Is(err, nf.ErrGone) {
			t.Errorf("%s: %v", state, err)
		}
	}
}

// An init that was killed leaves its files. The container is then unobservable: the files do
// not show that it stopped.
func TestRefreshAfterACrash(t *testing.T) {
	t.Parallel()
	n := vztest.New(t)
	n.Add(web(nf.StateRunning))
	r := runtimeOn(t, n)
	c := listed(t, r, "101")
	instance := c.Instance
	n.Crash("101")
	if err := r.Refresh(&c); err != nil || c.Unobservable == "" || c.Instance != "" {
		t.Errorf("%v, %+v", err, c)
	}
	if err := r.Enter("101", instance, func() error { t.Error("entered"); return nil }); !errors.Is(err, nf.ErrGone) {
		t.Error(err)
	}
}

// Each start of a container is an instance of its own, on this boot of the node and on the
// next.
func TestInstances(t *testing.T) {
	t.Parallel()
	n := vztest.New(t)
	n.Add(web(nf.StateRunning), vztest.Container{ID: "102", State: nf.StateSuspended})
	r := runtimeOn(t, n)
	seen := map[string]string{}
	observe := func(when string) {
		t.Helper()
		c := listed(t, r, "101")
		if c.Instance != listed(t, r, "101").Instance {
			t.Errorf("%s: a second listing has another instance", when)
		}
		if earlier, ok := seen[c.Instance]; ok || c.Instance == "" || !strings.HasPrefix(c.Instance, r.BootID+"/") {
			t.Errorf("%s: instance %q was also seen after: %s", when, c.Instance, earlier)
		}
		seen[c.Instance] = when
	}
	observe("the start")
	n.Restart("101")
	observe("a restart")
	n.Suspend("101")
	n.Resume("101")
	observe("suspending and resuming")
	n.Migrate("101")
	observe("a migration")
	n.Stop("101")
	n.Start("101")
	observe("a stop and a start")
	n.Reboot()
	r.BootID = "boot-2"
	observe("a restart of the node")
	if c := listed(t, r, "102"); c.State != nf.StateSuspended || c.Instance != nf.InstanceSuspended {
		t.Errorf("%+v", c)
	}
	// The boot id is part of the instance, even of the same process.
	r.BootID = "boot-3"
	observe("another boot id")
}

// A restart of the node cold starts every container, with its saved level.
func TestNodeRestartBringsSavedLevels(t *testing.T) {
	t.Parallel()
	n := vztest.New(t)
	n.Add(web(nf.StateRunning))
	r := runtimeOn(t, n)
	c := listed(t, r, "101")
	if err := r.SaveLevel(t.Context(), &c, nf.LevelDisabled); err != nil {
		t.Fatal(err)
	}
	n.Reboot()
	r.BootID = "boot-2"
	if live, saved := levels(listed(t, r, "101")); live != nf.LevelDisabled.Value() || saved != live {
		t.Errorf("live %v, saved %v", live, saved)
	}
}

// Enter enters the network namespace of that instance, and no other.
func TestEnter(t *testing.T) {
	t.Parallel()
	n := vztest.New(t)
	n.Add(web(nf.StateRunning), vztest.Container{ID: "102", State: nf.StateRunning, SharedNet: true}, vztest.Container{ID: "103"})
	r := runtimeOn(t, n)
	c := listed(t, r, "101")
	want, err := netns.Identify(filepath.Join(n.Root(), "var/run/netns/101"))
	if err != nil {
		t.Fatal(err)
	}
	inside := errors.New("of f")
	err = r.Enter("101", c.Instance, func() error {
		if got, err := netns.Identify("/proc/thread-self/ns/net"); err != nil || got != want || got == r.NodeNamespaces[0] {
			t.Errorf("inside %v, want %v, %v", got, want, err)
		}
		return inside
	})
	if !errors.Is(err, inside) {
		t.Error(err)
	}
	never := func() error { t.Error("entered"); return nil }
	for _, id := range []string{"102", "103", "104", "../101", ""} {
		for _, instance := range []string{"", c.Instance, nf.InstanceStopped} {
			if err := r.Enter(id, instance, never); err == nil {
				t.Errorf("%q was entered", id)
			}
		}
	}
	for _, change := range []func(string){n.Restart, n.Suspend, n.Resume, n.Stop, n.Remove} {
		change("101")
		if err := r.Enter("101", c.Instance, never); !errors.Is(err, nf.ErrGone) {
			t.Error(err)
		}
	}
}

// No thread of the process stays in a container's network namespace.
func TestListLeavesNoThreadBehind(t *testing.T) {
	n := everyState(t)
	r := runtimeOn(t, n)
	list(t, r)
	home, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	tasks, err := filepath.Glob("/proc/self/task/*/ns/net")
	if err != nil || len(tasks) == 0 {
		t.Fatal(tasks, err)
	}
	for _, task := range tasks {
		if link, err := os.Readlink(task); err == nil && link != home {
			t.Errorf("%s is %s", task, link)
		}
	}
}
