package coordinator

import (
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"nfsync.dev/nfsync/internal/fleet"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/rollout"
	"nfsync.dev/nfsync/internal/source"
)

// said collects what a coordinator says.
type said struct {
	mu    sync.Mutex
	lines []string
}

func (s *said) say(_ slog.Level, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, text)
}

func (s *said) has(part string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Contains(strings.Join(s.lines, "\n"), part)
}

// TestAnOlderStoreHalts restores the roll-out document of an earlier time: nodes have had later ones.
func TestAnOlderStoreHalts(t *testing.T) {
	t.Parallel()
	for name, newer := range map[string]bool{"the branch is where the document is": false, "the branch has gone on": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.branch.push(commit(1))
			a := w.start("a")
			w.mustPut(nf.FleetNode{Node: "hn-1", Revision: commit(1)})
			w.until("a first document", func(doc nf.RolloutDocument) bool { return doc.Revision == commit(1) })
			a.stop()
			if newer {
				w.branch.push(commit(2))
			}
			old := w.document()
			w.mustPut(nf.FleetNode{Node: "hn-7", Revision: commit(1), Generation: old.Generation + 41, Proof: w.store.Proof(fleet.DefaultChannel, old.Generation+41)})
			history := w.watch()
			w.start("b")
			var doc nf.RolloutDocument // the first that is halted: another one may follow at once, of the newest commit
			w.eventually("a halt", func() (halted bool) {
				doc, halted = history.first(nf.RolloutHalted)
				return halted
			})
			if doc.Generation != old.Generation+42+rollout.Unheard || !doc.Recovered || !strings.Contains(doc.Reason, "hn-7") || len(doc.Withdrawn) > 0 {
				t.Errorf("the document is %+v", doc)
			}
			want := commit(1)
			if newer {
				want = commit(2)
				doc = w.until("the newest commit", func(doc nf.RolloutDocument) bool { return doc.Revision == want })
				if doc.State != nf.RolloutHalted || !doc.Recovered || doc.Groups[0].Fraction != 0 || !strings.Contains(doc.Reason, "hn-7") || len(doc.Withdrawn) > 0 {
					t.Errorf("the document is %+v", doc)
				}
			}
			// A still newer commit does not begin by itself either.
			w.branch.push(commit(3))
			doc = w.until("the newest commit", func(doc nf.RolloutDocument) bool { return doc.Revision == commit(3) })
			if doc.State != nf.RolloutHalted || !doc.Recovered {
				t.Errorf("the document is %+v", doc)
			}
			if doc := w.mustAsk(nf.FleetAsk{Verb: nf.AskResume, Reason: "looked at"}); doc.Recovered || !doc.State.MayBegin() {
				t.Errorf("after resume the document is %+v", doc)
			}
		})
	}
}

// TestALostStoreHalts begins with nodes that have had a document, and a store that has none.
func TestALostStoreHalts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.branch.push(commit(1))
	w.mustPut(nf.FleetNode{Node: "hn-1", Revision: commit(1), Generation: 17, Proof: w.store.Proof(fleet.DefaultChannel, 17)})
	w.start("a")
	doc := w.until("a document", func(doc nf.RolloutDocument) bool { return doc.Generation > 0 })
	if doc.State != nf.RolloutHalted || !doc.Recovered || doc.Generation != 17+rollout.Unheard || doc.Began != doc.Generation || doc.Revision != commit(1) || !strings.Contains(doc.Reason, "hn-1") {
		t.Errorf("the document is %+v", doc)
	}
}

// TestAnUnprovenGenerationIsNotBelieved is a node that lies before there is a document. It can neither halt the fleet nor make
// it use up its generations, and is named.
func TestAnUnprovenGenerationIsNotBelieved(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.branch.push(commit(1))
	w.mustPut(nf.FleetNode{Node: "liar", Generation: 1 << 40, Progress: &nf.NodeProgress{Generation: 1 << 40, Revision: commit(1), State: nf.ProgressUnaffected}})
	s := w.newNodes(9, nil)
	a := w.start("a")
	w.untilState(commit(1), nf.RolloutDone)
	w.eventually("all nodes, and the claim", func() bool {
		v := a.View()
		return v.Unread["liar"] != "" && len(v.Nodes) == 10
	})
	s.check()
}

// TestAForgedDocumentStays is a document that another key has signed: nothing is written.
func TestAForgedDocumentStays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	forged, err := fleet.Seal(fleet.SealRollout, fleet.DefaultChannel, nf.RolloutDocument{Channel: fleet.DefaultChannel, Generation: 3, Revision: commit(1), State: nf.RolloutDone}, other)
	if err != nil {
		t.Fatal(err)
	}
	sequence := w.store.Put(fleet.SubjectRollout+fleet.DefaultChannel, forged)
	w.branch.push(commit(1))
	var heard said
	a := w.start("a", func(c *Config) { c.Say = heard.say })
	w.eventually("the lease, and a problem", func() bool { return a.View().Lease && len(a.View().Problems) > 0 })
	w.eventually("some rounds", func() bool { return a.View().Now.Sub(a.View().Read) > 5*hurried.round })
	v, err := fleet.Last(t.Context(), w.nc, fleet.StreamRollout, fleet.Key(fleet.StreamRollout, fleet.DefaultChannel))
	if err != nil || v.Sequence != sequence {
		t.Errorf("the document has sequence %d, not %d any more: %v", v.Sequence, sequence, err)
	}
	if !heard.has("not the coordinator's") || a.View().Document != nil {
		t.Errorf("it says %q", heard.lines)
	}
	if got := w.ask(nf.FleetAsk{Verb: nf.AskHalt}); got.Error == "" {
		t.Errorf("halt was answered with %+v", got)
	}
}

// TestABranchThatCannotBeFollowed begins nothing, and goes on when it is mended.
func TestABranchThatCannotBeFollowed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.branch.push(commit(1))
	a := w.start("a")
	s := w.newNodes(6, nil)
	done := w.untilState(commit(1), nf.RolloutDone)
	w.branch.push(commit(2))
	for _, c := range []struct {
		why   string
		err   error
		files []source.File
	}{
		{BranchUntrusted, &source.VerifyError{Commit: commit(2), Why: "it is not signed"}, nil},
		{BranchRewritten, &source.RewrittenError{Branch: "main", Last: commit(1), New: commit(2)}, nil},
		{BranchUnreachable, errors.New("no route"), nil},
		{BranchInvalid, nil, []source.File{{Name: "policy.yaml", Data: []byte("kind: Nothing\n")}}},
		{BranchInvalid, nil, []source.File{{Name: "policy.yaml", Data: []byte(policy)}, {Name: "rollout.yaml", Data: []byte(strings.Replace(plan, "canaries: 3", "canaries: many", 1))}}},
		{BranchInvalid, nil, []source.File{{Name: "rollout.yaml", Data: []byte(plan)}}}, // no policy
	} {
		tried := time.Now()
		w.branch.set(c.err, c.files...)
		w.eventually(c.why, func() bool { f := a.View().Branch; return f.Why() == c.why && f.Tried.After(tried) })
		if now := w.document(); now.Revision != commit(1) || now.Generation != done.Generation {
			t.Fatalf("%s: the document is %+v", c.why, now)
		}
		if v := a.View(); len(v.Problems) == 0 || v.Branch.Commit != commit(1) {
			t.Errorf("%s: problems are %q, the newest good commit is %s", c.why, v.Problems, v.Branch.Commit)
		}
	}
	w.branch.set(nil)
	w.untilState(commit(2), nf.RolloutDone)
	s.check()
}

// TestTheStoreIsAwayForAWhile stops the store while a revision is rolled out.
func TestTheStoreIsAwayForAWhile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.branch.push(commit(1))
	a := w.start("a")
	s := w.newNodes(40, nil)
	w.untilState(commit(1), nf.RolloutDone)
	w.branch.push(commit(2))
	before := w.until("the second step", func(doc nf.RolloutDocument) bool { return doc.Revision == commit(2) && doc.Step >= 1 })
	w.store.Stop()
	w.eventually("a problem", func() bool { v := a.View(); return !v.Connected && len(v.Problems) > 0 })
	w.eventually("the lease is not trusted any more", func() bool { return !a.View().Lease })
	w.store.Restart()
	after := w.untilState(commit(2), nf.RolloutDone)
	if after.Seed != before.Seed || after.Began != before.Began {
		t.Errorf("the roll-out was %+v and is %+v", before, after)
	}
	s.check()
}

// TestAStreamIsMadeAnew loses what nodes have put: those that put it again are known, others are not any more.
func TestAStreamIsMadeAnew(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.branch.push(commit(1))
	a := w.start("a")
	for _, n := range []string{"hn-1", "hn-2", "hn-3", "hn-4"} {
		w.mustPut(nf.FleetNode{Node: n, Revision: commit(1), Progress: &nf.NodeProgress{State: nf.ProgressWaiting}})
	}
	names := func() string {
		text := ""
		for _, n := range a.View().Nodes {
			text += n.Node + " "
		}
		return text
	}
	w.eventually("four nodes", func() bool { return names() == "hn-1 hn-2 hn-3 hn-4 " }, names)
	js, err := jetstream.New(w.nc)
	w.must(err)
	for _, again := range [][]string{{"hn-2"}, {"hn-1", "hn-2", "hn-3", "hn-5"}, nil} {
		w.must(js.DeleteStream(t.Context(), fleet.StreamStatus))
		w.must(fleet.MakeStreams(t.Context(), js, 1, fleet.SizesFor(1000)))
		w.shortenLease()
		want := ""
		for _, n := range again {
			w.mustPut(nf.FleetNode{Node: n, Revision: commit(1)})
			want += n + " "
		}
		w.eventually("nodes "+want, func() bool { return names() == want }, names)
	}
	if doc := w.document(); doc.State != nf.RolloutHalted || !strings.Contains(doc.Reason, "lost") {
		t.Errorf("the roll-out goes on with a store that has lost nodes: %+v", doc)
	}
}

// TestSettles: a coordinator that finds no lease has not heard the nodes, and waits for them. One that finds a lease does not: until
// then another one has heard them.
func TestSettles(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.branch.push(commit(1))
	w.newNodes(3, nil)
	slow := func(c *Config) { c.pace.settle = time.Hour }
	a := w.start("a", slow)
	w.untilState(commit(1), nf.RolloutDone)
	w.mustPut(nf.FleetNode{Node: "away", Revision: commit(1)}) // and says no more
	a.end(errAbandoned)
	<-a.done
	b := w.start("a", slow)
	w.eventually("the lease", func() bool { return b.View().Lease })
	w.branch.push(commit(2))
	w.until("the roll-out goes on", func(doc nf.RolloutDocument) bool { return doc.Revision == commit(2) })

	b.end(errAbandoned)
	<-b.done
	w.eventually("no lease", func() bool {
		_, err := fleet.Last(t.Context(), w.nc, fleet.StreamLease, fleet.Key(fleet.StreamLease, fleet.DefaultChannel))
		return errors.Is(err, fleet.ErrNone)
	})
	c := w.start("a", slow)
	w.eventually("it has the lease, and waits for the nodes", func() bool {
		v := c.View()
		return v.Lease && slices.ContainsFunc(v.Problems, func(p string) bool { return strings.Contains(p, "until the nodes are heard") })
	})
	w.branch.push(commit(3))
	w.eventually("the commit is known", func() bool { return c.View().Branch.Commit == commit(3) })
	if doc := w.document(); doc.Revision != commit(2) {
		t.Errorf("%s began before the nodes were heard", doc.Revision)
	}
	for _, n := range c.View().Nodes {
		w.mustPut(n.FleetNode)
	}
	w.until("the next roll-out", func(doc nf.RolloutDocument) bool { return doc.Revision == commit(3) })
}
