package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/bench/bare"
)

// insideVariable says, in the environment, that the process is in namespaces of its own. Its
// value is the directory on disk that the process may use.
const insideVariable = "NFSYNC_BENCH_INSIDE"

// exitStatus is the status of the inner process, which has said why.
type exitStatus int

func (e exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// runInside runs this program again, as the first process of new namespaces: when it ends, for
// whatever reason, the kernel ends what it has started and removes what it has mounted.
func runInside(ctx context.Context, args []string) error {
	if os.Geteuid() != 0 {
		return errors.New("run it as root: it makes network namespaces")
	}
	work, err := makeWork()
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(work) }()
	if err := buildFloor(ctx, filepath.Join(work, floorFile)); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), insideVariable+"="+work)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:   unix.CLONE_NEWNET | unix.CLONE_NEWPID,
		Unshareflags: unix.CLONE_NEWNS, // makes / private too
		Pdeathsig:    syscall.SIGKILL,
	}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	runtime.LockOSThread() // Pdeathsig is the thread's
	defer runtime.UnlockOSThread()
	err = cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exitStatus(max(exit.ExitCode(), 1))
	}
	return err
}

// makeWork makes a directory on disk, where /tmp may be in memory: what nfsync saves is synced as on
// a node.
func makeWork() (string, error) { return os.MkdirTemp("/var/tmp", workPrefix) }

// workPrefix begins the name of the directory.
const workPrefix = "nfsync-bench"

// floorFile is the program of the floors, in the directory on disk.
const floorFile = "floor"

// buildFloor builds it, for a small program that starts as fast as any.
func buildFloor(ctx context.Context, file string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-ldflags=-s -w", "-o", file, "nfsync.dev/nfsync/bench/floor")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("cannot build the floors: %w: %s", err, out)
	}
	return nil
}

// The directories of the scenes, on a tmpfs that only these processes have.
const (
	scenes   = "/run/bench"
	netnsDir = "/run/netns"
	nodeFile = scenes + "/node"   // the network namespace that stands for the node's
	confDir  = scenes + "/sysctl" // mounted on /etc/sysctl.d
)

// isolate hides what belongs to the machine: a /proc of these processes, a /run of their own, and
// the directories that sysctl(8) reads and nfsync writes.
func isolate() error {
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("cannot mount /proc: %w", err)
	}
	if err := unix.Mount("bench", "/run", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755"); err != nil {
		return fmt.Errorf("cannot mount /run: %w", err)
	}
	empty := scenes + "/empty"
	for _, dir := range []string{netnsDir, confDir, empty} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if err := bind("/proc/self/ns/net", nodeFile); err != nil {
		return err
	}
	if err := unix.Mount(confDir, "/etc/sysctl.d", "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("cannot mount on /etc/sysctl.d: %w", err)
	}
	for _, dir := range []string{"/usr/lib/sysctl.d", "/lib/sysctl.d", "/usr/local/lib/sysctl.d", "/etc/modules-load.d", "/etc/modprobe.d"} {
		if err := unix.Mount(empty, dir, "", unix.MS_BIND, ""); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("cannot mount on %s: %w", dir, err)
		}
	}
	if err := unix.Mount(os.DevNull, "/etc/sysctl.conf", "", unix.MS_BIND, ""); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot mount on /etc/sysctl.conf: %w", err)
	}
	return checkKernel()
}

// bind mounts one file on another, which it makes.
func bind(from, to string) error {
	if err := os.WriteFile(to, nil, 0o600); err != nil {
		return err
	}
	if err := unix.Mount(from, to, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("cannot mount %s on %s: %w", from, to, err)
	}
	return nil
}

// checkKernel returns an error if the kernel has no conntrack: there is nothing to be measured.
func checkKernel() error {
	if _, err := os.Stat(bare.Sysctl(keys[0])); err != nil {
		return fmt.Errorf("this kernel has not loaded nf_conntrack: %w: run modprobe nf_conntrack first", err)
	}
	return nil
}
