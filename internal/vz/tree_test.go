package vz

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// write makes a file below a directory, and the directories in between.
func write(t testing.TB, dir, path, text string) {
	t.Helper()
	at := filepath.Join(dir, path)
	if err := errors.Join(os.MkdirAll(filepath.Dir(at), 0o755), os.WriteFile(at, []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
}

// link makes a symbolic link below a directory.
func link(t testing.TB, dir, path, to string) {
	t.Helper()
	at := filepath.Join(dir, path)
	if err := errors.Join(os.MkdirAll(filepath.Dir(at), 0o755), os.Symlink(to, at)); err != nil {
		t.Fatal(err)
	}
}

// Links below a root are resolved as path_resolution(7) describes, with that directory as
// the root.
func TestLinksStayBelowTheRoot(t *testing.T) {
	outside := t.TempDir()
	write(t, outside, "secret", "outside")
	root := filepath.Join(outside, "root")
	write(t, root, "vz/private/101/ve.conf", "inside")
	write(t, root, "run/ve/101.init.pid", "7")
	write(t, root, "secret", "at the root")
	link(t, root, "etc/vz/conf/101.conf", "/vz/private/101/ve.conf")
	link(t, root, "etc/vz/conf/outside.conf", filepath.Join(root, "vz/private/101/ve.conf"))
	link(t, root, "etc/vz/conf/relative.conf", "../../../vz/private/101/ve.conf")
	link(t, root, "var/run", "../run")
	link(t, root, "var/lock", "/run/")
	link(t, root, "up", "../../../../secret")
	link(t, root, "a", "b")
	link(t, root, "b", "a")
	link(t, root, "dangling", "/none")
	for path, want := range map[string]string{
		"/etc/vz/conf/101.conf":            "inside",
		"etc/vz/conf/relative.conf":        "inside",
		"etc/vz/conf/outside.conf":         "inside",
		"/var/run/ve/101.init.pid":         "7",
		"/var//lock/ve/../ve/101.init.pid": "7",
		"/up":                              "at the root",
		"/../../secret":                    "at the root",
		"/a":                               "",
		"/dangling":                        "",
		"/none":                            "",
		"/etc/vz/conf":                     "", // no file
	} {
		data, err := tree(root).read(path)
		if string(data) != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v, want %q", path, data, err, want)
		}
	}
	if _, err := tree(root).read("/a"); !errors.Is(err, unix.ELOOP) {
		t.Errorf("a loop: %v", err)
	}
	if _, err := tree(root).read("/dangling"); !missing(err) {
		t.Errorf("a dangling link: %v", err)
	}
	data, err := tree("/").read(filepath.Join(root, "up"))
	if err == nil {
		t.Errorf("with / as the root the kernel resolves the link: %q", data)
	}
}

// The link of a program is followed as on the node. One that dangles there is followed as
// nfsync sees it. If both lead to the same file, the program runs by its own name.
func TestPrograms(t *testing.T) {
	outside := t.TempDir()
	write(t, outside, "wrapper", "outside")
	root := filepath.Join(outside, "root")
	write(t, root, "opt/vzlist", "inside")
	write(t, root, "opt/many", "inside")
	link(t, root, "sbin", "usr/sbin")
	link(t, root, "usr/sbin/wrapped", filepath.Join(outside, "wrapper"))
	link(t, root, "usr/sbin/vzlist", "/opt/vzlist")
	link(t, root, "usr/sbin/vzctl", "../../opt/many")
	link(t, root, "usr/sbin/lost", "/opt/none")
	if err := os.MkdirAll(filepath.Join(root, "bin/prlctl"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		vzlist:    filepath.Join(root, "opt/vzlist"),
		vzctl:     filepath.Join(root, "sbin/vzctl"),
		"wrapped": filepath.Join(root, "sbin/wrapped"),
		"lost":    "",
		prlctl:    "", // a directory
	} {
		if at := tree(root).program(name); at != want {
			t.Errorf("%s is at %q, want %q", name, at, want)
		}
	}
}

func TestReadFileOfAnyKind(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "big", strings.Repeat("x", maxFile+1))
	if err := unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"big": "more than", "fifo": "not a regular file"} {
		if _, err := readFile(filepath.Join(dir, name)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
