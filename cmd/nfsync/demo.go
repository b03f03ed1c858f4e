package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"github.com/spf13/cobra"
)

func demoCommand(a *app) *cobra.Command {
	var inside bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show nfsync at work on this kernel, in namespaces of its own",
		Long: `Demo walks through validate, a commit, plan, the agent's lap, drift, heal, a
commit with a mistake and a refusal, with the example policies, on the real
kernel.

It works in a user, mount and network namespace of its own, with four network
namespaces inside that stand for containers. It can change nothing of this
machine, needs no root, and leaves nothing behind: everything vanishes with its
process.`,
		Example: `  nfsync demo`,
		Args:    args(0, 0, ""),
		RunE: verb(func(ctx context.Context, _ []string) error {
			if inside {
				return a.demoInside(ctx)
			}
			return a.demo(ctx)
		}),
	}
	cmd.Flags().BoolVar(&inside, "inside", false, "this process is in the demo's namespaces already")
	cmd.Flags().Lookup("inside").Hidden = true
	return cmd
}

// demoVariable tells nfsync that the demo runs it: what the demo says about its
// node is not a reader's to type again.
const demoVariable = "NFSYNC_DEMO"

// errNoNamespaces is told where the kernel lets this user make no namespaces.
func errNoNamespaces(err error) error {
	return hinted{fmt.Errorf("cannot make the demo's namespaces: %w", err),
		"the demo needs unprivileged user namespaces: allow them (user.max_user_namespaces above 0, " +
			"kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0), or run it as root"}
}

// demo runs the demo in namespaces of its own. The process in them dies with
// this one, and they with it.
func (a *app) demo(ctx context.Context) error {
	err := a.enter(ctx, syscall.CLONE_NEWUSER|syscall.CLONE_NEWNS|syscall.CLONE_NEWNET)
	if os.Geteuid() == 0 && noNamespace(err) {
		// Root can do without a user namespace; the demo then keeps its hands
		// off what a network namespace does not cover by itself.
		err = a.enter(ctx, syscall.CLONE_NEWNS|syscall.CLONE_NEWNET)
	}
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return errors.New("the demo was interrupted: its namespaces are gone, and nothing else was touched")
	case errors.As(err, &exit):
		return outcome(exitError) // it has said why
	}
	return errNoNamespaces(err)
}

// noNamespace tells whether the kernel or its limits refuse a new namespace.
func noNamespace(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.ENOSPC) ||
		errors.Is(err, syscall.EUSERS) || errors.Is(err, syscall.EINVAL)
}

// enter runs the demo's inner process in new namespaces.
func (a *app) enter(ctx context.Context, flags uintptr) error {
	cmd := itself(ctx, "demo", "--inside")
	cmd.Stdout, cmd.Stderr = a.stdout, a.stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags, Pdeathsig: syscall.SIGKILL}
	if flags&syscall.CLONE_NEWUSER != 0 {
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	return runBound(cmd)
}

// itself is a command that runs this very program.
func itself(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "/proc/self/exe", args...)
	cmd.Args[0] = "nfsync"
	return cmd
}

// runBound runs a command that dies with this process: the parent's death
// signal is sent when the thread ends that started it, so this one is kept.
func runBound(cmd *exec.Cmd) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	return cmd.Run()
}
