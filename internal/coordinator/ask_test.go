package coordinator

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"nfsync.dev/nfsync/internal/fleet"
	"nfsync.dev/nfsync/internal/nf"
)

const approvedPlan = `apiVersion: nfsync.dev/v1alpha1
kind: Rollout
metadata: {name: approved}
spec:
  canaries: 2
  steps: [100%]
  soak: 1s
  pauseBefore: [100%]
`

// TestOperatorsAreObeyed asks for each verb.
func TestOperatorsAreObeyed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.start("a")
	w.eventually("the lease", func() bool { return a.View().Lease })
	if got := w.ask(nf.FleetAsk{Verb: nf.AskPause}); got.Error == "" || got.Document != nil {
		t.Errorf("without a roll-out pause was answered with %+v", got)
	}
	w.branch.push(commit(1))
	w.start("b") // it stays silent: there is one answer
	s := w.newNodes(30, nil)
	w.untilState(commit(1), nf.RolloutDone)

	w.branch.push(commit(2))
	w.until("the second roll-out", func(doc nf.RolloutDocument) bool { return doc.Revision == commit(2) && doc.Step >= 0 })
	doc := w.mustAsk(nf.FleetAsk{Verb: nf.AskPause, Reason: "lunch\x1b[2J"})
	if doc.State != nf.RolloutPaused || !strings.Contains(doc.Reason, "lunch") || strings.Contains(doc.Reason, "\x1b") || w.document().Generation != doc.Generation {
		t.Errorf("paused: %+v", doc)
	}
	if again := w.mustAsk(nf.FleetAsk{Verb: nf.AskPause}); again.Generation != doc.Generation {
		t.Errorf("paused again: generation %d follows %d", again.Generation, doc.Generation)
	}
	if got := w.ask(nf.FleetAsk{Verb: nf.AskResume, Generation: doc.Generation - 1}); got.Error == "" || got.Document == nil {
		t.Errorf("resume of what the operator has not seen was answered with %+v", got)
	}
	if doc = w.mustAsk(nf.FleetAsk{Verb: nf.AskResume, Generation: doc.Generation}); !doc.State.MayBegin() {
		t.Errorf("resumed: %+v", doc)
	}
	if doc = w.mustAsk(nf.FleetAsk{Verb: nf.AskHalt, Reason: "smoke"}); doc.State != nf.RolloutHalted {
		t.Errorf("halted: %+v", doc)
	}
	if doc = w.mustAsk(nf.FleetAsk{Verb: nf.AskAbort}); doc.State != nf.RolloutAborted {
		t.Errorf("aborted: %+v", doc)
	}
	if got := w.ask(nf.FleetAsk{Verb: nf.AskResume}); got.Error == "" {
		t.Errorf("resume of an aborted roll-out was answered with %+v", got)
	}
	if got := w.ask(nf.FleetAsk{Verb: "dance"}); got.Error == "" {
		t.Errorf("an unknown verb was answered with %+v", got)
	}

	w.branch.set(nil, fileOf("policy.yaml", policy), fileOf("rollout.yaml", approvedPlan))
	w.branch.push(commit(3))
	waiting := w.untilState(commit(3), nf.RolloutPaused)
	if !waiting.AwaitsApproval {
		t.Errorf("it waits: %+v", waiting)
	}
	w.mustAsk(nf.FleetAsk{Verb: nf.AskApprove})
	w.untilState(commit(3), nf.RolloutDone)

	if doc = w.mustAsk(nf.FleetAsk{Verb: nf.AskWithdraw, Revision: commit(3), Reason: "bad"}); doc.State != nf.RolloutHalted || doc.Withdrawn[len(doc.Withdrawn)-1] != commit(3) {
		t.Errorf("withdrawn: %+v", doc)
	}
	s.check()
}

// TestWakeWakes asks to wake the nodes, and hears that they are.
func TestWakeWakes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.branch.push(commit(1))
	w.start("a")
	w.newNodes(6, nil)
	done := w.untilState(commit(1), nf.RolloutDone)
	woken, err := w.nc.SubscribeSync(fleet.SubjectWakeRollout + fleet.DefaultChannel)
	w.must(err)
	if doc := w.mustAsk(nf.FleetAsk{Verb: nf.AskWake}); doc.Generation != done.Generation {
		t.Errorf("generation %d follows %d", doc.Generation, done.Generation)
	}
	if _, err := woken.NextMsg(patience); err != nil {
		t.Error(err)
	}
}

// TestGrantsAreGivenInTurn lets three nodes ask for restarts: one at a time may. One that vanishes keeps its grant until
// an operator ends it.
func TestGrantsAreGivenInTurn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.branch.push(commit(1))
	a := w.start("a")
	s := w.newNodes(6, nil)
	doc := w.untilState(commit(1), nf.RolloutDone)
	s.end()
	asking := map[string]nf.FleetNode{}
	s.mu.Lock()
	for _, n := range s.list {
		if n.Labels["role"] == "web" {
			n.Restarts = 2
			asking[n.Node] = n.FleetNode
			w.mustPut(n.FleetNode)
		}
	}
	s.mu.Unlock()
	holder := ""
	held := func() bool {
		n := 0
		for node := range asking {
			if g, ok := w.store.Grant(fleet.DefaultChannel, node); ok && g.Until.After(time.Now()) {
				holder, n = node, n+1
				if g.Revision != doc.Revision {
					t.Errorf("the grant is %+v", g)
				}
			}
		}
		if n > 1 {
			t.Errorf("%d nodes have a grant", n)
		}
		return n == 1
	}
	w.eventually("a grant", held)
	first := holder
	n := asking[first]
	n.Restarts = 0 // it has restarted them
	delete(asking, first)
	w.mustPut(n)
	w.eventually("the next grant", func() bool { return held() && holder != first })
	if g, _ := w.store.Grant(fleet.DefaultChannel, first); !g.Until.IsZero() {
		t.Errorf("the grant of %s has not ended: %+v", first, g)
	}
	second := holder
	if got := w.ask(nf.FleetAsk{Verb: nf.AskRelease, Revision: first}); got.Error == "" {
		t.Errorf("release of what has ended was answered with %+v", got)
	}
	if got := w.ask(nf.FleetAsk{Verb: nf.AskRelease, Revision: second}); got.Error != "" {
		t.Errorf("release was answered with %+v", got)
	}
	w.eventually("another grant", func() bool { return held() })
	w.eventually("the view has it", func() bool { return a.View().Grants[holder].Until.After(time.Now()) })
}

// TestAskOfAnOlderDocument is a replica that lags: what an operator asks for is so in the document that it has, and is not any
// more.
func TestAskOfAnOlderDocument(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.branch.push(commit(1))
	w.newNodes(3, nil)
	a := w.idle("a")
	a.head.rolledOut("")
	a.head.fetch(t.Context())
	w.must(a.readAll(t.Context()))
	w.must(a.act(t.Context()))
	ask := func(verb nf.AskVerb) error { return a.obeyNow(t.Context(), nf.FleetAsk{Verb: verb, By: "ann"}) }
	w.must(ask(nf.AskPause))
	older, sequence := a.doc, a.sequence
	w.must(ask(nf.AskPause)) // it is so
	w.must(ask(nf.AskResume))
	a.doc, a.sequence = older, sequence
	if err := ask(nf.AskPause); !errors.Is(err, errConflict) {
		t.Errorf("paused by an older document: %v", err)
	}
}

// TestAWithdrawnCommitIsNamed: that the newest commit is not rolled out because it is withdrawn is said.
func TestAWithdrawnCommitIsNamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.branch.push(commit(1))
	w.newNodes(3, nil)
	a := w.start("a")
	w.untilState(commit(1), nf.RolloutDone)
	w.mustAsk(nf.FleetAsk{Verb: nf.AskWithdraw, Revision: commit(2)})
	w.branch.push(commit(2))
	w.eventually("a problem", func() bool {
		return slices.ContainsFunc(a.View().Problems, func(p string) bool { return strings.Contains(p, commit(2)) && strings.Contains(p, "withdrawn") })
	})
	if doc := w.document(); doc.Revision != commit(1) {
		t.Errorf("%s is rolled out", doc.Revision)
	}
	w.branch.push(commit(3))
	w.untilState(commit(3), nf.RolloutDone)
	w.eventually("no problem", func() bool { return len(a.View().Problems) == 0 })
}
