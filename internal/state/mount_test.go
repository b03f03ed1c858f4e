package state_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/state"
	"nfsync.dev/nfsync/internal/state/statetest"
)

// alone runs the calling test again in a user and mount namespace of its own,
// where anybody may mount. It is false in the outer run.
func alone(t *testing.T) bool {
	t.Helper()
	if os.Getenv("NFSYNC_TEST_ALONE") == t.Name() {
		return true
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), "NFSYNC_TEST_ALONE="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("%v\n%s", err, out)
	}
	return false
}

func mount(t *testing.T, source, path, fstype string, flags uintptr, data string) {
	t.Helper()
	must(t, unix.Mount(source, path, fstype, flags, data))
	t.Cleanup(func() { _ = unix.Unmount(path, unix.MNT_DETACH) })
}

// A full disk is found before anything is changed: by Open, or by Begin, which
// also takes the room that the run's end needs.
func TestDiskFull(t *testing.T) {
	if !alone(t) {
		return
	}
	root := t.TempDir()
	mount(t, "tmpfs", root, "tmpfs", 0, "size=512k")
	path := filepath.Join(root, "nfsync")
	d := open(t, path, &statetest.Disk{})

	filler := filepath.Join(root, "filler")
	leave := func(bytes int64) {
		t.Helper()
		_ = os.Remove(filler)
		var free unix.Statfs_t
		must(t, unix.Statfs(root, &free))
		must(t, os.WriteFile(filler, make([]byte, int64(free.Bavail)*free.Bsize-bytes), 0o600))
	}

	leave(16 << 10)
	if err := d.Begin(someRun()); !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), path) {
		t.Errorf("Begin on a nearly full disk: %v", err)
	}
	if _, unfinished, err := d.Unfinished(); unfinished || err != nil {
		t.Errorf("it has begun: %v, %v", unfinished, err)
	}
	leave(4 << 10)
	if _, err := state.Open(path); !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), path) {
		t.Errorf("Open on a full disk: %v", err)
	}

	leave(128 << 10)
	must(t, d.Begin(someRun()))
	var free unix.Statfs_t
	must(t, unix.Statfs(root, &free))
	other, err := os.Create(filepath.Join(root, "other"))
	must(t, err)
	_, err = other.Write(make([]byte, int64(free.Bavail)*free.Bsize))
	must(t, err)
	must(t, other.Close())
	if err := d.SaveMemory(someMemory()); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("the disk is not full: %v", err)
	}
	must(t, d.Finishing())
	must(t, d.SaveMemory(someMemory()))
	must(t, d.SaveReceipt("00000001-x", someRun()))
	must(t, d.End())
}

func TestReadOnly(t *testing.T) {
	if !alone(t) {
		return
	}
	path := t.TempDir()
	d := open(t, path, &statetest.Disk{})
	must(t, d.SaveMemory(someMemory()))
	mount(t, path, path, "", unix.MS_BIND, "")
	must(t, unix.Mount("", path, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	if _, err := state.Open(path); !errors.Is(err, unix.EROFS) || !strings.Contains(err.Error(), path) {
		t.Errorf("Open: %v", err)
	}
	if err := d.Begin(someRun()); !errors.Is(err, unix.EROFS) {
		t.Errorf("Begin: %v", err)
	}
	if err := d.SaveMemory(nf.Memory{}); !errors.Is(err, unix.EROFS) {
		t.Errorf("SaveMemory: %v", err)
	}
	if m, err := state.ReadMemory(path); err != nil || m.Revision != "abc" {
		t.Errorf("reading: %v, %v", m, err)
	}
}
