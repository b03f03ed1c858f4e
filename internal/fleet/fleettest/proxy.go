package fleettest

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// Proxy stands between clients and a server, and fails as networks do. It ends with its test.
type Proxy struct {
	listener net.Listener
	target   string
	mu       sync.Mutex
	cut      bool
	hole     bool
	conns    map[net.Conn]bool // whether they are a client's
	toServer strings.Builder
}

// NewProxy returns a proxy for the address in a URL, such as Server.URL returns.
func NewProxy(t testing.TB, url string) *Proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, target, _ := strings.Cut(url, "://")
	p := &Proxy{listener: listener, target: target, conns: map[net.Conn]bool{}}
	go p.accept()
	t.Cleanup(func() {
		listener.Close()
		p.Cut()
	})
	return p
}

// URL returns the address of the proxy.
func (p *Proxy) URL() string { return "nats://" + p.listener.Addr().String() }

// Cut ends all connections, and each new one at once.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut, p.hole = true, false
	for c := range p.conns {
		c.Close()
	}
}

// Hole swallows what is sent in either direction, and says nothing of it, as a firewall that drops packets does.
func (p *Proxy) Hole() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hole = true
}

// Pass lets new connections through. Those that fell into a hole have lost a part of what was sent: they are ended.
func (p *Proxy) Pass() {
	p.Cut()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = false
}

// ToServer returns all that was let through to the server.
func (p *Proxy) ToServer() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.toServer.String()
}

// ToClients sends a text to all clients, as if it came from the server.
func (p *Proxy) ToClients(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c, client := range p.conns {
		if client {
			_, _ = io.WriteString(c, text) // one that has ended needs none
		}
	}
}

// Conns returns how many connections there are, those of clients and those to the server.
func (p *Proxy) Conns() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.conns)
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return // the test has ended
		}
		go p.serve(client)
	}
}

func (p *Proxy) serve(client net.Conn) {
	defer client.Close()
	if !p.add(client, true) {
		return
	}
	defer p.remove(client)
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		return // the server does not run
	}
	defer server.Close()
	if !p.add(server, false) {
		return
	}
	defer p.remove(server)
	ended := make(chan struct{}, 2)
	pump := func(to io.Writer, from io.Reader, record bool) {
		p.pump(to, from, record)
		ended <- struct{}{}
	}
	go pump(server, client, true)
	go pump(client, server, false)
	<-ended
	client.Close()
	server.Close()
	<-ended
}

// pump copies until one end is closed. In a hole it reads, and writes nothing.
func (p *Proxy) pump(to io.Writer, from io.Reader, record bool) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		if p.swallows(buffer[:n], record) {
			continue
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func (p *Proxy) swallows(data []byte, record bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.hole && record {
		p.toServer.Write(data)
	}
	return p.hole
}

func (p *Proxy) add(c net.Conn, client bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cut {
		return false
	}
	p.conns[c] = client
	return true
}

func (p *Proxy) remove(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}
