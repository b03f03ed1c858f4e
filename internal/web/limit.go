package web

import (
	"net"
	"sync"
)

// limited is a listener that closes at once each connection that is one too many. Nobody can keep
// others out, or use up the files of the process, by opening connections.
type limited struct {
	net.Listener
	each, all int                   // the most connections of one peer, and of all peers, at a time
	peer      func(net.Conn) string // names the peer; empty: it has no limit

	mu    sync.Mutex
	open  map[string]int
	total int
}

func limit(l net.Listener, each, all int, peer func(net.Conn) string) *limited {
	return &limited{Listener: l, each: each, all: all, peer: peer, open: map[string]int{}}
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

func (l *limited) enter(peer string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[peer] >= l.each || l.total >= l.all {
		return false
	}
	l.open[peer]++
	l.total++
	return true
}

func (l *limited) leave(peer string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total--
	if l.open[peer]--; l.open[peer] == 0 {
		delete(l.open, peer)
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
