package netns

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/kernel"
)

// Every procfs has the values of the network namespace that the thread is in.
func TestProcShowsTheNamespace(t *testing.T) {
	dir := t.TempDir()
	const file = "sys/net/ipv4/ip_default_ttl"
	want := func(i int) string { return fmt.Sprint(10 + i) }
	paths := []string{addNamespace(t, dir, "0", unix.CLONE_NEWNET), addNamespace(t, dir, "1", unix.CLONE_NEWNET)}
	for i, path := range paths {
		err := Enter(path, func() error { return os.WriteFile("/proc/"+file, []byte(want(i)), 0) })
		if err != nil {
			t.Fatal(err)
		}
	}
	open := openFiles(t)
	p := NewProc(kernel.FS{Proc: "/proc"})
	seen := map[string]bool{}
	for i := range 3 * perProc {
		fs := p.FS()
		path := fs.Proc
		seen[path] = true
		err := Enter(paths[i%2], func() error {
			below := strings.TrimPrefix(file, "sys/net/")
			fd, err := unix.Openat(fs.SysNet, below, unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				return err
			}
			f := os.NewFile(uintptr(fd), below)
			defer f.Close()
			if got, err := io.ReadAll(f); strings.TrimSpace(string(got)) != want(i%2) {
				t.Errorf("%s: namespace %d has %q below sys/net, %v", path, i%2, got, err)
			}
			got, err := os.ReadFile(filepath.Join(path, file))
			if s := strings.TrimSpace(string(got)); s != want(i%2) {
				t.Errorf("%s: namespace %d has %q", path, i%2, s)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(seen) < 2 || !seen["/proc"] {
		t.Errorf("used %v", seen)
	}
	p.Close()
	if now := openFiles(t); now != open {
		t.Errorf("%d files were open, now %d", open, now)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}

// A path that is not a procfs is used for every namespace.
func TestProcOfATree(t *testing.T) {
	dir := t.TempDir()
	p := NewProc(kernel.FS{Proc: dir})
	defer p.Close()
	for range 2 * perProc {
		if path := p.FS().Proc; path != dir {
			t.Fatalf("path %s", path)
		}
	}
}

// Without the privilege to make a procfs, the shared one is used for every namespace.
func TestProcWithoutPrivileges(t *testing.T) {
	kernel.OnThread(func() { // never unlocked: the thread ends
		if err := dropPrivileges(); err != nil {
			t.Error(err)
		}
		p := NewProc(kernel.FS{Proc: "/proc"})
		defer p.Close()
		for range 2 * perProc {
			if path := p.FS().Proc; path != "/proc" {
				t.Errorf("path %s", path)
			}
		}
	})
}
