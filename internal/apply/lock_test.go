package apply_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/apply"
)

// The lock and its directory are for one user: nobody else can hold up an apply.
func TestLockIsPrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	unlock, err := apply.NewLock(dir).Take()
	if err != nil {
		t.Fatal(err)
	}
	unlock()
	for path, want := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, "lock"): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v, want %v", path, info.Mode(), err, want)
		}
	}
	for what, spoil := range map[string]func() error{
		"chown 0 ": func() error { return os.Chown(filepath.Join(dir, "lock"), 65534, 0) },
		"a symbolic link": func() error {
			return errors.Join(os.Remove(filepath.Join(dir, "lock")), os.Symlink("/etc/passwd", filepath.Join(dir, "lock")))
		},
		"chmod go-w ": func() error { return os.Chmod(dir, 0o777) },
	} {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		_, err := apply.NewLock(dir).Take()
		_, holderErr := apply.NewLock(dir).Holder()
		if err == nil || !strings.Contains(err.Error(), what) || holderErr == nil || !strings.Contains(holderErr.Error(), what) {
			t.Errorf("want %q: %v, %v", what, err, holderErr)
		}
		if err := errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o700), os.WriteFile(filepath.Join(dir, "lock"), nil, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
}

// A process that asks who holds the lock does not keep another from taking it.
func TestLockAsked(t *testing.T) {
	dir := t.TempDir()
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err == nil {
		err = unix.Flock(int(f.Fd()), unix.LOCK_SH)
	}
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(50*time.Millisecond, func() { _ = f.Close() })
	release, err := apply.NewLock(dir).Take()
	if err != nil {
		t.Fatal(err)
	}
	release()
}

// The holder is named where it lives, and no message says to stop it.
func TestLockHolder(t *testing.T) {
	dir := t.TempDir()
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err == nil {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ended := exec.Command("true")
	if err := ended.Run(); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		fmt.Sprintln(os.Getpid()):         fmt.Sprintf("process %d", os.Getpid()),
		fmt.Sprintln(ended.Process.Pid):   "a process",
		"":                                "a process",
		"\x1b[2J\n":                       "a process",
		"-1\n":                            "a process",
		"99999999999999999999999999999\n": "a process",
	} {
		if err := os.WriteFile(f.Name(), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := apply.NewLock(dir).Take()
		if !errors.Is(err, apply.ErrLocked) || !strings.Contains(err.Error(), ": "+want+" holds ") || strings.Contains(err.Error(), "stop") {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
		if holder, err := apply.NewLock(dir).Holder(); holder != want || err != nil {
			t.Errorf("%q: %q, %v, want %s", text, holder, err, want)
		}
	}
}

// A container whose init has inherited the lock does not hold up the next run. A program on the node
// does.
func TestLockLeaked(t *testing.T) {
	for _, contained := range []bool{true, false} {
		dir := t.TempDir()
		f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
		if err == nil {
			err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
		}
		if err != nil {
			t.Fatal(err)
		}
		init := exec.CommandContext(t.Context(), "sleep", "infinity")
		init.ExtraFiles = []*os.File{f}
		init.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if contained {
			init.SysProcAttr.Cloneflags = syscall.CLONE_NEWPID
		}
		if err := errors.Join(init.Start(), f.Close()); err != nil {
			t.Fatal(err)
		}
		release, err := apply.NewLock(dir).Take()
		if contained {
			if err != nil {
				t.Errorf("held by a container: %v", err)
			} else {
				if _, err := apply.NewLock(dir).Take(); !errors.Is(err, apply.ErrLocked) {
					t.Errorf("taken twice: %v", err)
				}
				release()
			}
		} else if !errors.Is(err, apply.ErrLocked) || !strings.Contains(err.Error(), "sleep (process ") {
			t.Errorf("held by a program: %v", err)
		}
		_ = init.Process.Kill()
		_ = init.Wait()
	}
}

// Runs with run directories of their own take turns where they share the state directory, and a
// directory that is both is locked once.
func TestLockOfStateDirectory(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	unlock, err := apply.NewLock(at("run-a"), at("state")).Take()
	if err != nil {
		t.Fatal(err)
	}
	other := apply.NewLock(at("run-b"), at("state"))
	if _, err := other.Take(); !errors.Is(err, apply.ErrLocked) || !strings.Contains(err.Error(), at("state/lock")) {
		t.Errorf("%v", err)
	}
	if holder, err := other.Holder(); err != nil || !strings.Contains(holder, fmt.Sprint(os.Getpid())) {
		t.Errorf("%q, %v", holder, err)
	}
	unlock()
	unlock, err = other.Take()
	if err != nil || len(other.Files()) != 2 {
		t.Fatalf("%v, %d files", err, len(other.Files()))
	}
	unlock()
	if other.Files() != nil {
		t.Error("it is still held")
	}
	both := apply.NewLock(at("run-a"), at("run-a"))
	if unlock, err = both.Take(); err != nil || len(both.Files()) != 1 {
		t.Fatalf("%v, %d files", err, len(both.Files()))
	}
	unlock()
}
