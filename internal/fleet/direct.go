package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
)

// DirectGet, and the stream, is the subject of direct gets: requests that any server with a copy of the stream answers. They
// need no consumer, and one permission each (NATS, ADR-31). The key of one value may follow after a dot.
const DirectGet = "$JS.API.DIRECT.GET."

// Stored is a value of a stream.
type Stored struct {
	Subject  string // as Key returns it
	Sequence uint64
	Put      time.Time // by the store's clock
	Data     []byte
}

// Last returns the value that a stream has for a subject, which is as Key returns it. The error is ErrNone if there is
// none; any other one is a *UnreachableError.
func Last(ctx context.Context, nc *nats.Conn, stream, subject string) (Stored, error) {
	return last(ctx, func(ctx context.Context, subject string, data []byte) (*nats.Msg, error) {
		m, err := nc.RequestWithContext(ctx, subject, data)
		if err != nil {
			err = &UnreachableError{err}
		}
		return m, err
	}, DirectGet+stream+"."+subject, stream, subject)
}

// requester sends a request and returns the answer.
type requester func(ctx context.Context, subject string, data []byte) (*nats.Msg, error)

// last asks, with a question that is a direct get, for the value that a stream has for a subject.
func last(ctx context.Context, ask requester, question, stream, subject string) (Stored, error) {
	reply, err := ask(ctx, question, nil)
	if err != nil {
		return Stored{}, asUnreachable(err)
	}
	if status, ok := refusal(reply); ok && status == statusNotFound {
		return Stored{}, ErrNone
	} else if ok {
		return Stored{}, refused(stream, status, reply)
	}
	v, err := stored(reply, stream, headersOne)
	if err == nil && v.Subject != subject {
		err = fmt.Errorf("it has answered with the value of %s", v.Subject)
	}
	if err != nil {
		return Stored{}, &UnreachableError{fmt.Errorf("cannot read what %s has answered: %w", stream, err)}
	}
	return v, nil
}

const (
	headerStatus      = "Status"
	headerDescription = "Description"
	statusNotFound    = "404"
	statusEnd         = "204"
)

const (
	headerStream   = "Nats-Stream"
	headerSubject  = "Nats-Subject"
	headerSequence = "Nats-Sequence"
	headerTime     = "Nats-Time-Stamp"
	headerPending  = "Nats-Num-Pending"
	headerLast     = "Nats-Last-Sequence"
	// headerExpected is kept with a value that was put by compare-and-set. It says nothing to those who read it.
	headerExpected = "Nats-Expected-Last-Subject-Sequence"
)

var (
	headersOne   = []string{headerStream, headerSubject, headerSequence, headerTime}
	headersBatch = append(slices.Clone(headersOne), headerPending, headerLast)
	headersEnd   = []string{headerStatus, headerDescription, headerPending, headerLast}
)

// errHeaders is the error of a value that was put with headers of its own.
var errHeaders = errors.New("it was put with headers, which nfsync does not do")

// checkHeaders returns an error unless a message has these headers, once each, and nothing else. The server appends its
// headers to those that a value was put with, byte by byte: a node that puts a value with headers like these, or with an
// end of headers before the end, could speak for others. Headers that are hidden from us are seen in the length.
func checkHeaders(m *nats.Msg, want []string) error {
	length := len("NATS/1.0\r\n") + len("\r\n")
	for name, values := range m.Header {
		if len(values) != 1 || !slices.Contains(want, name) && name != headerExpected {
			return errHeaders
		}
		switch name {
		case headerStatus, headerDescription:
			length += len(" ") + len(values[0]) // on the first line
		default:
			length += len(name) + len(": ") + len(values[0]) + len("\r\n")
		}
	}
	for _, name := range want {
		if len(m.Header[name]) != 1 {
			return errHeaders
		}
	}
	if m.Size() != len(m.Subject)+len(m.Reply)+length+len(m.Data) {
		return errHeaders
	}
	return nil
}

func stored(m *nats.Msg, stream string, headers []string) (Stored, error) {
	if err := checkHeaders(m, headers); err != nil {
		return Stored{}, err
	}
	if m.Header.Get(headerStream) != stream {
		return Stored{}, errHeaders
	}
	sequence, err := strconv.ParseUint(m.Header.Get(headerSequence), 10, 64)
	if err != nil {
		return Stored{}, err
	}
	put, err := time.Parse(time.RFC3339Nano, m.Header.Get(headerTime))
	if err != nil {
		return Stored{}, err
	}
	return Stored{Subject: m.Header.Get(headerSubject), Sequence: sequence, Put: put, Data: m.Data}, nil
}

// The bounds of a batch. A batch is answered with one message for each value, which wait in memory.
const (
	batchValues = 500
	batchBytes  = 4 << 20
)

// batchRequest asks for the values of a subject, which may end with >, from a sequence on.
type batchRequest struct {
	Sequence uint64 `json:"seq"`
	Batch    int    `json:"batch,omitempty"` // 0: one value, without an end
	Bytes    int    `json:"max_bytes,omitempty"`
	Subject  string `json:"next_by_subj"`
}

// Each calls each with the values that a stream has from a sequence on, in their order, and returns the highest
// sequence. subject is as Key returns it, and may be that of all. Where a value changes meanwhile, each may be called with
// the old and the new one. A value whose subject is not known, because of headers that it was put with, comes
// as an error, with its sequence if that is known.
//
// The error is a *UnreachableError or that of each. An answer with a gap is an error, and so is one without its end.
func Each(ctx context.Context, nc *nats.Conn, stream, subject string, from uint64, each func(v Stored, err error) error) (last uint64, err error) {
	inbox := nc.NewInbox()
	// Not SubscribeSync: it takes a value with the header of a refusal for one.
	answers := make(chan *nats.Msg, batchValues+1)
	sub, err := nc.ChanSubscribe(inbox, answers)
	if err != nil {
		return 0, &UnreachableError{err}
	}
	defer func() { _ = sub.Unsubscribe() }() // a connection that has ended has no subscriptions
	last = max(from, 1) - 1
	for more := true; more; {
		request, err := json.Marshal(batchRequest{Sequence: last + 1, Batch: batchValues, Bytes: batchBytes, Subject: subject})
		if err != nil {
			return last, err
		}
		if err := nc.PublishRequest(DirectGet+stream, inbox, request); err != nil {
			return last, &UnreachableError{err}
		}
		b := batch{stream: stream, each: each, last: last}
		more, err = b.read(ctx, answers)
		last = b.last
		if err != nil {
			return last, err
		}
	}
	return last, nil
}

// batch is what one request is answered with.
type batch struct {
	stream string
	each   func(v Stored, err error) error
	last   uint64 // sequence of the last value
	before uint64 // the same, of this batch; 0: none yet
	hidden error  // what is wrong with the value after it, whose sequence is not known yet
}

// read reads a batch to its end, and reports whether there is more.
func (b *batch) read(ctx context.Context, answers <-chan *nats.Msg) (more bool, err error) {
	for {
		m, err := next(ctx, answers)
		if err != nil {
			return false, &UnreachableError{fmt.Errorf("%s has not answered to the end: %w", b.stream, err)}
		}
		if len(m.Data) == 0 && checkHeaders(m, headersEnd) == nil && m.Header.Get(headerStatus) == statusEnd {
			return b.end(m)
		}
		if status, ok := refusal(m); ok {
			if status == statusNotFound && b.before == 0 && b.hidden == nil {
				return false, nil // nothing from this sequence on
			}
			return false, refused(b.stream, status, m)
		}
		if err := b.value(m); err != nil {
			return false, err
		}
	}
}

// silence is how long the next value of a batch may take.
const silence = 30 * time.Second

func next(ctx context.Context, answers <-chan *nats.Msg) (*nats.Msg, error) {
	late := time.NewTimer(silence)
	defer late.Stop()
	select {
	case m := <-answers:
		return m, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-late.C:
		return nil, nats.ErrTimeout
	}
}

// refusal returns the status that a server answers with when it has no value, and reports whether it does. A value has the
// server's headers after its own, so that it is never as short.
func refusal(m *nats.Msg) (status string, ok bool) {
	status, description := m.Header.Get(headerStatus), m.Header.Get(headerDescription)
	if status == "" || status == statusEnd || len(m.Data) > 0 {
		return "", false
	}
	length := len("NATS/1.0 \r\n\r\n") + len(status)
	if description != "" {
		length += len(" ") + len(description)
	}
	return status, m.Size() == len(m.Subject)+len(m.Reply)+length
}

func refused(stream, status string, m *nats.Msg) error {
	if status == "503" {
		return &UnreachableError{fmt.Errorf("no server has %s: %w", stream, nats.ErrNoResponders)}
	}
	return &UnreachableError{fmt.Errorf("%s answers with status %s %s", stream, status, m.Header.Get(headerDescription))}
}

// value takes one value.
func (b *batch) value(m *nats.Msg) error {
	v, err := stored(m, b.stream, headersBatch)
	if err != nil {
		return b.hide(err)
	}
	if err := b.follow(m); err != nil {
		return err
	}
	b.before, b.last = v.Sequence, v.Sequence
	return b.each(v, nil)
}

// hide takes a value whose headers are not to be believed. The message after it says what its sequence is.
func (b *batch) hide(err error) error {
	former := b.hidden
	b.hidden = err
	if former != nil {
		return b.each(Stored{}, former)
	}
	return nil
}

// follow returns an error unless a message comes right after the value before it: each says which one that was.
func (b *batch) follow(m *nats.Msg) error {
	previous, err := strconv.ParseUint(m.Header.Get(headerLast), 10, 64)
	if err != nil || b.hidden == nil && previous != b.before || b.hidden != nil && previous <= b.before {
		return &UnreachableError{fmt.Errorf("the answer of %s has a gap after the value %d", b.stream, b.before)}
	}
	if hidden := b.hidden; hidden != nil {
		b.hidden, b.before, b.last = nil, previous, previous
		return b.each(Stored{Sequence: previous}, hidden)
	}
	return nil
}

func (b *batch) end(m *nats.Msg) (more bool, err error) {
	pending, err := strconv.ParseUint(m.Header.Get(headerPending), 10, 64)
	if err != nil {
		return false, &UnreachableError{fmt.Errorf("the answer of %s has no proper end: %w", b.stream, err)}
	}
	return pending > 0, b.follow(m)
}
