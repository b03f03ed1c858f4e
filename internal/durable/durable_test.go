package durable_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"nfsync.dev/nfsync/internal/durable"
	"nfsync.dev/nfsync/internal/state/statetest"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return strings.Join(list, " ")
}

// Whenever the power is cut, the file is the old one or the new one; once the
// writing has returned, the new one. The next write leaves no other file.
func TestPowerCut(t *testing.T) {
	for name, write := range map[string]func(w durable.Writer, dir, data string) error{
		"replace": func(w durable.Writer, dir, data string) error {
			return w.Replace(filepath.Join(dir, "file"), []byte(data), 0o600)
		},
		"save": func(w durable.Writer, dir, data string) error {
			return w.Save(filepath.Join(dir, "file"), []byte(data), 0o644)
		},
		"rename": func(w durable.Writer, dir, data string) error {
			return errors.Join(w.Replace(filepath.Join(dir, "other"), []byte(data), 0o600),
				w.Rename(filepath.Join(dir, "other"), filepath.Join(dir, "file")))
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, old := range []string{"", "old"} {
				statetest.PowerCuts(func(disk *statetest.Disk, cut func(string, func()) bool) {
					dir := t.TempDir()
					w := durable.Writer{Disk: disk}
					if old != "" {
						must(t, write(w, dir, old))
					}
					finished := cut(dir, func() { must(t, write(w, dir, "something new")) })
					data, err := os.ReadFile(filepath.Join(dir, "file"))
					if got := string(data); got != "something new" && (finished || got != old || (err != nil) != (old == "")) {
						t.Fatalf("finished %v: %q, %v", finished, got, err)
					}
					must(t, write(w, dir, "next"))
					if got := names(t, dir); got != "file" {
						t.Fatalf("the next write leaves %s", got)
					}
				})
			}
		})
	}
}

// What a crash leaves has a name that no reader of *.conf takes. Only that of
// the same file is removed.
func TestLeftovers(t *testing.T) {
	dir := t.TempDir()
	disk := &statetest.Disk{Before: func(call, _ string) error {
		if call == statetest.Rename {
			panic("crash")
		}
		return nil
	}}
	for _, name := range []string{"a.conf", "a", "b.conf", "a.conf.7"} {
		func() {
			defer func() { _ = recover() }()
			_ = durable.Writer{Disk: disk}.Replace(filepath.Join(dir, name), nil, 0o644)
		}()
	}
	for _, name := range strings.Fields(names(t, dir)) {
		if !strings.HasPrefix(name, ".") || !strings.HasSuffix(name, ".tmp") {
			t.Errorf("a crash leaves %s", name)
		}
	}
	must(t, os.WriteFile(filepath.Join(dir, ".a.conf.tmp"), nil, 0o600)) // of an nfsync before this one
	must(t, durable.Writer{}.Replace(filepath.Join(dir, "a.conf"), nil, 0o644))
	if got := strings.Fields(names(t, dir)); len(got) != 4 || !strings.HasPrefix(got[0], ".a.") || !strings.HasPrefix(got[1], ".a.conf.7.") || !strings.HasPrefix(got[2], ".b.conf.") || got[3] != "a.conf" {
		t.Errorf("left %s", got)
	}
	durable.RemoveLeftovers(dir, "")
	if got := names(t, dir); got != "a.conf" {
		t.Errorf("left %s", got)
	}
}

// A write that fails leaves the old file and no other.
func TestFailure(t *testing.T) {
	for _, call := range []string{statetest.Write, statetest.Sync, statetest.Rename} {
		dir := t.TempDir()
		file := filepath.Join(dir, "file")
		must(t, os.WriteFile(file, []byte("old"), 0o600))
		disk := &statetest.Disk{Before: func(c, _ string) error {
			if c == call {
				return syscall.ENOSPC
			}
			return nil
		}}
		if err := (durable.Writer{Disk: disk}).Replace(file, []byte("new"), 0o600); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%s: %v", call, err)
		}
		if data, err := os.ReadFile(file); string(data) != "old" || err != nil || names(t, dir) != "file" {
			t.Errorf("%s: %q, %v, beside %s", call, data, err, names(t, dir))
		}
	}
}

// The mode is the one that is given, whatever the umask and the old file's.
func TestMode(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	dir := t.TempDir()
	file := filepath.Join(dir, "a", "b", "file")
	must(t, durable.Writer{}.MkdirAll(filepath.Dir(file), 0o755))
	for _, mode := range []fs.FileMode{0o644, 0o600} {
		must(t, durable.Writer{}.Replace(file, nil, mode))
		if info, err := os.Stat(file); err != nil || info.Mode() != mode {
			t.Errorf("mode %v, %v, want %v", info.Mode(), err, mode)
		}
	}
	for _, made := range []string{"a", "a/b"} {
		if info, err := os.Stat(filepath.Join(dir, made)); err != nil || info.Mode().Perm() != 0o755 {
			t.Errorf("%s: %v, %v", made, info.Mode(), err)
		}
	}
}

// A file that is rewritten keeps its owner and its mode.
func TestRewrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(path, []byte("old"), 0o640))
	must(t, os.Chmod(path, 0o664))
	if os.Geteuid() == 0 {
		must(t, os.Chown(path, 1001, 1002))
	}
	before, err := os.Stat(path)
	must(t, err)
	must(t, durable.Writer{}.Rewrite(path, []byte("new")))
	after, err := os.Stat(path)
	must(t, err)
	was, is := before.Sys().(*syscall.Stat_t), after.Sys().(*syscall.Stat_t)
	if data, err := os.ReadFile(path); err != nil || string(data) != "new" || after.Mode() != before.Mode() || was.Uid != is.Uid || was.Gid != is.Gid {
		t.Errorf("%q, %v, mode %v, owner %d:%d", data, err, after.Mode(), is.Uid, is.Gid)
	}
	if err := (durable.Writer{}).Rewrite(path+"2", nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that does not exist: %v", err)
	}
}

// A directory is synced after what was made or removed in it, and only then.
func TestDirectoriesAreSynced(t *testing.T) {
	dir := t.TempDir()
	var synced []string
	w := durable.Writer{Disk: &statetest.Disk{Before: func(call, path string) error {
		synced = append(synced, path+": "+names(t, path))
		return nil
	}}}
	expect := func(what string, err error, want ...string) {
		t.Helper()
		if err != nil || strings.Join(synced, "\n") != strings.Join(want, "\n") {
			t.Errorf("%s: %v, synced %q, want %q", what, err, synced, want)
		}
		synced = nil
	}
	expect("make two", w.MkdirAll(dir+"/a/b", 0o700), dir+": a", dir+"/a: b")
	expect("make one that exists", w.MkdirAll(dir+"/a/b", 0o700))
	must(t, os.WriteFile(dir+"/a/file", nil, 0o600))
	expect("remove", w.Remove(dir+"/a/file"), dir+"/a: b")
	expect("remove what is missing", w.Remove(dir+"/a/file"))
	if err := w.MkdirAll(dir+"/none\x00", 0o700); err == nil {
		t.Error("a name that cannot be was made")
	}
}

// Links stay, wherever they lead, and a pipe is written to.
func TestSave(t *testing.T) {
	dir := t.TempDir()
	must(t, errors.Join(os.Mkdir(dir+"/sub", 0o700), os.MkdirAll(dir+"/deep/sub", 0o700)))
	for link, to := range map[string]string{"shortcut": "deep/sub", "deep/sub/up": "../there", "link": "file", "sub/up": "../new", "absolute": dir + "/far", "two": "link", "round": "round"} {
		must(t, os.Symlink(to, filepath.Join(dir, link)))
	}
	for path, file := range map[string]string{"link": "file", "sub/up": "new", "absolute": "far", "two": "file", "plain": "plain", "shortcut/up": "deep/there"} {
		must(t, durable.Writer{}.Save(filepath.Join(dir, path), []byte(path), 0o644))
		info, err := os.Lstat(filepath.Join(dir, file))
		data, _ := os.ReadFile(filepath.Join(dir, file))
		if err != nil || info.Mode() != 0o644 || string(data) != path {
			t.Errorf("%s: %v, %q, %v", path, info, data, err)
		}
		if info, err := os.Lstat(filepath.Join(dir, path)); err != nil || path != file && info.Mode().Type() != fs.ModeSymlink {
			t.Errorf("%s is %v, %v", path, info, err)
		}
	}
	if err := (durable.Writer{}).Save(dir+"/round", nil, 0o644); !errors.Is(err, syscall.ELOOP) {
		t.Errorf("a link to itself: %v", err)
	}
	r, w, err := os.Pipe()
	must(t, err)
	defer r.Close()
	must(t, durable.Writer{}.Save(fmt.Sprintf("/proc/self/fd/%d", w.Fd()), []byte("through"), 0o644))
	must(t, w.Close())
	buf := make([]byte, 100)
	if n, err := r.Read(buf); string(buf[:n]) != "through" {
		t.Errorf("the pipe has %q, %v", buf[:n], err)
	}
}

// Writers of one file and those who remove leftovers do not hold each other up, and the file is whole
// at all times.
func TestWritersAtOnce(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	must(t, durable.Writer{}.Replace(path, []byte("0000"), 0o600))
	var writers sync.WaitGroup
	done := make(chan bool)
	ended := make(chan bool)
	go func() {
		defer close(ended)
		for {
			select {
			case <-done:
				return
			default:
				durable.RemoveLeftovers(dir, "")
			}
		}
	}()
	for n := range 8 {
		writers.Go(func() {
			for range 100 {
				if err := (durable.Writer{}).Replace(path, fmt.Append(nil, 1000+n), 0o600); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	writers.Wait()
	close(done)
	<-ended
	if data, err := os.ReadFile(path); err != nil || len(data) != 4 {
		t.Errorf("%q, %v", data, err)
	}
	if got := names(t, dir); got != "file" {
		t.Errorf("left: %s", got)
	}
}

// What a writer has left that was killed is removed; that of one that still writes is not.
func TestLeftoversOfTheLiving(t *testing.T) {
	dir := t.TempDir()
	disk := &statetest.Disk{Before: func(call, _ string) error {
		if call == statetest.Rename {
			durable.RemoveLeftovers(dir, "")
		}
		return nil
	}}
	must(t, durable.Writer{Disk: disk}.Replace(filepath.Join(dir, "file"), []byte("x"), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, ".file.1.tmp"), nil, 0o600))
	must(t, os.Symlink("/nowhere", filepath.Join(dir, ".file.2.tmp")))
	must(t, syscall.Mkfifo(filepath.Join(dir, ".file.3.tmp"), 0o600))
	durable.RemoveLeftovers(dir, "file")
	if got := names(t, dir); got != "file" {
		t.Errorf("left: %s", got)
	}
}
