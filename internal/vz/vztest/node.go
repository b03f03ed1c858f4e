package vztest

import (
	"context"
	"encoding/json"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
)

// Node is a simulated node of Virtuozzo 7. Its methods may be called while programs run.
type Node struct {
	t      testing.TB
	root   string
	socket *net.UnixListener
	inits

	mu             sync.Mutex
	containers     []*container
	added          int // the number of containers ever added, for their UUIDs
	noMasks        bool
	dispatcherDown bool
	faults         []*Fault
	calls          [][]string
	hung           map[net.Conn]chan struct{} // closed when the call ends
	hangs          chan struct{}              // one element for each call that began to hang
	ended          bool
}

// New makes a node without containers. The node and its processes end with the test, even if
// the test panics.
func New(t testing.TB) *Node {
	t.Helper()
	dir, err := os.MkdirTemp("", "vz") // short: a socket's path has at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	n := &Node{t: t, root: filepath.Join(dir, "root"), hung: map[net.Conn]chan struct{}{}, hangs: make(chan struct{}, 1000)}
	n.must(n.makeRoot())
	n.inits.open()
	t.Cleanup(n.inits.close)
	n.socket, err = net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "socket"), Net: "unix"})
	n.must(err)
	n.must(os.WriteFile(filepath.Join(n.root, socketFile), []byte(filepath.Join(dir, "socket")), 0o600))
	var served sync.WaitGroup
	served.Go(func() { n.serve(&served) })
	t.Cleanup(func() {
		_ = n.socket.Close()
		n.endHung()
		served.Wait()
	})
	return n
}

// Root returns the root of the files and programs of Virtuozzo, as for --vz-root.
func (n *Node) Root() string { return n.root }

// Proc returns the path of a procfs with the init processes, as the Virtuozzo kernel shows
// them: their status has the CTID of their container (envID). Their other files are those of
// the real procfs.
func (n *Node) Proc() string { return filepath.Join(filepath.Dir(n.root), "proc") }

// Calls returns the command lines of the programs that ran, in the order of their starts. The
// first word of each is the name of the program, without a directory.
func (n *Node) Calls() [][]string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.calls)
}

// ForgetCalls empties the list of Calls.
func (n *Node) ForgetCalls() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.calls = nil
}

// Run runs a program as an administrator would. Calls does not list it, and no Fault applies.
func (n *Node) Run(program string, args ...string) (stdout, stderr string, exit int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	r := n.perform(program, args)
	return r.Stdout, r.Stderr, r.Exit
}

// AwaitHang waits until one more call hangs or lingers, with its child. It returns false if the
// context ends first.
func (n *Node) AwaitHang(ctx context.Context) bool {
	select {
	case <-n.hangs:
		return true
	case <-ctx.Done():
		return false
	}
}

// AwaitNoHang waits until each call that hangs or lingers has ended, with its child. It returns
// false if the context ends first.
func (n *Node) AwaitNoHang(ctx context.Context) bool {
	n.mu.Lock()
	hung := slices.Collect(maps.Values(n.hung))
	n.mu.Unlock()
	for _, done := range hung {
		select {
		case <-done:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// must fails the test on an error.
func (n *Node) must(err error) {
	n.t.Helper()
	if err != nil {
		n.t.Fatalf("vztest: %v", err)
	}
}

// path returns a path below the root.
func (n *Node) path(elements ...string) string {
	return filepath.Join(n.root, filepath.Join(elements...))
}

// The directories of the node. VZ_ENV_CONF_DIR, VZCTL_VE_RUN_DIR and others are in
// include/vztypes.h of libvzctl; that of the links to network namespaces is in
// lib/env_nsops.c.
const (
	confDir   = "etc/vz/conf"
	privDir   = "vz/private"
	pidDir    = "var/run/ve"
	netnsDir  = "var/run/netns"
	cgroupDir = "sys/fs/cgroup/ve"
)

// cgroupMounts is the content of /proc/mounts, with the ve hierarchy of cgroup v1 among
// others. libvzctl finds it by its mount option (lib/cgroup.c).
const cgroupMounts = `rootfs / rootfs rw 0 0
proc /proc proc rw,nosuid,nodev,noexec,relatime 0 0
tmpfs /sys/fs/cgroup tmpfs ro,nosuid,nodev,noexec,mode=755 0 0
cgroup /sys/fs/cgroup/systemd cgroup rw,nosuid,nodev,noexec,relatime,xattr,name=systemd 0 0
cgroup /sys/fs/cgroup/beancounter cgroup rw,nosuid,nodev,noexec,relatime,beancounter 0 0
cgroup /sys/fs/cgroup/ve cgroup rw,nosuid,nodev,noexec,relatime,ve 0 0
cgroup /sys/fs/cgroup/memory cgroup rw,nosuid,nodev,noexec,relatime,memory 0 0
`

// tools has the directories into which Virtuozzo's packages install the programs.
var tools = map[string]string{
	"prlctl": "usr/bin",
	"vzctl":  "usr/sbin",
	"vzlist": "usr/sbin",
}

func (n *Node) makeRoot() error {
	for _, dir := range []string{confDir, privDir, pidDir, netnsDir, cgroupDir, "usr/bin", "usr/sbin", "proc"} {
		if err := os.MkdirAll(n.path(dir), 0o755); err != nil {
			return err
		}
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	for tool, dir := range tools {
		if err := install(self, n.path(dir, tool)); err != nil {
			return err
		}
	}
	return os.WriteFile(n.path("proc/mounts"), []byte(cgroupMounts), 0o644)
}

// install links or copies a program to a path. A symbolic link would leave the root of the
// node.
func install(program, path string) error {
	if os.Link(program, path) == nil {
		return nil
	}
	data, err := os.ReadFile(program) // on another file system
	if err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o755)
}

// serve answers the programs until the socket is closed.
func (n *Node) serve(served *sync.WaitGroup) {
	for {
		conn, err := n.socket.Accept()
		if err != nil {
			return
		}
		served.Go(func() { n.answer(conn) })
	}
}

// answer answers one program.
func (n *Node) answer(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	var q request
	if err := json.NewDecoder(conn).Decode(&q); err != nil || len(q.Args) == 0 {
		n.t.Errorf("vztest: a program sent %v, %v", q.Args, err)
		return
	}
	r := n.call(filepath.Base(q.Args[0]), q.Args[1:])
	if r.Hang || r.Linger {
		n.hold(conn, r)
		return
	}
	// The error of a program that was killed meanwhile does not matter.
	_ = json.NewEncoder(conn).Encode(r)
}

// hold keeps a connection open until the program and its child have ended.
func (n *Node) hold(conn net.Conn, r reply) {
	done := make(chan struct{})
	defer close(done)
	n.mu.Lock()
	if n.ended {
		n.mu.Unlock()
		return
	}
	n.hung[conn] = done
	n.mu.Unlock()
	if json.NewEncoder(conn).Encode(r) == nil {
		if _, err := conn.Read(make([]byte, 1)); err == nil { // the child runs
			n.hangs <- struct{}{}
			_, _ = conn.Read(make([]byte, 1))
		}
	}
	n.mu.Lock()
	delete(n.hung, conn)
	n.mu.Unlock()
}

// endHung ends every call that hangs.
func (n *Node) endHung() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ended = true
	for conn := range n.hung {
		_ = conn.Close()
	}
}

// call records a call of a program and performs it, with its fault.
func (n *Node) call(program string, args []string) reply {
	n.mu.Lock()
	n.calls = append(n.calls, append([]string{program}, args...))
	fault := n.fault(program, args)
	n.mu.Unlock()
	if fault.Before != nil {
		fault.Before()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if fault.Hang {
		return reply{Hang: true}
	}
	var r reply
	if !fault.Skip {
		r = n.perform(program, args)
	}
	return fault.apply(r)
}

// perform does what a program does.
func (n *Node) perform(program string, args []string) reply {
	var r reply
	var out, errs output
	switch program {
	case "prlctl":
		r.Exit = n.prlctl(&out, &errs, args)
	case "vzctl":
		r.Exit = n.vzctl(&out, &errs, args)
	case "vzlist":
		r.Exit = n.vzlist(&out, &errs, args)
	}
	r.Stdout, r.Stderr = out.String(), errs.String()
	return r
}
