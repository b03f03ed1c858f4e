package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/vz/vztest"
)

// TestAgentStops: an agent that is asked to stop finishes the change under way and reads it back. It
// leaves the rest, undoes nothing, and says so in its receipt. The next one goes on.
func TestAgentStops(t *testing.T) {
	t.Parallel()
	n := newAgentNode(t)
	names := []string{"a", "b", "c"}
	n.add(names...)
	n.commit(strings.Replace(udpPolicy(41), "{udp: 41}", "{icmp: 41, udp: 41}", 1))
	n.env = []string{"FAULT=term:3"} // it gets SIGTERM as it makes its third change
	n.start()
	select {
	case <-n.ended:
	case <-time.After(patience):
		n.fail("it does not end")
	}
	if code := n.agent.ProcessState.ExitCode(); code != exitOK {
		n.fail("exit code %d", code)
	}
	n.agent = nil
	var got []string
	for _, name := range names {
		got = append(got, n.timeout(name, icmpTimeout), n.udp(name))
	}
	if want := []string{"41", "41", "41", "30", "30", "30"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	receipt := n.lastReceipt()
	var outcomes []apply.Outcome
	for _, r := range receipt.Results {
		outcomes = append(outcomes, r.Outcome)
	}
	if want := []apply.Outcome{apply.Applied, apply.Applied, apply.Applied, apply.Skipped, apply.Skipped, apply.Skipped}; !receipt.Interrupted || !slices.Equal(outcomes, want) {
		t.Errorf("interrupted %t, %v, want %v", receipt.Interrupted, outcomes, want)
	}
	if s := n.status(); s.LastLap.Result != nf.LapCancelled {
		t.Errorf("the last lap is %s", s.LastLap.Result)
	}
	n.env = nil
	n.start()
	n.awaitReady(n.tip)
	for _, name := range names {
		n.awaitUDP(name, 41)
	}
}

// lastReceipt returns the receipt of the last run.
func (n *agentNode) lastReceipt() apply.Receipt {
	n.Helper()
	names, err := filepath.Glob(n.path("state/receipts/*.json"))
	n.check(err)
	if len(names) == 0 {
		n.fail("there is no receipt")
	}
	text, err := os.ReadFile(slices.Max(names))
	n.check(err)
	var sealed struct{ Data apply.Receipt }
	n.check(json.Unmarshal(text, &sealed))
	return sealed.Data
}

// TestAgentStopsFetching: an agent that waits for a server ends at once, and the process that fetches
// with it.
func TestAgentStopsFetching(t *testing.T) {
	t.Parallel()
	n := newAgentNode(t)
	g := n.overHTTP().gate
	g.set(gateSilent)
	n.commit(udpPolicy(41))
	n.configureWith("timeout: "+sourceTimeout.String(), "timeout: 1h")
	n.runConfigured()
	n.await("it fetches", func() bool { return g.connections() > 0 })
	if state := n.stop(syscall.SIGTERM); state.ExitCode() != exitOK {
		n.fail("it ended with %v", state)
	}
	n.await("nobody fetches", func() bool { return g.connections() == 0 })
}

// connections returns how many there are.
func (g *gate) connections() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.open)
}

// endLockedPrograms kills the programs of an ended agent that hold the lock.
func (n *agentNode) endLockedPrograms() {
	n.Helper()
	n.await("no program holds the lock", func() bool {
		open, err := filepath.Glob("/proc/[0-9]*/fd/*")
		n.check(err)
		left := 0
		for _, fd := range open {
			to, _ := os.Readlink(fd) // it may have ended
			pid, _ := strconv.Atoi(strings.Split(fd, "/")[2])
			if to == n.path("state/lock") && pid != n.agent.Process.Pid {
				left++
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		return left == 0
	})
}

// TestAgentInterruptedTwice: the second interrupt ends an agent at once, in the midst of a change. The
// next one settles that.
func TestAgentInterruptedTwice(t *testing.T) {
	t.Parallel()
	n := newAgentNode(t)
	vz := vztest.New(t)
	vz.Add(vztest.Container{ID: "101", Name: "db-1", Saved: "full", State: nf.StateRunning})
	heal := vz.Misbehave(vztest.Fault{Program: "vzctl", Verb: "set", Hang: true})
	n.flags = []string{"--vz-root", vz.Root()}
	n.commit("apiVersion: nfsync.dev/v1alpha1\nkind: ContainerPolicy\nmetadata: {name: db}\nspec: {level: stateful, restart: stage}\n")
	n.start()
	if !vz.AwaitHang(t.Context()) {
		n.fail("no change hangs")
	}
	ended := false
	n.await("it ends", func() bool {
		_ = n.agent.Process.Signal(syscall.SIGINT) // it may have ended
		select {
		case err := <-n.ended:
			n.ended <- err
			ended = true
		default:
		}
		return ended
	})
	status := n.agent.ProcessState.Sys().(syscall.WaitStatus)
	n.agent = nil
	if !status.Signaled() || status.Signal() != syscall.SIGINT {
		n.fail("it ended with %v, want the signal: 130 in a shell", status)
	}
	heal()
	n.start()
	n.awaitCondition(nf.Reconciling, "Locked", `(vzctl|cat) \(process \d+\), which a run that has ended had started, holds`)
	n.endLockedPrograms()
	n.awaitReady(n.tip)
	if saved := vz.Saved("101"); saved != "stateful" {
		n.fail("the saved level is %s", saved)
	}
}
