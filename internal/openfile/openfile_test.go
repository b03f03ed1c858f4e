package openfile

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// tree makes one entry of each kind in a new directory. It needs root, for chown(2).
func tree(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"file", "world", "group", "theirs"} {
		must(t, os.WriteFile(at(name), []byte("0123456789"), 0o600))
	}
	must(t, os.Chmod(at("world"), 0o602))
	must(t, os.Chmod(at("group"), 0o660))
	must(t, os.Chown(at("theirs"), 65534, 0))
	for _, name := range []string{"dir", "open", "readable", "their-dir"} {
		must(t, os.Mkdir(at(name), 0o700))
	}
	must(t, os.Chmod(at("open"), 0o777))
	must(t, os.Chmod(at("readable"), 0o755))
	must(t, os.Chown(at("their-dir"), 65534, 0))
	must(t, os.Symlink("file", at("link")))
	must(t, os.Symlink("dir", at("dir-link")))
	must(t, unix.Mkfifo(at("pipe"), 0o600))
	listener, err := net.Listen("unix", at("socket"))
	must(t, err)
	t.Cleanup(func() { listener.Close() })
	return dir
}

// Each open returns at once, whatever the path leads to.
func TestKinds(t *testing.T) {
	dir := tree(t)
	for _, test := range []struct {
		name               string
		read, own, dirOpen string // part of the error; empty: none
	}{
		{"file", "", "", "not a directory"},
		{"world", "", "can be changed by other users (mode 0602)", "not a directory"},
		{"group", "", "chmod go-w", "not a directory"},
		{"theirs", "", "belongs to user 65534", "not a directory"},
		{"link", "", "a symbolic link", "a symbolic link"},
		{"pipe", "not a regular file but a pipe", "not a regular file but a pipe", "not a directory"},
		{"socket", "not a regular file", "not a regular file", "not a directory"},
		{"dir", "is a directory", "is a directory", ""},
		{"dir-link", "is a directory", "a symbolic link", "a symbolic link"},
		{"open", "is a directory", "is a directory", "can be changed by other users (mode 0777)"},
		{"readable", "is a directory", "is a directory", ""},
		{"their-dir", "is a directory", "is a directory", "chown 0 "},
		{"nowhere", "no such file", "no such file", "no such file"},
	} {
		path := filepath.Join(dir, test.name)
		_, readErr := Read(path, 100)
		f, ownErr := Own(path, os.O_RDONLY, 0)
		if ownErr == nil {
			must(t, f.Close())
		}
		for what, c := range map[string]struct {
			got  error
			want string
		}{"Read": {readErr, test.read}, "Own": {ownErr, test.own}, "CheckDir": {CheckDir(path), test.dirOpen}, "OwnDir": {OwnDir(path), test.dirOpen}} {
			if (c.got == nil) != (c.want == "") || c.got != nil && (!strings.Contains(c.got.Error(), c.want) || !strings.Contains(c.got.Error(), path)) {
				t.Errorf("%s of %s: %v, want %q", what, test.name, c.got, c.want)
			}
		}
	}
	info, err := os.Stat(filepath.Join(dir, "readable"))
	must(t, err)
	if info.Mode().Perm() != 0o700 {
		t.Errorf("the mode of a directory that others could read is %v", info.Mode())
	}
	if _, err := Read(filepath.Join(dir, "nowhere"), 1); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}

func TestBound(t *testing.T) {
	path := filepath.Join(tree(t), "file")
	if data, err := Read(path, 10); err != nil || string(data) != "0123456789" {
		t.Errorf("%q, %v", data, err)
	}
	_, err := Read(path, 9)
	if _, ok := errors.AsType[TooLargeError](err); !ok || !strings.Contains(err.Error(), path) {
		t.Errorf("a file of 10 bytes where 9 are allowed: %v", err)
	}
}

// A new file is made for this user alone, and never through a link.
func TestCreate(t *testing.T) {
	dir := tree(t)
	f, err := Own(filepath.Join(dir, "new"), os.O_WRONLY|os.O_CREATE, 0o600)
	must(t, err)
	must(t, f.Close())
	must(t, os.Symlink("beyond", filepath.Join(dir, "dangling")))
	if _, err := Own(filepath.Join(dir, "dangling"), os.O_WRONLY|os.O_CREATE, 0o600); err == nil {
		t.Error("a file was made through a link")
	}
	if _, err := os.Lstat(filepath.Join(dir, "beyond")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file behind the link: %v", err)
	}
}
