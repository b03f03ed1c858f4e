package coordinator

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"nfsync.dev/nfsync/internal/fleet"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/rollout"
)

// Config is what a coordinator needs.
type Config struct {
	Name    string // who it is in the documents that it writes; each coordinator of a channel has another one
	Channel string
	Branch  Branch
	// Conn is a connection with the credentials of coordinators, as fleet.Connect makes it. The coordinator does not close it.
	Conn *nats.Conn
	Key  nkeys.KeyPair // signs documents
	// Say reports what people should know.
	Say func(level slog.Level, text string)

	pace pace // zero: the default
}

// pace says how often a coordinator does what.
type pace struct {
	round time.Duration // between two rounds without news
	rest  time.Duration // between two rounds with news
	renew time.Duration // of the lease
	// trust is how long the lease is trusted after it was renewed. The store keeps it longer.
	trust time.Duration
	// settle is how long at most nodes have to be heard again, once the store can be read, before a decision is made.
	settle time.Duration
	// noLease makes a coordinator act as if it had the lease.
	noLease bool
}

var usual = pace{round: time.Second, rest: 100 * time.Millisecond, renew: 10 * time.Second, trust: 20 * time.Second, settle: 30 * time.Second}

// Coordinator rolls the commits of a branch out to a fleet.
type Coordinator struct {
	Config
	store *store
	heard *heard
	lease lease
	head  *follower

	asks chan *nats.Msg
	news chan struct{}
	view atomic.Pointer[View]
	beat atomic.Pointer[time.Time]

	// What follows belongs to Run.
	doc       *nf.RolloutDocument // nil: there is none
	sequence  uint64              // of doc in the store
	docErr    error               // why it cannot be used
	said      map[string]string   // the last complaint of each kind
	read      time.Time           // when all was last read
	hearing   hearing
	conflicts uint64
	writes    uint64
	tried     time.Time // when the lease was last asked for
}

// New returns a coordinator. The error is a mistake in the configuration.
func New(cfg Config) (*Coordinator, error) {
	if !nf.IsFleetName(cfg.Channel) {
		return nil, fmt.Errorf("the channel %q cannot be used: it takes letters, digits, - and _, with single dots between them", cfg.Channel)
	}
	if cfg.Name == "" {
		return nil, errors.New("the coordinator has no name: name it with --name or in its configuration")
	}
	if err := cfg.Branch.check(); err != nil {
		return nil, err
	}
	s, err := newStore(cfg.Conn, cfg.Channel, cfg.Key)
	if err != nil {
		return nil, err
	}
	cfg.pace = cmp.Or(cfg.pace, usual)
	c := &Coordinator{
		Config: cfg, store: s, heard: newHeard(), head: newFollower(cfg.Branch), lease: lease{coordinator: cfg.Name, instance: rand.Text()},
		asks: make(chan *nats.Msg, 64), news: make(chan struct{}, 1), said: map[string]string{},
	}
	c.show()
	return c, nil
}

// Run coordinates until ctx ends. Then it gives up the lease.
func (c *Coordinator) Run(ctx context.Context) error {
	end, err := c.subscribe()
	defer end()
	if err != nil {
		return err
	}
	following, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.head.run(following)
	}()
	defer func() { stop(); <-ended }()
	c.rounds(ctx)
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	if context.Cause(ctx) == errAbandoned || !c.Conn.IsConnected() { //nolint:errorlint // it is this value
		return nil
	}
	if err := c.lease.giveUp(last, c.store); err != nil && !errors.Is(err, errConflict) {
		c.Say(slog.LevelWarn, "another coordinator takes over only when the lease has ended: "+err.Error())
	}
	return nil
}

// errAbandoned is the cause of a context that ends as if the process had been killed: the lease is not given up.
var errAbandoned = errors.New("abandoned")

// subscribe takes the questions of operators, and hints that something was written.
func (c *Coordinator) subscribe() (end func(), err error) {
	var subs []*nats.Subscription
	end = func() {
		for _, s := range subs {
			_ = s.Unsubscribe() // the connection may have ended
		}
	}
	hint := func(*nats.Msg) { signal(c.news) }
	for subject, take := range map[string]nats.MsgHandler{
		fleet.SubjectAsk + c.Channel:         c.enqueue,
		fleet.SubjectStatus + ">":            hint,
		fleet.SubjectWakeRollout + c.Channel: hint,
	} {
		s, err := c.Conn.Subscribe(subject, take)
		if err != nil {
			return end, fmt.Errorf("cannot listen to %s: %w", subject, err)
		}
		subs = append(subs, s)
	}
	return end, nil
}

// rounds makes rounds until ctx ends: with each tick, and when there is news.
func (c *Coordinator) rounds(ctx context.Context) {
	tick := time.NewTicker(c.pace.round)
	defer tick.Stop()
	c.round(ctx)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-c.head.changed:
		case m := <-c.asks:
			c.answer(ctx, m)
		case <-c.news:
			if !c.rest(ctx) {
				return
			}
		}
		c.round(ctx)
	}
}

// rest waits until more news has come together. It returns false if ctx has ended.
func (c *Coordinator) rest(ctx context.Context) bool {
	wait := time.NewTimer(c.pace.rest)
	defer wait.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-wait.C:
		return true
	}
}

// round reads what is in the store and writes what follows from it.
func (c *Coordinator) round(ctx context.Context) {
	now := time.Now()
	c.beat.Store(&now)
	err := c.renewLease(ctx)
	if err == nil {
		err = c.readAll(ctx)
	} else { // nodes cannot put what they are either
		c.note(err)
	}
	if err == nil {
		err = c.act(ctx)
	}
	if ctx.Err() != nil {
		return
	}
	c.complain("store", err)
	_, fetched := c.head.is()
	c.complain("branch", fetched.Err)
	c.show()
}

// complain says an error of a kind when it is another one than before, and when it has ended.
func (c *Coordinator) complain(kind string, err error) {
	was := c.said[kind]
	if c.said[kind] = textOf(err); c.said[kind] == was {
		return
	}
	switch {
	case err != nil:
		c.Say(slog.LevelError, err.Error())
	default:
		c.Say(slog.LevelInfo, kind+": in order again")
	}
}

// renewLease renews the lease, or asks for it, when it is time to.
func (c *Coordinator) renewLease(ctx context.Context) error {
	now := time.Now()
	due := c.pace.renew
	if c.lease.sequence == 0 {
		due = min(due, 2*time.Second)
	}
	if c.pace.noLease || now.Sub(c.tried) < due {
		return nil
	}
	had := c.lease.sequence > 0
	err := c.lease.renew(ctx, c.store)
	if err == nil {
		c.tried = now
	}
	if has := c.lease.sequence > 0; has && !had {
		c.Say(slog.LevelInfo, "this coordinator is at work: it has the lease")
	} else if had && !has {
		c.Say(slog.LevelWarn, fmt.Sprintf("this coordinator waits: %s has the lease", cmp.Or(c.lease.holder, "another one")))
	}
	return err
}

// mayAct reports whether this coordinator may write.
func (c *Coordinator) mayAct() bool { return c.pace.noLease || c.lease.held(time.Now(), c.pace.trust) }

// readAll reads the roll-out document and what the nodes have put.
func (c *Coordinator) readAll(ctx context.Context) error {
	err := c.readDocument(ctx)
	if err == nil {
		err = c.heard.read(ctx, c.store)
	}
	if c.note(err); err != nil {
		return err
	}
	c.read = time.Now()
	return nil
}

// note notes how a request to the store has ended, on which it depends whether nodes can be heard.
func (c *Coordinator) note(err error) {
	c.hearing.note(err, c.Conn.Stats().Reconnects, c.now(), time.Now())
}

// readDocument reads the roll-out document. The branch must descend from its revision.
func (c *Coordinator) readDocument(ctx context.Context) error {
	doc, sequence, err := c.store.document(ctx)
	c.docErr = err
	if err != nil {
		if forged, ok := errors.AsType[*fleet.ForgedError](err); ok {
			c.doc = nil
			return fmt.Errorf("the roll-out document in the store is %w: nothing is written; find out who wrote it, and whether another coordinator has another key", forged)
		}
		return err
	}
	c.doc, c.sequence = doc, sequence
	revision := ""
	if doc != nil {
		revision = doc.Revision
	}
	c.head.rolledOut(revision)
	return nil
}

// maxTries is how often a decision is made again in a round because another coordinator was faster.
const maxTries = 3

// act writes the document and the grants that follow from what was read.
func (c *Coordinator) act(ctx context.Context) error {
	for range maxTries {
		if !c.mayAct() || !c.isSettled() {
			return nil
		}
		next, changed := c.situation().next()
		if !changed {
			return c.writeGrants(ctx)
		}
		err := c.write(ctx, next)
		if err == nil {
			return c.writeGrants(ctx)
		}
		if !errors.Is(err, errConflict) {
			return err
		}
		if err := c.readAll(ctx); err != nil {
			return err
		}
	}
	return nil // the other coordinator is at work
}

func (c *Coordinator) situation() situation {
	h, _ := c.head.is()
	return situation{
		doc: c.doc, nodes: c.heard.list(), since: c.hearing.since, retired: len(c.heard.retired), head: h,
		channel: c.Channel, coordinator: c.Name, seed: rand.Text(), now: c.now(),
	}
}

// isSettled reports whether the nodes have had the time to be heard again since the store can be read, if no coordinator has
// heard them for some time. One of them may have had a later document than the store has.
func (c *Coordinator) isSettled() bool {
	return !c.lease.lapsed || c.doc == nil || c.now().Sub(c.hearing.since) >= c.pace.settle || c.hearing.allSince(c.heard.list(), c.now())
}

// now returns the time by the store's clock, which is that of what nodes have put.
func (c *Coordinator) now() time.Time { return c.lease.time(time.Now()) }

// announcement returns what has become of the roll-out, for the log.
func announcement(doc *nf.RolloutDocument) string {
	step := "no step has begun"
	if doc.Step >= 0 {
		step = "step " + doc.StepName()
	}
	text := fmt.Sprintf("the roll-out of %s is %s: %s, generation %d", doc.Revision, doc.State, step, doc.Generation)
	if doc.Reason != "" {
		text += ": " + doc.Reason
	}
	return text
}

// write writes a document in place of the one that was read.
func (c *Coordinator) write(ctx context.Context, next nf.RolloutDocument) error {
	sequence, err := c.store.setDocument(ctx, next, c.sequence)
	if errors.Is(err, errConflict) {
		c.conflicts++
	}
	if err != nil {
		return err
	}
	if was := c.doc; was == nil || was.State != next.State || was.Revision != next.Revision || was.Step != next.Step {
		c.Say(slog.LevelInfo, announcement(&next))
	}
	c.doc, c.sequence = &next, sequence
	c.writes++
	c.head.rolledOut(next.Revision)
	return nil
}

// writeGrants writes the restart grants that follow from what was read.
func (c *Coordinator) writeGrants(ctx context.Context) error {
	if c.doc == nil {
		return nil
	}
	for _, g := range rollout.Grants(*c.doc, c.heard.list(), c.heard.ours(c.Channel), c.now()) {
		if c.heard.grants[g.Node].forged != "" {
			continue // it is shown, and stays as it is
		}
		if !c.mayAct() {
			return nil
		}
		if err := c.writeGrant(ctx, g); err != nil {
			return err
		}
	}
	return nil
}

// writeGrant writes a grant in place of the one that was read. If another coordinator was faster, the next round sees it.
func (c *Coordinator) writeGrant(ctx context.Context, g nf.RestartGrant) error {
	was := c.heard.grants[g.Node]
	g.Channel, g.Generation = c.Channel, was.Generation+1
	sequence, err := c.store.setGrant(ctx, g, was.sequence)
	if errors.Is(err, errConflict) {
		c.conflicts++
		return nil
	}
	if err != nil {
		return err
	}
	c.heard.grants[g.Node] = grant{RestartGrant: g, sequence: sequence}
	return nil
}
