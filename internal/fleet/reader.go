package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"nfsync.dev/nfsync/internal/nf"
)

// Reader reads what the nodes of a fleet have put. With the credentials of an operator it reads the roll-out and asks the
// coordinator too. Its methods may be called at the same time.
type Reader struct {
	cfg   Config
	every Intervals
	link  *link
	nc    *nats.Conn
	seen  atomic.Uint64 // the highest sequence of a status that was read; 0: none since the connection began
	began chan struct{} // receives when a connection begins
	life  context.Context
	end   context.CancelFunc
}

// OpenReader connects to a fleet. It tries each server once, and fails if none takes it, or when ctx ends: a person waits.
// Without a name in the configuration it is that which the credentials are for.
func OpenReader(ctx context.Context, cfg Config) (*Reader, error) {
	if cfg.Name == "" && cfg.CredentialsFile != "" {
		name, err := NameOf(cfg.CredentialsFile)
		if err != nil {
			return nil, err
		}
		cfg.Name = name
	}
	r := &Reader{cfg: cfg, every: cfg.Intervals.orUsual(), link: newLink(), began: make(chan struct{}, 1)}
	r.life, r.end = context.WithCancel(context.Background())
	r.link.began = func() {
		r.seen.Store(0) // a store that was made anew counts from the start
		notify(r.began)
	}
	nc, err := connect(ctx, r.life, cfg, r.link, nats.RetryOnFailedConnect(false))
	if err != nil {
		r.end()
		return nil, err
	}
	r.nc = nc
	r.link.connected(nc) // the client may not have called it yet
	return r, nil
}

// notify makes a channel receive, unless it is about to.
func notify(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Close ends the connection.
func (r *Reader) Close() {
	r.end()
	r.nc.Close()
}

// each reads the values of a stream, as Each. It ends when the connection does.
func (r *Reader) each(ctx context.Context, stream, subject string, each func(v Stored, err error) error) (last uint64, err error) {
	if !r.link.get().Connected {
		return 0, r.link.unreachable(errNotConnected)
	}
	ctx, release := r.link.await(ctx, DirectGet+stream)
	defer release()
	last, err = Each(ctx, r.nc, stream, subject, 0, each)
	if _, ok := errors.AsType[*UnreachableError](err); ok && context.Cause(ctx) != nil {
		err = asUnreachable(r.link.explain(ctx, err))
	}
	return last, err
}

// asUnreachable returns an error that is an *UnreachableError, which says what is not permitted.
func asUnreachable(err error) error {
	if denied, ok := errors.AsType[*deniedError](err); ok {
		return &UnreachableError{denied.err}
	}
	return err
}

// Nodes returns what all nodes say of themselves, by name. Values that cannot be read are in unread, by the name of the node,
// or by "(value N)" where it is not known who has put it. The errors are *UnreachableError.
func (r *Reader) Nodes(ctx context.Context) (nodes []nf.HeardNode, unread map[string]error, err error) {
	byName := map[string]nf.HeardNode{}
	unread = map[string]error{}
	last, err := r.each(ctx, StreamStatus, Key(StreamStatus, ">"), func(v Stored, err error) error {
		name := nameOf(StreamStatus, v)
		// A later value is instead of the one before: it was put meanwhile.
		delete(unread, name)
		delete(byName, name)
		if err == nil && IsRetired(name, v.Data, r.cfg.CoordinatorKey) {
			return nil
		}
		var n nf.FleetNode
		if err == nil {
			n, err = ReadNode(name, v.Data)
		}
		if err != nil {
			unread[name] = err
		} else {
			byName[name] = nf.HeardNode{FleetNode: n, Heard: v.Put}
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	r.seen.Store(last)
	for _, n := range byName {
		nodes = append(nodes, n)
	}
	slices.SortFunc(nodes, func(a, b nf.HeardNode) int { return strings.Compare(a.Node, b.Node) })
	return nodes, unread, nil
}

// nameOf returns the name that a value has in its stream.
func nameOf(stream string, v Stored) string {
	if v.Subject == "" {
		return fmt.Sprintf("(value %d)", v.Sequence)
	}
	return strings.TrimPrefix(v.Subject, Key(stream, ""))
}

// ReadNode reads what a node of a name has put of itself. A value that is not what it should be is an error: one with the name
// of another node too. Only who put it is known, by its key.
func ReadNode(name string, value []byte) (nf.FleetNode, error) {
	var n nf.FleetNode
	if len(value) > MaxStatus {
		return nf.FleetNode{}, fmt.Errorf("it has %d bytes, and the most are %d", len(value), MaxStatus)
	}
	if err := json.Unmarshal(value, &n); err != nil {
		return nf.FleetNode{}, fmt.Errorf("it is no status: %w", err)
	}
	if n.Node != name || !nf.IsFleetName(name) {
		return nf.FleetNode{}, fmt.Errorf("%q has put it with the name %q", name, n.Node)
	}
	if n.Progress != nil && !slices.Contains(nf.ProgressStates(), n.Progress.State) {
		return nf.FleetNode{}, fmt.Errorf("its progress is %q, which is unknown", n.Progress.State)
	}
	return n, nil
}

// Snapshots calls each with the snapshot of each node, a NodeSnapshot document in JSON, or with the reason why it cannot be
// read. only, if not empty, is the one node that is asked for: ErrNone means that it has put none. The other errors are
// *UnreachableError and those of each.
func (r *Reader) Snapshots(ctx context.Context, only string, each func(node string, put time.Time, document []byte, err error) error) error {
	if only != "" && !nf.IsFleetName(only) {
		return fmt.Errorf("%q is no name of a node in a fleet", only)
	}
	subject := Key(StreamSnapshot, ">")
	if only != "" {
		subject = Key(StreamSnapshot, only)
	}
	decoder := newDecompressor()
	defer decoder.Close()
	seen := map[string]bool{}
	_, err := r.each(ctx, StreamSnapshot, subject, func(v Stored, err error) error {
		name := nameOf(StreamSnapshot, v)
		if only != "" {
			name = only
		}
		if seen[name] || err == nil && IsRetired(name, v.Data, r.cfg.CoordinatorKey) { // it was put again meanwhile, or is gone
			return nil
		}
		seen[name] = true
		var document []byte
		if err == nil {
			document, err = decompress(decoder, v.Data)
		}
		return each(name, v.Put, document, err)
	})
	if err == nil && only != "" && !seen[only] {
		return ErrNone
	}
	return err
}

// Rollout returns the roll-out document. It is verified if Config has a CoordinatorKey. The errors are ErrNone,
// *UnreachableError and *ForgedError.
func (r *Reader) Rollout(ctx context.Context) (nf.RolloutDocument, error) {
	return askRollout(ctx, r.cfg, r.request)
}

func (r *Reader) request(ctx context.Context, subject string, data []byte) (*nats.Msg, error) {
	return r.link.request(ctx, r.every, r.nc, subject, data)
}

// Ask asks the coordinator. The error is ErrNoCoordinator if none answers.
func (r *Reader) Ask(ctx context.Context, ask nf.FleetAsk) (nf.FleetAnswer, error) {
	data, err := json.Marshal(ask)
	if err != nil {
		return nf.FleetAnswer{}, err
	}
	reply, err := r.request(ctx, SubjectAsk+r.cfg.Channel, data)
	if errors.Is(err, nats.ErrNoResponders) {
		return nf.FleetAnswer{}, ErrNoCoordinator
	}
	if errors.Is(err, context.DeadlineExceeded) && r.nc.IsConnected() {
		return nf.FleetAnswer{}, fmt.Errorf("%w in time", ErrNoCoordinator)
	}
	if err != nil {
		return nf.FleetAnswer{}, asUnreachable(err)
	}
	var answer nf.FleetAnswer
	if err := json.Unmarshal(reply.Data, &answer); err != nil {
		return nf.FleetAnswer{}, fmt.Errorf("cannot read the coordinator's answer: %w", err)
	}
	return answer, nil
}
