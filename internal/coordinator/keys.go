package coordinator

import (
	"context"
	"errors"
	"strings"
	"time"

	"nfsync.dev/nfsync/internal/fleet"
)

// keys reads the last value of each key of a stream, and afterwards only what has been written since.
//
// No value is ever deleted. So there is always one at or after the sequence that was read last, unless the stream was
// made anew: then everything is read again.
type keys struct {
	stream string
	last   uint64
	at     time.Time // when the value with the sequence last was stored; the zero time: it is not known
}

// errAnew means that a stream was made anew.
var errAnew = errors.New("the stream was made anew")

// read calls each with the values that are new, in their order. anew is called before if all values are.
func (k *keys) read(ctx context.Context, s *store, anew func(), each func(key string, v fleet.Stored)) error {
	if k.last > 0 {
		err := k.readFrom(ctx, s, k.last, each)
		if !errors.Is(err, errAnew) {
			return err
		}
	}
	k.last, k.at = 0, time.Time{}
	anew()
	return k.readFrom(ctx, s, 0, each)
}

// readFrom calls each with the values after a sequence. The error is errAnew if the stream has nothing from that sequence
// on, or another value with it.
func (k *keys) readFrom(ctx context.Context, s *store, known uint64, each func(key string, v fleet.Stored)) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	seen, at := false, k.at
	last, err := fleet.Each(ctx, s.nc, k.stream, fleet.Key(k.stream, ">"), known, func(v fleet.Stored, err error) error {
		seen = true
		switch {
		case err != nil: // it was put with headers of its own: what its node has put before stays, and gets old
			k.at = time.Time{}
			return nil
		case v.Sequence == known && (at.IsZero() || v.Put.Equal(at)):
			return nil // it was read before
		case v.Sequence == known:
			return errAnew
		}
		each(strings.TrimPrefix(v.Subject, fleet.Key(k.stream, "")), v)
		k.last, k.at = v.Sequence, v.Put
		return nil
	})
	if err != nil {
		return err
	}
	if !seen && known > 0 {
		return errAnew
	}
	if last != k.last {
		k.last, k.at = last, time.Time{}
	}
	return nil
}
