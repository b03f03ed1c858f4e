package coordinator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"nfsync.dev/nfsync/internal/fleet"
	"nfsync.dev/nfsync/internal/rollout"
)

// Retire makes the store forget a node that is gone for good: a note that it is retired takes the place of what it has put, and
// its restart grant ends. It reports whether there was anything of the node. conn has the credentials of coordinators.
func Retire(ctx context.Context, conn *nats.Conn, channel, node string, key nkeys.KeyPair) (found bool, err error) {
	s, err := newStore(conn, channel, key)
	if err != nil {
		return false, err
	}
	note, err := fleet.Retired(node, time.Now().UTC(), key)
	if err != nil {
		return false, err
	}
	for _, step := range []func() (bool, error){
		func() (bool, error) { return s.replace(ctx, fleet.StreamSnapshot, fleet.SubjectSnapshot, node, note) },
		func() (bool, error) { return s.replace(ctx, fleet.StreamStatus, fleet.SubjectStatus, node, note) },
		func() (bool, error) { return s.endGrant(ctx, node) }, // last: without a status it gets no other one
	} {
		did, err := again(step)
		if err != nil {
			return found, err
		}
		found = found || did
	}
	return found, nil
}

// again does a step again while others write at the same time.
func again(step func() (bool, error)) (did bool, err error) {
	for range maxTries {
		if did, err = step(); !errors.Is(err, errConflict) {
			break
		}
	}
	return did, err
}

// replace puts a note in the place of what a node has put, and reports whether there was anything.
func (s *store) replace(ctx context.Context, stream, subject, node string, note []byte) (bool, error) {
	was, err := s.last(ctx, stream, node)
	if err != nil || was.Sequence == 0 || fleet.IsRetired(node, was.Data, s.publicKey) {
		return false, err
	}
	_, err = s.set(ctx, subject+node, note, was.Sequence)
	return err == nil, err
}

// endGrant ends the grant of a node, and reports whether it had one.
func (s *store) endGrant(ctx context.Context, node string) (bool, error) {
	was, err := s.last(ctx, fleet.StreamGrant, node)
	if err != nil || was.Sequence == 0 {
		return false, err
	}
	g, err := s.openGrant(node, was.Data)
	if err != nil {
		return false, fmt.Errorf("the grant of %s is %w", node, err)
	}
	if g.Until.IsZero() {
		return false, nil
	}
	_, err = s.setGrant(ctx, rollout.Release(g), was.Sequence)
	return err == nil, err
}
