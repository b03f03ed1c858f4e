package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"nfsync.dev/nfsync/internal/nf"
)

// quickly is a plan with canaries.
var quickly = rolloutPlan("  canaries: 2\n  steps: [100%]\n  failures: {count: 1}\n")

// TestRealFleet: agents, a coordinator with its NATS server, and a git server, all as they are.
func TestRealFleet(t *testing.T) {
	t.Parallel()
	coordinator := buildCoordinator(t)
	t.Run("steps", func(t *testing.T) { testRealFleet(t, coordinator) })
	t.Run("older store", func(t *testing.T) { testOlderStore(t, coordinator) })
}

// testRealFleet leads 20 agents from the first revision to one that the kernels refuse, and to what mends it.
func testRealFleet(t *testing.T, coordinator string) {
	t.Parallel()
	f := newRealFleet(t, coordinator, 20)
	first := f.commit(udpPolicy(201) + rolloutPlan("  canaries: 0\n  steps: [100%]\n"))
	f.untilState(first, nf.RolloutDone)
	f.await("all nodes have the first value", func() bool { return len(f.with(201)) == 20 })
	f.expect(exitOK, "status", "^Fleet main: 20 nodes", "^ +edge +", "^ +Ready +20 ")

	// While the canaries are at work the coordinator is killed with its server, and an agent too.
	second := f.commit(udpPolicy(202) + quickly)
	f.untilDocument("the canaries", func(d nf.RolloutDocument) bool { return d.Revision == second && d.Step == 0 })
	f.kill()
	f.nodes[7].kill()
	f.serve()
	f.nodes[7].runConfigured()
	f.untilDocument("the last step", func(d nf.RolloutDocument) bool { return d.Revision == second && d.Step == 1 })
	doc := f.untilState(second, nf.RolloutDone)
	if doc.Previous != first || !recordsOf(doc, "step 1 of 2 (canaries) ended", "step 2 of 2 (100%) began") {
		t.Errorf("the document is %+v", doc)
	}
	f.await("all nodes have the second value", func() bool { return len(f.with(202)) == 20 })
	f.expect(exitOK, "rollout", "^Roll-out of "+second[:12]+" on main is done")

	// The value of this sysctl is 0 or 1.
	third := f.commit(fmt.Sprintf("apiVersion: nfsync.dev/v1alpha1\nkind: ContainerPolicy\nmetadata: {name: web}\nspec:\n  conntrack:\n    timeouts: {udp: %d}\n    sysctls: {nf_conntrack_tcp_loose: 300}\n", 203) + quickly)
	f.untilState(third, nf.RolloutHalted)
	bad := f.namesOf(third)
	if len(bad) == 0 || len(bad) > 4 {
		t.Errorf("%v have the bad revision: the canaries are 2 of each group", bad)
	}
	f.expect(exitRefused, "status", "halted")
	f.expect(exitRefused, "rollout", "is halted", "nodes? .*failed", "nf_conntrack_tcp_loose", "nfsync fleet withdraw "+third[:12])
	f.expect(exitOK, "withdraw "+third[:12]+" --yes", "the revision "+third+" is withdrawn")

	// Outside of its window only nodes with the bad revision take what mends it.
	fourth := f.commit(udpPolicy(204) + rolloutPlan("  windows: [{days: ["+dayAfterTomorrow()+"], start: \"00:00\", end: \"00:01\"}]\n"))
	var mended []string
	f.await("the nodes with the bad revision have what mends it", func() bool {
		mended = f.namesOf(fourth)
		return len(mended) >= len(bad) && len(f.namesOf(third)) == 0
	})
	f.expect(exitOK, "rollout", "^Roll-out of "+fourth[:12], "may begin at")
	// A canary that was at work as the roll-out was halted may have had the bad revision later.
	isMended := func(name string) bool { return slices.Contains(mended, name) }
	if len(mended) > 4 || slices.ContainsFunc(bad, func(name string) bool { return !isMended(name) }) || len(f.with(202)) != 20-len(mended) || len(f.with(204)) != len(mended) {
		t.Errorf("%v have what mends it, and %v had the bad revision; %d nodes have the value before", mended, bad, len(f.with(202)))
	}
}

// testOlderStore puts an older copy of the store in the place of a later one: the roll-out halts and says so, until a
// person resumes it.
func testOlderStore(t *testing.T, coordinator string) {
	t.Parallel()
	f := newRealFleet(t, coordinator, 3)
	first := f.commit(udpPolicy(201) + quickly)
	f.untilState(first, nf.RolloutDone)
	f.endCoordinator()
	store := f.path("coordinator/store")
	f.check(os.CopyFS(f.path("copy"), os.DirFS(store)))
	f.serve()
	second := f.commit(udpPolicy(202) + quickly)
	done := f.untilState(second, nf.RolloutDone)
	f.await("all nodes say that they have it", func() bool { return len(f.namesOf(second)) == 3 })
	f.endCoordinator()
	f.check(os.RemoveAll(store))
	f.check(os.Rename(f.path("copy"), store))

	f.serve()
	var halted nf.RolloutDocument
	f.untilDocument("the older store is noticed", func(d nf.RolloutDocument) bool {
		halted = d
		return d.State == nf.RolloutHalted && d.Recovered
	})
	if halted.Generation <= done.Generation {
		t.Errorf("it is halted with generation %d, and the nodes have had %d", halted.Generation, done.Generation)
	}
	f.expect(exitRefused, "rollout", "is halted", "(lost|restored)", "hn-[0-2]")
	f.commit(udpPolicy(203) + quickly)
	f.expect(exitOK, "rollout resume")
	third := f.tip
	f.untilState(third, nf.RolloutDone)
	f.await("all nodes have the newest value", func() bool { return len(f.with(203)) == 3 })
}

// namesOf returns the nodes that say that a revision is in force.
func (f *realFleet) namesOf(revision string) (names []string) {
	f.Helper()
	for name, n := range f.list() {
		if n.Revision == revision {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// recordsOf reports whether the history of a roll-out has these records.
func recordsOf(doc nf.RolloutDocument, texts ...string) bool {
	for _, text := range texts {
		if !slices.ContainsFunc(doc.History, func(r nf.RolloutRecord) bool { return r.What == text }) {
			return false
		}
	}
	return true
}

// dayAfterTomorrow is the name of that day, as windows have it.
func dayAfterTomorrow() string {
	return strings.ToLower(time.Now().UTC().AddDate(0, 0, 2).Weekday().String()[:3])
}
