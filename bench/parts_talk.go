package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"nfsync.dev/nfsync/bench/bare"
	"nfsync.dev/nfsync/internal/engine"
	"nfsync.dev/nfsync/internal/fleet"
	"nfsync.dev/nfsync/internal/nf"
)

// talkParts are the parts that talk to the server of a fleet, or are it: DIRECTORY NUMBER SNAPSHOT. Each returns what it does
// again and again.
var talkParts = map[string]func(t *talker) (func() error, error){
	"serve-fleet":    func(t *talker) (func() error, error) { return func() error { return nil }, startServer(t.dir, t.n) },
	"wake":           (*talker).wake,
	"put-statuses":   (*talker).putStatuses,
	"read-statuses":  (*talker).readStatuses,
	"put-snapshots":  (*talker).putSnapshots,
	"read-snapshots": (*talker).readSnapshots,
}

// runTalk runs such a part.
func runTalk(part func(*talker) (func() error, error), args []string) error {
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	t := &talker{dir: args[0], n: n}
	if len(args) > 2 {
		t.shot = args[2]
	}
	again, err := part(t)
	if err != nil {
		return err
	}
	return bare.Serve(again, os.Stdin, os.Stdout)
}

// talker is a process that talks to the server of a fleet.
type talker struct {
	dir, shot string
	n         int // of nodes, statuses or snapshots
}

// config returns how a member reaches the fleet.
func (t *talker) config(name, credentials string) fleet.Config {
	return fleet.Config{Servers: []string{"nats://" + talkAddress}, Channel: fleet.DefaultChannel, Name: name, CredentialsFile: filepath.Join(t.dir, credentials),
		Intervals: fleet.Intervals{Connect: talkStart, Answer: talkStart, Wake: time.Millisecond, Reconnect: 100 * time.Millisecond, Jitter: time.Second}}
}

// coordinator returns a connection of the coordinator.
func (t *talker) coordinator() (*nats.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), talkStart)
	defer cancel()
	return fleet.Connect(ctx, t.config("coordinator", "coordinator.creds"))
}

// wake lets nodes join, and returns what puts a document and waits until all have heard of it.
func (t *talker) wake() (func() error, error) {
	d, err := engine.Open(t.dir)
	if err != nil {
		return nil, err
	}
	nc, err := t.coordinator()
	if err != nil {
		return nil, err
	}
	sealed, err := fleet.Seal(fleet.SealRollout, fleet.DefaultChannel, nf.RolloutDocument{Channel: fleet.DefaultChannel, Generation: 1}, d.CoordinatorKey())
	if err != nil {
		return nil, err
	}
	w := &wakes{heard: make([]atomic.Uint64, t.n), all: make(chan uint64, 1)}
	w.left.Store(int64(t.n))
	cfg := t.config(talkNode, talkNode+".creds")
	cfg.CoordinatorKey = d.CoordinatorPublicKey()
	members := make([]*fleet.Member, t.n)
	for i := range t.n {
		// All have the same name: this many credentials would take longer than all the rest.
		if members[i], err = fleet.Join(cfg, func() { w.hear(i) }); err != nil {
			return nil, err
		}
		if (i+1)%joining == 0 || i == t.n-1 {
			if err := w.awaitJoined(i + 1); err != nil {
				return nil, err
			}
		}
	}
	for _, m := range members { // a node that got an answer is subscribed: it had sent its subscriptions before
		if _, err := m.Rollout(context.Background()); !errors.Is(err, fleet.ErrNone) {
			return nil, fmt.Errorf("there should be no roll-out document yet: %w", err)
		}
	}
	return func() error {
		w.left.Store(int64(t.n))
		round := w.round.Add(1)
		if err := put(nc, fleet.SubjectRollout+fleet.DefaultChannel, sealed); err != nil {
			return err
		}
		return w.await(round)
	}, nil
}

// wakes count the nodes that are woken in a round.
type wakes struct {
	round atomic.Uint64
	left  atomic.Int64
	heard []atomic.Uint64 // one more than the last round in which a node was woken
	all   chan uint64     // receives a round when all nodes were
}

func (w *wakes) hear(node int) {
	round := w.round.Load()
	if w.heard[node].Swap(round+1) == round+1 {
		return
	}
	if w.left.Add(-1) == 0 && round > 0 {
		w.all <- round
	}
}

// joining is how many nodes connect at the same time. More keep the server from identifying any of them in time.
const joining = 100

// awaitJoined waits until so many nodes are connected: each is woken when its connection begins.
func (w *wakes) awaitJoined(nodes int) error {
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	late := time.After(talkStart)
	for len(w.heard)-int(w.left.Load()) < nodes {
		select {
		case <-look.C:
		case <-late:
			return fmt.Errorf("%d nodes are connected, not %d", len(w.heard)-int(w.left.Load()), nodes)
		}
	}
	return nil
}

// await waits until all nodes were woken in a round.
func (w *wakes) await(round uint64) error {
	late := time.After(talkStart)
	for {
		select {
		case ended := <-w.all:
			if ended == round {
				return nil
			}
		case <-late:
			return fmt.Errorf("%d nodes are not woken", w.left.Load())
		}
	}
}

// put puts a value, and waits for its acknowledgement.
func put(nc *nats.Conn, subject string, value []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), talkStart)
	defer cancel()
	m, err := nc.RequestWithContext(ctx, subject, value)
	if err != nil {
		return err
	}
	var ack struct {
		Sequence uint64 `json:"seq"`
	}
	if err := json.Unmarshal(m.Data, &ack); err != nil || ack.Sequence == 0 {
		return fmt.Errorf("%s is not stored: %s", subject, m.Data)
	}
	return nil
}

// putters is how many put at the same time.
const putters = 100

// putAll returns what puts a value of each node.
func (t *talker) putAll(subject string, value func(node string) []byte) (func() error, error) {
	nc, err := t.coordinator()
	if err != nil {
		return nil, err
	}
	return func() error {
		var next atomic.Int64
		errs := make([]error, putters)
		var all sync.WaitGroup
		for p := range putters {
			all.Go(func() {
				for i := next.Add(1); int(i) <= t.n && errs[p] == nil; i = next.Add(1) {
					name := fmt.Sprintf("hn-%06d", i)
					errs[p] = put(nc, subject+name, value(name))
				}
			})
		}
		all.Wait()
		return errors.Join(errs...)
	}, nil
}

func (t *talker) putStatuses() (func() error, error) {
	status := nf.FleetNode{Channel: fleet.DefaultChannel, Labels: map[string]string{"role": "edge", "region": "north"}, Version: "0.4.0", BootID: "4e9a3f6c-2f0b-4d42-9f5e-0d6a1c9b8e77",
		Generation: 12, Revision: "3f2a9c41d7be0c6a5f8e1d2b4a6978c0e1f20354", Conditions: map[nf.ConditionType]nf.ConditionStatus{}, Containers: 50,
		Progress: &nf.NodeProgress{Generation: 12, Revision: "3f2a9c41d7be0c6a5f8e1d2b4a6978c0e1f20354", State: nf.ProgressApplied, At: time.Now()}}
	for _, c := range []nf.ConditionType{nf.Ready, nf.Reconciling, nf.Stalled, nf.Drifted, nf.RestartPending, nf.Suspended, nf.TableFilling, nf.FleetUnreachable} {
		status.Conditions[c] = nf.ConditionFalse
	}
	return t.putAll(fleet.SubjectStatus, func(name string) []byte {
		mine := status
		mine.Node = name
		value, _ := json.Marshal(mine) // it has nothing that cannot be encoded
		return value
	})
}

// readStatuses reads and decodes them.
func (t *talker) readStatuses() (func() error, error) {
	nc, err := t.coordinator()
	if err != nil {
		return nil, err
	}
	return func() error {
		read := 0
		_, err := fleet.Each(context.Background(), nc, fleet.StreamStatus, fleet.Key(fleet.StreamStatus, ">"), 0, func(v fleet.Stored, err error) error {
			if err == nil {
				_, err = fleet.ReadNode(v.Subject[len(fleet.Key(fleet.StreamStatus, "")):], v.Data)
			}
			read++
			return err
		})
		return t.all(read, err)
	}, nil
}

// all returns an error unless as many values were read as there are.
func (t *talker) all(read int, err error) error {
	if err == nil && read != t.n {
		err = fmt.Errorf("%d values were read, not %d", read, t.n)
	}
	return err
}

// putSnapshots lets one node put its snapshot, and returns what puts the same in the names of all.
func (t *talker) putSnapshots() (func() error, error) {
	document, err := os.ReadFile(t.shot)
	if err != nil {
		return nil, err
	}
	d, err := engine.Open(t.dir)
	if err != nil {
		return nil, err
	}
	cfg := t.config(talkNode, talkNode+".creds")
	cfg.CoordinatorKey = d.CoordinatorPublicKey()
	connected := make(chan struct{}, 1)
	m, err := fleet.Join(cfg, func() {
		select {
		case connected <- struct{}{}:
		default:
		}
	})
	if err != nil {
		return nil, err
	}
	defer m.Close()
	ctx, cancel := context.WithTimeout(context.Background(), talkStart)
	defer cancel()
	select {
	case <-connected:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if _, err := m.PutSnapshot(ctx, document); err != nil {
		return nil, err
	}
	nc, err := t.coordinator()
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	v, err := fleet.Last(ctx, nc, fleet.StreamSnapshot, fleet.Key(fleet.StreamSnapshot, talkNode))
	if err != nil {
		return nil, err
	}
	return t.putAll(fleet.SubjectSnapshot, func(string) []byte { return v.Data })
}

// readSnapshots reads and decompresses them.
func (t *talker) readSnapshots() (func() error, error) {
	ctx, cancel := context.WithTimeout(context.Background(), talkStart)
	defer cancel()
	r, err := fleet.OpenReader(ctx, t.config(talkReader, talkReader+".creds"))
	if err != nil {
		return nil, err
	}
	return func() error {
		read := 0
		err := r.Snapshots(context.Background(), "", func(_ string, _ time.Time, document []byte, err error) error {
			read++
			return err
		})
		return t.all(read, err)
	}, nil
}
