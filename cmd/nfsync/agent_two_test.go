package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"nfsync.dev/nfsync/internal/nf"
)

// TestAgentSecond: a second agent with the same run directory names the first one and ends.
func TestAgentSecond(t *testing.T) {
	t.Parallel()
	n := newAgentNode(t)
	n.add("web")
	n.commit(udpPolicy(41))
	n.start()
	n.awaitReady(n.tip)
	code, out := n.verb("agent", "--config", n.path("etc/agent.yaml"))
	if want := fmt.Sprintf("process %d", n.agent.Process.Pid); code != exitError || !strings.Contains(out, "another agent is running") || !strings.Contains(out, want) {
		t.Errorf("exit code %d, want %s:\n%s", code, want, out)
	}
	n.setUDP("web", 77)
	n.awaitUDP("web", 41)
}

// applied returns how many changes the agent says it has made.
func (n *agentNode) applied() (sum int) {
	n.Helper()
	log, err := os.ReadFile(n.path("log"))
	n.check(err)
	for _, m := range regexp.MustCompile(`: (\d+) applied`).FindAllSubmatch(log, -1) {
		made, err := strconv.Atoi(string(m[1]))
		n.check(err)
		sum += made
	}
	return sum
}

// TestAgentsTakeTurns: two agents with run directories of their own have one state directory.
// One of them works at a time, and both see each commit in force.
func TestAgentsTakeTurns(t *testing.T) {
	t.Parallel()
	n := newAgentNode(t)
	names := []string{"a", "b", "c", "d", "e", "f"}
	n.add(names...)
	n.commit(udpPolicy(41))
	n.start()
	n.awaitReady(n.tip)
	other := *n
	other.dir = n.path("other")
	n.check(os.Mkdir(other.dir, 0o700))
	for _, shared := range []string{"netns", "node", "state", "etc", "repo.git"} {
		n.check(os.Symlink(n.path(shared), other.path(shared)))
	}
	args := append([]string{"agent", "--config", n.path("etc/agent.yaml")}, n.flagsOf()...)
	args[len(args)-1] = other.path("run")
	other.run(args...)
	t.Cleanup(other.kill)
	other.awaitReady(n.tip)
	for v := 42; v < 46; v++ {
		n.commit(udpPolicy(v))
		n.wake()
		other.wake()
		both := []*agentNode{n, &other}
		for _, one := range both {
			one.awaitReady(n.tip)
		}
		for _, name := range names {
			n.awaitUDP(name, v)
		}
		for _, one := range both {
			if s := one.status(); len(s.Stuck) > 0 || s.Condition(nf.Drifted).Status == nf.ConditionTrue {
				one.fail("it is in the other one's way")
			}
		}
	}
	if made := n.applied() + other.applied(); made != 5*len(names) {
		n.fail("%d changes were made, want %d", made, 5*len(names))
	}
	receipts, err := filepath.Glob(n.path("state/receipts/*"))
	n.check(err)
	if len(receipts) != 5 {
		n.fail("%d receipts for 5 commits: %s", len(receipts), receipts)
	}
	for _, one := range []*agentNode{n, &other} {
		if state := one.stop(syscall.SIGTERM); state.ExitCode() != 0 {
			t.Errorf("it ended with %v", state)
		}
	}
}
