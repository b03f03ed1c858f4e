package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"nfsync.dev/nfsync/internal/nf"
)

// Member is a node's place in a fleet. Its methods may be called at the same time.
type Member struct {
	cfg   Config
	every Intervals
	link  *link
	waker *waker
	nc    atomic.Pointer[nats.Conn] // nil until the first attempt to connect has ended
	hears atomic.Bool               // nc has the subscriptions of listen
	renew chan struct{}             // receives when the connection must be made anew
	life  context.Context           // of all connections
	end   context.CancelFunc
}

// Join joins a fleet. It does not wait for a connection, and connects again whenever one ends. wake is called when the
// roll-out document or the grant may have changed, and when a connection begins, at most once a second. It should return
// soon, and must not call Close. The errors are mistakes in the configuration: a name that nf.IsFleetName refuses, a key or
// file that cannot be used.
func Join(cfg Config, wake func()) (*Member, error) {
	if cfg.CoordinatorKey == "" {
		return nil, errors.New("the coordinator's key is not set: without it no roll-out can be verified")
	}
	m := &Member{cfg: cfg, every: cfg.Intervals.orUsual(), link: newLink(), renew: make(chan struct{}, 1)}
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	m.life, m.end = context.WithCancel(context.Background())
	m.waker = newWaker(m.every.Wake, wake)
	m.link.began = m.connected
	go m.stayConnected()
	return m, nil
}

// stayConnected keeps a connection until the member is closed. A connection comes back by itself when it was lost. When the
// server has ended it with an error that the client does not know, and when the credentials have changed, another one is
// made.
func (m *Member) stayConnected() {
	for m.life.Err() == nil {
		m.hears.Store(false)
		closed := make(chan struct{})
		if nc, err := m.connect(closed); err != nil {
			m.link.failed(err)
		} else {
			m.nc.Store(nc)
			m.listen(nc)
			m.watch(nc, closed)
			nc.Close()
		}
		pause := time.NewTimer(m.every.Reconnect + rand.N(m.every.Jitter))
		select {
		case <-m.life.Done():
		case <-pause.C:
		}
		pause.Stop()
	}
}

// watch returns when a connection is of no more use. Until then it learns why attempts fail: of some the client tells nobody.
func (m *Member) watch(nc *nats.Conn, closed <-chan struct{}) {
	attempts := nc.StatusChanged(nats.RECONNECTING)
	for {
		select {
		case <-attempts:
			if err := nc.LastError(); err != nil {
				m.link.failed(err)
			}
		case <-m.renew:
			return
		case <-closed:
			return
		case <-m.life.Done():
			return
		}
	}
}

func (m *Member) connect(closed chan struct{}) (*nats.Conn, error) {
	options, err := m.cfg.options(m.life, m.link, func() { notify(m.renew) })
	if err != nil {
		return nil, err
	}
	options = append(options, nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
	return nats.Connect("", options...)
}

// listen subscribes to what wakes the node. What is in these messages is not read: anybody in the fleet may send one.
func (m *Member) listen(nc *nats.Conn) {
	for _, subject := range []string{SubjectWakeRollout + m.cfg.Channel, SubjectWakeGrant + m.cfg.Name} {
		if _, err := nc.Subscribe(subject, func(*nats.Msg) { m.waker.trigger() }); err != nil {
			m.link.failed(err) // the connection was closed at once
		}
	}
	m.hears.Store(true)
	if m.link.get().Connected { // what has changed before the subscriptions has woken nobody
		m.waker.trigger()
	}
}

// connected wakes the node when a connection begins that has the subscriptions. Until then listen does: a change between the
// question of a node and its subscription would wake nobody.
func (m *Member) connected() {
	if m.hears.Load() {
		m.waker.trigger()
	}
}

// Close leaves the fleet. When it has returned, wake is not called any more.
func (m *Member) Close() {
	m.end()
	if nc := m.nc.Load(); nc != nil {
		nc.Close()
	}
	m.waker.stop()
}

// Link returns how the connection is.
func (m *Member) Link() Link { return m.link.get() }

// Rollout asks for the roll-out document, and verifies it. The errors are ErrNone, *UnreachableError and *ForgedError.
func (m *Member) Rollout(ctx context.Context) (nf.RolloutDocument, error) {
	return askRollout(ctx, m.cfg, m.request)
}

// Grant asks for the restart grant of the node, and verifies it, as Rollout.
func (m *Member) Grant(ctx context.Context) (nf.RestartGrant, error) {
	var g nf.RestartGrant
	v, err := last(ctx, m.request, SubjectGetGrant+m.cfg.Name, StreamGrant, Key(StreamGrant, m.cfg.Name))
	if err == nil {
		err = Open(SealGrant, GrantChannel(m.cfg.Channel, m.cfg.Name), v.Data, m.cfg.CoordinatorKey, &g)
	}
	if err == nil && (g.Channel != m.cfg.Channel || g.Node != m.cfg.Name) {
		err = &ForgedError{fmt.Errorf("it is the grant of %s on %s", g.Node, g.Channel)}
	}
	if err != nil {
		return nf.RestartGrant{}, err
	}
	return g, nil
}

// PutNode puts what the node says of itself, and returns when the store has it. The errors are *UnreachableError and
// *RefusedError. After an *UnreachableError the store may have it or not.
func (m *Member) PutNode(ctx context.Context, n nf.FleetNode) (sequence uint64, err error) {
	if n.Node != m.cfg.Name {
		return 0, &RefusedError{fmt.Errorf("it is of the node %q, and this is %q", n.Node, m.cfg.Name)}
	}
	value, err := json.Marshal(n)
	if err != nil {
		return 0, &RefusedError{err}
	}
	return m.put(ctx, StreamStatus, value, MaxStatus)
}

// PutSnapshot puts the node's snapshot, a NodeSnapshot document in JSON, as PutNode.
func (m *Member) PutSnapshot(ctx context.Context, document []byte) (sequence uint64, err error) {
	if len(document) > maxDocument {
		return 0, &RefusedError{fmt.Errorf("the snapshot has %d bytes, and no more than %d are read", len(document), maxDocument)}
	}
	return m.put(ctx, StreamSnapshot, compress(document), MaxSnapshot)
}

// forHeaders is what servers may add to a value that comes from another account.
const forHeaders = 1024

func (m *Member) put(ctx context.Context, stream string, value []byte, most int) (sequence uint64, err error) {
	if len(value) > most-forHeaders {
		return 0, &RefusedError{fmt.Errorf("the value for %s has %d bytes, and the most are %d", stream, len(value), most-forHeaders)}
	}
	reply, err := m.request(ctx, putSubject[stream]+m.cfg.Name, value)
	if denied, ok := errors.AsType[*deniedError](err); ok {
		return 0, &RefusedError{denied.err}
	}
	if err != nil {
		return 0, err
	}
	return readAck(stream, reply.Data)
}

// readAck reads what a stream answers when it has stored a value, or not.
func readAck(stream string, data []byte) (sequence uint64, err error) {
	var ack struct {
		Stream   string `json:"stream"`
		Sequence uint64 `json:"seq"`
		Error    *struct {
			Description string `json:"description"`
			Code        int    `json:"err_code"`
		} `json:"error"`
	}
	err = json.Unmarshal(data, &ack)
	switch {
	case err == nil && ack.Error != nil:
		return 0, &RefusedError{fmt.Errorf("%s (%s, error %d)", ack.Error.Description, stream, ack.Error.Code)}
	case err != nil || ack.Stream != stream || ack.Sequence == 0:
		return 0, &UnreachableError{fmt.Errorf("the answer is no acknowledgement of %s", stream)}
	}
	return ack.Sequence, nil
}

func (m *Member) request(ctx context.Context, subject string, data []byte) (*nats.Msg, error) {
	return m.link.request(ctx, m.every, m.nc.Load(), subject, data)
}

// askRollout asks for the roll-out document of a channel. Without a coordinator's key it is not verified.
func askRollout(ctx context.Context, cfg Config, ask requester) (nf.RolloutDocument, error) {
	var d nf.RolloutDocument
	v, err := last(ctx, ask, SubjectGetRollout+cfg.Channel, StreamRollout, Key(StreamRollout, cfg.Channel))
	switch {
	case err != nil:
	case cfg.CoordinatorKey == "":
		err = openUnverified(v.Data, &d)
	default:
		err = Open(SealRollout, cfg.Channel, v.Data, cfg.CoordinatorKey, &d)
	}
	if err == nil && (d.Kind != nf.KindRolloutDocument || d.APIVersion != nf.APIVersion || d.Channel != cfg.Channel) {
		err = &ForgedError{fmt.Errorf("it is a %s %s of %q, and not a %s %s of %q", d.APIVersion, d.Kind, d.Channel, nf.APIVersion, nf.KindRolloutDocument, cfg.Channel)}
	}
	if err != nil {
		return nf.RolloutDocument{}, err
	}
	d.Proof = Prove(v.Data)
	return d, nil
}
