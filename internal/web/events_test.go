package web

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// streaming serves a scene with a timeout of requests, until the function that it returns is called.
func streaming(t *testing.T, s *scene, timeout time.Duration) (address string, server *http.Server) {
	t.Helper()
	p := &Public{Status: s.Status, Metrics: NewMetrics("1").Handler(), Page: s.page(), Say: func(text string) { t.Error(text) }}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server = p.server(timeout)
	go func() { _ = server.Serve(limit(l, maxFromOne, maxFromAll, addressOf)) }()
	t.Cleanup(func() { server.Close() })
	return l.Addr().String(), server
}

// stream is an open stream of events.
type stream struct {
	*testing.T
	lines *bufio.Scanner
}

func openStream(t *testing.T, address string) stream {
	t.Helper()
	c := dial(t, "tcp", address, "GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
	return stream{t, bufio.NewScanner(c)}
}

// next returns the next line that begins so; empty if the stream has ended.
func (s stream) next(begin string) string {
	for s.lines.Scan() {
		if strings.HasPrefix(s.lines.Text(), begin) {
			return s.lines.Text()
		}
	}
	return ""
}

// await waits until that many streams are open.
func (s *scene) await(t *testing.T, streams int) {
	t.Helper()
	for end := time.Now().Add(patient); s.watchers() != streams; <-time.After(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d streams are open, want %d", s.watchers(), streams)
		}
	}
}

// TestEvents: a change is an event. A stream outlives the time that other answers have, and many changes
// within a second are few events.
func TestEvents(t *testing.T) {
	s := newScene()
	address, _ := streaming(t, s, impatient)
	events := openStream(t, address)
	if got := events.next("Content-Type"); !strings.Contains(got, "text/event-stream") {
		t.Errorf("%q", got)
	}
	s.await(t, 1)
	<-time.After(4 * impatient) // an answer has half of it
	began := time.Now()
	go func() {
		for time.Since(began) < 2500*time.Millisecond {
			s.change(func(*scene) {})
			<-time.After(time.Millisecond)
		}
	}()
	for range 3 {
		if got := events.next("data:"); got != "data: changed" {
			t.Fatalf("%q: the stream has ended", got)
		}
	}
	if took := time.Since(began); took < 2*eventPause-100*time.Millisecond {
		t.Errorf("three events in %v", took)
	}
}

// TestEventsBound: streams leave connections for scrapes, and who goes makes room.
func TestEventsBound(t *testing.T) {
	s := newScene()
	address, _ := streaming(t, s, requestTimeout)
	var open []net.Conn
	for range maxStreamsFromOne {
		open = append(open, dial(t, "tcp", address, "GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n"))
	}
	s.await(t, maxStreamsFromOne)
	const one = "GET /events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
	if answer := exchange(t, "tcp", address, one); statuses(answer) != "503" || !strings.Contains(answer, "Retry-After:") {
		t.Errorf("one more is answered %q", answer)
	}
	if answer := statuses(exchange(t, "tcp", address, "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")); answer != "200" {
		t.Errorf("a scrape is answered %s", answer)
	}
	open[0].Close()
	s.await(t, maxStreamsFromOne-1)
	openStream(t, address)
	s.await(t, maxStreamsFromOne)
}

// TestEventsEnd: the end of the server ends its streams at once.
func TestEventsEnd(t *testing.T) {
	s := newScene()
	address, server := streaming(t, s, requestTimeout)
	events := openStream(t, address)
	events.next("retry:")
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	if got := events.next("data:"); got != "" || s.watchers() != 0 {
		t.Errorf("%q, %d streams", got, s.watchers())
	}
}

// TestPageEventsUnread: a reader that does not read holds nothing up.
func TestPageEventsUnread(t *testing.T) {
	s := newScene()
	p := s.page()
	mux := http.NewServeMux()
	p.register(mux, t.Context())
	w := &stuckWriter{header: http.Header{}}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost/events", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	mux.ServeHTTP(w, r) // returns, because nothing can be written
	if s.watchers() != 0 || w.written == 0 {
		t.Error("the stream is still open, or was never written to")
	}
}

// stuckWriter is an answer whose reader does not read.
type stuckWriter struct {
	header  http.Header
	written int
}

func (w *stuckWriter) Header() http.Header { return w.header }
func (w *stuckWriter) WriteHeader(int)     {}
func (w *stuckWriter) Write([]byte) (int, error) {
	w.written++
	return 0, errors.New("i/o timeout")
}
