package coordinator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"nfsync.dev/nfsync/internal/fleet"
	"nfsync.dev/nfsync/internal/fleet/fleettest"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/rollout"
	"nfsync.dev/nfsync/internal/source"
)

func TestMain(m *testing.M) {
	source.RunChild() // a fetch starts this program again
	os.Exit(m.Run())
}

// patience is how long a test waits for what must happen. A loaded machine takes its time.
const patience = 2 * time.Minute

// hurried is the pace of coordinators in tests. The store keeps their leases for leaseTerm.
var hurried = pace{round: 100 * time.Millisecond, rest: 10 * time.Millisecond, renew: 300 * time.Millisecond, trust: 2 * time.Second}

const leaseTerm = 4 * time.Second

// world is a store, a branch, and the nodes of a fleet.
type world struct {
	*testing.T
	store  *fleettest.Server
	nc     *nats.Conn // of the test itself
	branch *branch
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, store: fleettest.Start(t), branch: &branch{}}
	w.nc = w.store.Connect()
	w.shortenLease()
	return w
}

// shortenLease makes the store forget leases sooner.
func (w *world) shortenLease() {
	w.Helper()
	js, err := jetstream.New(w.nc)
	if err != nil {
		w.Fatal(err)
	}
	for _, s := range fleet.Streams(1, fleet.SizesFor(10_000)) {
		if s.Name == fleet.StreamLease {
			s.MaxAge, s.Duplicates = leaseTerm, leaseTerm
			if _, err := js.UpdateStream(w.Context(), s); err != nil {
				w.Fatal(err)
			}
		}
	}
}

// running is a coordinator that runs.
type running struct {
	*Coordinator
	end  context.CancelCauseFunc
	done chan struct{}
}

// config returns the configuration of a coordinator without a connection.
func (w *world) config(name string) Config {
	return Config{
		Name: name, Channel: fleet.DefaultChannel, Key: w.store.Key(), pace: hurried,
		Say:    func(level slog.Level, text string) { w.Logf("%s %s: %s", name, level, text) },
		Branch: Branch{Source: source.Config{URLs: []string{"https://git.example.com/policies.git"}, Branch: "main"}, Interval: 200 * time.Millisecond, Fetch: w.branch.fetch},
	}
}

// start runs a coordinator until the test ends.
func (w *world) start(name string, change ...func(*Config)) *running {
	w.Helper()
	cfg := w.config(name)
	cfg.Conn = w.store.Connect()
	for _, c := range change {
		c(&cfg)
	}
	c, err := New(cfg)
	if err != nil {
		w.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	r := &running{Coordinator: c, end: cancel, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		if err := c.Run(ctx); err != nil {
			w.Error(err)
		}
	}()
	w.Cleanup(r.kill)
	return r
}

// kill ends a coordinator as if its process was killed.
func (r *running) kill() {
	r.end(errAbandoned)
	<-r.done
}

// stop ends a coordinator in order.
func (r *running) stop() {
	r.end(nil)
	<-r.done
}

// document returns the roll-out document; the zero value: there is none.
func (w *world) document() nf.RolloutDocument {
	w.Helper()
	v, err := fleet.Last(w.Context(), w.nc, fleet.StreamRollout, fleet.Key(fleet.StreamRollout, fleet.DefaultChannel))
	if err != nil {
		return nf.RolloutDocument{} // none, or the store is away
	}
	var doc nf.RolloutDocument
	if err := fleet.Open(fleet.SealRollout, fleet.DefaultChannel, v.Data, w.store.CoordinatorKey(), &doc); err != nil {
		w.Fatal(err)
	}
	return doc
}

// until waits for a document.
func (w *world) until(what string, is func(nf.RolloutDocument) bool) nf.RolloutDocument {
	w.Helper()
	var doc nf.RolloutDocument
	w.eventually(what, func() bool {
		doc = w.document()
		return is(doc)
	}, func() string { return fmt.Sprintf("%+v", doc) })
	return doc
}

// untilState waits for a state of the roll-out of a revision.
func (w *world) untilState(revision string, state nf.RolloutState) nf.RolloutDocument {
	w.Helper()
	return w.until(fmt.Sprintf("%s of %.8s", state, revision), func(doc nf.RolloutDocument) bool { return doc.Revision == revision && doc.State == state })
}

// eventually waits for a condition.
func (w *world) eventually(what string, is func() bool, now ...func() string) {
	w.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(patience); ; {
		if is() {
			return
		}
		select {
		case <-tick.C:
		case <-late:
			for _, f := range now {
				what += "; it is " + f()
			}
			w.Fatalf("waited for %s", what)
		}
	}
}

// ask asks the coordinator as an operator does.
func (w *world) ask(ask nf.FleetAsk) nf.FleetAnswer {
	w.Helper()
	a, err := w.tryAsk(ask)
	if err != nil {
		w.Fatalf("%s: %v", ask.Verb, err)
	}
	return a
}

func (w *world) tryAsk(ask nf.FleetAsk) (a nf.FleetAnswer, err error) {
	if ask.By == "" {
		ask.By = "ann"
	}
	data, err := json.Marshal(ask)
	if err != nil {
		return a, err
	}
	ctx, cancel := context.WithTimeout(w.Context(), patience)
	defer cancel()
	m, err := w.nc.RequestWithContext(ctx, fleet.SubjectAsk+fleet.DefaultChannel, data)
	if err != nil {
		return a, err
	}
	return a, json.Unmarshal(m.Data, &a)
}

// mustAsk fails if nothing was done.
func (w *world) mustAsk(ask nf.FleetAsk) nf.RolloutDocument {
	w.Helper()
	a := w.ask(ask)
	if a.Error != "" || a.Document == nil {
		w.Fatalf("%s: %s", ask.Verb, a.Error)
	}
	return *a.Document
}

// branch is a branch of a repository that is not there: its commits, and what is wrong with it.
type branch struct {
	mu      sync.Mutex
	commits []string // the newest is the last one
	files   []source.File
	err     error
}

// push adds a commit.
func (b *branch) push(commit string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.commits = append(b.commits, commit)
}

func (b *branch) set(err error, files ...source.File) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err, b.files = err, files
}

// fetch is source.Fetch of the branch.
func (b *branch) fetch(_ context.Context, last []source.Position, _ string) (source.Revision, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil || len(b.commits) == 0 {
		return source.Revision{}, errors.Join(b.err, errors.New("nothing to fetch"))
	}
	head := b.commits[len(b.commits)-1]
	for _, p := range last {
		if !slices.Contains(b.commits, p.Commit) {
			return source.Revision{}, &source.RewrittenError{Branch: "main", Last: p.Commit, New: head}
		}
	}
	files := []source.File{{Name: "policy.yaml", Data: []byte(policy)}, {Name: "rollout.yaml", Data: []byte(plan)}}
	if b.files != nil {
		files = b.files
	}
	return source.Revision{Commit: head, URL: "https://git.example.com/policies.git", Branch: "main", Files: files}, nil
}

const policy = `apiVersion: nfsync.dev/v1alpha1
kind: ContainerPolicy
metadata: {name: one}
spec:
  nodes: {labels: {role: edge}}
  level: stateful
`

// plan is quick, so that tests are.
const plan = `apiVersion: nfsync.dev/v1alpha1
kind: Rollout
metadata: {name: quick}
spec:
  groups:
    - {name: edge, labels: {role: edge}}
  canaries: 3
  steps: [10%, 50%, 100%]
  soak: 1s
  startRate: 1000
  deadline: 30m
  silence: 5m
  failures: {count: 2, fraction: 1%}
`

func commit(n int) string { return fmt.Sprintf("%040x", n) }

// nodes are simulated nodes. They follow the roll-out document as agents do, and make up what becomes of a revision.
type nodes struct {
	w    *world
	nc   *nats.Conn
	mu   sync.Mutex
	list []*node
	// fails says whether a revision fails on a node.
	fails func(node, revision string) bool
	// tookAt has the fractions with which nodes have begun a revision; wrong has what must not happen.
	wrong []string
	stop  chan struct{}
	done  chan struct{}
}

type node struct {
	nf.FleetNode
	put   bool   // has put its status
	asked uint64 // generation that it has acted on
	at    int    // rounds of work that are left
}

// newNodes makes nodes that follow the roll-out until the test ends. A third of them are of the group edge.
func (w *world) newNodes(n int, fails func(node, revision string) bool) *nodes {
	w.Helper()
	s := &nodes{w: w, nc: w.store.Connect(), fails: fails, stop: make(chan struct{}), done: make(chan struct{})}
	for i := range n {
		role := "web"
		if i%3 == 0 {
			role = "edge"
		}
		s.list = append(s.list, &node{FleetNode: nf.FleetNode{
			Node: fmt.Sprintf("hn-%d", i), Channel: fleet.DefaultChannel, Labels: map[string]string{"role": role}, Version: "1",
			Conditions: map[nf.ConditionType]nf.ConditionStatus{nf.Ready: nf.ConditionTrue},
		}})
	}
	go s.run()
	w.Cleanup(s.end)
	// A coordinator that knows a few nodes only gives them the turn of all.
	w.eventually("all nodes have put what they are", func() bool {
		known := 0
		_, err := fleet.Each(w.Context(), s.nc, fleet.StreamStatus, fleet.Key(fleet.StreamStatus, ">"), 0, func(fleet.Stored, error) error {
			known++
			return nil
		})
		return err == nil && known >= n
	})
	return s
}

// end ends the nodes. What they have put stays.
func (s *nodes) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.stop:
	default:
		close(s.stop)
	}
	s.mu.Unlock()
	<-s.done
	s.mu.Lock()
}

func (s *nodes) run() {
	defer close(s.done)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-tick.C:
		}
		s.mu.Lock()
		for _, n := range s.list {
			s.step(n)
		}
		s.mu.Unlock()
	}
}

// get asks for the document, as nodes do before they begin.
func (s *nodes) get() (nf.RolloutDocument, bool) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	v, err := fleet.Last(ctx, s.nc, fleet.StreamRollout, fleet.Key(fleet.StreamRollout, fleet.DefaultChannel))
	if err != nil {
		return nf.RolloutDocument{}, false
	}
	var doc nf.RolloutDocument
	err = fleet.Open(fleet.SealRollout, fleet.DefaultChannel, v.Data, s.w.store.CoordinatorKey(), &doc)
	doc.Proof = fleet.Prove(v.Data)
	return doc, err == nil
}

// step lets a node do one thing.
func (s *nodes) step(n *node) {
	if !n.put {
		n.put = s.set(n, n.Progress)
		return
	}
	if p := n.Progress; p != nil && p.State == nf.ProgressBegun {
		s.work(n)
		return
	}
	doc, ok := s.get()
	if !ok || doc.Generation < n.Generation || doc.Generation == n.asked {
		return
	}
	n.Generation, n.Proof, n.asked = doc.Generation, doc.Proof, doc.Generation
	turn := rollout.TurnOf(doc, nf.NodeIdentity{Name: n.Node, Labels: n.Labels}, n.Revision)
	progress := func(state nf.ProgressState) *nf.NodeProgress {
		return &nf.NodeProgress{Generation: doc.Generation, Revision: doc.Revision, State: state, At: time.Now()}
	}
	switch {
	case turn.Commit == "" || turn.OnlyUnaffected:
		if n.Progress == nil || n.Progress.Revision != doc.Revision || n.Progress.Generation < doc.Began {
			s.set(n, progress(nf.ProgressWaiting))
		}
	case turn.Commit == n.Revision && (n.Progress == nil || n.Progress.Revision != doc.Revision || n.Progress.Generation < doc.Began):
		s.set(n, progress(nf.ProgressUnaffected))
	case turn.Commit != n.Revision && (n.Progress == nil || n.Progress.Revision != doc.Revision || n.Progress.Generation < doc.Began || !n.Progress.State.HasEnded()):
		if !doc.State.MayBegin() {
			s.wrong = append(s.wrong, fmt.Sprintf("%s began while the roll-out was %s", n.Node, doc.State))
		}
		n.at = 1 + rand.IntN(3)
		if !s.set(n, progress(nf.ProgressBegun)) {
			n.asked = 0 // without an ack it has not begun
		}
	}
}

func (s *nodes) work(n *node) {
	if n.at--; n.at > 0 {
		return
	}
	p := *n.Progress
	p.State, p.At = nf.ProgressApplied, time.Now()
	if s.fails != nil && s.fails(n.Node, p.Revision) {
		p.State, p.Reason = nf.ProgressFailed, "it does not work"
	} else {
		n.Revision = p.Revision
	}
	s.set(n, &p)
}

// set puts a node's status with a progress. Without an ack the node stays as it was.
func (s *nodes) set(n *node, p *nf.NodeProgress) bool {
	was := n.Progress
	n.Progress = p
	if s.w.put(s.nc, n.FleetNode) == nil {
		return true
	}
	n.Progress = was
	return false
}

// put puts the status of a node.
func (w *world) put(nc *nats.Conn, n nf.FleetNode) error {
	data, err := json.Marshal(n)
	if err != nil {
		return err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_, err = js.Publish(ctx, fleet.SubjectStatus+n.Node, data)
	return err
}

// mustPut puts the status of a node.
func (w *world) mustPut(n nf.FleetNode) {
	w.Helper()
	if n.Channel == "" {
		n.Channel = fleet.DefaultChannel
	}
	if err := w.put(w.nc, n); err != nil {
		w.Fatal(err)
	}
}

// check fails if something has happened that must not.
func (s *nodes) check() {
	s.w.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.wrong) > 0 {
		s.w.Errorf("%s", strings.Join(s.wrong, "\n"))
	}
}

// with counts the nodes of which something is true.
func (s *nodes) with(is func(*node) bool) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	count := 0
	for _, n := range s.list {
		if is(n) {
			count++
		}
	}
	return count
}

// has reports whether a node has had a revision: it has it in force, has begun it or has failed with it.
func has(revision string) func(*node) bool {
	return func(n *node) bool {
		return n.Revision == revision || n.Progress != nil && n.Progress.Revision == revision && n.Progress.State != nf.ProgressWaiting && n.Progress.State != nf.ProgressUnaffected
	}
}

func fileOf(name, text string) source.File { return source.File{Name: name, Data: []byte(text)} }
