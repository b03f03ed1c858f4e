package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"nfsync.dev/nfsync/internal/durable"
	"nfsync.dev/nfsync/internal/fleet"
)

// Options says how a server in this process runs.
type Options struct {
	Listen Listen
	Nodes  int // how many nodes the streams are made for; 0: 10,000
	// Log, if not nil, gets what the server says.
	Log func(level slog.Level, message string)
}

// defaultNodes is how many nodes one server is for.
const defaultNodes = 10000

// Server is a NATS server in this process, with the streams of a fleet.
type Server struct {
	server *server.Server
	fatal  <-chan string // why it cannot go on
	unlock func()
}

// ErrServing means that a server runs in the directory already.
var ErrServing = errors.New("another server runs in the directory")

// Start starts a server with the keys, the accounts and the streams of the directory. It returns when the streams can be
// used, or when ctx ends. What was revoked while no server ran is revoked.
func Start(ctx context.Context, d *Directory, o Options) (*Server, error) {
	if err := o.Listen.check(); err != nil {
		return nil, err
	}
	unlock, err := d.lock(fileServing, syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, fmt.Errorf("%s: %w", d.path, ErrServing)
	}
	if err != nil {
		return nil, err
	}
	s, err := d.start(o)
	if err != nil {
		unlock()
		return nil, fmt.Errorf("cannot start the NATS server: %w", err)
	}
	s.unlock = unlock
	if err := s.prepare(ctx, d, o); err != nil {
		s.Shutdown()
		return nil, err
	}
	return s, nil
}

// start starts the server.
func (d *Directory) start(o Options) (*Server, error) {
	// The server prefers the account that was signed last, its own or that of the ledger: before it starts the ledger must have
	// what the server has.
	known, err := d.storedAccounts()
	if err != nil {
		return nil, err
	}
	if _, err := d.learn(known); err != nil {
		return nil, err
	}
	for _, dir := range []string{dirStore, dirAccounts} {
		if err := (durable.Writer{}).MkdirAll(d.inside(dir), 0o700); err != nil {
			return nil, err
		}
	}
	text, err := d.embeddedText(o.Listen)
	if err != nil {
		return nil, err
	}
	options := &server.Options{}
	if err := options.ProcessConfigString(text); err != nil {
		return nil, err
	}
	options.NoSigs = true
	s, err := server.NewServer(options)
	if err != nil {
		return nil, err
	}
	fatal := make(chan string, 1)
	s.SetLogger(&logger{o.Log, fatal}, false, false)
	s.Start()
	return &Server{server: s, fatal: fatal}, nil
}

// prepare waits for the server, gives it the accounts, and makes the streams.
func (s *Server) prepare(ctx context.Context, d *Directory, o Options) error {
	const look = 100 * time.Millisecond
	for !s.server.ReadyForConnections(look) {
		select {
		case <-ctx.Done():
			return fmt.Errorf("the NATS server does not get ready: %w", ctx.Err())
		case why := <-s.fatal:
			return fmt.Errorf("the NATS server cannot run: %s", why)
		default:
		}
	}
	if _, err := d.push(ctx, 1, "", nats.InProcessServer(s)); err != nil {
		return err
	}
	return d.makeStreams(ctx, 1, o.Nodes, "", nats.InProcessServer(s))
}

// makeStreams makes the streams of the fleet.
func (d *Directory) makeStreams(ctx context.Context, replicas, nodes int, urls string, options ...nats.Option) error {
	c, err := d.connect(ctx, fileCoordinator, urls, options...)
	if err != nil {
		return err
	}
	defer c.Close()
	js, err := jetstream.New(c)
	if err != nil {
		return err
	}
	if nodes == 0 {
		nodes = defaultNodes
	}
	return fleet.MakeStreams(ctx, js, replicas, fleet.SizesFor(nodes))
}

// URL returns the URL of the server for clients on this machine.
func (s *Server) URL() string { return s.server.ClientURL() }

// InProcessConn returns a connection without a network, for nats.InProcessServer.
func (s *Server) InProcessConn() (net.Conn, error) { return s.server.InProcessConn() }

// Shutdown ends the server, and waits until it has ended.
func (s *Server) Shutdown() {
	s.server.Shutdown()
	s.server.WaitForShutdown()
	s.unlock()
}

// logger gives what the server says to a function, or to nobody.
type logger struct {
	log   func(level slog.Level, message string)
	fatal chan<- string // gets the first reason why the server cannot go on
}

func (l *logger) say(level slog.Level, format string, v []any) {
	if l.log != nil {
		l.log(level, fmt.Sprintf(format, v...))
	}
}

// Fatalf does not end the process, as other loggers do: the server is a part of it.
func (l *logger) Fatalf(format string, v ...any) {
	select {
	case l.fatal <- fmt.Sprintf(format, v...):
	default:
	}
	l.say(slog.LevelError, format, v)
}

func (l *logger) Noticef(format string, v ...any) { l.say(slog.LevelInfo, format, v) }
func (l *logger) Warnf(format string, v ...any)   { l.say(slog.LevelWarn, format, v) }
func (l *logger) Errorf(format string, v ...any)  { l.say(slog.LevelError, format, v) }
func (l *logger) Debugf(string, ...any)           {}
func (l *logger) Tracef(string, ...any)           {}
