package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"nfsync.dev/nfsync/internal/fleet"
	"nfsync.dev/nfsync/internal/fleet/fleettest"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/state"
	"nfsync.dev/nfsync/internal/vz/vztest"
)

// memberNode is a node of a fleet, with the fleet's store. Its roll-outs are written by hand.
type memberNode struct {
	*agentNode
	store      *fleettest.Server
	generation uint64
	began      uint64
}

// newMemberNode makes a node with a container web-1, whose configuration names a fleet.
func newMemberNode(t *testing.T) *memberNode {
	t.Helper()
	n := newAgentNode(t)
	n.add("web-1")
	return n.joinFleet(t)
}

func (n *agentNode) joinFleet(t *testing.T) *memberNode {
	t.Helper()
	loopback(t)
	f := &memberNode{agentNode: n, store: fleettest.Start(t)}
	seed, err := f.store.Key().Seed()
	f.check(err)
	credentials := f.write("credentials", "-----BEGIN NATS USER JWT-----\nx\n------END NATS USER JWT------\n\n-----BEGIN USER NKEY SEED-----\n"+string(seed)+"\n------END USER NKEY SEED------\n")
	f.config += fmt.Sprintf("fleet: {servers: [%q], credentialsFile: %s, coordinatorKey: %s}\n", f.store.URL(), credentials, f.store.CoordinatorKey())
	return f
}

// begin writes the document of a new roll-out of the tip, in which every node's turn has come.
func (f *memberNode) begin(change func(*nf.RolloutDocument)) {
	f.Helper()
	f.began = f.generation + 1
	f.put(f.tip, change)
}

// put writes the next document.
func (f *memberNode) put(revision string, change func(*nf.RolloutDocument)) {
	f.Helper()
	f.generation++
	d := nf.RolloutDocument{Channel: nf.DefaultChannel, Generation: f.generation, Began: f.began, Revision: revision, State: nf.RolloutRolling, Seed: fmt.Sprint(f.began),
		Groups: []nf.RolloutGroup{{Name: nf.DefaultGroup, Fraction: 1}}, UpdatedAt: time.Now().UTC()}
	if change != nil {
		change(&d)
	}
	f.store.PutRollout(d)
}

// awaitProgress waits until the store has heard how far the node is with a revision.
func (f *memberNode) awaitProgress(revision string, want nf.ProgressState, why string) {
	f.Helper()
	f.await(fmt.Sprintf("%s of %s, %q", want, revision, why), func() bool {
		n, _ := f.store.Node("hn-1")
		p := n.Progress
		return p != nil && p.Revision == revision && p.State == want && strings.Contains(p.Reason, why)
	})
}

// restart kills the agent and starts another one, and waits for its first lap.
func (f *memberNode) restart() {
	f.Helper()
	f.kill()
	f.runConfigured()
	f.await("the first lap of another agent", func() bool { s := f.status(); return s.Agent.PID == f.agent.Process.Pid && s.LastLap != nil })
}

// checkInForce checks that a commit is in force and that its value is there.
func (f *memberNode) checkInForce(commit string, seconds int) {
	f.Helper()
	if s := f.status(); s.Revision == nil || s.Revision.Commit != commit || f.udp("web-1") != fmt.Sprint(seconds) {
		f.fail("in force is %+v with %s, want %s with %d", s.Revision, f.udp("web-1"), commit, seconds)
	}
}

// TestAgentFollowsAFleet: an agent takes what the documents of its fleet let it take, and nothing else.
func TestAgentFollowsAFleet(t *testing.T) {
	t.Parallel()
	f := newMemberNode(t)
	first := f.commit(udpPolicy(201))
	f.start()
	f.awaitCondition(nf.FleetUnreachable, "NoDocument", "no roll-out")
	if s := f.status(); s.Revision != nil && s.Revision.Commit != "" || s.Fleet == nil || s.Fleet.ConnectedSince == nil {
		f.fail("it has taken a revision without a roll-out, or is not connected")
	}
	f.begin(func(d *nf.RolloutDocument) { d.State = nf.RolloutDone })
	f.awaitReady(first)
	f.awaitProgress(first, nf.ProgressApplied, "")

	second := f.commit(udpPolicy(202))
	f.begin(func(d *nf.RolloutDocument) { d.Previous, d.Groups[0].Fraction = first, 0 })
	f.awaitProgress(second, nf.ProgressWaiting, "its turn has not come")
	f.put(second, func(d *nf.RolloutDocument) { d.Previous, d.State = first, nf.RolloutHalted })
	f.awaitProgress(second, nf.ProgressWaiting, "halted")
	f.laps(2)
	f.checkInForce(first, 201)

	f.store.Put(fleet.SubjectRollout+nf.DefaultChannel, []byte(`{"payload":"{}","signature":""}`))
	f.awaitCondition(nf.FleetUnreachable, "Forged", "not the coordinator's")
	old := f.generation
	f.generation = 1
	f.put(second, nil)
	f.awaitCondition(nf.FleetUnreachable, "Older", "generation 2")
	f.restart()
	f.awaitCondition(nf.FleetUnreachable, "Older", "generation 2")
	f.laps(1)
	f.checkInForce(first, 201)

	f.generation = old
	f.put(second, nil)
	f.awaitReady(second)
	f.awaitUDP("web-1", 202)
	f.awaitProgress(second, nf.ProgressApplied, "")
	if c := f.status().Condition(nf.FleetUnreachable); c.Status != nf.ConditionFalse {
		f.fail("the fleet is %+v", c)
	}
}

// TestAgentWithoutItsFleet: without the store the last good revision is enforced, and nothing advances; once it is back the
// agent goes on by itself. Nodes on a withdrawn revision go first.
func TestAgentWithoutItsFleet(t *testing.T) {
	t.Parallel()
	f := newMemberNode(t)
	first := f.commit(udpPolicy(201))
	f.begin(nil)
	f.start()
	f.awaitReady(first)
	f.awaitProgress(first, nf.ProgressApplied, "")
	f.store.Stop()
	f.awaitCondition(nf.FleetUnreachable, "Unreachable", "stays in force")
	second := f.commit(udpPolicy(202))
	f.setUDP("web-1", 99)
	f.awaitUDP("web-1", 201)
	f.laps(2)
	f.checkInForce(first, 201)
	f.restart()
	f.awaitCondition(nf.FleetUnreachable, "Unreachable", "not heard since the agent started")
	f.checkInForce(first, 201)

	f.store.Restart()
	f.begin(func(d *nf.RolloutDocument) { d.Previous = first })
	f.awaitReady(second)
	f.awaitProgress(second, nf.ProgressApplied, "")

	third := f.commit(udpPolicy(203))
	f.begin(func(d *nf.RolloutDocument) {
		d.Previous, d.Withdrawn, d.Rescue, d.Groups[0].Fraction = first, []string{second}, 1, 0
	})
	f.awaitReady(third)
	f.awaitProgress(third, nf.ProgressApplied, "")
	f.awaitUDP("web-1", 203)

	// What changes nothing is taken before its turn.
	fourth := f.commit("# a comment\n" + udpPolicy(203))
	f.begin(func(d *nf.RolloutDocument) { d.Previous, d.Groups[0].Fraction = third, 0 })
	f.awaitReady(fourth)
	f.awaitProgress(fourth, nf.ProgressUnaffected, "")
}

// TestAgentKilledInItsTurn kills the agent after it has told the fleet that it begins. The next one says what became of it.
func TestAgentKilledInItsTurn(t *testing.T) {
	t.Parallel()
	f := newMemberNode(t)
	for i := range 40 {
		f.add(fmt.Sprintf("db-%d", i)) // so that the work takes a while
	}
	f.commit(udpPolicy(300))
	f.begin(nil)
	f.start()
	f.awaitReady(f.tip)
	caught := 0
	for round := 1; caught < 2; round++ {
		if round > 30 {
			f.fail("it was killed %d times in its turn", caught)
		}
		f.commit(udpPolicy(300 + round))
		f.begin(nil)
		f.await("begun", func() bool {
			n, _ := f.store.Node("hn-1")
			return n.Progress != nil && n.Progress.Revision == f.tip && n.Progress.State != nf.ProgressWaiting
		})
		f.kill()
		if n, _ := f.store.Node("hn-1"); n.Progress.State == nf.ProgressBegun {
			caught++
		}
		f.runConfigured()
		f.awaitProgress(f.tip, nf.ProgressApplied, "")
		f.awaitReady(f.tip)
		f.checkInForce(f.tip, 300+round)
	}
}

// TestAgentWaitsForGrants: an agent of a fleet restarts containers with a grant alone: of this node, of the revision in force,
// before its end.
func TestAgentWaitsForGrants(t *testing.T) {
	t.Parallel()
	n, vz := newVZNode(t, "101", "102")
	n.config = "restart: {maxRestarts: 5}\n"
	f := n.joinFleet(t)
	first := f.commit(levelPolicy("stateful", "allow"))
	f.begin(nil)
	f.start()
	f.awaitReady(first)
	f.awaitCondition(nf.RestartPending, "WaitsForRestart", "101.*102")
	f.awaitRestarts(2, 0)
	ungranted := "the fleet has not granted this node a restart"
	f.awaitHeld(ungranted)
	grant := nf.RestartGrant{Channel: nf.DefaultChannel, Node: "hn-1", Generation: 1, Until: time.Now().Add(time.Hour), Revision: strings.Repeat("1", 40)}
	f.store.PutGrant(grant) // of another revision
	f.awaitHeld("of revision 1111")
	f.awaitRestarts(2, 0)
	f.checkRestarts(vz, 0)
	grant.Generation, grant.Revision, grant.Until = 2, first, time.Now().Add(-time.Minute)
	f.store.PutGrant(grant) // that has ended
	f.awaitGrant(2)
	f.awaitHeld(ungranted)
	f.awaitRestarts(2, 0)
	grant.Generation, grant.Until = 1, time.Now().Add(time.Hour)
	f.store.PutGrant(grant) // an older one
	f.awaitHeld(ungranted)
	f.checkRestarts(vz, 0)
	grant.Generation = 3
	f.store.PutGrant(grant)
	f.await("both are restarted", func() bool { made := restartsOf(vz); return made["101"] == 1 && made["102"] == 1 })
	f.awaitRestarts(0, 3)
	f.laps(2)
	f.checkRestarts(vz, 2)
}

// awaitRestarts waits until the store has heard how many restarts wait for a grant, and which grant the node acts on.
func (f *memberNode) awaitRestarts(waiting int, grant uint64) {
	f.Helper()
	f.await(fmt.Sprintf("%d restarts wait, grant %d", waiting, grant), func() bool {
		n, _ := f.store.Node("hn-1")
		return n.Restarts == waiting && n.Grant == grant
	})
}

// awaitHeld waits until a lap that began after the call has held the restarts, for that reason.
func (f *memberNode) awaitHeld(why string) {
	f.Helper()
	called := time.Now()
	f.wake()
	f.await("the restarts are held: "+why, func() bool {
		s := f.status()
		return s.LastLap.StartedAt.After(called) && len(s.Pending) == 2 && strings.Contains(s.Pending[0].Reason, why) && strings.Contains(s.Pending[1].Reason, why)
	})
}

// awaitGrant waits until the node has heard a grant, good or not.
func (f *memberNode) awaitGrant(generation uint64) {
	f.Helper()
	f.await(fmt.Sprintf("grant %d is heard", generation), func() bool {
		known, err := state.ReadFleet(f.path("state"))
		f.check(err)
		return known.Grant == generation
	})
}

func (f *memberNode) checkRestarts(vz *vztest.Node, want int) {
	f.Helper()
	made := restartsOf(vz)
	if made["101"]+made["102"] != want {
		f.fail("restarted: %v, want %d", made, want)
	}
}

// TestAgentOnceInAFleet: the only lap asks the fleet as those of the loop do. It does not wait for its part of a time, and says when
// that is over.
func TestAgentOnceInAFleet(t *testing.T) {
	t.Parallel()
	f := newMemberNode(t)
	f.configure()
	once := func(want int) string {
		f.Helper()
		code, out := f.verb("agent", "--once", "--config", f.path("etc/agent.yaml"))
		if code != want {
			f.Fatalf("exit %d, want %d:\n%s", code, want, out)
		}
		return out
	}
	first := f.commit(udpPolicy(201))
	if out := once(exitOK); !strings.Contains(out, "no roll-out") {
		t.Errorf("without a roll-out: %s", out)
	}
	f.begin(func(d *nf.RolloutDocument) { d.Spread, d.FetchSpread = 3600, 3600 })
	if out := once(exitOK); !strings.Contains(out, "it begins at") || f.udp("web-1") == "201" {
		t.Errorf("in its part of the time: %s", out)
	}
	f.put(first, nil)
	once(exitOK)
	f.awaitUDP("web-1", 201)
	f.awaitProgress(first, nf.ProgressApplied, "")
	second := f.commit(udpPolicy(202))
	f.begin(func(d *nf.RolloutDocument) { d.State = nf.RolloutPaused })
	once(exitOK)
	f.awaitProgress(second, nf.ProgressWaiting, "paused")
	if code, out := f.verb("apply", "--yes", "--config", f.path("etc/agent.yaml")); code != exitOK || !strings.Contains(out, "belongs to a fleet") {
		t.Errorf("apply by hand: exit %d\n%s", code, out)
	}
	f.awaitUDP("web-1", 202)
}

// TestAgentWithABadName: a node whose name cannot be part of a fleet does not join.
func TestAgentWithABadName(t *testing.T) {
	t.Parallel()
	f := newMemberNode(t)
	f.flags = []string{"--node", "hn*1"}
	f.commit(udpPolicy(201))
	f.begin(nil)
	f.start()
	f.awaitCondition(nf.FleetUnreachable, "BadName", "node.name")
	if s := f.status(); s.Revision != nil && s.Revision.Commit != "" {
		f.fail("it has taken a revision")
	}
}
