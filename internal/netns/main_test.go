package netns

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/kernel"
)

// TestMain runs the tests in a mount namespace of their own, so that their mounts end with them.
func TestMain(m *testing.M) {
	const inside = "NFSYNC_TEST_INSIDE"
	if os.Getenv(inside) != "" {
		os.Exit(m.Run())
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread() // Pdeathsig follows the thread
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		fmt.Fprintln(os.Stderr, "cannot run the tests in a mount namespace:", err)
		os.Exit(1)
	}
	os.Exit(cmd.ProcessState.ExitCode())
}

// addNamespace makes a namespace of the type and mounts it on a file of the
// directory.
func addNamespace(t testing.TB, dir, name string, flag int) string {
	t.Helper()
	path := filepath.Join(dir, name)
	writeFile(t, path)
	mountNamespace(t, path, flag)
	return path
}

func mountNamespace(t testing.TB, path string, flag int) {
	t.Helper()
	kind := map[int]string{unix.CLONE_NEWNET: "net", unix.CLONE_NEWUTS: "uts", unix.CLONE_NEWIPC: "ipc"}[flag]
	var err error
	kernel.OnThread(func() { // never unlocked: the thread ends
		if err = unix.Unshare(flag); err == nil {
			err = unix.Mount(fmt.Sprintf("/proc/self/task/%d/ns/%s", unix.Gettid(), kind), path, "", unix.MS_BIND, "")
		}
	})
	if err != nil {
		t.Fatalf("cannot make %s: %v", path, err)
	}
	t.Cleanup(func() { _ = unix.Unmount(path, unix.MNT_DETACH) })
}

func writeFile(t testing.TB, path string) {
	t.Helper()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

func removeNamespace(t testing.TB, path string) {
	t.Helper()
	if err := errors.Join(unix.Unmount(path, unix.MNT_DETACH), os.Remove(path)); err != nil {
		t.Fatal(err)
	}
}
