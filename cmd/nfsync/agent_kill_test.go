package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/state"
	"nfsync.dev/nfsync/internal/vz/vztest"
)

// TestAgentKilled kills the agent at random moments under a stream of commits, drift by another
// process, and containers that come and go. Each value is one that was committed, one of the other
// process, or the kernel's own; no state is lost; no container is restarted twice for one commit; the
// next agent goes on and ends with the last commit in force. NFSYNC_KILLS is the number of kills, and
// NFSYNC_SEED repeats a run.
func TestAgentKilled(t *testing.T) {
	t.Parallel()
	k := newKilled(t, environ(t, "NFSYNC_SEED", uint64(time.Now().UnixNano())))
	kills := environ(t, "NFSYNC_KILLS", 25)
	for range kills {
		k.start()
		for end := time.Now().Add(time.Duration(k.rand.IntN(700)) * time.Millisecond); time.Now().Before(end); {
			k.disturb()
			<-time.After(min(time.Until(end), time.Duration(k.rand.IntN(60))*time.Millisecond))
		}
		k.kill()
		k.checkValues()
		k.checkState()
		k.checkLocks()
	}
	k.start()
	if k.level == "stateful" {
		k.change(true)
	}
	k.change(true) // to the level that no container had at first
	k.awaitReady(k.tip)
	for name := range k.present {
		k.awaitUDP(name, k.last)
	}
	if s := k.status(); len(s.Refusals) > 0 || len(s.Stuck) > 0 || len(s.Changes) > 0 {
		k.fail("something is left to do")
	}
	for _, id := range vzIDs {
		if level := nf.MaskValue(k.vz.Mask(id)).String(); level != k.level {
			k.fail("container %s is %s, want %s", id, level, k.level)
		}
	}
	k.checkRestarts()
}

// environ returns a number of the environment.
func environ(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	number, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return number
}

// killed is a node whose agent is killed again and again.
type killed struct {
	*agentNode
	rand    *rand.Rand
	vz      *vztest.Node
	present map[string]bool
	seen    map[string]bool // values that a container may have
	drifted map[string]bool // and those that the other process has written
	last    int             // what the last commit wants
	level   string
	levels  int // how often that changed
	added   int
}

var vzIDs = []string{"101", "102"}

func newKilled(t *testing.T, seed uint64) *killed {
	t.Helper()
	t.Logf("NFSYNC_SEED=%d", seed)
	k := &killed{agentNode: newAgentNode(t), rand: rand.New(rand.NewPCG(seed, 0)), vz: vztest.New(t), present: map[string]bool{},
		seen: map[string]bool{"30": true}, drifted: map[string]bool{}, last: 200, level: "full"}
	for _, id := range vzIDs {
		k.vz.Add(vztest.Container{ID: id, Name: "db-" + id, Saved: "full", State: nf.StateRunning})
	}
	k.flags = []string{"--vz-root", k.vz.Root()}
	k.config = "restart: {maxRestarts: 10}\n"
	for range 4 {
		k.come()
	}
	k.change(false)
	return k
}

// disturb does one of the things that happen on a node.
func (k *killed) disturb() {
	k.Helper()
	switch n := k.rand.IntN(10); {
	case n < 3:
		k.change(k.rand.IntN(8) == 0)
	case n == 3 && len(k.present) < 8:
		k.come()
	case n == 4 && len(k.present) > 2:
		name := k.any()
		k.remove(name)
		delete(k.present, name)
	default:
		v := 5000 + k.rand.IntN(1000)
		k.drifted[fmt.Sprint(v)] = true
		k.setUDP(k.any(), v)
	}
}

func (k *killed) any() string {
	names := slices.Sorted(maps.Keys(k.present))
	return names[k.rand.IntN(len(names))]
}

func (k *killed) come() {
	k.Helper()
	k.added++
	name := fmt.Sprintf("web-%d", k.added)
	k.add(name)
	k.present[name] = true
}

// change commits other timeouts and, if level is set, another level.
func (k *killed) change(level bool) {
	k.Helper()
	if level {
		k.level = map[string]string{"full": "stateful", "stateful": "full"}[k.level]
		k.levels++
	}
	k.last++
	k.seen[fmt.Sprint(k.last)] = true
	const policy = `apiVersion: nfsync.dev/v1alpha1
kind: ContainerPolicy
metadata: {name: all}
spec: {conntrack: {timeouts: {udp: %d, icmp: %[1]d}}}
---
apiVersion: nfsync.dev/v1alpha1
kind: ContainerPolicy
metadata: {name: db}
spec: {containers: {names: ["db-*"]}, level: %s, restart: allow}
`
	k.commit(fmt.Sprintf(policy, k.last, k.level))
}

// checkValues checks that each value is one that was before some change or after it.
func (k *killed) checkValues() {
	k.Helper()
	for name := range k.present {
		if v := k.udp(name); !k.seen[v] && !k.drifted[v] {
			k.fail("%s has the udp timeout %s", name, v)
		}
		if v := k.timeout(name, icmpTimeout); !k.seen[v] {
			k.fail("%s has the icmp timeout %s", name, v)
		}
	}
}

// checkState reads all that must not be lost.
func (k *killed) checkState() {
	k.Helper()
	if _, err := os.Stat(k.path("state")); errors.Is(err, os.ErrNotExist) {
		return // it was killed before it had any
	}
	d, err := state.Look(k.path("state"))
	k.check(err)
	_, memory := d.Memory()
	_, _, journal := d.Unfinished()
	_, good := d.LastGood()
	_, positions := d.Positions()
	_, fights := d.Fights()
	_, suspension := d.Suspension()
	receipts, err := filepath.Glob(k.path("state/receipts/*.json"))
	k.check(err)
	for _, name := range append(receipts, k.path("state/failed")) {
		if text, err := os.ReadFile(name); err == nil && !json.Valid(text) || err != nil && !errors.Is(err, os.ErrNotExist) {
			k.fail("%s is damaged (%v)", name, err)
		}
	}
	if err := errors.Join(memory, journal, good, positions, fights, suspension); err != nil {
		k.fail("%v", err)
	}
}

// checkLocks checks that nobody holds a lock, but for a program of Virtuozzo that goes on for a while.
func (k *killed) checkLocks() {
	k.Helper()
	for _, name := range []string{"run/agent.lock", "run/lock", "state/lock"} {
		k.await(name+" is free", func() bool {
			f, err := os.Open(k.path(name))
			if errors.Is(err, os.ErrNotExist) {
				return true
			}
			k.check(err)
			defer f.Close()
			return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil
		})
	}
}

// checkRestarts checks that each change of the level was worth one restart of a container at most.
func (k *killed) checkRestarts() {
	k.Helper()
	for _, id := range vzIDs {
		restarts := 0
		for _, call := range k.vz.Calls() {
			if call[0] == "vzctl" && call[1] == "restart" && call[2] == id {
				restarts++
			}
		}
		k.Logf("container %s: %d restarts for %d changes of the level", id, restarts, k.levels)
		if restarts == 0 || restarts > k.levels {
			k.fail("it was restarted %d times", restarts)
		}
	}
}
