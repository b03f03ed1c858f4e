// Package fleetscale holds many agents, as they are but for the machines that they change, against a real server
// with its accounts, and against the real coordinator.
package fleetscale

import (
	"context"
	"fmt"
	"hash/fnv"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"nfsync.dev/nfsync/internal/coordinator"
	"nfsync.dev/nfsync/internal/engine"
	"nfsync.dev/nfsync/internal/fleet"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/source"
)

// patience is how long a test waits for what must happen. A loaded machine takes its time.
const patience = 4 * time.Minute

// agentsVariable says how many agents there are.
const agentsVariable = "NFSYNC_AGENTS"

// agents returns how many agents there are.
func agents(t *testing.T) int {
	text := os.Getenv(agentsVariable)
	if text == "" {
		return few
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 20 {
		t.Fatalf("%s is %q, not a number of at least 20", agentsVariable, text)
	}
	return n
}

// world is a fleet: a server, a branch, a coordinator and nodes.
type world struct {
	*testing.T
	directory *engine.Directory
	server    *engine.Server
	repo      *repository
	nodes     []*node
	watcher   *watcher
	operator  *fleet.Reader
	at        *running // the coordinator; nil: none runs
}

func newWorld(t *testing.T, nodes int) *world {
	t.Helper()
	w := &world{T: t, repo: &repository{}}
	var err error
	w.directory, _, err = engine.Init(filepath.Join(t.TempDir(), "coordinator"))
	w.must(err)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	w.server, err = engine.Start(ctx, w.directory, engine.Options{Listen: engine.Listen{Address: "127.0.0.1:0"}, Nodes: nodes})
	w.must(err)
	t.Cleanup(w.server.Shutdown)
	w.watcher = newWatcher(w)
	w.operator, err = fleet.OpenReader(ctx, w.member(nf.CredentialOperator, "ann"))
	w.must(err)
	t.Cleanup(w.operator.Close)
	for i := range nodes {
		w.nodes = append(w.nodes, newNode(w, i))
	}
	for _, n := range w.nodes {
		n.start()
	}
	t.Cleanup(w.stopNodes)
	// A coordinator that knows a few nodes only gives them the turn of all.
	w.eventually("all nodes have put what they are", func() bool { return len(w.heard()) == nodes })
	return w
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// stopNodes ends all agents side by side.
func (w *world) stopNodes() {
	var all sync.WaitGroup
	for _, n := range w.nodes {
		all.Go(n.stop)
	}
	all.Wait()
}

// member returns how a member with credentials of its own reaches the fleet.
func (w *world) member(kind nf.CredentialKind, name string) fleet.Config {
	w.Helper()
	text, err := w.directory.Enroll(kind, name, 0, false)
	w.must(err)
	file := filepath.Join(w.TempDir(), name+".creds")
	w.must(os.WriteFile(file, text, 0o600))
	return fleet.Config{
		Servers: []string{w.server.URL()}, CredentialsFile: file, Channel: fleet.DefaultChannel, CoordinatorKey: w.directory.CoordinatorPublicKey(), Name: name,
		Intervals: fleet.Intervals{Reconnect: 50 * time.Millisecond, Jitter: 50 * time.Millisecond, Connect: patience, Answer: time.Minute, Wake: 100 * time.Millisecond},
	}
}

// connect returns a connection of the coordinator's account.
func (w *world) connect() *nats.Conn {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), patience)
	defer cancel()
	nc, err := fleet.Connect(ctx, fleet.Config{Servers: []string{w.server.URL()}, CredentialsFile: w.directory.CredentialsFile(), Channel: fleet.DefaultChannel, Name: "coordinator"})
	w.must(err)
	w.Cleanup(nc.Close)
	return nc
}

// heard returns what all nodes have put.
func (w *world) heard() []nf.HeardNode {
	w.Helper()
	list, unread, err := w.operator.Nodes(w.Context())
	if err != nil || len(unread) > 0 {
		w.Fatalf("the nodes cannot be read: %v %v", err, unread)
	}
	return list
}

// eventually waits for a condition, and holds what happens meanwhile against what may happen.
func (w *world) eventually(what string, is func() bool) {
	w.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(patience); ; {
		if w.watcher.check(); w.Failed() {
			w.Fatalf("while it waited for: %s", what)
		}
		if is() {
			return
		}
		select {
		case <-tick.C:
		case <-late:
			w.Fatalf("waited for: %s; the document is %s; the nodes are %s", what, w.watcher.last(), w.counts())
		}
	}
}

// counts says how many nodes are how far, for those who read why a test has failed.
func (w *world) counts() string {
	w.Helper()
	all := map[string]int{}
	for _, n := range w.heard() {
		what := fmt.Sprintf("%.40s", n.Revision)
		if p := n.Progress; p != nil {
			what += fmt.Sprintf(" %s of %d (%s)", p.State, numberOf(p.Revision), p.Reason)
		}
		all[what]++
	}
	for _, n := range w.nodes {
		if s := n.agent.Status(); s.Revision == nil || s.Revision.Commit != w.watcher.last().Revision {
			return fmt.Sprintf("%v; the last lap of %s is %+v, and the next ones are %+v", all, s.Node, s.LastLap, s.Next)
		}
	}
	return fmt.Sprint(all)
}

// until waits for a document.
func (w *world) until(what string, is func(nf.RolloutDocument) bool) (doc nf.RolloutDocument) {
	w.Helper()
	w.eventually(what, func() bool {
		doc = w.watcher.last().RolloutDocument
		return doc.Generation > 0 && is(doc)
	})
	return doc
}

// running is a coordinator that runs.
type running struct {
	nc   *nats.Conn
	end  context.CancelFunc
	done chan struct{}
}

// coordinate starts a coordinator.
func (w *world) coordinate() {
	w.Helper()
	r := &running{nc: w.connect(), done: make(chan struct{})}
	c, err := coordinator.New(coordinator.Config{
		Name: "coordinator-1", Channel: fleet.DefaultChannel, Conn: r.nc, Key: w.directory.CoordinatorKey(),
		Say: func(level slog.Level, text string) {
			w.Logf("coordinator: %s: %s", level, text)
		},
		Branch: coordinator.Branch{Source: source.Config{URLs: []string{url}, Branch: branch}, Interval: 200 * time.Millisecond, Fetch: w.repo.fetch("")},
	})
	w.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	r.end = cancel
	go func() {
		defer close(r.done)
		if err := c.Run(ctx); err != nil {
			w.Error(err)
		}
	}()
	w.at = r
	w.Cleanup(w.killCoordinator)
}

// killCoordinator ends the coordinator as the end of its process does: its connection is gone first, so that it can neither
// finish what it does nor give up its lease.
func (w *world) killCoordinator() {
	if w.at != nil {
		w.at.nc.Close()
		w.at.end()
		<-w.at.done
		w.at = nil
	}
}

// replaceCoordinator kills the coordinator and starts another one.
func (w *world) replaceCoordinator() {
	w.Helper()
	w.killCoordinator()
	w.coordinate()
}

// pause pauses the roll-out as an operator does, and resume lets it go on. They ask until a coordinator has answered.
func (w *world) pause() nf.RolloutDocument {
	w.Helper()
	return w.ask(nf.AskPause, func(s nf.RolloutState) bool { return s == nf.RolloutPaused })
}

func (w *world) resume() nf.RolloutDocument {
	w.Helper()
	w.watcher.resumes()
	return w.ask(nf.AskResume, nf.RolloutState.MayBegin)
}

// ask asks until the answer is a document in a state. The answer to an earlier ask may be lost: then it is so already.
func (w *world) ask(verb nf.AskVerb, is func(nf.RolloutState) bool) nf.RolloutDocument {
	w.Helper()
	var answer nf.FleetAnswer
	w.eventually(string(verb), func() bool {
		ctx, cancel := context.WithTimeout(w.Context(), time.Minute)
		defer cancel()
		var err error
		answer, err = w.operator.Ask(ctx, nf.FleetAsk{Verb: verb, By: "ann"})
		return err == nil && answer.Document != nil && is(answer.Document.State)
	})
	w.watcher.answered(*answer.Document)
	return *answer.Document
}

// The repository, which is not there.
const (
	url    = "https://git.example.com/policies.git"
	branch = "main"
)

// repository has one branch, whose commits are numbered from 1.
type repository struct {
	mu    sync.Mutex
	count int
}

// commitOf returns the name of a commit.
func commitOf(n int) string { return fmt.Sprintf("%040x", n) }

// numberOf returns the number of a commit; 0: it is none.
func numberOf(commit string) int {
	n, err := strconv.ParseInt(strings.TrimLeft(commit, "0"), 16, 32)
	if err != nil {
		return 0
	}
	return int(n)
}

// push adds a commit.
func (r *repository) push() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count++
	return commitOf(r.count)
}

// fetch returns what fetches the branch up to a commit; empty: its newest one.
func (r *repository) fetch(upTo string) func(context.Context, []source.Position, string) (source.Revision, error) {
	return func(_ context.Context, last []source.Position, _ string) (source.Revision, error) {
		r.mu.Lock()
		count := r.count
		r.mu.Unlock()
		n := count
		if upTo != "" {
			n = numberOf(upTo)
		}
		if n == 0 || n > count {
			return source.Revision{}, &source.FetchError{URL: url, Err: fmt.Errorf("it has no commit %d", n)}
		}
		for _, p := range last {
			if numberOf(p.Commit) > n {
				return source.Revision{}, &source.RewrittenError{Branch: branch, Last: p.Commit, New: commitOf(n), Behind: true}
			}
		}
		files := []source.File{{Name: "policy.yaml", Data: []byte(policyOf(n))}, {Name: "rollout.yaml", Data: []byte(plan)}}
		return source.Revision{Commit: commitOf(n), URL: url, Branch: branch, Files: files}, nil
	}
}

// The roles of nodes. For those that are idle no commit after the first one changes anything.
var roles = []string{"web", "web", "edge", "web", "idle"}

// firstValue is less than the values that commits want. No node has it before.
const firstValue = 100

// policyOf returns the policies of a commit: its number can be seen in the values of the nodes.
func policyOf(n int) string {
	var text strings.Builder
	for _, role := range []string{"web", "edge", "idle"} {
		value := firstValue + n
		if role == "idle" {
			value = firstValue
		}
		fmt.Fprintf(&text, "---\napiVersion: nfsync.dev/v1alpha1\nkind: NodePolicy\nmetadata: {name: %s}\nspec:\n  nodes: {labels: {role: %s}}\n  conntrack: {timeouts: {udp: %d}}\n", role, role, value)
	}
	return text.String()
}

// canaries are those of each group.
const canaries = 5

// plan is quick, so that the test is.
const plan = `apiVersion: nfsync.dev/v1alpha1
kind: Rollout
metadata: {name: quick}
spec:
  groups:
    - {name: web, labels: {role: web}}
    - {name: edge, labels: {role: edge}}
  canaries: 5
  steps: [40%, 100%]
  soak: 1s
  startRate: 10000
  deadline: 10m
  silence: 10m
  failures: {count: 1, fraction: 1%}
`

// isChosen reports whether a node is of some part of all, which is the same in each run.
func isChosen(name string, part float64) bool {
	h := fnv.New32a()
	_, _ = h.Write([]byte(name + "!"))
	return float64(h.Sum32()%1000) < part*1000
}

// wholeDocuments makes the server send the documents to those who are only to be woken.
func wholeDocuments(ctx context.Context, nc *nats.Conn, nodes int) error {
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	streams := fleet.Streams(1, fleet.SizesFor(nodes))
	s := streams[slices.IndexFunc(streams, func(s jetstream.StreamConfig) bool { return s.Name == fleet.StreamRollout })]
	s.RePublish.HeadersOnly = false
	_, err = js.UpdateStream(ctx, s)
	return err
}
