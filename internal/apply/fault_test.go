package apply_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/host/hosttest"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/state"
)

// A second nfsync says who is at work, and changes nothing.
func TestTwoAtOnce(t *testing.T) {
	b := newBench(t)
	b.wantNumber(nf.Node, udp, 60)
	tried := false
	b.when(nf.Node, udp, func() {
		tried = true
		other := b.input()
		other.Progress = nil
		_, err := apply.Run(context.Background(), other)
		if !errors.Is(err, apply.ErrLocked) || !strings.Contains(err.Error(), fmt.Sprintf("process %d holds %s", os.Getpid(), filepath.Join(b.runDir, "lock"))) {
			t.Errorf("second run: %v", err)
		}
		for _, accept := range []bool{false, true} {
			if _, err := apply.Recover(context.Background(), apply.RecoverInput{Machine: b.machine, State: b.state, RunDir: b.runDir, Accept: accept}); !errors.Is(err, apply.ErrLocked) {
				t.Errorf("recover beside a run: %v", err)
			}
		}
	})
	b.ok(0)
	if !tried {
		t.Error("there was no second run")
	}
	b.ok(0) // the lock is free again
}

// Who holds the lock runs within it, and keeps it afterwards.
func TestRunWithinALock(t *testing.T) {
	b := newBench(t)
	b.wantNumber(nf.Node, udp, 60)
	unlock, err := apply.Lock(b.runDir)
	if err != nil {
		t.Fatal(err)
	}
	in := b.input()
	in.Locked = true
	if r, err := apply.Run(context.Background(), in); err != nil || r.Summary.Applied != 1 {
		t.Errorf("within the lock: %+v, %v", r.Summary, err)
	}
	if _, err := apply.Lock(b.runDir); !errors.Is(err, apply.ErrLocked) {
		t.Errorf("the run has given the lock back: %v", err)
	}
	unlock()
	b.ok(0)
}

// A file that is damaged or unreadable stops the run before it changes
// anything, and names the file; what the journal and the stuck record were can
// be accepted.
func TestDamagedState(t *testing.T) {
	for _, name := range []string{"memory", "journal", "stuck"} {
		for what, text := range map[string]string{"empty": "", "garbage": "garbage\n", "zeros": "\x00\x00\x00\x00\x00\x00\x00\x00\x00"} {
			b := newBench(t)
			b.wantNumber(nf.Node, udp, 60)
			path := filepath.Join(b.path, name)
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := b.run()
			if !errors.Is(err, state.ErrDamaged) || !strings.Contains(err.Error(), path) || len(b.machine.Calls()) != 0 {
				t.Errorf("%s %s: %v, %d changes", name, what, err, len(b.machine.Calls()))
			}
			if name == "memory" {
				continue
			}
			if _, err := apply.Recover(context.Background(), apply.RecoverInput{Machine: b.machine, State: b.state, RunDir: b.runDir}); !errors.Is(err, state.ErrDamaged) {
				t.Errorf("%s %s: recover: %v", name, what, err)
			}
			b.recover(true)
			b.ok(0)
		}
	}
}

// Whichever write fails: before the first change nothing is changed, after it
// the run says so, and the next one finds everything in order.
func TestDiskFails(t *testing.T) {
	for fail := 1; ; fail++ {
		b := newBench(t)
		b.wantNumber(nf.Node, icmp, 20)
		b.wantNumber(nf.Node, udp, 60)
		calls, failed := 0, false
		b.disk.Before = func(string, string) error {
			if calls++; calls >= fail {
				failed = true
				return unix.ENOSPC
			}
			return nil
		}
		r, err := b.run()
		b.disk.Before = nil
		if !failed {
			if err != nil {
				t.Fatal(err)
			}
			if fail < 8 {
				t.Errorf("only %d calls of the disk", fail-1)
			}
			return
		}
		made := len(b.machine.Calls()) > 0
		if !errors.Is(err, unix.ENOSPC) || made != (r.Kind != "") {
			t.Fatalf("call %d: %v, receipt %q, changes made %v", fail, err, r.Kind, made)
		}
		b.open()
		again := b.ok(0)
		b.reads(nf.Node, udp, 60)
		if made && len(again.Results) != 0 {
			t.Errorf("call %d: made again: %v", fail, again.Results)
		}
		m, _ := b.state.Memory()
		if len(m.Keys) != 2 || !m.Keys[0].Set || !m.Keys[1].Set {
			t.Errorf("call %d: it is forgotten that nfsync has set the keys: %v", fail, m.Keys)
		}
	}
}

// A user who may not write gets the plan where there is nothing to change, and
// an error where there is.
func TestNotPermitted(t *testing.T) {
	for name, prepare := range map[string]func(*bench, *apply.Input){
		"no state directory": func(_ *bench, in *apply.Input) { in.State = nil },
		"no lock": func(b *bench, in *apply.Input) {
			in.RunDir = filepath.Join(b.runDir, "closed")
			if err := os.Mkdir(in.RunDir, 0o500); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.wantNumber(nf.Node, udp, 60)
			in := b.input()
			prepare(b, &in)
			_, err := runAsNobody(in)
			if err == nil || !strings.Contains(err.Error(), "cannot make 1 changes as this user") || len(b.machine.Calls()) != 0 {
				t.Errorf("with something to change: %v", err)
			}
			b.machine.Deny(nf.AbilityNode, "no CAP_NET_ADMIN")
			r, err := runAsNobody(in)
			if err != nil || len(r.Refusals) != 1 || r.Refusals[0].Code != nf.NotPermitted || exitOf(r.Verdict()) != 3 {
				t.Errorf("with nothing to change: %v, %+v", err, r)
			}
		})
	}
}

// runAsNobody runs on a thread without privileges over files, which then dies.
// Whoever has none runs as themselves.
func runAsNobody(in apply.Input) (r apply.Receipt, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if os.Geteuid() == 0 {
			if err = unix.Setfsuid(65534); err != nil {
				return
			}
		}
		r, err = apply.Run(context.Background(), in)
	}()
	<-done
	return r, err
}

// What keeps the node from being observed is an error, and changes nothing.
func TestObserveFails(t *testing.T) {
	for _, op := range []hosttest.Op{hosttest.OpList, hosttest.OpObserve} {
		b := newBench(t)
		b.wantNumber(nf.Node, udp, 60)
		b.machine.Inject(hosttest.Fault{Op: op})
		if _, err := b.run(); !errors.Is(err, unix.EIO) || len(b.machine.Calls()) != 0 {
			t.Errorf("%s: %v", op, err)
		}
	}
	b := newBench(t)
	b.wantNumber(nf.Node, udp, 60)
	b.machine.Inject(hosttest.Fault{Op: hosttest.OpRefresh})
	r := b.ok(5)
	b.outcome(r, nf.Node, udp, apply.Failed)
	if len(b.machine.Calls()) != 0 {
		t.Error("changed blindly")
	}
}
