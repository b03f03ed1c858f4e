package state_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/openfile"
	"nfsync.dev/nfsync/internal/state"
	"nfsync.dev/nfsync/internal/state/statetest"
)

// readers are all that read a state directory.
func readers(d *state.Dir, path string) map[string]func() error {
	return map[string]func() error{
		"memory":    func() error { _, err := state.ReadMemory(path); return err },
		"stuck":     func() error { _, err := d.Stuck(); return err },
		"journal":   func() error { _, _, err := d.Unfinished(); return err },
		"lastgood":  func() error { _, err := state.ReadLastGood(path); return err },
		"positions": func() error { _, err := state.ReadPositions(path); return err },
	}
}

func full(t *testing.T, path string) *state.Dir {
	t.Helper()
	d := open(t, path, &statetest.Disk{})
	must(t, d.SaveMemory(someMemory()))
	must(t, d.SaveStuck(someStuck()))
	must(t, d.Begin(someRun()))
	must(t, d.SaveLastGood(someLastGood()))
	must(t, d.SavePosition(somePositions()[0]))
	return d
}

// What another user can change is not read, and the error has the command that mends it.
func TestOthersFiles(t *testing.T) {
	for what, spoil := range map[string]func(file string) error{
		"belongs to user 65534":         func(f string) error { return os.Chown(f, 65534, 0) },
		"can be changed by other users": func(f string) error { return os.Chmod(f, 0o622) },
		"symbolic link":                 func(f string) error { return errors.Join(os.Rename(f, f+".real"), os.Symlink(f+".real", f)) },
		"not a regular file but a pipe": func(f string) error { return errors.Join(os.Remove(f), unix.Mkfifo(f, 0o600)) },
		"is a directory":                func(f string) error { return errors.Join(os.Remove(f), os.Mkdir(f, 0o700)) },
	} {
		path := t.TempDir()
		d := full(t, path)
		for name, read := range readers(d, path) {
			must(t, spoil(filepath.Join(path, name)))
			if err := read(); err == nil || !strings.Contains(err.Error(), what) || !strings.Contains(err.Error(), filepath.Join(path, name)) {
				t.Errorf("%s %s: %v", name, what, err)
			}
		}
	}
}

// The same for the directory, by every reader and by who opens it for writing.
func TestOthersDirectory(t *testing.T) {
	for what, spoil := range map[string]func(dir string) error{
		"chown 0 ":        func(d string) error { return os.Chown(d, 65534, 0) },
		"chmod go-w ":     func(d string) error { return os.Chmod(d, 0o777) },
		"a symbolic link": func(d string) error { return errors.Join(os.Rename(d, d+".real"), os.Symlink(d+".real", d)) },
	} {
		path := filepath.Join(t.TempDir(), "state")
		d := full(t, path)
		must(t, spoil(path))
		all := readers(d, path)
		all["open"] = func() error { _, err := state.Open(path); return err }
		for name, read := range all {
			if err := read(); err == nil || !strings.Contains(err.Error(), what) || !strings.Contains(err.Error(), path) {
				t.Errorf("%s, %s: %v", name, what, err)
			}
		}
	}
	path := filepath.Join(t.TempDir(), "state")
	full(t, path)
	must(t, os.Chown(filepath.Join(path, "receipts"), 65534, 0))
	_, err := state.Open(path)
	if _, ok := errors.AsType[*openfile.OthersError](err); !ok {
		t.Errorf("the receipts of another user: %v", err)
	}
}

// A link in the place of a file that is written leaves what it leads to as it is.
func TestLinksAreNotWrittenThrough(t *testing.T) {
	path, victim := t.TempDir(), filepath.Join(t.TempDir(), "victim")
	must(t, os.WriteFile(victim, []byte("precious"), 0o600))
	d := full(t, path)
	for _, name := range []string{"memory", "stuck", "journal", "lastgood", "reserve", "confirmation"} {
		file := filepath.Join(path, name)
		must(t, errors.Join(os.RemoveAll(file), os.Symlink(victim, file)))
	}
	must(t, d.SaveMemory(someMemory()))
	must(t, d.SaveStuck(nil))
	must(t, d.SaveLastGood(someLastGood()))
	must(t, d.SaveConfirmation(state.Confirmation{}))
	_, err := state.Open(path)
	must(t, err)
	must(t, d.Begin(someRun()))
	must(t, d.End())
	if data, err := os.ReadFile(victim); err != nil || string(data) != "precious" {
		t.Errorf("the file behind the links is %q, %v", data, err)
	}
}

// What a run that was killed has reserved keeps no other run from starting.
func TestReserveOfAKilledRun(t *testing.T) {
	path := t.TempDir()
	must(t, unix.Mount("nfsync", path, "tmpfs", 0, "mode=0700,size=256k"))
	t.Cleanup(func() { unix.Unmount(path, unix.MNT_DETACH) })
	must(t, full(t, path).End())
	must(t, os.WriteFile(filepath.Join(path, "reserve"), make([]byte, 64<<10), 0o600))
	f, err := os.Create(filepath.Join(path, "other"))
	must(t, err)
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	must(t, f.Close())
	d, err := state.Open(path)
	must(t, err)
	must(t, d.Begin(someRun()))
	must(t, d.Finishing())
	must(t, d.End())
}
