package main

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// manager listens as systemd does, and returns the next notification.
func manager(t *testing.T) (next func() string) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	t.Setenv("NOTIFY_SOCKET", socket)
	return func() string {
		t.Helper()
		if err := l.SetReadDeadline(time.Now().Add(served)); err != nil {
			t.Fatal(err)
		}
		told := make([]byte, 4096)
		n, err := l.Read(told)
		if err != nil {
			t.Fatal(err)
		}
		return string(told[:n])
	}
}

// TestAttend: systemd hears that the coordinator is ready, that it is alive as long as it is, and that it stops.
func TestAttend(t *testing.T) {
	next := manager(t)
	t.Setenv("WATCHDOG_USEC", "20000")
	ctx, stop := context.WithCancel(t.Context())
	var alive atomic.Bool
	asked := make(chan struct{}, 1000)
	end := attend(ctx, func() bool {
		asked <- struct{}{}
		return alive.Load()
	})
	if told := next(); told != "READY=1" {
		t.Errorf("the first that it hears is %q", told)
	}
	<-asked
	<-asked // it was not alive when it was asked before: nothing was sent
	alive.Store(true)
	if told := next(); told != "WATCHDOG=1" {
		t.Errorf("of a coordinator that is alive it hears %q", told)
	}
	stop()
	told := next()
	for told == "WATCHDOG=1" {
		told = next()
	}
	if told != "STOPPING=1" {
		t.Errorf("of a coordinator that stops it hears %q", told)
	}
	end()
}

// TestAttendNotAlive: systemd gets no sign of life of a coordinator that is not alive.
func TestAttendNotAlive(t *testing.T) {
	next := manager(t)
	t.Setenv("WATCHDOG_USEC", "20000")
	ctx, stop := context.WithCancel(t.Context())
	asked := make(chan struct{}, 1000)
	end := attend(ctx, func() bool {
		asked <- struct{}{}
		return false
	})
	for range 3 {
		<-asked
	}
	stop()
	end()
	if first, second := next(), next(); first != "READY=1" || second != "STOPPING=1" {
		t.Errorf("it hears %q and %q", first, second)
	}
}

// TestServeIsReady: serve says that it is ready when nodes can connect and the page is there, and that it stops.
func TestServeIsReady(t *testing.T) {
	next := manager(t)
	repo, _ := repository(t)
	page, nats := freeAddress(t), freeAddress(t)
	stderr, stop := serving(t, "--config", "none", "--dir", filepath.Join(t.TempDir(), "coordinator"), "--git", repo, "--branch", "main", "--listen", page, "--engine-listen", nats)
	if told := next(); told != "READY=1" {
		t.Errorf("it hears %q: %s", told, stderr)
	}
	for _, address := range []string{page, nats} {
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
		if err != nil {
			t.Fatalf("it is ready, but %v", err)
		}
		_ = c.Close()
	}
	if code := stop(); code != exitOK {
		t.Errorf("serve ended with %d: %s", code, stderr)
	}
	if told := next(); told != "STOPPING=1" {
		t.Errorf("it hears %q", told)
	}
}

// TestJournal: each line that the journal gets has the priority of its message, and no other stderr gets any.
func TestJournal(t *testing.T) {
	for name, test := range map[string]struct {
		journal bool
		format  string
		level   slog.Level
		want    string
	}{
		"an error":   {true, logText, slog.LevelError, "<3>nfsync-coordinator: m\n<3>  h\n"},
		"a warning":  {true, logText, slog.LevelWarn, "<4>nfsync-coordinator: m\n<4>  h\n"},
		"news":       {true, logText, slog.LevelInfo, "<6>nfsync-coordinator: m\n<6>  h\n"},
		"JSON":       {true, logJSON, slog.LevelWarn, `<4>{"time":`},
		"a terminal": {false, logText, slog.LevelError, "nfsync-coordinator: m\n  h\n"},
	} {
		var stderr bytes.Buffer
		a := app{stderr: &stderr, journal: test.journal, logFormat: test.format}
		a.say(test.level, "m", "h")
		if got := stderr.String(); got != test.want && (test.format != logJSON || !strings.HasPrefix(got, test.want)) {
			t.Errorf("%s: %q, not %q", name, got, test.want)
		}
	}
}
