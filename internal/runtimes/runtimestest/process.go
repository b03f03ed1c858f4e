// Package runtimestest has what tests of container runtimes share: processes that sleep in network
// namespaces, and the state files of runtimes that name these processes. The files are those that the
// runtimes have written, as recorded in the testdata of package runtimes, with other processes, names
// and ids.
package runtimestest

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
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
	return StartNamed(t, "runc:[2:INIT]")
}

// StartNamed is StartRunc for a process with that name (proc_pid_comm(5)).
func StartNamed(t testing.TB, name string) *Process {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", `printf %s "$0" >/proc/$$/comm; echo; read go; exec sleep 1000`, name)
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
	return StartAt(t, other.Path())
}

// StartAt starts a process in the network namespace that a file names.
func StartAt(t testing.TB, path string) *Process {
	t.Helper()
	cmd := sleep(t)
	return started(t, cmd, netns.Enter(path, cmd.Start))
}

// StartOf starts a process in a user namespace that a user has made, and in a network namespace of that.
func StartOf(t testing.TB, uid int) *Process { return unshared(t, uid, "--user", "--net") }

// StartHereOf is StartOf in the network namespace of the test.
func StartHereOf(t testing.TB, uid int) *Process { return unshared(t, uid, "--user") }

// StartUserIn starts a process in a user namespace that a user has made, and in the network namespace of
// another process.
func StartUserIn(t testing.TB, other *Process, uid int) (p *Process) {
	t.Helper()
	err := netns.Enter(other.Path(), func() error {
		p = StartHereOf(t, uid)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// unshared starts a process that unshare(1), run by a user, has put into namespaces.
func unshared(t testing.TB, uid int, options ...string) *Process {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "unshare", append(options, "sleep", "1000")...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}} // a small number
	p := started(t, cmd, cmd.Start())
	for !p.isNamed(t, "sleep") {
		runtime.Gosched()
	}
	return p
}

// isNamed reports whether the process runs a program of that name.
func (p *Process) isNamed(t testing.TB, name string) bool {
	t.Helper()
	comm, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(p.PID), "comm"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(comm)) == name
}

// StartConmon starts a process in a new network namespace, whose parent has the arguments of the conmon
// of a container.
func StartConmon(t testing.TB, id, name string) *Process {
	t.Helper()
	return StartConmonOf(t, 0, id, name)
}

// StartConmonOf is StartConmon with a parent of another user.
func StartConmonOf(t testing.TB, uid int, id, name string) *Process {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/bin/sh")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}} // a small number
	cmd.Args = []string{"/usr/bin/conmon", "-s", "--", "--api-version", "1", "-c", id, "-u", id, "-r", "/usr/bin/crun", "-n", name, "-s"}
	cmd.Stdin = strings.NewReader("unshare --user --net sleep 1000 &\necho $!\nwait\n")
	return StartChild(t, cmd)
}

// StartChild starts a command, and returns its child, whose PID the command prints, once that sleeps.
func StartChild(t testing.TB, cmd *exec.Cmd) *Process {
	t.Helper()
	_, child := startParent(t, cmd)
	return child
}

// startParent is StartChild that returns the process of the command too.
func startParent(t testing.TB, cmd *exec.Cmd) (parent, child *Process) {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	parent = started(t, cmd, cmd.Start())
	child = &Process{}
	if _, err := fmt.Fscan(out, &child.PID); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(child.kill)
	if child.Start, err = netns.StartTime(filepath.Join("/proc", strconv.Itoa(child.PID))); err != nil {
		t.Fatal(err)
	}
	for !child.isNamed(t, "sleep") {
		runtime.Gosched()
	}
	return parent, child
}

// kill kills a process that another one waits for, unless it has ended.
func (p *Process) kill() {
	if start, err := netns.StartTime(filepath.Join("/proc", strconv.Itoa(p.PID))); err == nil && start == p.Start {
		_ = syscall.Kill(p.PID, syscall.SIGKILL)
	}
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
