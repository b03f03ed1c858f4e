package coordinator

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"nfsync.dev/nfsync/internal/fleet"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/rollout"
)

// failuresOf returns how often the coordinators of a test fail: NFSYNC_KILLS if that is set.
func failuresOf(t *testing.T) int {
	t.Helper()
	text := cmp.Or(os.Getenv("NFSYNC_KILLS"), "250")
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("NFSYNC_KILLS is %q, no number", text)
	}
	return n
}

// TestTwoAtOnceAreSafe lets two coordinators act as if both had the lease, and fail many times: they are killed, decide on
// what is old by the time that they write, and do not learn what became of a write. The compare-and-set alone
// keeps the order. No step is skipped, no fraction is larger than one coordinator would give, and what an operator got
// as the answer stays so.
func TestTwoAtOnceAreSafe(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	history := w.watch()
	two := [2]*Coordinator{w.idle("a"), w.idle("b")}
	s := w.newNodes(60, func(_, revision string) bool { return revision == commit(5) })
	w.branch.push(commit(1))
	failures, conflicts, acked := 0, uint64(0), map[uint64]nf.RolloutState{}
	ask := func(c *Coordinator) {
		if w.document().State == nf.RolloutHalted {
			return // resume would accept the failures
		}
		verb := []nf.AskVerb{nf.AskPause, nf.AskResume, nf.AskResume}[rand.IntN(3)]
		ask, err := json.Marshal(nf.FleetAsk{Verb: verb, By: "ann"})
		w.must(err)
		if c.obey(t.Context(), ask) == nil {
			acked[c.doc.Generation] = c.doc.State
		}
	}
	for n, most := 2, failuresOf(t); failures < most; {
		i := rand.IntN(2)
		c, other := two[i], two[1-i]
		c.head.fetch(t.Context())
		switch rand.IntN(6) {
		case 0: // killed before, between or after its writes
			conflicts += c.conflicts
			two[i] = w.idle(c.Name)
			failures++
		case 1: // it decides on what is old when it writes
			w.must(c.readAll(t.Context()))
			next, changed := c.situation().next()
			was := c.sequence
			ask(other)
			if !changed {
				break
			}
			if err := c.write(t.Context(), next); other.sequence > was && !errors.Is(err, errConflict) {
				t.Errorf("both have written: %v", err)
			}
			failures++
		case 2: // it does not learn what became of a write
			w.must(c.readAll(t.Context()))
			if next, changed := c.situation().next(); changed {
				_, _ = c.store.setDocument(t.Context(), next, c.sequence)
			}
			failures++
		case 3: // it is stopped before it writes
			ctx, cancel := context.WithCancel(t.Context())
			w.must(c.readAll(ctx))
			cancel()
			_ = c.act(ctx)
			failures++
		case 4:
			ask(c)
		default:
			w.must(c.readAll(t.Context()))
			w.must(c.act(t.Context()))
		}
		if doc := w.document(); n <= 5 && doc.State == nf.RolloutDone {
			w.branch.push(commit(n))
			n++
		}
	}
	w.eventually("the bad revision is halted", func() bool {
		two[0].head.fetch(t.Context())
		w.must(two[0].readAll(t.Context()))
		w.must(two[0].act(t.Context()))
		doc := w.document()
		switch doc.State {
		case nf.RolloutPaused:
			ask, err := json.Marshal(nf.FleetAsk{Verb: nf.AskResume, By: "ann"})
			w.must(err)
			w.must(two[0].obey(t.Context(), ask))
			acked[two[0].doc.Generation] = two[0].doc.State
		case nf.RolloutDone:
			if doc.Revision == w.branch.newest() {
				w.branch.push(commit(min(5, w.branch.count()+1)))
			}
		}
		return doc.Revision == commit(5) && doc.State == nf.RolloutHalted
	})
	if had := s.with(has(commit(5))); had > 6 {
		t.Errorf("%d nodes have had the bad revision, and the canaries are 6", had)
	}
	s.check()
	history.check(t, s, acked)
	t.Logf("%d conflicts", conflicts+two[0].conflicts+two[1].conflicts)
	if conflicts+two[0].conflicts+two[1].conflicts == 0 {
		t.Error("the two were never in each other's way: the test tests nothing")
	}
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (b *branch) newest() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.commits[len(b.commits)-1]
}

func (b *branch) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.commits)
}

// idle returns a coordinator that does nothing by itself, and acts without the lease.
func (w *world) idle(name string) *Coordinator {
	w.Helper()
	cfg := w.config(name)
	cfg.Conn, cfg.pace.noLease = w.nc, true
	c, err := New(cfg)
	w.must(err)
	return c
}

// documents are all that were written, in their order.
type documents struct {
	mu   sync.Mutex
	list []nf.RolloutDocument
	bad  []error
}

// watch collects the documents that the store takes from now on.
func (w *world) watch() *documents {
	w.Helper()
	js, err := jetstream.New(w.nc)
	w.must(err)
	for _, s := range fleet.Streams(1, fleet.SizesFor(10_000)) {
		if s.Name == fleet.StreamRollout {
			s.RePublish.HeadersOnly = false
			_, err := js.UpdateStream(w.Context(), s)
			w.must(err)
		}
	}
	d := &documents{}
	key := w.store.CoordinatorKey()
	_, err = w.store.Connect().Subscribe(fleet.SubjectWakeRollout+fleet.DefaultChannel, func(m *nats.Msg) {
		var doc nf.RolloutDocument
		err := fleet.Open(fleet.SealRollout, fleet.DefaultChannel, m.Data, key, &doc)
		d.mu.Lock()
		defer d.mu.Unlock()
		if err != nil {
			d.bad = append(d.bad, err)
			return
		}
		d.list = append(d.list, doc)
	})
	w.must(err)
	return d
}

// first returns the first document in a state; false if there is none yet.
func (d *documents) first(state nf.RolloutState) (nf.RolloutDocument, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if i := slices.IndexFunc(d.list, func(doc nf.RolloutDocument) bool { return doc.State == state }); i >= 0 {
		return d.list[i], true
	}
	return nf.RolloutDocument{}, false
}

// check holds each document against the one before. acked are the states in the answers to operators, by generation.
func (d *documents) check(t *testing.T, s *nodes, acked map[uint64]nf.RolloutState) {
	t.Helper()
	last := s.w.document()
	s.w.eventually("all documents", func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		return len(d.list) > 0 && d.list[len(d.list)-1].Generation == last.Generation
	})
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, err := range d.bad {
		t.Error(err)
	}
	t.Logf("%d documents, %d asks", len(d.list), len(acked))
	for i, doc := range d.list {
		if state, ok := acked[doc.Generation]; ok && doc.State != state {
			t.Errorf("generation %d: the answer to an operator was %s, and the document says %s", doc.Generation, state, doc.State)
		}
		checkFractions(t, s, doc)
		if i == 0 {
			continue
		}
		was := d.list[i-1]
		if doc.Generation != was.Generation+1 {
			t.Errorf("generation %d follows %d", doc.Generation, was.Generation)
		}
		if doc.Revision != was.Revision {
			if doc.Revision < was.Revision { // they are numbered
				t.Errorf("generation %d: %s follows %s", doc.Generation, doc.Revision, was.Revision)
			}
			continue
		}
		if doc.Step > was.Step+1 || doc.Step < was.Step {
			t.Errorf("generation %d: step %d follows %d", doc.Generation, doc.Step, was.Step)
		}
		for j := range doc.Groups {
			if doc.Groups[j].Fraction < was.Groups[j].Fraction {
				t.Errorf("generation %d: the fraction of %s falls", doc.Generation, doc.Groups[j].Name)
			}
		}
		if was.State == nf.RolloutPaused && doc.State.MayBegin() {
			if _, ok := acked[doc.Generation]; !ok {
				t.Errorf("generation %d: a pause ends, and nobody has asked for it", doc.Generation)
			}
		}
	}
}

// checkFractions fails if more nodes of a group have their turn than its step lets begin.
func checkFractions(t *testing.T, s *nodes, doc nf.RolloutDocument) {
	t.Helper()
	if doc.Step < 0 || doc.Step == len(doc.Plan.StepNames())-1 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	turn, all := make([]int, len(doc.Groups)), make([]int, len(doc.Groups))
	for _, n := range s.list {
		g := rollout.GroupOf(doc, n.Labels)
		all[g]++
		if rollout.Position(doc.Seed, n.Node) < doc.Groups[g].Fraction {
			turn[g]++
		}
	}
	for g := range doc.Groups {
		most := doc.Plan.Canaries
		if doc.Step > 0 {
			most = max(most, int(math.Ceil(doc.Plan.Fractions[doc.Step-1]*float64(all[g])-1e-9)))
		}
		if turn[g] > most {
			t.Errorf("generation %d: in step %d it is the turn of %d nodes of %s, at most of %d", doc.Generation, doc.Step, turn[g], doc.Groups[g].Name, most)
		}
	}
}
