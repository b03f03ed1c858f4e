package fleetscale

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"nfsync.dev/nfsync/internal/agent"
	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/fleet"
	"nfsync.dev/nfsync/internal/host/hosttest"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/state"
	"nfsync.dev/nfsync/internal/state/statetest"
)

var udp = nf.TimeoutKey("udp")

// poll is how often agents ask the fleet without being woken: an answer may not come in time on a loaded machine.
const poll = 15 * time.Second

// node is a node with an agent.
type node struct {
	w        *world
	identity nf.NodeIdentity
	config   fleet.Config
	machine  *hosttest.Machine
	state    *state.Dir
	lock     *apply.Lock
	fails    func(revision string) bool // whether its kernel refuses the value of a revision

	agent  *agent.Agent
	member *fleet.Member
	end    context.CancelFunc
	done   chan struct{}

	mu    sync.Mutex // of what follows
	last  sight
	inHas string // the revision whose value it was last to have
	count int    // of the changes of that
}

// sight is the last document that a node was given.
type sight struct {
	asked time.Time
	doc   nf.RolloutDocument
}

func newNode(w *world, i int) *node {
	w.Helper()
	dir := w.TempDir()
	n := &node{w: w, identity: nf.NodeIdentity{Name: fmt.Sprintf("hn-%d", i), Labels: map[string]string{"role": roles[i%len(roles)]}}, machine: hosttest.New(), lock: apply.NewLock(filepath.Join(dir, "run"))}
	n.machine.SetNode(n.identity.Name, n.identity.Labels)
	n.machine.AddContainer("web-1")
	n.config = w.member(nf.CredentialNode, n.identity.Name)
	var err error
	n.state, err = state.OpenOn(filepath.Join(dir, "state"), &statetest.Disk{})
	w.must(err)
	return n
}

// isAffected reports whether a revision changes anything for the node, if it has the one before.
func (n *node) isAffected(revision string) bool {
	return n.identity.Labels["role"] != "idle" || numberOf(revision) == 1
}

// start starts the agent, with what is on the disk.
func (n *node) start() {
	n.w.Helper()
	good, err := n.state.LastGood()
	n.w.must(err)
	n.mu.Lock()
	n.inHas = good.Revision // what was in force before it is made again, whatever the roll-out
	n.mu.Unlock()
	n.agent = agent.New(agent.NewStatus(n.identity.Name, url, "enforce", nf.AgentInfo{StartedAt: time.Now()}))
	n.member, err = fleet.Join(n.config, func() { n.agent.Wake(agent.WakeFleet) })
	n.w.must(err)
	setup := n.setup()
	n.agent.Configure = func() (agent.Setup, error) { return setup, nil }
	n.agent.SaveSuspension = n.state.SaveSuspension
	ctx, cancel := context.WithCancel(context.Background())
	n.end, n.done = cancel, make(chan struct{})
	go func() {
		defer close(n.done)
		n.agent.Run(ctx, nil)
	}()
}

// stop ends the agent, if it runs.
func (n *node) stop() {
	if n.end != nil {
		n.end()
		<-n.done
		n.member.Close()
		n.end = nil
	}
}

func (n *node) setup() agent.Setup {
	in := apply.Input{Machine: machine{n.machine, n}, State: n.state, Lock: n.lock, Timeout: time.Minute, Now: time.Now}
	return agent.Setup{
		Lap: agent.In{Fetch: n.w.repo.fetch(""), Path: "policies"}, Mode: "enforce", Source: url, Interval: poll, Drift: time.Hour,
		Apply: func() (apply.Input, error) { return in, nil },
		Fleet: &agent.Membership{
			Fleet: seat{n.member, n}, Channel: fleet.DefaultChannel, CoordinatorKey: n.config.CoordinatorKey, Node: n.identity, Version: "1", BootID: "boot-1",
			Fetch: func(b agent.Bounds) agent.Fetcher { return n.w.repo.fetch(b.UpTo) },
			Snapshot: func(ctx context.Context, labels apply.LabelUse) (nf.Snapshot, error) {
				return apply.Snapshot(ctx, apply.Live(n.machine, n.state.Memory), labels)
			},
			Document: func(s nf.Snapshot) ([]byte, error) { return json.Marshal(s) },
		},
	}
}

// seat is a member of a fleet for laps. Its roll-outs are as quick as whole seconds allow: those of the coordinator are spread over
// a minute at least.
type seat struct {
	*fleet.Member
	n *node
}

func (s seat) Rollout(ctx context.Context) (nf.RolloutDocument, error) {
	asked := time.Now()
	doc, err := s.Member.Rollout(ctx)
	if err == nil {
		s.n.mu.Lock()
		s.n.last = sight{asked, doc}
		s.n.mu.Unlock()
	}
	doc.Spread, doc.FetchSpread, doc.RescueSpread = min(doc.Spread, 1), min(doc.FetchSpread, 1), min(doc.RescueSpread, 1)
	return doc, asFleetError(err)
}

func (s seat) Grant(ctx context.Context) (nf.RestartGrant, error) {
	g, err := s.Member.Grant(ctx)
	return g, asFleetError(err)
}

func (s seat) PutNode(ctx context.Context, n nf.FleetNode) (uint64, error) {
	sequence, err := s.Member.PutNode(ctx, n)
	return sequence, asFleetError(err)
}

func (s seat) PutSnapshot(ctx context.Context, document []byte) (uint64, error) {
	sequence, err := s.Member.PutSnapshot(ctx, document)
	return sequence, asFleetError(err)
}

func (s seat) Link() agent.FleetLink { return agent.FleetLink(s.Member.Link()) }

func asFleetError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fleet.ErrNone):
		return &agent.FleetError{Reason: agent.ReasonNoDocument, Err: err}
	}
	return &agent.FleetError{Reason: agent.ReasonUnreachable, Err: err}
}

// machine is the machine of a node, seen from outside.
type machine struct {
	*hosttest.Machine
	n *node
}

// Set sets a value, unless that is one which the node's kernel refuses.
func (m machine) Set(ctx context.Context, s *nf.Snapshot, c nf.Change) error {
	if c.Target != nf.Node || c.Key != udp || c.Layer != nf.LayerLive {
		return m.Machine.Set(ctx, s, c)
	}
	revision := ""
	for i := range m.n.w.watcher.commits() {
		if c.To == nf.Number(int64(firstValue+i+1)) {
			revision = commitOf(i + 1)
		}
	}
	if revision != "" {
		m.n.changes(revision)
	}
	if m.n.fails != nil && m.n.fails(revision) {
		return syscall.EINVAL
	}
	return m.Machine.Set(ctx, s, c)
}

// changes notes that the node gets the value of a revision.
func (n *node) changes(revision string) {
	n.mu.Lock()
	was, saw := n.inHas, n.last
	n.inHas = revision
	n.mu.Unlock()
	if revision != was {
		n.w.watcher.changed(change{n, was, revision, saw})
	}
}
