package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// gateMode is what a gate does with connections.
type gateMode string

const (
	gateOpen   gateMode = "open"
	gateShut   gateMode = "shut"   // nobody listens
	gateSilent gateMode = "silent" // they are accepted, and nothing is said
	gateSlow   gateMode = "slow"   // a byte now and then
)

// gate is a port in front of a server.
type gate struct {
	testing.TB
	addr, to string

	mu       sync.Mutex
	mode     gateMode
	listener net.Listener // nil: shut
	open     map[net.Conn]bool
	all      sync.WaitGroup
}

func newGate(t testing.TB, to string) *gate {
	t.Helper()
	g := &gate{TB: t, addr: "127.0.0.1:0", to: to, mode: gateOpen, open: map[net.Conn]bool{}}
	g.listen()
	g.addr = g.listener.Addr().String()
	t.Cleanup(func() {
		g.set(gateShut)
		g.all.Wait()
	})
	return g
}

func (g *gate) listen() {
	g.Helper()
	l, err := net.Listen("tcp", g.addr)
	if err != nil {
		g.Fatal(err)
	}
	g.listener = l
	g.all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			g.all.Go(func() { g.serve(c) })
		}
	})
}

// set changes the mode, and ends all connections.
func (g *gate) set(m gateMode) {
	g.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.mode = m
	for c := range g.open {
		_ = c.Close()
	}
	switch {
	case m == gateShut && g.listener != nil:
		_ = g.listener.Close()
		g.listener = nil
	case m != gateShut && g.listener == nil:
		g.listen()
	}
}

// track remembers a connection until the returned function closes it.
func (g *gate) track(c net.Conn) (m gateMode, done func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open[c] = true
	if g.mode == gateShut {
		_ = c.Close()
	}
	return g.mode, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		delete(g.open, c)
		_ = c.Close()
	}
}

func (g *gate) serve(near net.Conn) {
	m, done := g.track(near)
	defer done()
	if m == gateSilent {
		_, _ = io.Copy(io.Discard, near)
		return
	}
	far, err := net.Dial("tcp", g.to)
	if err != nil {
		return
	}
	_, farDone := g.track(far)
	defer farDone()
	g.all.Go(func() {
		_, _ = io.Copy(far, near)
		_ = far.(*net.TCPConn).CloseWrite()
	})
	if m == gateSlow {
		trickle(near, far)
		return
	}
	_, _ = io.Copy(near, far)
}

// trickle copies a byte every 20 ms.
func trickle(to io.Writer, from io.Reader) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for one := make([]byte, 1); ; <-tick.C {
		if _, err := from.Read(one); err != nil {
			return
		}
		if _, err := to.Write(one); err != nil {
			return
		}
	}
}

// httpServer is git's own server for http.
type httpServer struct {
	gate *gate
	next http.Handler

	mu     sync.Mutex
	broken bool   // it answers with 500
	token  string // that it asks for; empty: none
}

func (s *httpServer) with(change func(*httpServer)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

func (s *httpServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	broken, token := s.broken, s.token
	s.mu.Unlock()
	switch {
	case broken:
		http.Error(w, "the database is down", http.StatusInternalServerError)
	case token != "" && r.Header.Get("Authorization") != "Bearer "+token:
		w.Header().Set("WWW-Authenticate", `Basic realm="policies"`)
		http.Error(w, "who are you?", http.StatusUnauthorized)
	default:
		s.next.ServeHTTP(w, r)
	}
}

// overHTTP serves the repository of a node over http.
func (n *agentNode) overHTTP() *httpServer {
	n.Helper()
	n.check(linkUp())
	git, err := gitHandler(n.dir)
	n.check(err)
	s := &httpServer{next: git}
	web := httptest.NewServer(s)
	n.Cleanup(web.Close)
	s.gate = newGate(n, web.Listener.Addr().String())
	n.url = "http://" + s.gate.addr + "/repo.git"
	return s
}

// linkUp brings up the loopback interface of the tests' own namespace.
var linkUp = sync.OnceValue(func() error {
	out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip link: %w: %s", err, out)
	}
	return nil
})

// sshServer is sshd, with two keys of which it shows one.
type sshServer struct {
	gate *gate

	mu     sync.Mutex
	config string
	n      *agentNode
}

// show makes the server show another key.
func (s *sshServer) show(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.config = s.n.path("ssh/config_" + key)
}

// overSSH serves the repository of a node over ssh. The server shows the key a, which the agent
// knows, and has another one, b.
func (n *agentNode) overSSH() *sshServer {
	n.Helper()
	n.check(linkUp())
	// sshd separates its privileges there.
	n.check(errors.Join(os.MkdirAll("/run/sshd", 0o755), os.Mkdir(n.path("ssh"), 0o700)))
	s := &sshServer{n: n}
	n.write("ssh/authorized_keys", n.keygen("ssh/client"))
	hosts := map[string]string{}
	for _, key := range []string{"a", "b"} {
		hosts[key] = n.keygen("ssh/host_" + key)
		// A shell of level 2 does not read the .bashrc of this machine, which may take seconds (bash(1)).
		n.write("ssh/config_"+key, strings.Join([]string{"UsePAM no", "SetEnv SHLVL=1", "StrictModes no", "PasswordAuthentication no", "PermitRootLogin prohibit-password", "PidFile none",
			"LogLevel QUIET", "AuthorizedKeysFile " + n.path("ssh/authorized_keys"), "HostKey " + n.path("ssh/host_"+key), `ForceCommand git-shell -c "$SSH_ORIGINAL_COMMAND"`, ""}, "\n"))
	}
	s.show("a")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	n.check(err)
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { s.session(c.(*net.TCPConn)) })
		}
	})
	n.Cleanup(func() {
		_ = l.Close()
		all.Wait()
	})
	s.gate = newGate(n, l.Addr().String())
	host, port, _ := net.SplitHostPort(s.gate.addr)
	known := n.write("ssh/known_hosts", fmt.Sprintf("[%s]:%s %s", host, port, hosts["a"]))
	n.url = "ssh://root@" + s.gate.addr + n.path("repo.git")
	n.config += fmt.Sprintf("  ssh: {keyFile: %s, knownHostsFile: %s}\n", n.path("ssh/client"), known)
	return s
}

// session serves a connection by a process of its own.
func (s *sshServer) session(c *net.TCPConn) {
	f, err := c.File()
	_ = c.Close()
	if err != nil {
		return
	}
	defer f.Close()
	s.mu.Lock()
	config := s.config
	s.mu.Unlock()
	cmd := exec.Command("/usr/sbin/sshd", "-i", "-f", config)
	cmd.Stdin, cmd.Stdout = f, f
	_ = cmd.Run() // the client sees what it says
}

// keygen makes a key and returns its public half.
func (n *agentNode) keygen(name string) string {
	n.Helper()
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", n.path(name)).CombinedOutput(); err != nil {
		n.Fatalf("ssh-keygen: %v\n%s", err, out)
	}
	text, err := os.ReadFile(n.path(name + ".pub"))
	n.check(err)
	return string(text)
}

// counted counts the packs that are asked of a server.
type counted struct {
	next  http.Handler
	posts atomic.Int64
}

func (c *counted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost {
		c.posts.Add(1)
	}
	c.next.ServeHTTP(w, r)
}
