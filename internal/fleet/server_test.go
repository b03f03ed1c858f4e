package fleet_test

import (
	"crypto/rand"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"nfsync.dev/nfsync/internal/fleet"
)

// startServer starts a NATS server without streams.
func startServer(t *testing.T, configure func(*server.Options)) *server.Server {
	t.Helper()
	options := &server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true}
	if configure != nil {
		configure(options)
	}
	s, err := server.NewServer(options)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(patience) {
		t.Fatal("the NATS server does not start")
	}
	return s
}

// anyKey is the public key of some coordinator.
const anyKey = "UACQOC7PQOLPJL5GK4TXULATAAN42MYXQJ65ECU3GAPQ5VXIGPE5IID7"

func configOf(s *server.Server, name string) fleet.Config {
	return fleet.Config{
		Servers: []string{s.ClientURL()}, Channel: "main", CoordinatorKey: anyKey, Name: name,
		Intervals: fleet.Intervals{Reconnect: 50 * time.Millisecond, Jitter: 50 * time.Millisecond, Wake: time.Millisecond, Poll: 100 * time.Millisecond},
	}
}

// random returns bytes that cannot be compressed.
func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}
