package coordinator

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// keys reads the last value of each key of a stream, and afterwards only what has been written since.
//
// No value is ever deleted. So there is always one at or after the sequence that was read last, unless the stream was
// made anew: then everything is read again.
type keys struct {
	stream string
	prefix string // of the subjects that the stream stores
	last   uint64
	at     time.Time // when the value with the sequence last was stored
}

// batch is how many values are asked for at a time. With the largest status they take 8 MB.
const batch = 500

// read calls each with the values that are new, the oldest first. anew is called before if all values are.
func (k *keys) read(ctx context.Context, s *store, anew func(), each func(key string, v stored)) error {
	if k.last == 0 {
		anew()
	}
	for from := max(k.last, 1); ; {
		values, pending, err := s.batch(ctx, k.stream, k.prefix+">", from)
		if err != nil {
			return err
		}
		if k.last > 0 && from == k.last {
			if len(values) == 0 || values[0].sequence == k.last && !values[0].at.Equal(k.at) {
				k.last, k.at, from = 0, time.Time{}, 1
				anew()
				continue
			}
			if values[0].sequence == k.last { // it was read before
				values = values[1:]
				from++
			}
		}
		for _, v := range values {
			each(strings.TrimPrefix(v.subject, k.prefix), v.stored)
			k.last, k.at = v.sequence, v.at
		}
		if pending == 0 {
			return nil
		}
		from = k.last + 1
	}
}

// keyed is a value with its subject.
type keyed struct {
	stored
	subject string
}

// batch returns the first values of a stream from a sequence on, by sequence, and how many more there are.
func (s *store) batch(ctx context.Context, stream, filter string, from uint64) (values []keyed, pending int, err error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	request, err := json.Marshal(map[string]any{"seq": from, "batch": batch, "next_by_subj": filter})
	if err != nil {
		return nil, 0, err
	}
	inbox := s.nc.NewInbox()
	sub, err := s.nc.SubscribeSync(inbox)
	if err != nil {
		return nil, 0, fmt.Errorf("cannot read %s: %w", stream, err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := s.nc.PublishRequest("$JS.API.DIRECT.GET."+stream, inbox, request); err != nil {
		return nil, 0, fmt.Errorf("cannot read %s: %w", stream, err)
	}
	for {
		m, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			return nil, 0, fmt.Errorf("cannot read %s: %w", stream, err)
		}
		switch status := m.Header.Get("Status"); status {
		case "":
		case "404": // none
			return nil, 0, nil
		case "204": // the end
			pending, err := strconv.Atoi(m.Header.Get("Nats-Num-Pending"))
			if err != nil {
				return nil, 0, fmt.Errorf("cannot read %s: the store does not say how much is left: %w", stream, err)
			}
			return values, pending, nil
		default:
			return nil, 0, fmt.Errorf("cannot read %s: the store answers %s %s", stream, status, m.Header.Get("Description"))
		}
		v, err := storedOf(m)
		if err != nil {
			return nil, 0, fmt.Errorf("cannot read %s: %w", stream, err)
		}
		if len(values) > 0 && v.sequence <= values[len(values)-1].sequence {
			return nil, 0, fmt.Errorf("cannot read %s: the store answers in another order", stream)
		}
		values = append(values, keyed{v, m.Header.Get(nats.JSSubject)})
	}
}
