package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"nfsync.dev/nfsync/internal/fleet"
	"nfsync.dev/nfsync/internal/fleet/fleettest"
	"nfsync.dev/nfsync/internal/nf"
)

// eventually waits until something holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for !holds() {
		select {
		case <-look.C:
		case <-deadline.C:
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// join joins a fleet, and waits for the connection.
func join(t *testing.T, cfg fleet.Config, wake func()) *fleet.Member {
	t.Helper()
	m, err := fleet.Join(cfg, wake)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	eventually(t, "connected", func() bool { return m.Link().Connected })
	return m
}

func isUnreachable(err error) bool {
	_, ok := errors.AsType[*fleet.UnreachableError](err)
	return ok
}

func isRefused(err error) bool {
	_, ok := errors.AsType[*fleet.RefusedError](err)
	return ok
}

func isForged(err error) bool {
	_, ok := errors.AsType[*fleet.ForgedError](err)
	return ok
}

// TestDocuments: what a node makes of what the store has.
func TestDocuments(t *testing.T) {
	t.Parallel()
	s := fleettest.Start(t)
	m := join(t, s.Config("hn-1"), func() {})
	ctx := within(t)
	if _, err := m.Rollout(ctx); !errors.Is(err, fleet.ErrNone) {
		t.Errorf("an empty store: %v", err)
	}
	if _, err := m.Grant(ctx); !errors.Is(err, fleet.ErrNone) {
		t.Errorf("no grant: %v", err)
	}
	s.PutRollout(nf.RolloutDocument{Channel: "other", Generation: 1})
	if _, err := m.Rollout(ctx); !errors.Is(err, fleet.ErrNone) {
		t.Errorf("a document of another channel only: %v", err)
	}
	s.PutRollout(nf.RolloutDocument{Channel: "main", Generation: 7, Revision: "abc", State: nf.RolloutRolling})
	if d, err := m.Rollout(ctx); err != nil || d.Generation != 7 || d.Revision != "abc" || d.State != nf.RolloutRolling {
		t.Errorf("%+v, %v", d, err)
	} else if proven, err := fleet.Proven(d.Proof, "main", s.CoordinatorKey()); err != nil || proven != 7 {
		t.Errorf("it proves generation %d, %v", proven, err)
	}
	until := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	s.PutGrant(nf.RestartGrant{Channel: "main", Node: "hn-1", Generation: 2, Until: until, Revision: "abc"})
	if g, err := m.Grant(ctx); err != nil || g.Generation != 2 || !g.Until.Equal(until) {
		t.Errorf("%+v, %v", g, err)
	}

	stranger, _ := newKey(t)
	seal := func(what, channel string, document any, key nkeys.KeyPair) []byte {
		t.Helper()
		sealed, err := fleet.Seal(what, channel, document, key)
		if err != nil {
			t.Fatal(err)
		}
		return sealed
	}
	document := nf.RolloutDocument{APIVersion: nf.APIVersion, Kind: nf.KindRolloutDocument, Channel: "main", Generation: 8}
	foreign, unkind := document, document
	foreign.Channel, unkind.Kind = "other", "Policy"
	good := seal(fleet.SealRollout, "main", document, s.Key())
	for name, value := range map[string][]byte{
		"signed by a stranger":                    seal(fleet.SealRollout, "main", document, stranger),
		"signed for another channel":              seal(fleet.SealRollout, "other", document, s.Key()),
		"of another channel, signed for this one": seal(fleet.SealRollout, "main", foreign, s.Key()),
		"of another kind":                         seal(fleet.SealRollout, "main", unkind, s.Key()),
		"unsigned":                                []byte(`{"kind":"RolloutDocument","channel":"main","generation":9}`),
		"truncated":                               good[:len(good)/2],
		"empty":                                   nil,
	} {
		s.Put(fleet.SubjectRollout+"main", value)
		if d, err := m.Rollout(ctx); !isForged(err) || d.Generation != 0 {
			t.Errorf("%s: %+v, %v", name, d, err)
		}
	}
	for name, value := range map[string][]byte{
		"the grant of another node":                seal(fleet.SealGrant, fleet.GrantChannel("main", "hn-2"), nf.RestartGrant{Channel: "main", Node: "hn-2"}, s.Key()),
		"of another node, signed for this one":     seal(fleet.SealGrant, fleet.GrantChannel("main", "hn-1"), nf.RestartGrant{Channel: "main", Node: "hn-2"}, s.Key()),
		"of another channel, signed for this node": seal(fleet.SealGrant, fleet.GrantChannel("main", "hn-1"), nf.RestartGrant{Channel: "other", Node: "hn-1"}, s.Key()),
	} {
		s.Put(fleet.SubjectGrant+"hn-1", value)
		if g, err := m.Grant(ctx); !isForged(err) || g.Node != "" {
			t.Errorf("%s: %+v, %v", name, g, err)
		}
	}
}

// TestPut: the store has what was put, and the reasons of what was not.
func TestPut(t *testing.T) {
	t.Parallel()
	s := fleettest.Start(t)
	m := join(t, s.Config("hn-1"), func() {})
	ctx := within(t)
	first, err := m.PutNode(ctx, nf.FleetNode{Node: "hn-1", Revision: "a"})
	if err != nil {
		t.Fatal(err)
	}
	second, err := m.PutNode(ctx, nf.FleetNode{Node: "hn-1", Revision: "b"})
	if n, ok := s.Node("hn-1"); err != nil || second <= first || !ok || n.Revision != "b" {
		t.Errorf("%d after %d, %v: %+v", second, first, err, n)
	}
	if _, err := m.PutNode(ctx, nf.FleetNode{Node: "hn-2"}); !isRefused(err) {
		t.Errorf("of another node: %v", err)
	}
	if _, err := m.PutNode(ctx, nf.FleetNode{Node: "hn-1", Message: strings.Repeat("x", fleet.MaxStatus)}); !isRefused(err) || !strings.Contains(err.Error(), "the most are") {
		t.Errorf("too large: %v", err)
	}
	if _, err := m.PutSnapshot(ctx, slices.Repeat([]byte("the same "), 1<<17)); err != nil {
		t.Errorf("1 MB that compresses well: %v", err)
	}
	if _, err := m.PutSnapshot(ctx, random(2<<20)); !isRefused(err) || !strings.Contains(err.Error(), "the most are") {
		t.Errorf("2 MB that do not: %v", err)
	}
	if _, err := m.PutSnapshot(ctx, make([]byte, 17<<20)); !isRefused(err) {
		t.Errorf("more than is read: %v", err)
	}
}

// TestFullStore: a stream that takes no new key says so, and still takes values of those it has.
func TestFullStore(t *testing.T) {
	t.Parallel()
	s := fleettest.Start(t)
	ctx := within(t)
	old := join(t, s.Config("old"), func() {})
	if _, err := old.PutNode(ctx, nf.FleetNode{Node: "old"}); err != nil {
		t.Fatal(err)
	}
	s.Limit(fleet.StreamStatus, 300)
	young := join(t, s.Config("young"), func() {})
	if _, err := young.PutNode(ctx, nf.FleetNode{Node: "young"}); !isRefused(err) || !strings.Contains(err.Error(), "maximum bytes") {
		t.Errorf("a new key: %v", err)
	}
	if _, err := old.PutNode(ctx, nf.FleetNode{Node: "old"}); err != nil {
		t.Errorf("a new value: %v", err)
	}
}

// TestNoStore: a server without the streams is no store.
func TestNoStore(t *testing.T) {
	t.Parallel()
	m := join(t, configOf(startServer(t, nil), "hn-1"), func() {})
	ctx := within(t)
	if _, err := m.Rollout(ctx); !isUnreachable(err) || errors.Is(err, fleet.ErrNone) {
		t.Errorf("a document: %v", err)
	}
	if _, err := m.PutNode(ctx, nf.FleetNode{Node: "hn-1"}); !isUnreachable(err) {
		t.Errorf("a put: %v", err)
	}
}

// TestWake: a node is woken by its channel's document and by its own grant, with one call for many.
func TestWake(t *testing.T) {
	t.Parallel()
	s := fleettest.Start(t)
	var woken atomic.Int64
	cfg := s.Config("hn-1")
	cfg.Intervals.Wake = time.Millisecond
	join(t, cfg, func() { woken.Add(1) })
	eventually(t, "woken by the connection", func() bool { return woken.Load() > 0 })
	for name, put := range map[string]func(){
		"document": func() { s.PutRollout(nf.RolloutDocument{Channel: "main"}) },
		"grant":    func() { s.PutGrant(nf.RestartGrant{Channel: "main", Node: "hn-1"}) },
	} {
		before := woken.Load()
		put()
		eventually(t, "woken by a "+name, func() bool { return woken.Load() > before })
	}
}

// TestSubscriptions: a node hears of its channel and of its own grant, and of nothing else.
func TestSubscriptions(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	join(t, configOf(s, "hn-1"), func() {})
	eventually(t, "subscribed", func() bool {
		z, err := s.Connz(&server.ConnzOptions{Subscriptions: true})
		if err != nil || len(z.Conns) != 1 {
			return false
		}
		have := z.Conns[0].Subs
		slices.Sort(have)
		return slices.Equal(have, []string{fleet.SubjectWakeGrant + "hn-1", fleet.SubjectWakeRollout + "main"})
	})
}

// TestWakeFlood: whoever floods the wake-ups of a node does not make it work more.
func TestWakeFlood(t *testing.T) {
	t.Parallel()
	s := fleettest.Start(t)
	var woken atomic.Int64
	cfg := s.Config("hn-1")
	cfg.Intervals.Wake = time.Hour
	m := join(t, cfg, func() { woken.Add(1) })
	eventually(t, "woken by the connection", func() bool { return woken.Load() == 1 })
	nc := s.Connect()
	for range 50_000 {
		if err := nc.Publish(fleet.SubjectWakeRollout+"main", []byte(`{"state":"done"}`)); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	// What was sent before this put has reached the node before its answer does.
	if _, err := m.PutNode(within(t), nf.FleetNode{Node: "hn-1"}); err != nil {
		t.Fatal(err)
	}
	if n := woken.Load(); n != 1 {
		t.Errorf("woken %d times within an hour", n)
	}
	if link := m.Link(); !link.Connected || link.Err != nil {
		t.Errorf("%+v", link)
	}
}

// TestMembersAtOnce: the methods of a member may be called at the same time.
func TestMembersAtOnce(t *testing.T) {
	t.Parallel()
	s := fleettest.Start(t)
	s.PutRollout(nf.RolloutDocument{Channel: "main", Generation: 1})
	m := join(t, s.Config("hn-1"), func() {})
	ctx := within(t)
	errs := make(chan error)
	for i := range 8 {
		go func() {
			_, err := m.Rollout(ctx)
			if err == nil {
				_, err = m.PutNode(ctx, nf.FleetNode{Node: "hn-1", Revision: fmt.Sprint(i)})
			}
			if err == nil {
				_, err = m.PutSnapshot(ctx, []byte("{}"))
			}
			_ = m.Link()
			errs <- err
		}()
	}
	for range 8 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

// TestDeadline: a request ends with its context.
func TestDeadline(t *testing.T) {
	t.Parallel()
	s := fleettest.Start(t)
	m := join(t, s.Config("hn-1"), func() {})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := m.PutNode(ctx, nf.FleetNode{Node: "hn-1"}); !isUnreachable(err) || !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
