package runtimes_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/kernel"
	"nfsync.dev/nfsync/internal/netns"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/runtimes"
	"nfsync.dev/nfsync/internal/runtimes/runtimestest"
)

// lxcNode is a node with containers of LXC: a procfs of files, in which processes are in real network
// namespaces, and sockets of monitors in the node's network namespace.
type lxcNode struct {
	runtimes.Node
	t   testing.TB
	own *runtimestest.Process // it is in the node's namespace
}

// newLXCNode returns a node without containers, with files below a root.
func newLXCNode(t testing.TB, root string) *lxcNode {
	t.Helper()
	l := &lxcNode{Node: node(t, root), t: t, own: runtimestest.Start(t)}
	own, err := netns.Identify(l.own.Path())
	must(t, err)
	l.Own, l.NodeNetns, l.Proc = append(l.Own, own), l.own.Path(), filepath.Join(root, "proc")
	must(t, os.MkdirAll(filepath.Join(l.Proc, "thread-self/net"), 0o755))
	l.sockets("")
	return l
}

// sockets writes /proc/net/unix.
func (l *lxcNode) sockets(lines string) {
	l.t.Helper()
	header := "Num       RefCount Protocol Flags    Type St Inode Path\n"
	must(l.t, os.WriteFile(filepath.Join(l.Proc, "thread-self/net/unix"), []byte(header+lines), 0o644))
}

// process is a process of the node's procfs.
type process struct {
	pid, parent int
	command     string
	cgroup      string
	uid         int
	inContainer bool                  // it has another PID there
	in          *runtimestest.Process // whose network namespace it is in; nil: the node's
}

// add writes the files of a process.
func (l *lxcNode) add(p process) {
	l.t.Helper()
	dir := filepath.Join(l.Proc, strconv.Itoa(p.pid))
	pids := strconv.Itoa(p.pid)
	if p.inContainer {
		pids += "\t1"
	}
	must(l.t, os.MkdirAll(dir, 0o755))
	for name, text := range map[string]string{
		"stat":    fmt.Sprintf("%d (x) S %d %s\n", p.pid, p.parent, "0"+strings.Repeat(" 0", 16)+" "+strconv.Itoa(1_000_000-p.pid)+" 0"),
		"status":  fmt.Sprintf("Name:\tx\nPPid:\t%d\nUid:\t%[2]d\t%[2]d\t%[2]d\t%[2]d\nNSpid:\t%s\n", p.parent, p.uid, pids),
		"cmdline": p.command, "cgroup": p.cgroup,
	} {
		must(l.t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	l.enter(p.pid, p.in)
}

// enter puts a process into the network namespace of another one.
func (l *lxcNode) enter(pid int, in *runtimestest.Process) {
	l.t.Helper()
	if in == nil {
		in = l.own
	}
	ns := filepath.Join(l.Proc, strconv.Itoa(pid), "ns/net")
	must(l.t, os.MkdirAll(filepath.Dir(ns), 0o755))
	_ = os.Remove(ns)
	must(l.t, os.Symlink(in.Path(), ns))
}

// container adds a monitor with the PID, and the first process of a container with the next one.
func (l *lxcNode) container(pid int, dir, name string, in *runtimestest.Process) {
	l.t.Helper()
	l.add(process{pid: pid, parent: 1, command: "[lxc monitor] " + dir + " " + name + "\x00\x00"})
	l.add(process{pid: pid + 1, parent: pid, command: "/sbin/init", cgroup: "0::/lxc.payload." + name + "/init.scope\n", inContainer: true, in: in})
	l.listen(dir+"/"+name, answer(pid+1))
}

// answer is what a monitor answers for a first process.
func answer(pid int) string { return runtimestest.InitAnswer(pid) }

// listen lets root listen on the socket of a container, and answer; an empty answer: never. It adds the
// socket to /proc/net/unix.
func (l *lxcNode) listen(container, answer string) {
	l.t.Helper()
	l.name(runtimestest.ListenLXC(l.t, l.NodeNetns, container, answer).Addr().String())
}

// squat lets a user listen on the socket of a container.
func (l *lxcNode) squat(container, answer string) {
	l.t.Helper()
	var listener net.Listener
	must(l.t, asUser(l.NodeNetns, func() (err error) {
		listener, err = net.Listen("unix", "@"+container+"/command")
		return err
	}))
	runtimestest.ServeLXC(l.t, listener, answer)
	l.name(listener.Addr().String())
}

// asUser runs f as another user, in the network namespace of a file.
func asUser(path string, f func() error) (err error) {
	const nobody = 65534
	kernel.OnThread(func() { // never unlocked: the thread ends
		var ns *os.File
		if ns, err = os.Open(path); err != nil {
			return
		}
		defer ns.Close()
		if err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			return
		}
		// Those of the library change all threads.
		for _, call := range []uintptr{unix.SYS_SETRESGID, unix.SYS_SETRESUID} {
			if _, _, errno := unix.RawSyscall(call, nobody, nobody, nobody); errno != 0 {
				err = errno
				return
			}
		}
		err = f()
	})
	return err
}

// name adds a socket to /proc/net/unix.
func (l *lxcNode) name(socket string) {
	l.t.Helper()
	f, err := os.OpenFile(filepath.Join(l.Proc, "thread-self/net/unix"), os.O_APPEND|os.O_WRONLY, 0)
	must(l.t, err)
	defer f.Close()
	_, err = fmt.Fprintf(f, "0000000000000000: 00000002 00000000 00010000 0001 01 1 %s\n", socket)
	must(l.t, err)
}

// replayLXC returns a node with a recorded tree. The processes are in the network namespaces of the
// given ones; nil: in the node's. Each socket gives the answers by the name of its container.
func replayLXC(t testing.TB, tree string, in map[int]*runtimestest.Process, answers map[string]string) *lxcNode {
	t.Helper()
	root := runtimestest.Replay(t, tree, nil)
	unixFile, err := os.ReadFile(filepath.Join(root, "proc/net/unix"))
	must(t, err)
	l := newLXCNode(t, root)
	l.addStatus()
	for pid, p := range in {
		l.enter(pid, p)
	}
	for container, answer := range answers {
		l.listen(container, answer)
	}
	l.sockets(strings.SplitAfterN(string(unixFile), "\n", 2)[1])
	return l
}

// addStatus writes status of each process that has a recorded stat: those that have a parent there are
// in a container.
func (l *lxcNode) addStatus() {
	l.t.Helper()
	stats, err := filepath.Glob(filepath.Join(l.Proc, "*/stat"))
	must(l.t, err)
	for _, path := range stats {
		stat, err := os.ReadFile(path)
		must(l.t, err)
		f := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		pid := filepath.Base(filepath.Dir(path))
		pids := pid
		if _, err := os.Stat(filepath.Join(l.Proc, f[1])); err == nil {
			pids += "\t1"
		}
		status := fmt.Sprintf("Name:\tx\nPPid:\t%s\nUid:\t0\t0\t0\t0\nNSpid:\t%s\n", f[1], pids)
		must(l.t, os.WriteFile(filepath.Join(filepath.Dir(path), "status"), []byte(status), 0o644))
	}
}

// born returns the container that an entry stands for, as texts does; ? if there is none yet, and
// nothing if the entry is of none.
func born(n runtimes.Node, runtime, entry string) string {
	c, found, mine := n.Born(runtime, entry)
	switch {
	case found:
		return texts([]nf.Container{c})[0]
	case mine:
		return "?"
	}
	return ""
}

// directories checks which directories are watched for a runtime: its containers have an entry in each,
// for as long as they run.
func directories(t testing.TB, n runtimes.Node, runtime string, want ...string) {
	t.Helper()
	var got []string
	for _, d := range n.Dirs([]string{runtime}) {
		if !slices.Equal(d.Births, []string{runtime}) || d.BirthsOnly {
			t.Errorf("%+v", d)
		}
		got = append(got, d.Path)
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s: the directories are %q, want %q", runtime, got, want)
	}
}
