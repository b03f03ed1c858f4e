// Package demo shows nfsync at work on the kernel of this machine, in namespaces
// that exist for the demo only: it runs nfsync as a person would, and says what
// happens. It can change nothing of the machine, and everything that it makes
// ends with its process.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// Variable is in the environment of each nfsync that the demo runs. What the
// demo says about its node on the command line is not the reader's to type.
const Variable = "NFSYNC_DEMO"

// InsideFlag is the flag of the verb demo that says that its process is in the
// demo's namespaces already.
const InsideFlag = "inside"

// ErrNoNamespaces says that the kernel lets this user make no namespaces.
var ErrNoNamespaces = errors.New("cannot make the demo's namespaces")

// NamespacesRemedy is what helps against ErrNoNamespaces.
const NamespacesRemedy = "the demo needs unprivileged user namespaces: allow them (user.max_user_namespaces above 0, " +
	"kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0), or run it as root"

// ErrFailed says that the demo has failed and has said why.
var ErrFailed = errors.New("the demo failed")

// Demo is one run of the demo.
type Demo struct {
	Stdout, Stderr io.Writer
	Bold           bool // the headings
}

// Run runs the demo in namespaces of its own. The process in them ends with this
// one. Its errors are ErrNoNamespaces and ErrFailed, or that it was interrupted.
func (d Demo) Run(ctx context.Context) error {
	err := d.enter(ctx, syscall.CLONE_NEWUSER|syscall.CLONE_NEWNS|syscall.CLONE_NEWNET)
	if os.Geteuid() == 0 && noNamespace(err) {
		// Root needs no user namespace. Inside checks that the network namespace
		// then covers all that the demo changes.
		err = d.enter(ctx, syscall.CLONE_NEWNS|syscall.CLONE_NEWNET)
	}
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return errors.New("the demo was interrupted: its namespaces have ended, and nothing else was changed")
	case errors.As(err, &exit):
		return ErrFailed
	}
	return fmt.Errorf("%w: %w", ErrNoNamespaces, err)
}

// noNamespace reports whether the kernel or its limits refuse a new namespace.
func noNamespace(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.ENOSPC) ||
		errors.Is(err, syscall.EUSERS) || errors.Is(err, syscall.EINVAL)
}

// enter runs the demo's inner process in new namespaces.
func (d Demo) enter(ctx context.Context, flags uintptr) error {
	cmd := itself(ctx, "demo", "--"+InsideFlag)
	cmd.Stdout, cmd.Stderr = d.Stdout, d.Stderr
	cmd.SysProcAttr.Cloneflags = flags
	if flags&syscall.CLONE_NEWUSER != 0 {
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	return runLocked(cmd)
}

// itself is a command that runs this very program, and dies with the thread that
// starts it.
func itself(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "/proc/self/exe", args...)
	cmd.Args[0] = "nfsync"
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// runLocked runs a command on a thread that lives until the command has ended.
func runLocked(cmd *exec.Cmd) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	return cmd.Run()
}
