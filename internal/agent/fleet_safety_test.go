package agent_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"nfsync.dev/nfsync/internal/agent"
	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/source"
	"nfsync.dev/nfsync/internal/state"
)

// lastPut returns what the node has said of itself last.
func (m *member) lastPut() nf.FleetNode {
	return agent.FleetNode(m.membership(), nf.NodeStatus{}, m.in.Fleet.Following(), 0)
}

// TestProofIsTold: a node proves the highest generation that it has had, also after a restart, and when the store has an older
// document or none.
func TestProofIsTold(t *testing.T) {
	m := newMember(t)
	check := func(generation uint64, proof string) {
		t.Helper()
		if n := m.lastPut(); n.Generation != generation || n.Proof != proof {
			t.Errorf("it claims %d with the proof %q, want %d with %q", n.Generation, n.Proof, generation, proof)
		}
	}
	m.ask()
	check(0, "")
	m.rollOut(7, func(d *nf.RolloutDocument) { d.Proof = "seven" })
	check(7, "seven")
	m.rollOut(6, func(d *nf.RolloutDocument) { d.Proof = "six" })
	check(7, "seven")
	m.restart()
	m.store.doc = nil
	m.ask()
	check(7, "seven")
	m.rollOut(8, func(d *nf.RolloutDocument) { d.Proof = "eight" })
	check(8, "eight")
}

// TestNoRevision: a node without a revision takes none until its turn comes.
func TestNoRevision(t *testing.T) {
	m := newMember(t)
	fresh, err := state.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	m.state, m.in.Apply.State = fresh, fresh
	m.restart()
	res := m.rollOut(1, func(d *nf.RolloutDocument) { d.Previous, d.Groups[0].Fraction = "", 0 })
	m.checkFollows("", "c2", nf.ProgressWaiting, "its turn has not come")
	report := agent.Report{Result: res, Fleet: &agent.FleetReport{Following: m.in.Fleet.Following()}}
	s := agent.Status(agent.NewStatus(node, "", "enforce", nf.AgentInfo{}), report)
	if ready := s.Condition(nf.Ready); s.LastLap.Result != nf.LapUnchanged || s.LastLap.Error != "" || ready.Reason != string(agent.ReasonNoRevision) || !strings.Contains(ready.Message, "waits: its turn has not come") {
		t.Errorf("the lap was %+v, and %+v", s.LastLap, ready)
	}
	m.rollOut(2, func(d *nf.RolloutDocument) { d.Previous = "" })
	m.checkFollows("c2", "c2", nf.ProgressApplied, "")
}

// laterContainer is a policy of a container that the node does not have yet.
const laterContainer = "apiVersion: nfsync.dev/v1alpha1\nkind: ContainerPolicy\nmetadata: {name: later}\nspec: {containers: {names: [born-later]}, level: full}\n"

// TestPolicyOfLaterContainers: a revision that would change containers which the node does not have yet is taken in the node's
// turn only, also by a node with no revision.
func TestPolicyOfLaterContainers(t *testing.T) {
	for _, fresh := range []bool{false, true} {
		m := newMember(t)
		m.repo.texts["c2"] = policy(41) + "---\n" + laterContainer
		was := "c1"
		if fresh {
			m.repo.texts["c2"], was = laterContainer, ""
			m.forgetState()
		}
		early := func(d *nf.RolloutDocument) { d.Previous, d.Groups[0].Fraction = was, 0 }
		m.rollOut(1, early)
		if good, err := m.state.LastGood(); err != nil || good.Revision != was {
			t.Errorf("in force is %q (%v), want %q", good.Revision, err, was)
		}
		m.rollOut(2, func(d *nf.RolloutDocument) { d.Previous = was })
		m.checkFollows("c2", "c2", nf.ProgressApplied, "")
	}
}

// forgetState gives the node an empty state directory.
func (m *member) forgetState() {
	m.Helper()
	m.path = m.TempDir()
	var err error
	if m.state, err = state.Open(m.path); err != nil {
		m.Fatal(err)
	}
	m.in.Apply.State = m.state
	m.restart()
}

// TestUnaffectedAsksAgain: a node asks once more right before it takes a revision that changes nothing for it.
func TestUnaffectedAsksAgain(t *testing.T) {
	for name, between := range map[string]func(*store){
		"halted":      func(s *store) { s.doc.Generation, s.doc.State = 2, nf.RolloutHalted },
		"paused":      func(s *store) { s.doc.Generation, s.doc.State = 2, nf.RolloutPaused },
		"another one": func(s *store) { s.doc.Generation, s.doc.Revision = 2, "c3" },
		"withdrawn":   func(s *store) { s.doc.Generation, s.doc.Withdrawn = 2, []string{"c2"} },
		"engine away": func(s *store) { s.err = &agent.FleetError{Reason: agent.ReasonUnreachable, Err: errors.New("away")} },
		"taken back":  func(s *store) { s.doc.Generation = 0 },
	} {
		m := newMember(t)
		m.repo.texts["c2"] = "# the same\n" + policy(41)
		m.store.onAsk = func(time int) {
			if time == 2 {
				between(m.store)
			}
		}
		if res := m.rollOut(1, func(d *nf.RolloutDocument) { d.Groups[0].Fraction = 0 }); res.Receipt.Revision != "c1" {
			t.Errorf("%s: the run is of %s", name, res.Receipt.Revision)
		}
		if m.store.asked != 2 {
			t.Errorf("%s: it has asked %d times", name, m.store.asked)
		}
		m.checkSaved("c1", "c1")
	}
}

// TestNoWayBack: no document brings a node back, whatever has happened to its URL, its branch, its state or its last lap.
func TestNoWayBack(t *testing.T) {
	for name, spoil := range map[string]func(*member){
		"nothing":                func(*member) {},
		"a mirror":               func(m *member) { m.url = "https://mirror.example.org/policies.git" },
		"another name":           func(m *member) { m.branch = "release" },
		"no positions":           func(m *member) { m.remove("positions") },
		"no last good revision":  func(m *member) { m.remove("lastgood", "positions") },
		"another, and restarted": func(m *member) { m.url = "https://mirror.example.org/policies.git"; m.restart() },
		"one applied by hand": func(m *member) {
			f := m.in.Fleet
			m.in.Fleet = nil
			m.mustFollowTip()
			m.in.Fleet, m.url = f, "https://mirror.example.org/policies.git"
		},
		"one that was not parsed": func(m *member) { m.saveUnreadable("c2"); m.remove("positions") },
	} {
		t.Run(name, func(t *testing.T) {
			m := newMember(t)
			m.rollOut(1, nil)
			m.checkFollows("c2", "c2", nf.ProgressApplied, "")
			m.ask()
			spoil(m)
			good := func() string {
				g, err := m.state.LastGood()
				if err != nil {
					t.Fatal(err)
				}
				return g.Revision
			}
			was := good()
			for generation, doc := range []func(*nf.RolloutDocument){
				func(d *nf.RolloutDocument) { d.State = nf.RolloutDone },
				func(d *nf.RolloutDocument) { d.Revision, d.Previous, d.State = "c1", "", nf.RolloutDone },
				func(d *nf.RolloutDocument) { d.Revision, d.Previous, d.Groups[0].Fraction = "c3", "c1", 0 },
				func(d *nf.RolloutDocument) {
					d.Revision, d.Previous, d.State, d.Withdrawn = "c3", "c1", nf.RolloutHalted, []string{"c3"}
				},
			} {
				_, _ = m.lapAt(uint64(generation+2), doc)
				if was == "" {
					was = "c2" // it gets again what it has lost
				}
				if now := good(); now != was {
					t.Errorf("document %d has brought %q, and %q was in force", generation, now, was)
				}
			}
			older := func(d *nf.RolloutDocument) { d.Began, d.Revision, d.Previous = 8, "c1", "" }
			if _, _ = m.lapAt(8, older); good() != was {
				t.Errorf("in force is %s", good())
			}
			m.in.Accept = "c1" // a person does
			if _, err := m.lapAt(9, older); err != nil || good() != "c1" {
				t.Errorf("accepted: %q, %v", good(), err)
			}
		})
	}
}

// lapAt makes a lap with a document. Its error is that of the lap.
func (m *member) lapAt(generation uint64, change func(*nf.RolloutDocument)) (agent.Result, error) {
	doc := document(generation)
	change(&doc)
	m.store.change(func() { m.store.doc = &doc })
	return m.lap()
}

// remove removes files of the state directory.
func (m *member) remove(names ...string) {
	m.Helper()
	for _, name := range names {
		if err := os.Remove(filepath.Join(m.path, name)); err != nil {
			m.Fatal(err)
		}
	}
}

// saveUnreadable makes a last good revision of a commit that this nfsync finds invalid.
func (m *member) saveUnreadable(commit string) {
	m.Helper()
	if err := m.state.SaveLastGood(state.LastGood{Revision: commit, URL: url, Branch: branch, Files: []state.PolicyFile{{Name: file, Text: "kind: Nonsense\n"}}}); err != nil {
		m.Fatal(err)
	}
}

// TestWayBackAfterAnInterruption: a lap that was killed or interrupted in the middle of its changes has brought its revision, also
// from a URL that was not used before.
func TestWayBackAfterAnInterruption(t *testing.T) {
	for name, observe := range map[string]bool{"killed": false, "observed": true} {
		t.Run(name, func(t *testing.T) {
			m := newMember(t)
			m.url, m.in.Observe = "https://mirror.example.org/policies.git", observe
			m.in.Apply.Progress = func(e apply.Event) {
				if e.Kind == apply.EventPlanned {
					panic("killed")
				}
			}
			func() {
				defer func() { _ = recover() }()
				_, _ = m.lapAt(1, func(*nf.RolloutDocument) {})
			}()
			m.in.Apply.Progress = nil
			for _, u := range []string{m.url, url, "https://another.example.org/policies.git"} {
				m.url = u
				m.restart()
				m.rollOut(2, func(d *nf.RolloutDocument) { d.Revision, d.Previous, d.State = "c1", "", nf.RolloutDone })
				if good, err := m.state.LastGood(); err != nil || good.Revision != "c2" {
					t.Errorf("from %s: in force is %s, %v", u, good.Revision, err)
				}
			}
			list, err := m.state.Positions()
			if err != nil || !observe && len(list) != 2 {
				t.Errorf("positions %+v, %v", list, err)
			}
		})
	}
}

// TestMeanwhileIsOlder: what a node takes until its turn comes is older than the revision of the roll-out, whatever the document says.
func TestMeanwhileIsOlder(t *testing.T) {
	m := newMember(t)
	m.forgetState()
	m.rollOut(1, func(d *nf.RolloutDocument) { d.Revision, d.Previous, d.Groups[0].Fraction = "c2", "c3", 0 })
	m.checkSaved("", "")
	m.rollOut(2, func(d *nf.RolloutDocument) { d.Began, d.Revision, d.Previous, d.Groups[0].Fraction = 2, "c3", "c2", 0 })
	m.checkSaved("c2", "c2")
}

// TestOvertakenTurn: a node does not begin if another nfsync has applied something since its lap began.
func TestOvertakenTurn(t *testing.T) {
	m := newMember(t)
	m.in.Apply.Timeout = time.Second
	fetch := m.membership()
	fetch.Fetch = func(b agent.Bounds) agent.Fetcher {
		inner := m.fetch(b)
		return func(ctx context.Context, last []source.Position, accept string) (source.Revision, error) {
			m.saveUnreadable("c3")
			return inner(ctx, last, accept)
		}
	}
	m.in.Fleet = agent.NewFollower(fetch, func(context.Context) error { return nil })
	_, _ = m.lapAt(1, func(*nf.RolloutDocument) {})
	if good, err := m.state.LastGood(); err != nil || good.Revision != "c3" {
		t.Errorf("in force is %s, %v", good.Revision, err)
	}
}

// TestSpreadAfterAnAbsence: a node whose time passes while the fleet cannot be asked waits its part anew when it is back.
func TestSpreadAfterAnAbsence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMember(t)
		spread := func(d *nf.RolloutDocument) { d.Spread = 3600 }
		m.rollOut(1, spread)
		first := time.Until(m.in.Fleet.Following().BeginsAt)
		m.store.change(func() {
			m.store.err = &agent.FleetError{Reason: agent.ReasonUnreachable, Err: errors.New("away")}
		})
		<-time.After(first)
		m.ask()
		<-time.After(2 * time.Hour)
		m.store.change(func() { m.store.err = nil })
		m.rollOut(2, spread)
		m.checkFollows("c1", "c2", nf.ProgressWaiting, "one after the other")
		if again := time.Until(m.in.Fleet.Following().BeginsAt); again != first {
			t.Errorf("it begins after %s, and at first after %s", again, first)
		}
		<-time.After(first)
		m.rollOut(3, spread)
		m.checkFollows("c2", "c2", nf.ProgressApplied, "")
	})
}

// TestSpreadAfterAPause: nodes whose time passes while the roll-out is paused do not begin together when it is resumed.
func TestSpreadAfterAPause(t *testing.T) {
	for _, once := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			m := newMember(t)
			lap := func(generation uint64, state nf.RolloutState) time.Duration {
				if once {
					m.restart()
				}
				m.in.Fleet.Once = once
				m.rollOut(generation, func(d *nf.RolloutDocument) { d.State, d.Spread, d.FetchSpread = state, 3600, 3600 })
				return time.Until(m.in.Fleet.Following().AskAt)
			}
			first := lap(1, nf.RolloutRolling)
			lap(2, nf.RolloutPaused)
			<-time.After(2 * time.Hour)
			lap(3, nf.RolloutPaused)
			again := lap(4, nf.RolloutRolling)
			m.checkFollows("c1", "c2", nf.ProgressWaiting, "")
			if again != first {
				t.Errorf("once %v: it begins after %s, and at first after %s", once, again, first)
			}
		})
	}
}

// TestUnreadableInForce: of a revision in force that cannot be read any more it is not known what another one changes.
func TestUnreadableInForce(t *testing.T) {
	m := newMember(t)
	m.saveUnreadable("c1")
	m.repo.texts["c2"] = "apiVersion: nfsync.dev/v1alpha1\nkind: NodePolicy\nmetadata: {name: other}\nspec: {nodes: {names: [elsewhere]}, level: full}\n"
	_, _ = m.lapAt(1, func(d *nf.RolloutDocument) { d.Previous, d.Groups[0].Fraction = "", 0 })
	if good, err := m.state.LastGood(); err != nil || good.Revision != "c1" {
		t.Errorf("in force is %s, %v", good.Revision, err)
	}
	m.rollOut(2, nil)
	m.checkSaved("c2", "c2")
}

// TestOnceKeepsToTheSpread: laps that end after one remember since when the node waits for its turn, and take it when its part of
// the time is over.
func TestOnceKeepsToTheSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMember(t)
		once := func(generation uint64) time.Time {
			m.restart()
			m.in.Fleet.Once = true
			m.rollOut(generation, func(d *nf.RolloutDocument) { d.Spread, d.FetchSpread = 3600, 3600 })
			return m.in.Fleet.Following().BeginsAt
		}
		at := once(1)
		m.checkFollows("c1", "c2", nf.ProgressWaiting, "one after the other")
		<-time.After(time.Until(at) / 2)
		if again := once(2); !again.Equal(at) {
			t.Errorf("it begins at %s, and then at %s", at, again)
		}
		<-time.After(time.Until(at))
		once(3)
		m.checkFollows("c2", "c2", nf.ProgressApplied, "")
	})
}

// TestNoAnswer: a node that is connected and gets no answer asks again soon. One that is not connected is woken when it is.
func TestNoAnswer(t *testing.T) {
	away := &agent.FleetError{Reason: agent.ReasonUnreachable, Err: errors.New("no answer")}
	for name, c := range map[string]struct {
		spoil func(*store)
		soon  bool
	}{
		"no document comes":     {func(s *store) { s.err, s.link.Connected = away, true }, true},
		"it is not connected":   {func(s *store) { s.err, s.link.Connected = away, false }, false},
		"forged":                {func(s *store) { s.err, s.link.Connected = &agent.FleetError{Reason: agent.ReasonForged}, true }, false},
		"no acknowledgement":    {func(s *store) { s.putErr, s.link.Connected = away, true }, true},
		"all is as it is to be": {func(s *store) { s.link.Connected = true }, false},
	} {
		m := newMember(t)
		c.spoil(m.store)
		began := time.Now()
		m.rollOut(1, nil)
		at := m.in.Fleet.Following().AskAt
		if soon := at.Sub(began) >= 15*time.Second && time.Until(at) <= 45*time.Second; soon != c.soon || !c.soon && !at.IsZero() {
			t.Errorf("%s: it asks again at %s, and it is %s", name, at, time.Now())
		}
	}
}
