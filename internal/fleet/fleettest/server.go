// Package fleettest is a fleet's store for tests: a real NATS server in this process, with the streams of a fleet, without
// accounts, credentials or TLS.
package fleettest

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"nfsync.dev/nfsync/internal/fleet"
	"nfsync.dev/nfsync/internal/nf"
)

// patience is how long a test waits for what must happen. A loaded machine takes its time.
const patience = 2 * time.Minute

// Server is a fleet's store. It ends with its test.
type Server struct {
	t       testing.TB
	options server.Options
	running *server.Server
	key     nkeys.KeyPair
}

// Start starts a store on a free port of 127.0.0.1. Its streams are there and empty.
func Start(t testing.TB) *Server {
	t.Helper()
	key, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{t: t, key: key, options: server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true,
		JetStream: true, StoreDir: t.TempDir(), JetStreamMaxStore: 4 << 30, JetStreamMaxMemory: 64 << 20,
	}}
	s.start()
	t.Cleanup(s.Stop)
	s.makeStreams()
	return s
}

func (s *Server) start() {
	s.t.Helper()
	options := s.options
	running, err := server.NewServer(&options)
	if err != nil {
		s.t.Fatal(err)
	}
	running.Start()
	if !running.ReadyForConnections(patience) {
		s.t.Fatal("the NATS server does not start")
	}
	s.running = running
	s.shareGets()
	if addr, ok := running.Addr().(*net.TCPAddr); ok {
		s.options.Port = addr.Port // Restart listens on the same one
	}
}

// shareGets lets members read single values by the subjects that they have for it, as the accounts of a fleet do.
func (s *Server) shareGets() {
	s.t.Helper()
	for stream, subject := range map[string]string{fleet.StreamRollout: fleet.SubjectGetRollout, fleet.StreamGrant: fleet.SubjectGetGrant} {
		if err := s.running.GlobalAccount().AddMapping(subject+">", fleet.DirectGet+stream+"."+fleet.Key(stream, ">")); err != nil {
			s.t.Fatal(err)
		}
	}
}

func (s *Server) makeStreams() {
	s.t.Helper()
	nc := s.Connect()
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := fleet.MakeStreams(ctx, js, 1, fleet.SizesFor(10_000)); err != nil {
		s.t.Fatal(err)
	}
}

// Limit sets the most bytes that a stream takes.
func (s *Server) Limit(stream string, bytes int64) {
	s.t.Helper()
	nc := s.Connect()
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	have, err := js.Stream(ctx, stream)
	if err != nil {
		s.t.Fatal(err)
	}
	cfg := have.CachedInfo().Config
	cfg.MaxBytes = bytes
	if _, err := js.UpdateStream(ctx, cfg); err != nil {
		s.t.Fatal(err)
	}
}

// Stop stops the store. What it has stored stays until the end of the test.
func (s *Server) Stop() {
	s.running.Shutdown()
	s.running.WaitForShutdown()
}

// Restart stops the store, if it runs, and starts it again where it was, with what it had.
func (s *Server) Restart() {
	s.t.Helper()
	s.Stop()
	s.start()
}

// URL returns the address of the store.
func (s *Server) URL() string {
	return "nats://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(s.options.Port))
}

// Key returns the key that the coordinator signs with.
func (s *Server) Key() nkeys.KeyPair { return s.key }

// CoordinatorKey returns the public key of the coordinator.
func (s *Server) CoordinatorKey() string {
	s.t.Helper()
	public, err := s.key.PublicKey()
	if err != nil {
		s.t.Fatal(err)
	}
	return public
}

// Config returns how a node, reader or operator of a name reaches the store, on the default channel. It waits less between
// attempts and wake-ups than usual.
func (s *Server) Config(name string) fleet.Config {
	s.t.Helper()
	return fleet.Config{
		Servers: []string{s.URL()}, Channel: fleet.DefaultChannel, CoordinatorKey: s.CoordinatorKey(), Name: name,
		Intervals: fleet.Intervals{Reconnect: 50 * time.Millisecond, Jitter: 50 * time.Millisecond, Wake: 50 * time.Millisecond, Poll: 100 * time.Millisecond},
	}
}

// Connect returns a connection that may do everything. It ends with the test.
func (s *Server) Connect() *nats.Conn {
	s.t.Helper()
	nc, err := nats.Connect(s.URL(), nats.Timeout(patience), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(nc.Close)
	return nc
}

// Put puts a value as it is, and returns its sequence.
func (s *Server) Put(subject string, value []byte) uint64 {
	s.t.Helper()
	nc := s.Connect()
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ack, err := js.Publish(ctx, subject, value)
	if err != nil {
		s.t.Fatalf("put %s: %v", subject, err)
	}
	return ack.Sequence
}

// PutRollout puts a roll-out document on its channel, signed, as a coordinator does. It does not compare it with the one
// before.
func (s *Server) PutRollout(d nf.RolloutDocument) {
	s.t.Helper()
	d.APIVersion, d.Kind = nf.APIVersion, nf.KindRolloutDocument
	s.Put(fleet.SubjectRollout+d.Channel, s.seal(fleet.SealRollout, d.Channel, d))
}

// PutGrant puts a restart grant, signed.
func (s *Server) PutGrant(g nf.RestartGrant) {
	s.t.Helper()
	s.Put(fleet.SubjectGrant+g.Node, s.seal(fleet.SealGrant, fleet.GrantChannel(g.Channel, g.Node), g))
}

// Proof returns the proof of a node that has had a document of a channel with that generation.
func (s *Server) Proof(channel string, generation uint64) string {
	s.t.Helper()
	return fleet.Prove(s.seal(fleet.SealRollout, channel, nf.RolloutDocument{Channel: channel, Generation: generation}))
}

func (s *Server) seal(what, channel string, document any) []byte {
	s.t.Helper()
	sealed, err := fleet.Seal(what, channel, document, s.key)
	if err != nil {
		s.t.Fatal(err)
	}
	return sealed
}

// Rollout returns the roll-out document of a channel, and whether there is one.
func (s *Server) Rollout(channel string) (d nf.RolloutDocument, ok bool) {
	s.t.Helper()
	v, ok := s.last(fleet.StreamRollout, channel)
	if ok {
		if err := fleet.Open(fleet.SealRollout, channel, v.Data, s.CoordinatorKey(), &d); err != nil {
			s.t.Fatal(err)
		}
	}
	return d, ok
}

// Grant returns the restart grant of a node of a channel, and whether there is one.
func (s *Server) Grant(channel, node string) (g nf.RestartGrant, ok bool) {
	s.t.Helper()
	v, ok := s.last(fleet.StreamGrant, node)
	if ok {
		if err := fleet.Open(fleet.SealGrant, fleet.GrantChannel(channel, node), v.Data, s.CoordinatorKey(), &g); err != nil {
			s.t.Fatal(err)
		}
	}
	return g, ok
}

// Node returns what a node has put of itself, and whether it has.
func (s *Server) Node(name string) (n nf.HeardNode, ok bool) {
	s.t.Helper()
	v, ok := s.last(fleet.StreamStatus, name)
	if ok {
		n.Heard = v.Put
		if err := json.Unmarshal(v.Data, &n.FleetNode); err != nil {
			s.t.Fatal(err)
		}
	}
	return n, ok
}

// last returns the value of a stream for a name.
func (s *Server) last(stream, name string) (fleet.Stored, bool) {
	s.t.Helper()
	nc := s.Connect()
	defer nc.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	v, err := fleet.Last(ctx, nc, stream, fleet.Key(stream, name))
	if errors.Is(err, fleet.ErrNone) {
		return fleet.Stored{}, false
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return v, true
}
