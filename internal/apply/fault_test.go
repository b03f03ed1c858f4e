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

// A second nfsync reports which process holds the lock, and changes nothing.
func TestTwoAtOnce(t *testing.T) {
	b := newBench(t)
	b.wantNumber(nf.Node, udp, 60)
	tried := false
	b.beforeChange(nf.Node, udp, func() {
		tried = true
		other := b.input()
		other.Progress = nil
		_, err := apply.Run(context.Background(), other)
		if !errors.Is(err, apply.ErrLocked) || !strings.Contains(err.Error(), fmt.Sprintf("process %d holds %s", os.Getpid(), filepath.Join(b.runDir, "lock"))) {
			t.Errorf("a second run: %v", err)
		}
		for _, accept := range []bool{false, true} {
			if _, err := apply.Recover(context.Background(), apply.RecoverInput{Machine: b.machine, State: b.state, Lock: apply.NewLock(b.runDir), Accept: accept}); !errors.Is(err, apply.ErrLocked) {
				t.Errorf("recover during a run: %v", err)
			}
		}
	})
	b.mustRun(0)
	if !tried {
		t.Error("there was no second run")
	}
	b.mustRun(0) // the lock is free again
}

// If the caller holds the lock, the run uses it and does not release it.
func TestRunWithinLock(t *testing.T) {
	b := newBench(t)
	b.wantNumber(nf.Node, udp, 60)
	in := b.input()
	unlock, err := in.Lock.Take()
	if err != nil {
		t.Fatal(err)
	}
	if r, err := apply.Run(context.Background(), in); err != nil || r.Summary.Applied != 1 {
		t.Errorf("within the lock: %+v, %v", r.Summary, err)
	}
	if _, err := apply.NewLock(b.runDir).Take(); !errors.Is(err, apply.ErrLocked) {
		t.Errorf("the run has released the lock: %v", err)
	}
	unlock()
	b.mustRun(0)
}

// If a file is damaged, the run changes nothing and its error names the file. A
// damaged journal or stuck record can be set aside with recover --accept.
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
			if _, err := apply.Recover(context.Background(), apply.RecoverInput{Machine: b.machine, State: b.state, Lock: apply.NewLock(b.runDir)}); !errors.Is(err, state.ErrDamaged) {
				t.Errorf("%s %s: recover: %v", name, what, err)
			}
			b.recover(true)
			b.mustRun(0)
		}
	}
}

// Any write of the disk may fail. Before the first change, nothing is changed. After
// it, the run returns the error, and the next run finds every value as wanted.
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
		again := b.mustRun(0)
		b.checkValue(nf.Node, udp, 60)
		if made && len(again.Results) != 0 {
			t.Errorf("call %d: made again: %v", fail, again.Results)
		}
		m, _ := b.state.Memory()
		if len(m.Keys) != 2 || !m.Keys[0].Set || !m.Keys[1].Set {
			t.Errorf("call %d: memory has lost that nfsync set the keys: %v", fail, m.Keys)
		}
	}
}

// A user without write access gets a receipt if there is nothing to change, and an
// error if there is.
func TestNotPermitted(t *testing.T) {
	for name, prepare := range map[string]func(*bench, *apply.Input){
		"no state directory": func(_ *bench, in *apply.Input) { in.State, in.NoState = nil, errors.New("EACCES") },
		"no lock": func(b *bench, in *apply.Input) {
			closed := filepath.Join(b.runDir, "closed")
			in.Lock = apply.NewLock(closed)
			if err := os.Mkdir(closed, 0o500); err != nil {
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

// runAsNobody runs on a thread with the file system uid of nobody, which ends with
// its goroutine. If the tests do not run as root it only runs.
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

// If the node or a target cannot be observed, nothing is changed.
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
	r := b.mustRun(5)
	b.checkOutcome(r, nf.Node, udp, apply.Failed)
	if len(b.machine.Calls()) != 0 {
		t.Error("changed without a refresh")
	}
}

// A run removes what a killed one has left, even if there is nothing to change.
func TestLeftovers(t *testing.T) {
	b := newBench(t)
	left := filepath.Join(b.path, ".memory.4711.tmp")
	if err := os.WriteFile(left, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	b.mustRun(0)
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s: %v", left, err)
	}
}
