package rollout

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"nfsync.dev/nfsync/internal/nf"
)

// restarting returns a fleet whose roll-out is done and whose nodes all ask for restarts.
func restarting() *testFleet {
	f := newFleet(plan(func(p *nf.RolloutPlan) {
		edgeAndGPU(p)
		two, none := 2, 0
		p.Groups[0].Restarts, p.Groups[1].Restarts = &two, &none
	}), map[string]int{"": 5, "edge": 5, "gpu": 5})
	for f.doc.State != nf.RolloutDone {
		f.decide()
		f.all(nf.ProgressApplied)
		f.wait(10 * time.Minute)
	}
	for i := range f.nodes {
		f.nodes[i].Restarts = 1
	}
	return f
}

// TestGrants: who gets a grant, who keeps one, and whose ends.
func TestGrants(t *testing.T) {
	held := func(f *testFleet, node string) nf.RestartGrant {
		return nf.RestartGrant{Channel: "main", Node: node, Generation: 4, Until: f.now.Add(GrantFor), Revision: "r1"}
	}
	// The first ones by their position: 2 of edge, 1 of the others, none of gpu.
	given := []string{"hn-2 1", "hnedge-0 1", "hnedge-4 1"}
	for name, test := range map[string]struct {
		act  func(f *testFleet, grants map[string]nf.RestartGrant)
		want []string // node, generation, and "ended"
	}{
		"all ask": {func(*testFleet, map[string]nf.RestartGrant) {}, given},
		"one held one before": {func(f *testFleet, grants map[string]nf.RestartGrant) {
			grants["hn-2"] = nf.RestartGrant{Node: "hn-2", Generation: 8, Revision: "r1"}
		}, nil},
		"held": {func(f *testFleet, grants map[string]nf.RestartGrant) { grants["hn-1"] = held(f, "hn-1") }, []string{"hnedge-0 1", "hnedge-4 1"}},
		"it is done": {func(f *testFleet, grants map[string]nf.RestartGrant) {
			grants["hn-1"] = held(f, "hn-1")
			f.nodes[1].Restarts = 0
		}, append([]string{"hn-1 5 ended"}, given...)},
		"it has vanished": {func(f *testFleet, grants map[string]nf.RestartGrant) {
			grants["hn-1"] = held(f, "hn-1")
			f.wait(48 * time.Hour)
			f.nodes[1].Heard = t0
		}, []string{"hnedge-0 1", "hnedge-4 1"}},
		"it was not used": {func(f *testFleet, grants map[string]nf.RestartGrant) {
			grants["hn-1"] = held(f, "hn-1")
			f.wait(GrantFor + grantMargin + time.Second)
		}, append([]string{"hn-1 5 ended"}, given...)},
		"it is at work still": {func(f *testFleet, grants map[string]nf.RestartGrant) {
			grants["hn-1"] = held(f, "hn-1")
			f.nodes[1].Grant = 4
			f.wait(24 * time.Hour)
		}, []string{"hnedge-0 1", "hnedge-4 1"}},
		"of a revision before": {func(f *testFleet, grants map[string]nf.RestartGrant) {
			g := held(f, "hn-1")
			g.Revision = "r0"
			grants["hn-1"] = g
		}, append([]string{"hn-1 5 ended"}, given...)},
		"of a node that is not known": {func(f *testFleet, grants map[string]nf.RestartGrant) { grants["gone"] = held(f, "gone") }, []string{"hnedge-0 1"}},
		"halted": {func(f *testFleet, grants map[string]nf.RestartGrant) {
			grants["hn-1"], grants["hn-2"] = held(f, "hn-1"), held(f, "hn-2")
			f.nodes[1].Grant = 4
			f.doc.State = nf.RolloutHalted
		}, []string{"hn-2 5 ended"}},
		"another revision in force": {func(f *testFleet, grants map[string]nf.RestartGrant) {
			for i := range f.nodes {
				f.nodes[i].Revision = "r0"
			}
		}, []string{}},
		"failed": {func(f *testFleet, grants map[string]nf.RestartGrant) {
			for i := range f.nodes {
				f.nodes[i].Progress.State = nf.ProgressFailed
			}
		}, []string{}},
		"silent": {func(f *testFleet, grants map[string]nf.RestartGrant) { f.now = f.now.Add(time.Hour) }, []string{}},
	} {
		t.Run(name, func(t *testing.T) {
			f := restarting()
			grants := map[string]nf.RestartGrant{}
			test.act(f, grants)
			got := []string{}
			for _, g := range Grants(f.doc, f.nodes, grants, f.now) {
				text := fmt.Sprintf("%s %d", g.Node, g.Generation)
				if g.Until.IsZero() {
					text += " ended"
				} else if g.Until != f.now.Add(GrantFor) || g.Revision != "r1" || g.Channel != "main" {
					t.Errorf("%+v", g)
				}
				got = append(got, text)
			}
			if test.want == nil {
				// Others come first.
				if len(got) != 3 || slices.Contains(got, "hn-2 9") {
					t.Error(got)
				}
				return
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

// TestGrantSlots: whatever the nodes do, never more of a group may restart than the plan says, and all come to their turn.
func TestGrantSlots(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := restarting()
		grants := map[string]nf.RestartGrant{}
		for range 200 {
			for _, g := range Grants(f.doc, f.nodes, grants, f.now) {
				if g.Generation != grants[g.Node].Generation+1 {
					t.Fatalf("generation %d after %d", g.Generation, grants[g.Node].Generation)
				}
				grants[g.Node] = g
			}
			if again := Grants(f.doc, f.nodes, grants, f.now); len(again) > 0 {
				t.Fatalf("at the same time again: %+v", again)
			}
			atWork := map[string]int{}
			for i := range f.nodes {
				n := &f.nodes[i]
				g := grants[n.Node]
				if n.Grant != 0 || n.Restarts > 0 && g.Until.After(f.now) {
					n.Grant = g.Generation
					atWork[n.Labels["role"]]++
					if rapid.Bool().Draw(t, "ends") {
						n.Grant, n.Restarts = 0, 0
					}
				}
			}
			if atWork["edge"] > 2 || atWork[""] > 1 || atWork["gpu"] > 0 {
				t.Fatalf("at work: %v", atWork)
			}
			f.wait(time.Duration(rapid.IntRange(1, 3000).Draw(t, "seconds")) * time.Second)
		}
		for _, n := range f.nodes {
			if n.Restarts > 0 && n.Labels["role"] != "gpu" {
				t.Fatalf("%s never came to its turn: %v", n.Node, slices.Sorted(maps.Keys(grants)))
			}
		}
	})
}
