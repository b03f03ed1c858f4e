package fleet

import (
	"context"
	"encoding/json"
	"time"

	"github.com/nats-io/nats.go"
)

// Changed returns a channel that receives when a node has put something, or the roll-out document has changed, at most once a
// second, and when a connection begins. It is closed when ctx ends, or the reader is closed. Without the credentials of an
// operator changes of the roll-out document do not show.
func (r *Reader) Changed(ctx context.Context) <-chan struct{} {
	changed := make(chan struct{}, 1)
	woken := make(chan struct{}, 1)
	// Only operators may subscribe. For others the server refuses it, and the polls are left.
	sub, err := r.nc.Subscribe(SubjectWakeRollout+r.cfg.Channel, func(*nats.Msg) { notify(woken) })
	go func() {
		defer close(changed)
		r.follow(ctx, woken, changed)
		if err == nil {
			_ = sub.Unsubscribe() // a connection that has ended has no subscriptions
		}
	}()
	return changed
}

func (r *Reader) follow(ctx context.Context, woken <-chan struct{}, changed chan<- struct{}) {
	poll := time.NewTicker(r.every.Poll)
	defer poll.Stop()
	var last uint64
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.life.Done():
			return
		case <-r.began:
			last = 0
		case <-woken:
		case <-poll.C:
			next, ok := r.next(ctx, max(last, r.seen.Load()))
			if !ok {
				continue
			}
			last = next
		}
		notify(changed)
		if !r.pause(ctx) {
			return
		}
	}
}

// pause waits for the least time between two changes, and reports whether to go on.
func (r *Reader) pause(ctx context.Context) bool {
	pause := time.NewTimer(r.every.Wake)
	defer pause.Stop()
	select {
	case <-pause.C:
		return true
	case <-ctx.Done():
	case <-r.life.Done():
	}
	return false
}

// next returns the sequence of a status that was put after another one, and reports whether there is one.
func (r *Reader) next(ctx context.Context, after uint64) (sequence uint64, ok bool) {
	request, err := json.Marshal(batchRequest{Sequence: after + 1, Subject: Key(StreamStatus, ">")})
	if err != nil {
		return 0, false
	}
	m, err := r.request(ctx, DirectGet+StreamStatus, request)
	if err != nil {
		return 0, false
	}
	if _, refused := refusal(m); refused {
		return 0, false
	}
	v, err := stored(m, StreamStatus, headersOne)
	if err != nil {
		return after, true // of a value with headers of its own the sequence is not known
	}
	return v.Sequence, true
}
