package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"nfsync.dev/nfsync/internal/nf"
)

// manyCommits is how far an agent is behind in tests.
const manyCommits = 10_000

// TestAgentFarBehind: an agent that was away for 10,000 commits fetches the newest at once, and as
// much of the history as proves that it descends from the last one applied.
func TestAgentFarBehind(t *testing.T) {
	t.Parallel()
	n := newAgentNode(t)
	s := n.overHTTP()
	packs := &counted{next: s.next}
	s.next = packs
	n.add("web")
	n.commit(udpPolicy(41))
	n.configureWith("timeout: "+sourceTimeout.String(), "timeout: 60s")
	n.runConfigured()
	n.awaitReady(n.tip)
	n.stop(syscall.SIGTERM)
	n.commits("main", udpPolicy(42), manyCommits)
	packs.posts.Store(0)
	begin := time.Now()
	n.runConfigured()
	n.awaitReady(n.tip)
	n.awaitUDP("web", 42)
	t.Logf("%d commits: %v, %d packs, the agent's peak is %d MiB", manyCommits, time.Since(begin).Round(time.Millisecond), packs.posts.Load(), n.peak())
	if posts := packs.posts.Load(); posts != 1 {
		t.Errorf("%d packs were fetched, want 1", posts)
	}

	// Without its clone it begins with the newest commit alone.
	n.stop(syscall.SIGTERM)
	n.check(os.RemoveAll(n.path("state/git")))
	n.commits("main", udpPolicy(43), manyCommits)
	packs.posts.Store(0)
	begin = time.Now()
	n.runConfigured()
	n.awaitReady(n.tip)
	n.awaitUDP("web", 43)
	t.Logf("%d commits without a clone: %v, %d packs, the agent's peak is %d MiB", manyCommits, time.Since(begin).Round(time.Millisecond), packs.posts.Load(), n.peak())
	if posts := packs.posts.Load(); posts < 2 || posts > 5 {
		t.Errorf("%d packs were fetched, want the newest commit and its history in a few steps", posts)
	}

	// A branch that does not descend from what was applied is not followed, however long it is.
	good := n.tip
	n.commits("", udpPolicy(44), manyCommits)
	n.wake()
	n.awaitCondition(nf.Stalled, "Rewritten", n.tip)
	if s := n.status(); s.Revision.Commit != good || n.udp("web") != "43" {
		t.Errorf("in force is %s", s.Revision.Commit)
	}
}

// peak returns the most memory that the agent has taken, in MiB (VmHWM in proc(5)).
func (n *agentNode) peak() int {
	n.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.agent.Process.Pid))
	n.check(err)
	_, after, _ := strings.Cut(string(text), "VmHWM:")
	var kib int
	_, err = fmt.Sscan(after, &kib)
	n.check(err)
	return kib >> 10
}
