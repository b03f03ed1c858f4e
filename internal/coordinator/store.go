package coordinator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"nfsync.dev/nfsync/internal/fleet"
	"nfsync.dev/nfsync/internal/nf"
)

// storeTimeout is the time that one request to the store may take. It is well below that for which the lease is
// trusted.
const storeTimeout = 5 * time.Second

// store is the coordinator's side of the fleet's streams.
type store struct {
	nc        *nats.Conn
	js        jetstream.JetStream
	channel   string
	key       nkeys.KeyPair
	publicKey string
}

func newStore(nc *nats.Conn, channel string, key nkeys.KeyPair) (*store, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("cannot use the fleet's store: %w", err)
	}
	public, err := key.PublicKey()
	if err != nil {
		return nil, fmt.Errorf("cannot use the key that signs roll-out documents: %w", err)
	}
	return &store{nc: nc, js: js, channel: channel, key: key, publicKey: public}, nil
}

// errConflict means that a value has been written since it was read: nothing was written.
var errConflict = errors.New("the value in the store is another one by now")

// last returns the value that a stream has for a name; the zero value: it has none.
func (s *store) last(ctx context.Context, stream, name string) (fleet.Stored, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	v, err := fleet.Last(ctx, s.nc, stream, fleet.Key(stream, name))
	if errors.Is(err, fleet.ErrNone) {
		return fleet.Stored{}, nil
	}
	return v, err
}

// set writes a value if the last one of its subject has that sequence; 0: if there is none. The error is errConflict if it
// has another one. After any other error the value may have been written.
func (s *store) set(ctx context.Context, subject string, data []byte, sequence uint64) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	ack, err := s.js.PublishMsg(ctx, &nats.Msg{Subject: subject, Data: data}, jetstream.WithExpectLastSequencePerSubject(sequence), jetstream.WithRetryAttempts(0))
	if fleet.IsConflict(err) {
		return 0, errConflict
	}
	if err != nil {
		return 0, fmt.Errorf("cannot write %s: %w", subject, err)
	}
	return ack.Sequence, nil
}

// document returns the roll-out document and its sequence; nil: there is none. The error is a *fleet.ForgedError if it
// is not ours.
func (s *store) document(ctx context.Context) (*nf.RolloutDocument, uint64, error) {
	v, err := s.last(ctx, fleet.StreamRollout, s.channel)
	if err != nil || v.Sequence == 0 {
		return nil, 0, err
	}
	var doc nf.RolloutDocument
	if err := fleet.Open(fleet.SealRollout, s.channel, v.Data, s.publicKey, &doc); err != nil {
		return nil, v.Sequence, err
	}
	return &doc, v.Sequence, nil
}

// confirmDocument returns errConflict if the roll-out document has another sequence. It asks the leader of the stream.
func (s *store) confirmDocument(ctx context.Context, sequence uint64) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	ask := fmt.Appendf(nil, `{"last_by_subj":%q}`, fleet.Key(fleet.StreamRollout, s.channel))
	m, err := s.nc.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+fleet.StreamRollout, ask)
	if err != nil {
		return fmt.Errorf("cannot read the roll-out document again: %w", err)
	}
	var is struct {
		Message struct {
			Sequence uint64 `json:"seq"`
		} `json:"message"`
	}
	if err := json.Unmarshal(m.Data, &is); err != nil {
		return fmt.Errorf("cannot read the roll-out document again: %w", err)
	}
	if is.Message.Sequence != sequence {
		return errConflict
	}
	return nil
}

// setDocument writes the roll-out document in place of that with the sequence.
func (s *store) setDocument(ctx context.Context, doc nf.RolloutDocument, sequence uint64) (uint64, error) {
	sealed, err := fleet.Seal(fleet.SealRollout, s.channel, doc, s.key)
	if err != nil {
		return 0, fmt.Errorf("cannot sign the roll-out document: %w", err)
	}
	return s.set(ctx, fleet.SubjectRollout+s.channel, sealed, sequence)
}

// setGrant writes the grant of a node in place of that with the sequence.
func (s *store) setGrant(ctx context.Context, g nf.RestartGrant, sequence uint64) (uint64, error) {
	sealed, err := fleet.Seal(fleet.SealGrant, fleet.GrantChannel(g.Channel, g.Node), g, s.key)
	if err != nil {
		return 0, fmt.Errorf("cannot sign the grant of %s: %w", g.Node, err)
	}
	return s.set(ctx, fleet.SubjectGrant+g.Node, sealed, sequence)
}

// openGrant reads the grant of a node. It may be one of another channel, in which the node is or was.
func (s *store) openGrant(node string, sealed []byte) (g nf.RestartGrant, err error) {
	err = fleet.Open(fleet.SealGrant, fleet.GrantChannel(channelOf(sealed), node), sealed, s.publicKey, &g)
	return g, err
}

// channelOf returns the channel that a sealed grant names. Nothing is verified.
func channelOf(sealed []byte) string {
	var e struct {
		Payload string `json:"payload"`
	}
	var g nf.RestartGrant
	if json.Unmarshal(sealed, &e) != nil || json.Unmarshal([]byte(e.Payload), &g) != nil {
		return ""
	}
	return g.Channel
}

// wake wakes all nodes.
func (s *store) wake() error {
	if err := s.nc.Publish(fleet.SubjectWakeRollout+s.channel, nil); err != nil {
		return fmt.Errorf("cannot wake the nodes: %w", err)
	}
	return nil
}
