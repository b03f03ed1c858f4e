package fleet_test

import (
	"runtime"
	"strings"
	"testing"

	"nfsync.dev/nfsync/internal/fleet"
	"nfsync.dev/nfsync/internal/fleet/fleettest"
	"nfsync.dev/nfsync/internal/nf"
)

// TestNothingIsLeft: whoever is closed leaves no goroutine behind, in whatever state the connection is. No other test runs
// meanwhile.
func TestNothingIsLeft(t *testing.T) {
	s := fleettest.Start(t)
	p, cfg := through(t, s)
	for range 3 {
		m := join(t, cfg, func() {})
		if _, err := m.PutNode(within(t), nf.FleetNode{Node: "hn-1"}); err != nil {
			t.Fatal(err)
		}
		m.Close()
		r := openReader(t, cfg)
		changed := r.Changed(t.Context())
		if _, _, err := r.Nodes(within(t)); err != nil {
			t.Fatal(err)
		}
		r.Close()
		for range changed { // it is closed
		}
	}
	lost := join(t, cfg, func() {})
	p.Cut()
	eventually(t, "not connected", func() bool { return !lost.Link().Connected })
	never, err := fleet.Join(cfg, func() {})
	if err != nil {
		t.Fatal(err)
	}
	lost.Close()
	never.Close()
	eventually(t, "no goroutine of a client is left", func() bool {
		stacks := make([]byte, 4<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		for stack := range strings.SplitSeq(string(stacks), "\n\n") {
			if strings.Contains(stack, "internal/fleet.(") || strings.Contains(stack, "nats-io/nats%2ego.") {
				return false
			}
		}
		return true
	})
}
