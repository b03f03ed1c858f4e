package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/nf"
)

// faulty is a machine on which something goes wrong, at the Nth change:
//
//	kill:N        the process is killed just before it
//	killed:N      the process is killed just after it
//	term:N        the process is asked to stop, just before it
//	hang:N        it never ends, and the process is asked to stop until it does
//	vanish:N      the container of it vanishes just before it
//	fail:N        it and everything after it fails: nothing can be undone
type faulty struct {
	apply.Machine
	fault string
	sets  int
	run   context.Context // of the whole run; that of a change is not cancelled
}

func (f *faulty) List(ctx context.Context) (nf.Snapshot, error) {
	f.run = ctx
	return f.Machine.List(ctx)
}

func (f *faulty) Label(ctx context.Context, listed *nf.Snapshot) {
	apply.Label(ctx, f.Machine, listed)
}

func (f *faulty) Set(ctx context.Context, s *nf.Snapshot, c nf.Change) error {
	f.sets++
	kind, at, _ := strings.Cut(f.fault, ":")
	n, _ := strconv.Atoi(at)
	switch {
	case kind == "kill" && f.sets == n:
		f.kill()
	case kind == "term" && f.sets == n:
		if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
			return err
		}
		<-f.run.Done()
	case kind == "hang" && f.sets == n:
		for range time.Tick(time.Millisecond) {
			_ = syscall.Kill(os.Getpid(), syscall.SIGTERM)
		}
	case kind == "vanish" && f.sets == n:
		name := filepath.Join(os.Getenv("WORK"), "netns", c.Target.ID)
		if err := errors.Join(unix.Unmount(name, unix.MNT_DETACH), os.Remove(name)); err != nil {
			return err
		}
	case kind == "fail" && f.sets >= n:
		return fmt.Errorf("change %d: %w", f.sets, syscall.EIO)
	}
	err := f.Machine.Set(ctx, s, c)
	if kind == "killed" && f.sets == n {
		f.kill()
	}
	return err
}

func (*faulty) kill() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // until it arrives
}
