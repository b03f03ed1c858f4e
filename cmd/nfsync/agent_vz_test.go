package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/vz/vztest"
)

// newVZNode makes a node with running containers of Virtuozzo, whose level is full.
func newVZNode(t *testing.T, ids ...string) (*agentNode, *vztest.Node) {
	t.Helper()
	n, vz := newAgentNode(t), vztest.New(t)
	for _, id := range ids {
		vz.Add(vztest.Container{ID: id, Name: "db-" + id, Saved: "full", State: nf.StateRunning})
	}
	n.flags = []string{"--vz-root", vz.Root()}
	return n, vz
}

func levelPolicy(level, restart string) string {
	return fmt.Sprintf("apiVersion: nfsync.dev/v1alpha1\nkind: ContainerPolicy\nmetadata: {name: db}\nspec: {level: %s, restart: %s}\n", level, restart)
}

// restartsOf returns how often nfsync has restarted each container.
func restartsOf(vz *vztest.Node) map[string]int {
	made := map[string]int{}
	for _, call := range vz.Calls() {
		if call[0] == "vzctl" && call[1] == "restart" {
			made[call[2]]++
		}
	}
	return made
}

// laps makes laps that fetch and apply, one after the other.
func (n *agentNode) laps(count int) {
	n.Helper()
	for range count {
		last := n.status().LastLap.StartedAt
		n.wake()
		n.await("a lap", func() bool { s := n.status(); return s.LastLap.StartedAt.After(last) && s.LastLap.Fetched })
	}
}

// TestAgentBrakesRestarts: laps that follow each other quickly restart no more containers than one
// interval of drift may, and none of them twice.
func TestAgentBrakesRestarts(t *testing.T) {
	t.Parallel()
	n, vz := newVZNode(t, "101", "102", "103")
	n.commit(levelPolicy("stateful", "allow"))
	n.configureWith("drift: {interval: 1s}", "drift: {interval: 1h}")
	n.runConfigured()
	n.awaitReady(n.tip)
	n.laps(5)
	if made := restartsOf(vz); len(made) != 1 || made["101"] != 1 {
		n.fail("restarted: %v", made)
	}
	n.awaitCondition(nf.RestartPending, "WaitsForRestart", "102")
	if s := n.status(); len(s.Pending) != 2 {
		n.fail("pending: %v", s.Pending)
	}
	// Two more are allowed within the same time.
	n.config = "restart: {maxRestarts: 2}\n"
	n.configureWith("drift: {interval: 1s}", "drift: {interval: 1h}")
	n.await("the second one", func() bool { return restartsOf(vz)["102"] == 1 })
	n.laps(3)
	if made := restartsOf(vz); made["103"] != 0 {
		n.fail("restarted: %v", made)
	}
	// The time passes.
	n.configure()
	n.await("all", func() bool { return restartsOf(vz)["103"] == 1 })
	n.laps(3)
	if made := restartsOf(vz); made["101"]+made["102"]+made["103"] != 3 {
		n.fail("restarted: %v", made)
	}
}

// TestAgentStagedRestart: others restart a container whose level is staged. The level is live then, and
// nfsync restarts nothing.
func TestAgentStagedRestart(t *testing.T) {
	t.Parallel()
	n, vz := newVZNode(t, "101", "102")
	n.commit(levelPolicy("stateful", "stage"))
	n.start()
	n.awaitCondition(nf.RestartPending, "WaitsForRestart", "101.*102")
	vz.Restart("101")
	n.await("only the other one waits", func() bool {
		s := n.status()
		return len(s.Pending) == 1 && s.Pending[0].Target.ID == "102"
	})
	// They are restarted between the change of their saved levels and the next lap.
	n.commit(levelPolicy("stateless", "stage"))
	n.await("both are saved", func() bool { return vz.Saved("101") == "stateless" && vz.Saved("102") == "stateless" })
	vz.Restart("102")
	vz.Restart("101")
	n.await("nothing waits", func() bool { s := n.status(); return len(s.Pending)+len(s.Refusals) == 0 && s.Revision.Commit == n.tip })
	for _, id := range []string{"101", "102"} {
		if level := nf.MaskValue(vz.Mask(id)).String(); level != "stateless" {
			n.fail("%s is %s", id, level)
		}
	}
	if made := restartsOf(vz); len(made) != 0 {
		n.fail("restarted: %v", made)
	}
}

// farDay is a day of the week that is not today, yesterday or tomorrow.
func farDay() string { return strings.ToLower(time.Now().Add(72 * time.Hour).Weekday().String()[:3]) }

// TestAgentWindow: a restart waits for the window, and is made once. A container that does not take its
// level is not restarted again.
func TestAgentWindow(t *testing.T) {
	t.Parallel()
	n, vz := newVZNode(t, "101", "102")
	vz.RefuseMask("102", true)
	n.commit(levelPolicy("stateful", "allow"))
	n.config = "restart: {maxRestarts: 5, window: {days: [" + farDay() + "], start: \"02:00\", end: \"04:00\"}}\n"
	n.start()
	n.awaitCondition(nf.RestartPending, "WaitsForRestart", "101.*102")
	n.laps(2)
	if made := restartsOf(vz); len(made) != 0 {
		n.fail("restarted: %v", made)
	}
	closed := n.config
	n.config = "restart: {maxRestarts: 5}\n"
	n.configure()
	n.await("both are restarted", func() bool { return len(restartsOf(vz)) == 2 })
	n.await("one is refused", func() bool { return len(n.status().Refusals) == 1 })
	// Another want while it is closed waits; it is made once the window opens again.
	n.config = closed
	n.configure()
	n.commit(levelPolicy("stateless", "allow"))
	n.await("it waits", func() bool { s := n.status(); return s.Revision.Commit == n.tip && len(s.Pending) > 0 })
	n.laps(2)
	n.config = "restart: {maxRestarts: 5}\n"
	n.configure()
	n.await("101 is restarted", func() bool { return restartsOf(vz)["101"] == 2 })
	n.laps(3)
	if made := restartsOf(vz); made["101"] != 2 || made["102"] > 2 {
		n.fail("restarted: %v", made)
	}
}
