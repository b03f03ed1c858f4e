package runtimestest

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// Nspawn has the files of systemd-machined below a root. A container is known by the cgroup of its first
// process, so that the processes are in a procfs of the test's own.
type Nspawn struct {
	T    testing.TB
	Root string // of the files
	Proc string // made by Procfs
}

// Run writes the file of a running container.
func (n Nspawn) Run(name string, p *Process) {
	n.T.Helper()
	unit := "machine-" + name + ".scope"
	AddProcess(n.T, n.Proc, p, "0::/machine.slice/"+unit+"/payload\n")
	text := fmt.Sprintf("NAME=%s\nSCOPE=%s\nSERVICE=systemd-nspawn\nLEADER=%d\nCLASS=container\n", name, unit, p.PID)
	dir := filepath.Join(n.Root, "run/systemd/machines")
	err := os.MkdirAll(dir, 0o755)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644)
	}
	if err != nil {
		n.T.Fatal(err)
	}
}

// AddProcess adds a process to a procfs that Procfs has made, with a cgroup of the test's own, as
// /proc/PID/cgroup has it.
func AddProcess(t testing.TB, proc string, p *Process, cgroup string) {
	t.Helper()
	pid := strconv.Itoa(p.PID)
	dir := filepath.Join(proc, pid)
	err := os.MkdirAll(dir, 0o755)
	for _, name := range []string{"ns", "stat", "status", "comm", "cmdline"} {
		if err == nil {
			err = os.Symlink(filepath.Join("/proc", pid, name), filepath.Join(dir, name))
		}
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "cgroup"), []byte(cgroup), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Procfs makes a directory with the files of procfs, in which no process but the test's own is.
func Procfs(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err == nil {
			continue
		}
		if err := os.Symlink(filepath.Join("/proc", e.Name()), filepath.Join(dir, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
