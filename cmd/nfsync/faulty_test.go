package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/nf"
)

// faulty is a machine on which something goes wrong, at the Nth change:
//
//	kill:N        the process is killed just before it
//	killed:N      the process is killed just after it
//	term:N        the process is asked to stop, just before it
//	fail:N        it and everything after it fails: nothing can be undone
type faulty struct {
	apply.Machine
	fault string
	sets  int
}

func (f *faulty) Set(ctx context.Context, c nf.Change) error {
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
		<-ctx.Done()
	case kind == "fail" && f.sets >= n:
		return fmt.Errorf("change %d: %w", f.sets, syscall.EIO)
	}
	err := f.Machine.Set(ctx, c)
	if kind == "killed" && f.sets == n {
		f.kill()
	}
	return err
}

func (*faulty) kill() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // until it arrives
}
