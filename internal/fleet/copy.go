package fleet

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Copy puts the values of one store into another one, and returns how many. What the other one has already is newer, and stays.
// A lease is not copied. Nor is a value that cannot be read: its node puts another one.
func Copy(ctx context.Context, from *nats.Conn, to jetstream.JetStream) (copied int, err error) {
	for _, stream := range []string{StreamRollout, StreamGrant, StreamStatus, StreamSnapshot} {
		_, err := Each(ctx, from, stream, Key(stream, ">"), 0, func(v Stored, err error) error {
			if err != nil {
				return nil //nolint:nilerr // it cannot be read
			}
			name := strings.TrimPrefix(v.Subject, Key(stream, ""))
			_, err = to.Publish(ctx, putSubject[stream]+name, v.Data, jetstream.WithExpectLastSequencePerSubject(0))
			if IsConflict(err) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("cannot copy %s: %w", v.Subject, err)
			}
			copied++
			return nil
		})
		if err != nil {
			return copied, err
		}
	}
	return copied, nil
}

// IsConflict reports whether an error of a compare-and-set says that the value in the store is another one.
func IsConflict(err error) bool {
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}
