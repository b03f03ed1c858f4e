package runtimestest

import (
	"net"
	"os/exec"
	"strings"
	"testing"

	"nfsync.dev/nfsync/internal/netns"
)

// LXC has containers of LXC or Incus: each has a monitor, which listens on a socket in the network
// namespace of the node.
type LXC struct {
	T     testing.TB
	Dir   string // of the containers
	Netns string // the file of the node's network namespace
}

// Monitored is the first process of a container of LXC, with its monitor.
type Monitored struct {
	*Process
	monitor *Process
	socket  net.Listener
}

// Run runs a container in a new network namespace, or in that of another process.
func (l LXC) Run(name string, in *Process) Monitored {
	l.T.Helper()
	start := "unshare --net"
	if in != nil {
		start = "nsenter --net=" + in.Path()
	}
	cmd := exec.CommandContext(l.T.Context(), "/bin/sh")
	cmd.Args = []string{"[lxc monitor] " + l.Dir + " " + name}
	m := Monitored{}
	cmd.Stdin = strings.NewReader(start + " sleep 1000 &\necho $!\nwait\n")
	m.monitor, m.Process = startParent(l.T, cmd)
	m.socket = ListenLXC(l.T, l.Netns, l.Dir+"/"+name, InitAnswer(m.PID))
	return m
}

// End ends the container, which ends its monitor, and returns when both have gone.
func (m Monitored) End() {
	_ = m.socket.Close()
	m.kill()
	_ = m.monitor.cmd.Wait()
	m.monitor.cmd = nil
}

// InitAnswer is what the monitor of a container of LXC answers if it is asked for the first process.
func InitAnswer(pid int) string {
	return string(append(make([]byte, 8), byte(pid), byte(pid>>8), byte(pid>>16), byte(pid>>24), 0, 0, 0, 0))
}

// ListenLXC lets root listen on the socket of a container in a network namespace, and answer; an empty
// answer: never.
func ListenLXC(t testing.TB, namespace, container, answer string) net.Listener {
	t.Helper()
	var listener net.Listener
	err := netns.Enter(namespace, func() (err error) {
		listener, err = net.Listen("unix", "@"+container+"/command")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	ServeLXC(t, listener, answer)
	return listener
}

// ServeLXC answers on the socket of a container for as long as the test runs, as ListenLXC does.
func ServeLXC(t testing.TB, listener net.Listener, answer string) {
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = conn.Close() })
			request := make([]byte, 16)
			if n, err := conn.Read(request); n != 16 || err != nil || request[0] != 4 {
				continue
			}
			if answer != "" {
				_, _ = conn.Write([]byte(answer))
			}
		}
	}()
}
