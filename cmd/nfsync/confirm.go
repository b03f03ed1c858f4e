package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/kernel"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/state"
	"nfsync.dev/nfsync/internal/view"
)

func confirmCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "confirm",
		Short: "Keep the changes of apply --confirm-within",
		Long: `Confirm keeps the changes of an apply --confirm-within that waits for it. What
is not confirmed in time is taken back. It needs no agent, and does not wait
for one. It ends with 1 if nothing waits, and says what became of the changes.`,
		Example:           "  nfsync apply policies/ --confirm-within 60s\n  nfsync confirm",
		Args:              argCount(0, 0, ""),
		Annotations:       prints(view.Confirmations),
		ValidArgsFunction: completeNothing,
		RunE: withContext(func(context.Context, []string) error {
			c, err := a.confirmRun()
			if c.Run == "" {
				return err
			}
			return errors.Join(err, show(a, exitOK, view.Confirmations, c))
		}),
	}
}

// confirmRun confirms the run that waits for it.
func (a *app) confirmRun() (nf.Confirmation, error) {
	if _, err := os.Stat(a.stateDir); errors.Is(err, fs.ErrNotExist) {
		return nf.Confirmation{}, apply.ErrNothingWaits
	}
	dir, err := state.Look(a.stateDir)
	if err != nil {
		return nf.Confirmation{}, err
	}
	bootID, err := bootID()
	if err != nil {
		return nf.Confirmation{}, err
	}
	return apply.ConfirmRun(apply.ConfirmInput{State: dir, Lock: apply.NewLock(a.runDir, a.stateDir), BootID: bootID, Now: time.Now})
}

// bootID is that of this node.
func bootID() (string, error) {
	id, _, _, err := kernel.FS{Proc: "/proc"}.Identity()
	return id, err
}

// The bounds of --confirm-within.
const (
	leastConfirm = time.Second
	mostConfirm  = 24 * time.Hour
)

// confirmation returns what --confirm-within asks for, and what is to be called when the run has
// ended; nil if the flag is not given.
func (a *app) confirmation(within time.Duration) (_ *apply.Confirm, ended func()) {
	if within == 0 {
		return nil, func() {}
	}
	var guard *os.File
	start := func() (err error) {
		guard, err = a.startGuard()
		return err
	}
	return &apply.Confirm{Within: within, Guard: start}, func() {
		if guard != nil {
			_ = guard.Close()
		}
	}
}

func checkConfirm(flag bool, within time.Duration) error {
	if flag && (within < leastConfirm || within > mostConfirm) {
		return usageError{errors.New("--confirm-within must be at least a second and at most 24h")}
	}
	return nil
}

// takeBackVerb is the command that startGuard starts.
const takeBackVerb = "take-back"

// startGuard starts the process that takes the changes back unless they are confirmed. It has a
// session of its own, and begins to look when the file that is returned is closed, as it is
// whenever this process ends.
func (a *app) startGuard() (_ *os.File, err error) {
	words, err := a.guardWords()
	if err != nil {
		return nil, err
	}
	in, alive, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	cmd := exec.CommandContext(context.Background(), "/proc/self/exe", words...) // it outlives this process
	cmd.Args[0], cmd.Dir, cmd.Stdin = "nfsync", "/", in
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot start what takes the changes back: %w", err), alive.Close())
	}
	return alive, cmd.Process.Release()
}

// guardWords returns the command line of the guard: it is in no other directory and reads no
// configuration, and works on the same node.
func (a *app) guardWords() ([]string, error) {
	words := []string{takeBackVerb, "--config", noConfig, "--runtime", strings.Join(a.runtimes, ",")}
	if a.node != "" {
		words = append(words, "--node", a.node)
	}
	for _, dir := range []struct{ flag, path string }{{"state-dir", a.stateDir}, {"run-dir", a.runDir}, {"root", a.root}, {"netns-dir", a.netnsDir}, {"node-netns", a.nodeNetns}, {"vz-root", a.vzRoot}} {
		if dir.path == "" {
			continue
		}
		path, err := filepath.Abs(dir.path)
		if err != nil {
			return nil, fmt.Errorf("cannot start what takes the changes back: %w", err)
		}
		words = append(words, "--"+dir.flag, path)
	}
	return words, nil
}

func takeBackCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   takeBackVerb,
		Short: "Take back what is not confirmed in time",
		Long: `Take-back reads its input to the end. Then, if the changes of an apply
--confirm-within wait for nfsync confirm, it waits with them, and takes them
back when the time is up. An apply that ended before it had made all its
changes is taken back at once. Otherwise it does nothing.

nfsync apply --confirm-within starts it. By hand it does no harm.`,
		Example:           "  nfsync take-back < /dev/null",
		Hidden:            true,
		Args:              argCount(0, 0, ""),
		ValidArgsFunction: completeNothing,
		RunE:              withContext(func(ctx context.Context, _ []string) error { return a.takeBack(ctx) }),
	}
}

func (a *app) takeBack(ctx context.Context) error {
	ended := make(chan struct{})
	go func() { // reading cannot be cancelled; the process ends soon after
		defer close(ended)
		var b [64]byte
		for {
			if _, err := a.stdin.Read(b[:]); err != nil {
				return
			}
		}
	}()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-ended:
	}
	in, endProgress, err := a.input(apply.Restarts{})
	if err != nil {
		return err
	}
	defer endProgress()
	if in.State == nil {
		return in.NoState
	}
	id, err := bootID()
	if err != nil {
		return err
	}
	return apply.AwaitDecision(ctx, in, id)
}
