package web

import (
	"net"
	"sync"
)

// bounds count what peers have open.
type bounds struct {
	each, all int // the most of one peer, and of all peers, at a time

	mu    sync.Mutex
	open  map[string]int
	total int
}

func newBounds(each, all int) *bounds { return &bounds{each: each, all: all, open: map[string]int{}} }

// enter counts one more of a peer. It returns false if that is one too many.
func (b *bounds) enter(peer string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open[peer] >= b.each || b.total >= b.all {
		return false
	}
	b.open[peer]++
	b.total++
	return true
}

func (b *bounds) leave(peer string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.total--
	if b.open[peer]--; b.open[peer] == 0 {
		delete(b.open, peer)
	}
}

// limited is a listener that closes at once each connection that is one too many. Nobody can keep
// others out, or use up the files of the process, by opening connections.
type limited struct {
	net.Listener
	*bounds
	peer func(net.Conn) string // names the peer; empty: it has no limit
}

func limit(l net.Listener, each, all int, peer func(net.Conn) string) *limited {
	return &limited{Listener: l, bounds: newBounds(each, all), peer: peer}
}

// Accept returns the next connection that is within the limits.
func (l *limited) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		peer := l.peer(c)
		if peer == "" {
			return c, nil
		}
		if l.enter(peer) {
			return &counted{Conn: c, leave: sync.OnceFunc(func() { l.leave(peer) })}, nil
		}
		_ = c.Close() // nobody waits for its answer
	}
}

// counted is a connection that counts until it is closed.
type counted struct {
	net.Conn
	leave func()
}

// Close closes the connection.
func (c *counted) Close() error {
	defer c.leave()
	return c.Conn.Close()
}

// addressOf names the peer of a TCP connection: its address without the port.
func addressOf(c net.Conn) string {
	host, _, err := net.SplitHostPort(c.RemoteAddr().String())
	if err != nil {
		return c.RemoteAddr().String()
	}
	return host
}
