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
	"path/filepath"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/examples"
	"nfsync.dev/nfsync/internal/netns"
)

// Variable is in the environment of each nfsync that the demo runs. What the
// demo says about its node on the command line is not the reader's to type.
const Variable = "NFSYNC_DEMO"

// InsideFlag is the flag of the verb demo that says that its process is in the
// demo's namespaces already.
const InsideFlag = "inside"

// ErrNoNamespaces says that the kernel lets this user make no namespaces.
var ErrNoNamespaces = errors.New("cannot make the demo's namespaces")

// NamespacesRemedy is the remedy for ErrNoNamespaces.
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

// The files of the demo, on a tmpfs over /run that only its own mount namespace
// has.
const (
	workDir    = "/run/demo"
	policyDir  = "policies" // below workDir, and in examples
	repository = "policies.git"
	branch     = "main"
	nodeNetns  = workDir + "/node"
	stateDir   = workDir + "/state"
	runDir     = workDir + "/run"
)

// containers are the network namespaces that stand for containers.
var containers = []string{"db-1", "vpn-1", "web-1", "web-2"}

// privateMounts gives the demo a /run of its own and makes /sys read-only, where
// module parameters are the whole machine's.
func privateMounts() error {
	const locked = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	steps := []struct {
		source, target, kind string
		flags                uintptr
		data                 string
	}{
		{"", "/", "", unix.MS_PRIVATE | unix.MS_REC, ""},
		{"/sys", "/sys", "", unix.MS_BIND | unix.MS_REC, ""},
		{"", "/sys", "", unix.MS_REMOUNT | unix.MS_BIND | unix.MS_RDONLY | locked, ""},
		{"nfsync-demo", "/run", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=0755,size=16m"},
	}
	for _, s := range steps {
		if err := unix.Mount(s.source, s.target, s.kind, s.flags, s.data); err != nil {
			return fmt.Errorf("%w: mount on %s: %w", ErrNoNamespaces, s.target, err)
		}
	}
	return nil
}

// harmless is an error where a network namespace does not cover the node's own
// values: before Linux 5.13 root could change its nf_conntrack_max from any
// (net/netfilter/nf_conntrack_standalone.c).
func harmless() error {
	for _, name := range []string{"nf_conntrack_max", "nf_conntrack_expect_max", "nf_conntrack_buckets"} {
		info, err := os.Stat("/proc/sys/net/netfilter/" + name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return err
		case info.Mode().Perm()&0o222 != 0:
			return fmt.Errorf("%s of the whole machine can be changed from a namespace on this kernel: the demo does not run here", name)
		}
	}
	return nil
}

// prepare makes the containers and copies the example policies.
func prepare() error {
	for _, dir := range []string{netns.DefaultDir, workDir, stateDir} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	// The node too is a namespace made here: the one that came with the user
	// namespace is older than its map of users, so that some of its files
	// belong to nobody who could read them (proc_net_ns_init in fs/proc/proc_net.c).
	paths := []string{nodeNetns}
	for _, name := range containers {
		paths = append(paths, filepath.Join(netns.DefaultDir, name))
	}
	for _, path := range paths {
		if err := netns.Create(path); err != nil {
			return err
		}
	}
	if err := os.CopyFS(workDir, examples.Policies); err != nil { // below policyDir
		return err
	}
	return os.Chdir(workDir)
}
