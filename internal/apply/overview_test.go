package apply_test

import (
	"context"
	"errors"
	"testing"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/host/hosttest"
	"nfsync.dev/nfsync/internal/nf"
)

// TestOverview: a run shows what it has seen after its changes, and a plan what there is.
func TestOverview(t *testing.T) {
	b := newBench(t)
	web, db := b.addContainer("web", hosttest.Own), b.addContainer("db", hosttest.Own)
	b.addContainer("idle", hosttest.Own)
	b.wantNumber(nf.Node, udp, 41)
	b.wantNumber(web, nf.KeyMax, 5000)
	b.want(web, nf.KeyLevel, nf.LevelFull.Value())
	b.wantNumber(db, icmp, 20)

	var seen apply.Overview
	q := b.question(apply.MemoryOf(b.state))
	q.Seen = func(o apply.Overview) { seen = o }
	if _, err := apply.Plan(context.Background(), q); err != nil {
		t.Fatal(err)
	}
	if len(seen.Node) != 1 || seen.Node[0].Key != udp || seen.Node[0].State != nf.KeyDiffers || seen.Partial || seen.At.IsZero() || seen.Kernel == "" {
		t.Errorf("a plan: %+v", seen)
	}

	in := b.input()
	in.Seen = q.Seen
	if _, err := apply.Run(context.Background(), in); err != nil {
		t.Fatal(err)
	}
	if len(seen.Node) != 1 || seen.Node[0].State != nf.KeyInSync || seen.Node[0].Live != nf.Number(41) {
		t.Errorf("the node after a run: %+v", seen.Node)
	}
	if len(seen.Containers) != 3 {
		t.Fatalf("%+v", seen.Containers)
	}
	byName := map[string]apply.Seen{}
	for _, c := range seen.Containers {
		byName[c.Target.Name] = c
	}
	if c := byName["web"]; c.Limit.Live != nf.Number(5000) || c.Limit.Wanted != nf.Exactly(nf.Number(5000)) || !c.Level.IsWanted() || c.Level.Live != nf.LevelDisabled.Value() || c.Keys != 2 || c.State != nf.StateRunning {
		t.Errorf("web: %+v", c)
	}
	if c := byName["db"]; c.Keys != 1 || c.Level.IsWanted() || c.Limit.IsWanted() || !c.Level.Live.IsAbsent() {
		t.Errorf("db: its level was not asked for: %+v", c)
	}
	if c := byName["idle"]; c.Keys != 0 {
		t.Errorf("idle: %+v", c)
	}
}

// TestOverviewOfSome: a run for some containers shows these alone, and not the node. One that only plans,
// because this user may change nothing, shows what there is.
func TestOverviewOfSome(t *testing.T) {
	b := newBench(t)
	web := b.addContainer("web", hosttest.Own)
	b.addContainer("db", hosttest.Own)
	b.wantNumber(nf.Node, udp, 30) // in sync
	var seen apply.Overview
	in := b.input()
	in.Seen = func(o apply.Overview) { seen = o }
	in.State, in.NoState = nil, errors.New("EACCES")
	if _, err := apply.Run(context.Background(), in); err != nil || len(seen.Containers) != 2 || seen.Partial {
		t.Errorf("%v, %+v", err, seen)
	}
	in = b.input()
	in.Seen = func(o apply.Overview) { seen = o }
	in.Only = func(c *nf.Container) bool { return c.ID == web.ID }
	if _, err := apply.Run(context.Background(), in); err != nil {
		t.Fatal(err)
	}
	if !seen.Partial || len(seen.Containers) != 1 || seen.Containers[0].Target != web || seen.Node != nil {
		t.Errorf("%+v", seen)
	}
}
