package vz_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/vz/vztest"
)

// web returns the container that the tests change.
func web(state string) vztest.Container {
	return vztest.Container{ID: "101", UUID: uuid1, Name: "web", Saved: "full", State: state}
}

// The calls that save stateful for web.
const (
	savePrlctl = "prlctl set " + uuid1 + " --netfilter stateful"
	saveVzctl  = "vzctl set 101 --netfilter stateful --save"
)

// TestSaveLevel checks which program runs for a container in each state. Success is the
// level in ve.conf afterwards, whatever the exit status. No container is started, stopped or
// restarted.
func TestSaveLevel(t *testing.T) {
	for name, test := range map[string]struct {
		add   vztest.Container
		spoil func(*vztest.Node)
		calls string // separated by |
		saved string // in ve.conf afterwards
		fails string
	}{
		"stopped":                  {web(""), nil, savePrlctl, "stateful", ""},
		"mounted":                  {web(nf.StateMounted), nil, savePrlctl, "stateful", ""},
		"suspended":                {web(nf.StateSuspended), nil, savePrlctl, "stateful", ""},
		"running: exit 32":         {web(nf.StateRunning), nil, saveVzctl, "stateful", ""},
		"paused: exit 32":          {web(nf.StatePaused), nil, saveVzctl, "stateful", ""},
		"saved already":            {vztest.Container{ID: "101", UUID: uuid1, Saved: "stateful"}, nil, "", "stateful", ""},
		"saved already, running":   {vztest.Container{ID: "101", UUID: uuid1, Saved: "stateful", State: nf.StateRunning}, nil, "", "stateful", ""},
		"nothing saved before":     {vztest.Container{ID: "101", UUID: uuid1}, nil, savePrlctl, "stateful", ""},
		"IPTABLES= before":         {vztest.Container{ID: "101", UUID: uuid1, IPTables: "iptable_nat"}, nil, savePrlctl, "stateful", ""},
		"a name that is an option": {vztest.Container{ID: "101", UUID: uuid1, Name: "--help", Saved: "full"}, nil, savePrlctl, "stateful", ""},
		"no prlctl":                {web(""), remove("usr/bin/prlctl"), saveVzctl, "stateful", ""},
		"no vzctl, running":        {web(nf.StateRunning), remove("usr/sbin/vzctl"), "", "full", "cannot find vzctl in "},
		"started meanwhile":        {web(""), func(n *vztest.Node) { n.Start("101") }, saveVzctl, "stateful", ""},
		"started while it runs": {web(""), func(n *vztest.Node) {
			n.Misbehave(vztest.Fault{Verb: "set", Before: func() { n.Run("vzctl", "start", "101") }})
		}, savePrlctl, "full", "for the running Container"},
		"dispatcher down":          {web(""), func(n *vztest.Node) { n.StopDispatcher() }, savePrlctl, "full", "prl-disp.service"},
		"dispatcher down, running": {web(nf.StateRunning), func(n *vztest.Node) { n.StopDispatcher() }, saveVzctl, "stateful", ""},
		"locked, running":          {web(nf.StateRunning), func(n *vztest.Node) { n.Lock("101", true) }, saveVzctl, "full", "exit 9 (locked"},
		"warnings and exit 0":      {web(""), fault(vztest.Fault{Stderr: "ERROR: not really\n"}), savePrlctl, "stateful", ""},
		"done, and exit 255":       {web(""), fault(vztest.Fault{Verb: "set", Exit: 255}), savePrlctl, "stateful", ""},
		"done, and exit 139":       {web(nf.StateRunning), fault(vztest.Fault{Verb: "set", Exit: 139}), saveVzctl, "stateful", ""},
		"not done, and exit 0":     {web(""), fault(vztest.Fault{Verb: "set", Skip: true}), savePrlctl, "full", "exited with 0, but the saved level is full"},
		"not done, and exit 32":    {web(nf.StateRunning), fault(vztest.Fault{Verb: "set", Skip: true, Exit: 32}), saveVzctl, "full", "exit 32"},
		"not done, and exit 8":     {web(""), fault(vztest.Fault{Verb: "set", Skip: true, Exit: 8, Stderr: "WARNING: deprecated\nNo space left\n"}), savePrlctl, "full", "No space left"},
		"prlctl hangs":             {web(""), fault(vztest.Fault{Verb: "set", Hang: true}), savePrlctl, "full", "no answer within"},
		"vzctl hangs":              {web(nf.StateRunning), fault(vztest.Fault{Verb: "set", Hang: true}), saveVzctl, "full", "no answer within"},
		"its child lingers":        {web(""), fault(vztest.Fault{Verb: "set", Linger: true}), savePrlctl, "stateful", ""},
		"not known to dispatcher":  {vztest.Container{ID: "101", UUID: uuid1, Saved: "full", Unregistered: true}, nil, savePrlctl, "full", "could not be found"},
		"another level meanwhile": {web(""), func(n *vztest.Node) {
			n.Misbehave(vztest.Fault{Verb: "set", Skip: true, Before: func() { save(n, "disabled") }})
		}, savePrlctl, "disabled", "the saved level is disabled"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := vztest.New(t)
			n.Add(test.add, vztest.Container{ID: "102", Saved: "disabled"})
			r := runtimeOn(t, n)
			r.Timeouts.Set = generousTimeout(t, n)
			c := listed(t, r, "101")
			n.ForgetCalls()
			if test.spoil != nil {
				test.spoil(n)
			}
			pid := n.Pid("101")
			err := r.SaveLevel(t.Context(), &c, nf.LevelStateful)
			if (err == nil) != (test.fails == "") || err != nil && !strings.Contains(err.Error(), test.fails) {
				t.Errorf("%v, want %q", err, test.fails)
			}
			if strings.Contains(name, "hangs") {
				wantEnded(t, n)
			}
			var calls []string
			if test.calls != "" {
				calls = strings.Split(test.calls, "|")
			}
			wantCalls(t, n, calls...)
			if started := n.Pid("101") != pid; n.Saved("101") != test.saved || n.Saved("102") != "disabled" || started != (name == "started while it runs") {
				t.Errorf("saved %s and %s, started %v", n.Saved("101"), n.Saved("102"), started)
			}
		})
	}
}

// The name is not passed to a program: another container may have it.
func TestSaveLevelNeverUsesTheName(t *testing.T) {
	t.Parallel()
	n := vztest.New(t)
	n.Add(web(nf.StateStopped), vztest.Container{ID: "102", UUID: uuid2, Name: "shop", Saved: "disabled"})
	r := runtimeOn(t, n)
	c := listed(t, r, "101")
	c.UUID, c.Name = "", "shop"
	n.ForgetCalls()
	if err := r.SaveLevel(t.Context(), &c, nf.LevelStateful); err != nil || n.Saved("101") != "stateful" || n.Saved("102") != "disabled" {
		t.Errorf("%v, saved %s and %s", err, n.Saved("101"), n.Saved("102"))
	}
	wantCalls(t, n, saveVzctl)
}

// save saves a level of web as an administrator would.
func save(n *vztest.Node, level string) {
	n.Run("vzctl", "set", "101", "--netfilter", level, "--save", "--setmode", "ignore")
}

// vzctl would create a configuration for a container that does not exist, so no program
// runs.
func TestSaveLevelOfARemovedContainer(t *testing.T) {
	for name, end := range map[string]func(*vztest.Node){
		"removed": func(n *vztest.Node) { n.Remove("101") },
		"recreated": func(n *vztest.Node) {
			n.Remove("101")
			n.Add(vztest.Container{ID: "101", UUID: uuid2, Saved: "full"})
		},
	} {
		for _, state := range []string{nf.StateStopped, nf.StateRunning} {
			t.Run(name+", "+state, func(t *testing.T) {
				t.Parallel()
				n := vztest.New(t)
				n.Add(web(state))
				r := runtimeOn(t, n)
				c := listed(t, r, "101")
				n.ForgetCalls()
				end(n)
				if err := r.SaveLevel(t.Context(), &c, nf.LevelStateful); !errors.Is(err, nf.ErrGone) {
					t.Error(err)
				}
				wantCalls(t, n)
			})
		}
	}
}

// A container that is removed while the program runs is nf.ErrGone, and the program leaves no
// configuration.
func TestSaveLevelOfAContainerRemovedMeanwhile(t *testing.T) {
	t.Parallel()
	n := vztest.New(t)
	n.Add(web(""))
	r := runtimeOn(t, n)
	c := listed(t, r, "101")
	n.Misbehave(vztest.Fault{Verb: "set", Before: func() { n.Remove("101") }})
	n.ForgetCalls()
	if err := r.SaveLevel(t.Context(), &c, nf.LevelStateful); !errors.Is(err, nf.ErrGone) {
		t.Error(err)
	}
	wantCalls(t, n, savePrlctl)
	if _, err := os.Lstat(filepath.Join(n.Root(), "etc/vz/conf/101.conf")); err == nil {
		t.Error("the program left a configuration")
	}
}

func TestSaveLevelTakesLevelsOnly(t *testing.T) {
	t.Parallel()
	n := vztest.New(t)
	n.Add(web(""))
	r := runtimeOn(t, n)
	c := listed(t, r, "101")
	n.ForgetCalls()
	for _, level := range []nf.Level{nf.LevelUnset, nf.LevelFull + 1, -1} {
		if err := r.SaveLevel(t.Context(), &c, level); err == nil {
			t.Errorf("%s was saved", level)
		}
	}
	c.ID = "../101"
	if err := r.SaveLevel(t.Context(), &c, nf.LevelStateful); !errors.Is(err, nf.ErrGone) {
		t.Error(err)
	}
	wantCalls(t, n)
}

// The call that restarts web.
const restartVzctl = "vzctl restart 101"

// A restart succeeds if another instance runs afterwards, whatever the exit status.
func TestRestart(t *testing.T) {
	for name, test := range map[string]struct {
		spoil func(*vztest.Node)
		calls string
		state string // of the container afterwards
		fails string
	}{
		"as it should be":      {nil, restartVzctl, nf.StateRunning, ""},
		"dispatcher down":      {func(n *vztest.Node) { n.StopDispatcher() }, restartVzctl, nf.StateRunning, ""},
		"locked":               {func(n *vztest.Node) { n.Lock("101", true) }, restartVzctl, nf.StateRunning, "exit 9 (locked"},
		"does not start again": {func(n *vztest.Node) { n.FailStart("101", true) }, restartVzctl, nf.StateStopped, "exit 3"},
		"done, and exit 8":     {fault(vztest.Fault{Verb: "restart", Exit: 8}), restartVzctl, nf.StateRunning, ""},
		"not done, and exit 0": {fault(vztest.Fault{Verb: "restart", Skip: true}), restartVzctl, nf.StateRunning, "the container was not restarted"},
		"stopped, and exit 0": {func(n *vztest.Node) {
			n.Misbehave(vztest.Fault{Verb: "restart", Skip: true, Before: func() { n.Stop("101") }})
		}, restartVzctl, nf.StateStopped, "does not run"},
		"hangs":             {fault(vztest.Fault{Verb: "restart", Hang: true}), restartVzctl, nf.StateRunning, "no answer within"},
		"its child lingers": {fault(vztest.Fault{Verb: "restart", Linger: true}), restartVzctl, nf.StateRunning, ""},
		"no vzctl":          {remove("usr/sbin/vzctl"), "", nf.StateRunning, "cannot find vzctl in "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := vztest.New(t)
			n.Add(web(nf.StateRunning))
			r := runtimeOn(t, n)
			r.Timeouts.Restart = generousTimeout(t, n)
			c := listed(t, r, "101")
			save(n, "stateful")
			n.ForgetCalls()
			if test.spoil != nil {
				test.spoil(n)
			}
			pid := n.Pid("101")
			err := r.Restart(t.Context(), &c)
			if (err == nil) != (test.fails == "") || err != nil && (!strings.Contains(err.Error(), test.fails) || errors.Is(err, nf.ErrGone)) {
				t.Errorf("%v, want %q", err, test.fails)
			}
			if name == "hangs" {
				wantEnded(t, n)
			}
			if n.State("101") != test.state {
				t.Errorf("state %s", n.State("101"))
			}
			if err == nil && n.Pid("101") == pid {
				t.Error("it was not restarted")
			}
			var calls []string
			if test.calls != "" {
				calls = []string{test.calls}
			}
			wantCalls(t, n, calls...)
		})
	}
}

// A container is not restarted if the instance to restart has ended.
func TestRestartOfAnotherInstance(t *testing.T) {
	for name, change := range map[string]func(*vztest.Node){
		"removed":   func(n *vztest.Node) { n.Remove("101") },
		"stopped":   func(n *vztest.Node) { n.Stop("101") },
		"suspended": func(n *vztest.Node) { n.Suspend("101") },
		"restarted": func(n *vztest.Node) { n.Restart("101") },
		"recreated": func(n *vztest.Node) {
			n.Remove("101")
			n.Add(vztest.Container{ID: "101", UUID: uuid2, Saved: "full", State: nf.StateRunning})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := vztest.New(t)
			n.Add(web(nf.StateRunning))
			r := runtimeOn(t, n)
			c := listed(t, r, "101")
			n.ForgetCalls()
			change(n)
			if err := r.Restart(t.Context(), &c); !errors.Is(err, nf.ErrGone) {
				t.Error(err)
			}
			wantCalls(t, n)
		})
	}
}

// A change ends with its context, and so do the processes that it started.
func TestChangesAreCancelled(t *testing.T) {
	t.Parallel()
	n := vztest.New(t)
	n.Add(web(nf.StateRunning))
	r := runtimeOn(t, n)
	c := listed(t, r, "101")
	n.Misbehave(vztest.Fault{Hang: true})
	for name, change := range map[string]func(context.Context) error{
		"save":    func(ctx context.Context) error { return r.SaveLevel(ctx, &c, nf.LevelStateful) },
		"restart": func(ctx context.Context) error { return r.Restart(ctx, &c) },
	} {
		ctx, cancel := context.WithCancel(t.Context())
		failed := make(chan error)
		go func() { failed <- change(ctx) }()
		if !n.AwaitHang(t.Context()) {
			t.Fatal("the program does not hang")
		}
		cancel()
		select {
		case err := <-failed:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v", name, err)
			}
		case <-time.After(time.Minute):
			t.Fatalf("%s still runs", name)
		}
		wantEnded(t, n)
	}
}

// A level that was saved for a running container is live after a restart. Suspending,
// resuming and migrating bring the old level again.
func TestStageAndStart(t *testing.T) {
	t.Parallel()
	n := vztest.New(t)
	n.Add(web(nf.StateRunning))
	r := runtimeOn(t, n)
	c := listed(t, r, "101")
	want := func(when string, live, saved nf.Level) {
		t.Helper()
		c = listed(t, r, "101")
		if l, s := levels(c); l != live.Value() || s != saved.Value() {
			t.Errorf("%s: live %v, saved %v", when, l, s)
		}
	}
	if err := r.SaveLevel(t.Context(), &c, nf.LevelStateless); err != nil {
		t.Fatal(err)
	}
	want("saved", nf.LevelFull, nf.LevelStateless)
	n.Suspend("101")
	want("suspended", nf.LevelFull, nf.LevelStateless)
	n.Resume("101")
	want("resumed", nf.LevelFull, nf.LevelStateless)
	n.Migrate("101")
	want("migrated", nf.LevelFull, nf.LevelStateless)
	if err := r.Restart(t.Context(), &c); err != nil {
		t.Fatal(err)
	}
	want("restarted", nf.LevelStateless, nf.LevelStateless)
	// The write of the mask at a start can fail without a message: the live level is that of
	// the mask file.
	n.RefuseMask("101", true)
	if err := r.SaveLevel(t.Context(), &c, nf.LevelFull); err != nil {
		t.Fatal(err)
	}
	if err := r.Restart(t.Context(), &c); err != nil {
		t.Fatal(err)
	}
	want("restarted, and the mask refused", nf.LevelStateless, nf.LevelFull)
}

// Each change runs one process, however many containers there are.
func TestChangeAmongMany(t *testing.T) {
	t.Parallel()
	n := vztest.New(t)
	for i := range 300 {
		n.Add(vztest.Container{ID: fmt.Sprint(1000 + i), Saved: "full"})
	}
	r := runtimeOn(t, n)
	found := list(t, r)
	n.ForgetCalls()
	var want []string
	for _, i := range []int{0, 150, 299} {
		c := found.Containers[i]
		if err := r.SaveLevel(t.Context(), &c, nf.LevelDisabled); err != nil {
			t.Fatal(err)
		}
		want = append(want, "prlctl set "+c.UUID+" --netfilter disabled")
	}
	wantCalls(t, n, want...)
}
