package fleet_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"nfsync.dev/nfsync/internal/fleet"
	"nfsync.dev/nfsync/internal/fleet/fleettest"
	"nfsync.dev/nfsync/internal/nf"
)

// through returns a configuration that reaches a store through a proxy.
func through(t *testing.T, s *fleettest.Server) (*fleettest.Proxy, fleet.Config) {
	t.Helper()
	p := fleettest.NewProxy(t, s.URL())
	cfg := s.Config("hn-1")
	cfg.Servers = []string{p.URL()}
	return p, cfg
}

// TestServerComesBack: a server that is killed and started again is found again, and the node is woken.
func TestServerComesBack(t *testing.T) {
	t.Parallel()
	s := fleettest.Start(t)
	s.PutRollout(nf.RolloutDocument{Channel: "main", Generation: 5})
	var woken atomic.Int64
	m := join(t, s.Config("hn-1"), func() { woken.Add(1) })
	ctx := within(t)
	s.Stop()
	eventually(t, "not connected", func() bool { return !m.Link().Connected })
	if _, err := m.Rollout(ctx); !isUnreachable(err) {
		t.Errorf("without a server: %v", err)
	}
	if _, err := m.PutNode(ctx, nf.FleetNode{Node: "hn-1", Revision: "old"}); !isUnreachable(err) {
		t.Errorf("without a server: %v", err)
	}
	eventually(t, "why", func() bool { return m.Link().Err != nil })
	before := woken.Load()
	s.Restart()
	eventually(t, "woken again, and connected", func() bool { return woken.Load() > before && m.Link().Connected })
	if d, err := m.Rollout(ctx); err != nil || d.Generation != 5 {
		t.Errorf("%+v, %v", d, err)
	}
	if link := m.Link(); !link.Connected || link.Err != nil || link.Server != s.URL() {
		t.Errorf("%+v", link)
	}
	if n, ok := s.Node("hn-1"); ok {
		t.Errorf("what was put without a server was sent later: %+v", n)
	}
}

// TestJoinWithoutServer: a node may start before the server does.
func TestJoinWithoutServer(t *testing.T) {
	t.Parallel()
	s := fleettest.Start(t)
	s.Stop()
	woken := make(chan struct{}, 100)
	m, err := fleet.Join(s.Config("hn-1"), func() { woken <- struct{}{} })
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	eventually(t, "why", func() bool { l := m.Link(); return !l.Connected && l.Err != nil })
	if _, err := m.Rollout(within(t)); !isUnreachable(err) || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	s.Restart()
	select {
	case <-woken:
	case <-time.After(patience):
		t.Fatal("not woken by the first connection")
	}
	if _, err := m.Rollout(within(t)); !errors.Is(err, fleet.ErrNone) {
		t.Errorf("%v", err)
	}
}

// TestWokenWhenListening: a node that is woken by its first connection can ask, and hears of what changes after its question.
func TestWokenWhenListening(t *testing.T) {
	t.Parallel()
	s := fleettest.Start(t)
	for range 500 {
		joined := make(chan *fleet.Member, 1)
		answer := make(chan error, 1)
		var once sync.Once
		m, err := fleet.Join(s.Config("hn-1"), func() {
			once.Do(func() {
				_, err := (<-joined).Rollout(context.Background())
				answer <- err
			})
		})
		if err != nil {
			t.Fatal(err)
		}
		joined <- m
		err = <-answer
		m.Close()
		if !errors.Is(err, fleet.ErrNone) {
			t.Fatalf("asked at the first wake-up: %v", err)
		}
	}
}

// TestNothingIsSentLater: what was put when the connection was cut, or fell into a hole, has not been stored for its caller,
// and does not reach the server afterwards.
func TestNothingIsSentLater(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func(*fleettest.Proxy){
		"cut":  (*fleettest.Proxy).Cut,
		"hole": (*fleettest.Proxy).Hole,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := fleettest.Start(t)
			p, cfg := through(t, s)
			cfg.Intervals.Ping = 2 * time.Second
			var woken atomic.Int64
			m := join(t, cfg, func() { woken.Add(1) })
			eventually(t, "woken by the first connection", func() bool { return woken.Load() > 0 })
			ctx := within(t)
			eventually(t, "put", func() bool { // a loaded machine may lose the connection by itself
				_, err := m.PutNode(ctx, nf.FleetNode{Node: "hn-1", Revision: "first"})
				return err == nil
			})
			fail(p)
			if _, err := m.PutNode(ctx, nf.FleetNode{Node: "hn-1", Revision: "lost"}); !isUnreachable(err) {
				t.Fatalf("put into nowhere: %v", err)
			} else if ctx.Err() != nil {
				t.Fatal("the loss of the connection was not noticed")
			}
			eventually(t, "not connected", func() bool { return !m.Link().Connected })
			if _, err := m.PutNode(ctx, nf.FleetNode{Node: "hn-1", Revision: "lost"}); !isUnreachable(err) {
				t.Fatalf("put without a connection: %v", err)
			}
			before := woken.Load()
			s.PutRollout(nf.RolloutDocument{Channel: "main", Generation: 1}) // while nobody hears of it
			p.Pass()
			eventually(t, "woken, and connected anew", func() bool { return woken.Load() > before && m.Link().Connected })
			if d, err := m.Rollout(ctx); err != nil || d.Generation != 1 {
				t.Errorf("%+v, %v", d, err)
			}
			if sent := p.ToServer(); strings.Contains(sent, "lost") || !strings.Contains(sent, "first") {
				t.Errorf("what was sent to the server: %q", sent)
			}
			if n, ok := s.Node("hn-1"); !ok || n.Revision != "first" {
				t.Errorf("%+v", n)
			}
		})
	}
}

// TestAnswerIsLost: a request whose answer does not come ends when the connection does, long before its context.
func TestAnswerIsLost(t *testing.T) {
	t.Parallel()
	s := fleettest.Start(t)
	p, cfg := through(t, s)
	m := join(t, cfg, func() {})
	p.Hole()
	done := make(chan error, 1)
	go func() {
		_, err := m.PutNode(context.WithoutCancel(t.Context()), nf.FleetNode{Node: "hn-1"})
		done <- err
	}()
	p.Cut()
	select {
	case err := <-done:
		if !isUnreachable(err) {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Error("the request does not end")
	}
}

// TestAnswerIsLate: without a deadline of the caller there is one.
func TestAnswerIsLate(t *testing.T) {
	t.Parallel()
	s := fleettest.Start(t)
	p, cfg := through(t, s)
	cfg.Intervals.Answer = 50 * time.Millisecond
	cfg.Intervals.Ping = time.Hour
	m := join(t, cfg, func() {})
	p.Hole()
	if _, err := m.PutNode(context.Background(), nf.FleetNode{Node: "hn-1"}); !isUnreachable(err) || !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

// TestUnknownError: a server that ends a connection with an error that no client knows is asked again.
func TestUnknownError(t *testing.T) {
	t.Parallel()
	s := fleettest.Start(t)
	p, cfg := through(t, s)
	var woken atomic.Int64
	m := join(t, cfg, func() { woken.Add(1) })
	eventually(t, "woken", func() bool { return woken.Load() > 0 })
	before := woken.Load()
	p.ToClients("-ERR 'the server is out of sorts'\r\n")
	eventually(t, "woken by a new connection", func() bool { return woken.Load() > before })
	eventually(t, "connected", func() bool { return m.Link().Connected })
	if _, err := m.PutNode(within(t), nf.FleetNode{Node: "hn-1"}); err != nil {
		t.Error(err)
	}
}

// TestCloseInAHole: a member whose server does not answer, not even to the attempt to connect, is closed at once.
func TestCloseInAHole(t *testing.T) {
	t.Parallel()
	for name, connected := range map[string]bool{"first attempt": false, "a later one": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := fleettest.Start(t)
			p, cfg := through(t, s)
			cfg.Intervals.Connect = 10 * patience
			if !connected {
				p.Hole()
			}
			m, err := fleet.Join(cfg, func() {})
			if err != nil {
				t.Fatal(err)
			}
			if connected {
				eventually(t, "connected", func() bool { return m.Link().Connected })
				p.Cut()
				eventually(t, "not connected", func() bool { return !m.Link().Connected })
				p.Pass()
				p.Hole()
			}
			eventually(t, "in the hole", func() bool { return p.Conns() > 0 })
			closed := make(chan struct{})
			go func() {
				m.Close()
				m.Close() // a second time
				close(closed)
			}()
			select {
			case <-closed:
			case <-time.After(patience):
				t.Error("it does not close")
			}
			eventually(t, "its connections are closed", func() bool { return p.Conns() == 0 })
			if link := m.Link(); link.Connected {
				t.Errorf("%+v", link)
			}
		})
	}
}

// TestConnectionStays: a connection keeps nothing for the next one, and is not given up while the server refuses its user.
func TestConnectionStays(t *testing.T) {
	t.Parallel()
	file, public := userFile(t)
	_, other := userFile(t)
	at := func(port int, user string) *server.Server {
		t.Helper()
		return startServer(t, func(o *server.Options) { o.Port, o.Nkeys = port, []*server.NkeyUser{{Nkey: user}} })
	}
	first := at(server.RANDOM_PORT, public)
	addr, ok := first.Addr().(*net.TCPAddr)
	if !ok {
		t.Fatal("no address")
	}
	cfg := configOf(first, "coordinator")
	cfg.CredentialsFile = file
	var refused atomic.Int64
	nc, err := fleet.Connect(within(t), cfg, nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		if errors.Is(err, nats.ErrAuthorization) {
			refused.Add(1)
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	first.Shutdown()
	first.WaitForShutdown()
	eventually(t, "not connected", func() bool { return !nc.IsConnected() })
	if err := nc.Publish("a", []byte("b")); err == nil {
		t.Error("what is published without a connection is kept for the next one")
	}
	second := at(addr.Port, other)
	eventually(t, "refused three times", func() bool { return refused.Load() >= 3 })
	second.Shutdown()
	second.WaitForShutdown()
	at(addr.Port, public)
	eventually(t, "connected again", nc.IsConnected)
}

// TestConnect: a reader does not wait for a server that refuses it, nor longer than its context, and the reason is said.
func TestConnect(t *testing.T) {
	t.Parallel()
	s := fleettest.Start(t)
	nc, err := fleet.Connect(within(t), s.Config("ci"))
	if err != nil || !nc.IsConnected() {
		t.Fatalf("%v", err)
	}
	nc.Close()
	p, cfg := through(t, s)
	p.Hole()
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	if _, err := fleet.OpenReader(ctx, cfg); !isUnreachable(err) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a server that does not answer: %v", err)
	}
	s.Stop()
	if _, err := fleet.OpenReader(within(t), s.Config("ci")); !isUnreachable(err) || !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("no server: %v", err)
	}
}
