package agent_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"nfsync.dev/nfsync/internal/agent"
	"nfsync.dev/nfsync/internal/host/hosttest"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/source"
)

// store is a fleet's store in memory, as one node sees it.
type store struct {
	mu       sync.Mutex
	doc      *nf.RolloutDocument // nil: there is none
	err      error               // of Rollout
	grant    *nf.RestartGrant
	grantErr error
	putErr   error
	nodes    []nf.FleetNode // that were put
	put      []time.Time
	onAsk    func(time int) // called before each answer of Rollout
	onPut    func(nf.FleetNode)
	asked    int
	link     agent.FleetLink
	sequence uint64
	shots    []time.Time // snapshots that were put
}

func (s *store) Rollout(context.Context) (nf.RolloutDocument, error) {
	s.asked++
	if s.onAsk != nil {
		s.onAsk(s.asked)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.err != nil:
		return nf.RolloutDocument{}, s.err
	case s.doc == nil:
		return nf.RolloutDocument{}, &agent.FleetError{Reason: agent.ReasonNoDocument, Err: errors.New("there is no roll-out")}
	}
	return *s.doc, nil
}

func (s *store) Grant(context.Context) (nf.RestartGrant, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.grantErr != nil:
		return nf.RestartGrant{}, s.grantErr
	case s.grant == nil:
		return nf.RestartGrant{}, &agent.FleetError{Reason: agent.ReasonNoDocument, Err: errors.New("there is no grant")}
	}
	return *s.grant, nil
}

func (s *store) PutNode(_ context.Context, n nf.FleetNode) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.putErr != nil {
		return 0, s.putErr
	}
	if s.onPut != nil {
		s.onPut(n)
	}
	s.nodes, s.put = append(s.nodes, n), append(s.put, time.Now())
	s.sequence++
	return s.sequence, nil
}

func (s *store) PutSnapshot(context.Context, []byte) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.putErr != nil {
		return 0, s.putErr
	}
	s.shots = append(s.shots, time.Now())
	s.sequence++
	return s.sequence, nil
}

func (s *store) Link() agent.FleetLink {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.link
}

// change changes the store.
func (s *store) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

const (
	channel = "main"
	key     = "UCOORDINATOR"
	node    = "hn-1"
)

// member is a node of a fleet.
type member struct {
	*bench
	store   *store
	fetches []string // the commits that were fetched, by a server or not
	bad     error    // of the next fetches
	url     string   // and branch, of the repository
	branch  string
}

// newMember returns a node of a fleet on which c1 is in force; c2 and c3 follow it on the branch.
func newMember(t *testing.T) *member {
	t.Helper()
	m := &member{bench: newBench(t), store: &store{link: agent.FleetLink{Connected: true, Since: time.Now()}}, url: url, branch: branch}
	m.mustFollowTip()
	m.repo.commit("c2", "c1", 42)
	m.repo.commit("c3", "c2", 43)
	m.restart()
	return m
}

// membership is that of the node.
func (m *member) membership() agent.Membership {
	return agent.Membership{Fleet: m.store, Channel: channel, CoordinatorKey: key, Node: nf.NodeIdentity{Name: node, Labels: map[string]string{"role": "edge"}}, Fetch: m.fetch}
}

// restart starts the agent anew, with what is on the disk.
func (m *member) restart() {
	m.in.Fetch = m.repo.fetch
	f := agent.NewFollower(m.membership(), func(ctx context.Context) error {
		_, err := m.store.PutNode(ctx, agent.FleetNode(m.membership(), nf.NodeStatus{}, m.in.Fleet.Following(), 0))
		return err
	})
	m.in.Fleet = f
}

// fetch fetches a commit of the branch, as source.Fetch does: positions of another URL or branch bind nothing.
func (m *member) fetch(b agent.Bounds) agent.Fetcher {
	return func(_ context.Context, last []source.Position, accept string) (source.Revision, error) {
		commit := b.UpTo
		m.fetches = append(m.fetches, commit)
		switch {
		case m.bad != nil:
			return source.Revision{}, m.bad
		case !m.repo.descends(m.repo.tip, commit):
			return source.Revision{}, &source.FetchError{URL: url, Err: errors.New("it has no commit " + commit)}
		case b.Before != "" && !m.repo.descends(b.Before, commit):
			return source.Revision{}, &source.FetchError{URL: url, Err: errors.New("it has no commit " + commit + " up to " + b.Before)}
		}
		last = slices.DeleteFunc(slices.Clone(last), func(p source.Position) bool { return p.URL != m.url || p.Branch != m.branch })
		for _, after := range b.After {
			last = append(last, source.Position{Commit: after})
		}
		for _, p := range last {
			if commit != accept && !m.repo.descends(commit, p.Commit) {
				return source.Revision{}, &source.RewrittenError{Branch: m.branch, Last: p.Commit, New: commit, Behind: m.repo.descends(p.Commit, commit)}
			}
		}
		return source.Revision{Commit: commit, URL: m.url, Branch: m.branch, Signer: "ada", Files: []source.File{{Name: file, Data: []byte(m.repo.texts[commit])}}}, nil
	}
}

// document returns a roll-out of c2 whose turn has come for every node.
func document(generation uint64) nf.RolloutDocument {
	return nf.RolloutDocument{Channel: channel, Generation: generation, Began: 1, Revision: "c2", Previous: "c1", State: nf.RolloutRolling, Seed: "s",
		Groups: []nf.RolloutGroup{{Name: "other", Fraction: 1}}}
}

// rollOut writes a document, and makes a lap that asks for it.
func (m *member) rollOut(generation uint64, change func(*nf.RolloutDocument)) agent.Result {
	m.Helper()
	doc := document(generation)
	if change != nil {
		change(&doc)
	}
	m.store.change(func() { m.store.doc = &doc })
	return m.ask()
}

// ask makes a lap that asks the fleet.
func (m *member) ask() agent.Result {
	m.Helper()
	res, err := m.lap()
	if err := errors.Join(err, m.in.Fleet.Ended(context.Background(), m.state, res, err, nil)); err != nil {
		m.Fatal(err)
	}
	return res
}

// checkFollows checks the revision in force and the progress; empty: none is known.
func (m *member) checkFollows(revision string, of string, want nf.ProgressState, why string) {
	m.Helper()
	m.checkSaved(revision, revision)
	p := m.in.Fleet.Following().Progress
	switch {
	case want == "" && p == nil:
	case p == nil || want == "":
		m.Errorf("progress %+v, want %q", p, want)
	case p.Revision != of || p.State != want || !strings.Contains(p.Reason, why):
		m.Errorf("progress %s of %s (%s), want %s of %s (%s)", p.State, p.Revision, p.Reason, want, of, why)
	}
}

// checkProblem checks why the fleet cannot be followed; empty: it can.
func (m *member) checkProblem(want agent.Reason) {
	m.Helper()
	got := agent.Reason("")
	if p := m.in.Fleet.Following().Problem; p != nil {
		got = p.Reason
	}
	if got != want {
		m.Errorf("the problem is %q, want %q", got, want)
	}
}

// states are the progress states that were put.
func (m *member) states() []nf.ProgressState {
	var list []nf.ProgressState
	for _, n := range m.store.nodes {
		if n.Progress != nil {
			list = append(list, n.Progress.State)
		}
	}
	return list
}

func TestTurn(t *testing.T) {
	m := newMember(t)
	m.rollOut(1, func(d *nf.RolloutDocument) { d.Groups[0].Fraction = 0 })
	m.checkFollows("c1", "c2", nf.ProgressWaiting, "its turn has not come")
	m.checkValue(41)
	m.ask()
	if !slices.Equal(m.fetches, []string{"c2"}) {
		t.Errorf("fetched %v, want c2 once: what a commit has does not change", m.fetches)
	}
	var atPut int64
	m.store.onPut = func(nf.FleetNode) { atPut = m.udpNow() }
	if res := m.rollOut(2, nil); res.Receipt.Revision != "c2" {
		t.Errorf("the run is of %s", res.Receipt.Revision)
	}
	m.checkFollows("c2", "c2", nf.ProgressApplied, "")
	m.checkValue(42)
	if !slices.Equal(m.states(), []nf.ProgressState{nf.ProgressBegun}) || atPut != 41 {
		t.Errorf("put %v, with the value %d: want begun, before anything is changed", m.states(), atPut)
	}
	if n := m.store.nodes[0]; n.Node != node || n.Channel != channel || n.Progress.Revision != "c2" || n.Progress.Generation != 2 {
		t.Errorf("put %+v", n)
	}
	m.ask()
	if len(m.store.nodes) != 1 || !slices.Equal(m.fetches, []string{"c2"}) {
		t.Errorf("after the turn: %d times begun, fetched %v", len(m.store.nodes), m.fetches)
	}
}

func (m *member) udpNow() int64 {
	for n := range int64(100) {
		if m.machine.Value(nf.Node, udp) == nf.Number(n) {
			return n
		}
	}
	return -1
}

// TestHeld: in these states no node begins, and none takes a revision that changes nothing for it.
func TestHeld(t *testing.T) {
	for _, s := range []nf.RolloutState{nf.RolloutPaused, nf.RolloutHalted, nf.RolloutAborted} {
		for _, text := range []string{policy(42), policy(41) + "# the same\n"} {
			m := newMember(t)
			m.repo.texts["c2"] = text
			m.rollOut(1, func(d *nf.RolloutDocument) { d.State = s })
			m.checkFollows("c1", "c2", nf.ProgressWaiting, string(s))
			if len(m.store.nodes) != 0 {
				t.Errorf("%s: put %v", s, m.states())
			}
		}
	}
}

// TestUnaffected: a revision that changes nothing for the node is taken whatever its turn.
func TestUnaffected(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want nf.ProgressState
	}{
		"a comment":     {"# new\n" + policy(41), nf.ProgressUnaffected},
		"another node":  {policy(41) + "---\n" + strings.NewReplacer("{name: node}", "{name: other}", "spec:\n", "spec:\n  nodes: {names: [elsewhere]}\n").Replace(policy(7)), nf.ProgressUnaffected},
		"another value": {policy(42), nf.ProgressWaiting},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMember(t)
			m.repo.texts["c2"] = c.text
			for generation := range 2 {
				m.rollOut(uint64(generation+1), func(d *nf.RolloutDocument) { d.Groups[0].Fraction = 0 })
				inForce := map[nf.ProgressState]string{nf.ProgressUnaffected: "c2", nf.ProgressWaiting: "c1"}[c.want]
				m.checkFollows(inForce, "c2", c.want, "")
			}
			if len(m.store.nodes) != 0 {
				t.Errorf("put %v: it has not begun", m.states())
			}
		})
	}
}

// TestNothingAdvances: without a good document the last good revision is enforced, and nothing is fetched.
func TestNothingAdvances(t *testing.T) {
	problem := func(r agent.Reason) func(*member) {
		return func(m *member) { m.store.err = &agent.FleetError{Reason: r, Err: errors.New("why")} }
	}
	for name, c := range map[string]struct {
		spoil func(*member)
		want  agent.Reason
	}{
		"unreachable":     {problem(agent.ReasonUnreachable), agent.ReasonUnreachable},
		"another error":   {func(m *member) { m.store.err = context.DeadlineExceeded }, agent.ReasonUnreachable},
		"forged":          {problem(agent.ReasonForged), agent.ReasonForged},
		"not permitted":   {problem(agent.ReasonNotPermitted), agent.ReasonNotPermitted},
		"no document":     {func(m *member) { m.store.doc = nil }, agent.ReasonNoDocument},
		"an older one":    {func(m *member) { m.store.doc.Generation = 4 }, agent.ReasonOlder},
		"another, as new": {func(m *member) { m.store.doc.Generation = 5 }, agent.ReasonOlder},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMember(t)
			m.rollOut(5, func(d *nf.RolloutDocument) { d.State = nf.RolloutPaused })
			doc := document(6)
			m.store.doc, m.fetches = &doc, nil
			c.spoil(m)
			m.restart()
			for range 2 {
				m.machine.Put(nf.Node, udp, 99)
				if res := m.ask(); res.Missed != nil || res.Receipt.Revision != "c1" {
					t.Errorf("missed %v, the run is of %q", res.Missed, res.Receipt.Revision)
				}
				m.checkValue(41)
				m.checkProblem(c.want)
				m.checkFollows("c1", "c2", nf.ProgressWaiting, "paused")
			}
			if m.fetches != nil || len(m.store.nodes) > 0 || m.in.Fleet.Following().Document.Generation != 5 {
				t.Errorf("fetched %v, put %v, knows generation %d", m.fetches, m.states(), m.in.Fleet.Following().Document.Generation)
			}
			m.store.err = nil
			m.rollOut(7, nil)
			m.checkProblem("")
			m.checkFollows("c2", "c2", nf.ProgressApplied, "")
		})
	}
}

// TestAsksAgain: right before it begins the node asks once more, and it does not begin without an answer.
func TestAsksAgain(t *testing.T) {
	for name, c := range map[string]struct {
		between func(*store)
		why     string
	}{
		"halted":      {func(s *store) { s.doc.Generation, s.doc.State = 2, nf.RolloutHalted }, "halted"},
		"another one": {func(s *store) { s.doc.Generation, s.doc.Revision = 2, "c3" }, "its turn has not come"},
		"withdrawn":   {func(s *store) { s.doc.Generation, s.doc.Withdrawn = 2, []string{"c2"} }, "withdrawn"},
		"engine away": {func(s *store) { s.err = &agent.FleetError{Reason: agent.ReasonUnreachable, Err: errors.New("away")} }, "away"},
		"taken back":  {func(s *store) { s.doc.Generation = 0 }, "lost what came after"},
		"not acknowleged": {func(s *store) {
			s.putErr = &agent.FleetError{Reason: agent.ReasonUnreachable, Err: errors.New("no answer")}
		}, "no answer"},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMember(t)
			m.store.onAsk = func(time int) {
				if time == 2 {
					c.between(m.store)
				}
			}
			m.machine.Put(nf.Node, udp, 99)
			res := m.rollOut(1, nil)
			if res.Missed != nil || res.Receipt.Revision != "c1" {
				t.Errorf("missed %v, the run is of %q", res.Missed, res.Receipt.Revision)
			}
			m.checkValue(41)
			of := m.in.Fleet.Following().Document.Revision
			m.checkFollows("c1", of, nf.ProgressWaiting, c.why)
		})
	}
}

// TestSpread: a node begins after its part of the time, and another lap finds it over.
func TestSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMember(t)
		spread := func(d *nf.RolloutDocument) { d.Spread, d.FetchSpread = 3600, 60 }
		began := time.Now()
		m.rollOut(1, spread)
		for n := 0; m.in.Fleet.Following().AskAt.After(time.Now()); n++ {
			if n > 3 {
				t.Fatal("it waits for ever")
			}
			is := m.in.Fleet.Following()
			m.checkFollows("c1", "c2", nf.ProgressWaiting, "")
			if !is.BeginsAt.IsZero() && (is.BeginsAt != is.AskAt || is.BeginsAt.After(began.Add(time.Hour))) {
				t.Errorf("begins at %s, asks at %s", is.BeginsAt, is.AskAt)
			}
			<-time.After(time.Until(is.AskAt))
			m.rollOut(uint64(n+2), spread) // each with another generation
		}
		m.checkFollows("c2", "c2", nf.ProgressApplied, "")
		if took := time.Since(began); took == 0 || took > time.Hour {
			t.Errorf("it took %s", took)
		}
	})
}

// TestRescue: a node on a withdrawn revision takes the next one at once, before its turn.
func TestRescue(t *testing.T) {
	m := newMember(t)
	m.rollOut(1, nil)
	m.checkFollows("c2", "c2", nf.ProgressApplied, "")
	m.rollOut(2, func(d *nf.RolloutDocument) { d.State, d.Withdrawn = nf.RolloutHalted, []string{"c2"} })
	m.checkFollows("c2", "c2", nf.ProgressApplied, "")
	m.rollOut(3, func(d *nf.RolloutDocument) {
		d.Began, d.Revision, d.Withdrawn, d.Rescue, d.Groups[0].Fraction, d.Spread = 3, "c3", []string{"c2"}, 1, 0, 3600
	})
	m.checkFollows("c3", "c3", nf.ProgressApplied, "")
	m.checkValue(43)
}

// TestMeanwhile: a node with an older revision, or none, takes the last one that was rolled out, and never goes back.
func TestMeanwhile(t *testing.T) {
	third := func(d *nf.RolloutDocument) { d.Revision, d.Previous, d.Groups[0].Fraction = "c3", "c2", 0 }
	m := newMember(t)
	m.rollOut(1, third)
	m.checkFollows("c2", "c2", nf.ProgressApplied, "")
	if at := m.in.Fleet.Following().AskAt; at.IsZero() || at.After(time.Now()) {
		t.Errorf("it asks again at %s: want at once", at)
	}
	m.ask()
	m.checkFollows("c2", "c3", nf.ProgressWaiting, "its turn has not come")
	if !slices.Equal(m.states(), []nf.ProgressState{nf.ProgressBegun}) || m.store.nodes[0].Progress.Revision != "c2" {
		t.Errorf("put %v", m.states())
	}

	m.rollOut(2, func(d *nf.RolloutDocument) { third(d); d.Groups[0].Fraction = 1 })
	m.checkFollows("c3", "c3", nf.ProgressApplied, "")
	m.fetches = nil
	for generation := range uint64(3) { // another roll-out of an older revision
		m.rollOut(3+generation, func(d *nf.RolloutDocument) { d.Began, d.State = 3, nf.RolloutDone })
		m.checkFollows("c3", "c2", nf.ProgressWaiting, "does not go back")
	}
	if len(m.fetches) > 2 {
		t.Errorf("fetched %v: that a revision is older is known", m.fetches)
	}
	m.checkValue(43)
}

// TestBadRevision: a revision that cannot be taken has failed on this node, and stays so while the roll-out is held.
func TestBadRevision(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*member)
		why   string
		state nf.ProgressState
	}{
		"invalid":     {func(m *member) { m.repo.texts["c2"] = "kind: Nonsense\n" }, "invalid", nf.ProgressFailed},
		"empty":       {func(m *member) { m.repo.texts["c2"] = "" }, "invalid", nf.ProgressFailed},
		"not trusted": {func(m *member) { m.bad = &source.VerifyError{Commit: "c2", Why: "it is not signed"} }, "not signed", nf.ProgressFailed},
		"rewritten":   {func(m *member) { m.bad = &source.RewrittenError{Branch: branch, Last: "c1", New: "c2"} }, "rewritten", nf.ProgressFailed},
		"no server":   {func(m *member) { m.bad = &source.FetchError{URL: url, Err: errors.New("no route")} }, "no route", nf.ProgressWaiting},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMember(t)
			c.spoil(m)
			for generation := range uint64(2) {
				if res := m.rollOut(1+generation, nil); res.Missed == nil || res.Receipt.Revision != "c1" {
					t.Errorf("missed %v, the run is of %q", res.Missed, res.Receipt.Revision)
				}
				m.checkFollows("c1", "c2", c.state, c.why)
			}
			if c.state != nf.ProgressFailed {
				return
			}
			m.restart()
			m.rollOut(3, func(d *nf.RolloutDocument) { d.State = nf.RolloutHalted })
			m.checkFollows("c1", "c2", nf.ProgressFailed, c.why)
			m.bad = nil
			m.rollOut(4, func(d *nf.RolloutDocument) { d.Began, d.Revision = 4, "c3" })
			m.checkFollows("c3", "c3", nf.ProgressApplied, "")
		})
	}
}

// TestOutcomes: the node reports what became of the changes, also after the roll-out has gone on.
func TestOutcomes(t *testing.T) {
	m := newMember(t)
	m.machine.Inject(hosttest.Fault{Op: hosttest.OpSet, Target: nf.Node, Key: udp, Err: errors.New("EIO")})
	m.rollOut(1, nil)
	m.checkFollows("c2", "c2", nf.ProgressFailed, "EIO")
	m.rollOut(2, func(d *nf.RolloutDocument) { d.State = nf.RolloutHalted })
	m.checkFollows("c2", "c2", nf.ProgressFailed, "EIO")
	m.machine.Heal()
	m.ask()
	m.checkFollows("c2", "c2", nf.ProgressApplied, "")
	m.rollOut(3, func(d *nf.RolloutDocument) { d.Began = 3 }) // the same revision once more
	m.checkFollows("c2", "c2", nf.ProgressUnaffected, "in force before")
	if p := m.in.Fleet.Following().Progress; p.Generation != 3 {
		t.Errorf("it counts for generation %d, want 3", p.Generation)
	}
}

// TestInterruptedTurn: a node that was killed after it had reported that it begins says what it finds.
func TestInterruptedTurn(t *testing.T) {
	for _, halted := range []bool{false, true} {
		t.Run(fmt.Sprintf("halted %v", halted), func(t *testing.T) {
			m := newMember(t)
			killed := errors.New("killed")
			m.store.onPut = func(nf.FleetNode) { panic(killed) }
			func() {
				defer func() {
					if recover() != killed {
						t.Error("it was not killed")
					}
					m.store.mu = sync.Mutex{}
				}()
				m.rollOut(1, nil)
			}()
			if f, err := m.state.Fleet(channel, key); err != nil || f.Progress == nil || f.Progress.State != nf.ProgressBegun {
				t.Fatalf("saved is %+v, %v", f.Progress, err)
			}
			m.store.onPut = nil
			m.restart()
			if halted {
				m.rollOut(2, func(d *nf.RolloutDocument) { d.State = nf.RolloutHalted })
				m.checkFollows("c1", "c2", nf.ProgressWaiting, "halted")
				m.checkValue(41)
				return
			}
			m.rollOut(2, nil)
			m.checkFollows("c2", "c2", nf.ProgressApplied, "")
			m.checkValue(42)
		})
	}
}

// TestSuspendedOrHeld: a suspended node, and one whose changes wait for a confirmation, begins nothing.
func TestSuspendedOrHeld(t *testing.T) {
	m := newMember(t)
	m.in.Suspended = true
	m.rollOut(1, nil)
	m.checkFollows("c1", "c2", nf.ProgressWaiting, "suspended")
	m.in.Suspended, m.in.Hold = false, "changes wait for nfsync confirm"
	m.rollOut(2, nil)
	m.checkFollows("c1", "c2", nf.ProgressWaiting, "wait for nfsync confirm")
	if len(m.store.nodes) != 0 {
		t.Errorf("put %v", m.states())
	}
	m.in.Hold = ""
	m.rollOut(3, nil)
	m.checkFollows("c2", "c2", nf.ProgressApplied, "")
}

// TestObserves: a node that only plans takes the revision, and says that it changes nothing.
func TestObserves(t *testing.T) {
	m := newMember(t)
	m.in.Observe = true
	if res := m.rollOut(1, nil); res.Plan == nil || len(res.Plan.Changes) != 1 {
		t.Errorf("plan %+v", res.Plan)
	}
	m.checkValue(41)
	if good, err := m.state.LastGood(); err != nil || good.Revision != "c2" {
		t.Errorf("last good is %s, %v", good.Revision, err)
	}
	if p := m.in.Fleet.Following().Progress; p.State != nf.ProgressUnaffected || !strings.Contains(p.Reason, "observe") {
		t.Errorf("progress %+v", p)
	}
}

// TestBadName: a node whose name cannot be part of a fleet keeps its last good revision, and asks nobody.
func TestBadName(t *testing.T) {
	m := newMember(t)
	m.in.Fleet = agent.NewFollower(agent.Membership{Channel: channel, CoordinatorKey: key, Err: &agent.FleetError{Reason: agent.ReasonBadName, Err: errors.New("no")}}, nil)
	m.machine.Put(nf.Node, udp, 99)
	m.rollOut(1, nil)
	m.checkValue(41)
	m.checkProblem(agent.ReasonBadName)
	if m.store.asked != 0 || m.fetches != nil {
		t.Errorf("asked %d times, fetched %v", m.store.asked, m.fetches)
	}
}
