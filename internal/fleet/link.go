package fleet

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// Link says how a connection is.
type Link struct {
	Connected bool
	Since     time.Time // since when it is as it is
	Server    string    // without credentials
	Err       error     // why it is not connected, or what was not permitted; nil: nothing is known
}

// link follows a connection. Requests that wait for an answer end when the connection does, and when they were not permitted:
// the server tells the connection so, and answers nothing.
type link struct {
	mu      sync.Mutex
	now     Link
	began   func() // called when a connection begins; may be nil
	waiting map[*waiter]struct{}
}

type waiter struct {
	subject string
	end     context.CancelCauseFunc
}

func newLink() *link {
	return &link{now: Link{Since: time.Now()}, waiting: map[*waiter]struct{}{}}
}

func (l *link) get() Link {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.now
}

func (l *link) connected(nc *nats.Conn) {
	l.mu.Lock()
	l.now = Link{Connected: true, Since: time.Now(), Server: nc.ConnectedUrlRedacted()}
	l.mu.Unlock()
	if l.began != nil {
		l.began()
	}
}

func (l *link) disconnected(err error) {
	ended := errors.New("the connection has ended")
	if err != nil {
		ended = fmt.Errorf("%w: %w", ended, err)
	}
	err = ended
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now = Link{Since: time.Now(), Err: err}
	for w := range l.waiting {
		w.end(&UnreachableError{err})
	}
}

// deniedError means that the server does not permit something.
type deniedError struct{ err error }

func (e *deniedError) Error() string { return e.err.Error() }
func (e *deniedError) Unwrap() error { return e.err }

// failed takes an error that no caller gets.
func (l *link) failed(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case errors.Is(err, nats.ErrPermissionViolation):
		l.now.Err = err
		l.deny(err)
	case errors.Is(err, nats.ErrSecureConnWanted):
		l.now.Err = fmt.Errorf("the server offers no TLS: off loopback, and with a CA, it must: %w", err)
	case l.now.Connected, IsNotPermitted(l.now.Err) && !IsNotPermitted(err): // that another server does not answer says less
	default:
		l.now.Err = err
	}
}

// deny ends the requests that an error is about. The server names the subject in quotes.
func (l *link) deny(err error) {
	for w := range l.waiting {
		if strings.Contains(err.Error(), strconv.Quote(w.subject)) {
			w.end(&deniedError{err})
		}
	}
}

// unreachable returns an error with what is known of the reason.
func (l *link) unreachable(err error) error {
	if known := l.get().Err; known != nil {
		return &UnreachableError{fmt.Errorf("%w (%w)", known, err)}
	}
	return &UnreachableError{err}
}

// await returns a context that ends when the connection does, or when the server does not permit what is sent to a subject.
func (l *link) await(ctx context.Context, subject string) (context.Context, context.CancelFunc) {
	ctx, end := context.WithCancelCause(ctx)
	w := &waiter{subject: subject, end: end}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting[w] = struct{}{}
	return ctx, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.waiting, w)
		end(nil)
	}
}

// request sends a request and returns the answer. It does not wait for a connection: the client is locked while it connects.
// The errors are *UnreachableError and *deniedError.
func (l *link) request(ctx context.Context, every Intervals, nc *nats.Conn, subject string, data []byte) (*nats.Msg, error) {
	if nc == nil || !l.get().Connected {
		return nil, l.unreachable(errNotConnected)
	}
	ctx, cancel := every.withAnswer(ctx)
	defer cancel()
	ctx, release := l.await(ctx, subject)
	defer release()
	m, err := nc.RequestWithContext(ctx, subject, data)
	if err == nil {
		return m, nil
	}
	return nil, l.explain(ctx, err)
}

var errNotConnected = errors.New("there is no connection")

// explain returns why a request has failed. ctx is that of await.
func (l *link) explain(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	if denied, ok := errors.AsType[*deniedError](cause); ok {
		return denied
	}
	if unreachable, ok := errors.AsType[*UnreachableError](cause); ok {
		return unreachable
	}
	if errors.Is(err, nats.ErrNoResponders) {
		return &UnreachableError{fmt.Errorf("no server has the store: %w", err)}
	}
	return l.unreachable(err)
}
