package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/diff"
	"nfsync.dev/nfsync/internal/kernel"
	"nfsync.dev/nfsync/internal/netns"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/vz/vztest"
)

var realFS = kernel.FS{Proc: "/proc", Sys: "/sys", Root: "/"}

// inside is set when the tests run in their own mount namespace. Their mounts end
// with it, even if the tests are killed.
const inside = "NFSYNC_TEST_INSIDE"

func TestMain(m *testing.M) {
	vztest.Main()
	if os.Getenv(inside) != "" {
		code := m.Run()
		removeBenchNodes()
		os.Exit(code)
	}
	err := runSelf(syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}, inside+"=1", os.Args[1:]...)
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		os.Exit(exit.ExitCode())
	case err != nil:
		fmt.Fprintln(os.Stderr, "cannot run the tests in a mount namespace:", err)
		os.Exit(1)
	}
}

// runSelf runs this test program in another process.
func runSelf(attr syscall.SysProcAttr, env string, args ...string) error {
	runtime.LockOSThread() // Pdeathsig is sent when the parent's thread ends (prctl(2))
	defer runtime.UnlockOSThread()
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), env)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	attr.Pdeathsig = syscall.SIGKILL
	cmd.SysProcAttr = &attr
	return cmd.Run()
}

// role is set in a process that a test starts to run itself.
const role = "NFSYNC_TEST_ROLE"

// inProcess runs the calling test in a process with these attributes. It returns
// true in that process, and false in the caller's.
func inProcess(t *testing.T, attr syscall.SysProcAttr) bool {
	t.Helper()
	if os.Getenv(role) == t.Name() {
		return true
	}
	if err := runSelf(attr, role+"="+t.Name(), "-test.run=^"+t.Name()+"$", "-test.v"); err != nil {
		t.Errorf("in the other process: %v", err)
	}
	return false
}

// addNamespace mounts a new network namespace on a file in the directory, and
// returns its path.
func addNamespace(t testing.TB, dir, name string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go newNamespace(path, done)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(path, unix.MNT_DETACH) })
	return path
}

// newNamespace ends its thread, which has entered the new namespace. Go cannot end
// the main thread: then newNamespace blocks that one and runs on another.
func newNamespace(path string, done chan<- error) {
	runtime.LockOSThread() // not unlocked: the thread ends with the goroutine
	if unix.Gettid() == unix.Getpid() {
		defer runtime.UnlockOSThread()
		other := make(chan error)
		go newNamespace(path, other)
		done <- <-other
		return
	}
	err := unix.Unshare(unix.CLONE_NEWNET)
	if err == nil {
		err = unix.Mount(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()), path, "", unix.MS_BIND, "")
	}
	done <- err
}

func removeNamespace(t testing.TB, path string) {
	t.Helper()
	if err := errors.Join(unix.Unmount(path, unix.MNT_DETACH), os.Remove(path)); err != nil {
		t.Fatal(err)
	}
}

// run runs a program in a network namespace, and returns its output.
func run(t *testing.T, path, name string, args ...string) string {
	t.Helper()
	var out []byte
	err := netns.Enter(path, func() (err error) {
		out, err = exec.Command(name, args...).CombinedOutput()
		return err
	})
	if err != nil {
		t.Fatalf("%s %v: %v: %s", name, args, err, out)
	}
	return string(out)
}

func target(name string) nf.Target {
	return nf.Target{Kind: nf.TargetContainer, Runtime: nf.RuntimeNetns, ID: name, Name: name}
}

// observe lists and observes, and judges the tracking as a run does.
func observe(t testing.TB, m *Machine, ask nf.Ask) nf.Snapshot {
	t.Helper()
	ctx := context.Background()
	listed, err := m.List(ctx)
	if err != nil {
		t.Fatal(err)
	}
	s, err := m.Observe(ctx, listed, ask)
	if err != nil {
		t.Fatal(err)
	}
	diff.JudgeTracking(&s, nf.Node)
	return s
}
