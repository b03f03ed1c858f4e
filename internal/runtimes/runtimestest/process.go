// Package runtimestest has what tests of container runtimes share: processes that sleep in network
// namespaces, and the state files of runtimes that name these processes. The files are those that the
// runtimes have written, as recorded in the testdata of package runtimes, with other processes, names
// and ids.
package runtimestest

import (
	"io"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/netns"
)

// Process is a process that sleeps until it is ended, or until the test ends.
type Process struct {
	PID   int
	Start uint64 // when it has started: starttime of proc_pid_stat(5)
	cmd   *exec.Cmd
	in    io.Writer // of one that StartRunc has started
}

// Start starts a process in a new network namespace.
func Start(t testing.TB) *Process {
	t.Helper()
	cmd := sleep(t)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET}
	return started(t, cmd, cmd.Start())
}

// StartRunc starts a process in a new network namespace that looks like that of runc before it runs the
// program of a container. Run ends that.
func StartRunc(t testing.TB) *Process {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", "printf 'runc:[2:INIT]' >/proc/$$/comm; echo; read go; exec sleep 1000")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	p := started(t, cmd, cmd.Start())
	p.in = in
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return p
}

// Run lets a process that StartRunc has started run its program.
func (p *Process) Run() { _, _ = p.in.Write([]byte("go\n")) }

// StartHere starts a process in the network namespace of the test.
func StartHere(t testing.TB) *Process {
	t.Helper()
	cmd := sleep(t)
	return started(t, cmd, cmd.Start())
}

// StartIn starts a process in the network namespace of another one.
func StartIn(t testing.TB, other *Process) *Process {
	t.Helper()
	cmd := sleep(t)
	return started(t, cmd, netns.Enter(other.Path(), cmd.Start))
}

func sleep(t testing.TB) *exec.Cmd { return exec.CommandContext(t.Context(), "sleep", "1000") }

func started(t testing.TB, cmd *exec.Cmd, err error) *Process {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	p := &Process{PID: cmd.Process.Pid, cmd: cmd}
	t.Cleanup(p.End)
	if p.Start, err = netns.StartTime(filepath.Join("/proc", strconv.Itoa(p.PID))); err != nil {
		t.Fatal(err)
	}
	return p
}

// Path returns the file of the network namespace of the process.
func (p *Process) Path() string { return filepath.Join("/proc", strconv.Itoa(p.PID), "ns/net") }

// End ends the process, and returns when it has gone.
func (p *Process) End() {
	if p.cmd != nil {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
		p.cmd = nil
	}
}
