package agent

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/state"
)

// TestGrants: a restart begins with a grant of this node, of the revision that the lap enforces, before its end, and no older
// than one that the node has had.
func TestGrants(t *testing.T) {
	good := nf.RestartGrant{Channel: "main", Node: "hn-1", Generation: 5, Until: time.Now().Add(time.Hour), Revision: "c1"}
	with := func(change func(*nf.RestartGrant)) nf.RestartGrant {
		g := good
		change(&g)
		return g
	}
	for name, c := range map[string]struct {
		first, then nf.RestartGrant // as the lap begins, and when it is about to restart
		err         error           // by then
		others      string          // why no restart may begin anyway
		why         string          // empty: it may
	}{
		"good":             {good, good, nil, "", ""},
		"renewed":          {good, with(func(g *nf.RestartGrant) { g.Generation = 6 }), nil, "", ""},
		"none":             {nf.RestartGrant{}, nf.RestartGrant{}, &FleetError{ReasonNoDocument, errors.New("none")}, "", "has not granted"},
		"ended":            {with(func(g *nf.RestartGrant) { g.Until = time.Now().Add(-time.Second) }), good, nil, "", "has not granted"},
		"ended by then":    {good, with(func(g *nf.RestartGrant) { g.Generation, g.Until = 6, time.Time{} }), nil, "", "has not granted"},
		"of another one":   {with(func(g *nf.RestartGrant) { g.Revision = "c2" }), with(func(g *nf.RestartGrant) { g.Revision = "c2" }), nil, "", "revision c2"},
		"of another node":  {good, with(func(g *nf.RestartGrant) { g.Node = "hn-2" }), nil, "", "hn-2"},
		"another channel":  {good, with(func(g *nf.RestartGrant) { g.Channel = "test" }), nil, "", "test"},
		"older":            {good, with(func(g *nf.RestartGrant) { g.Generation = 4 }), nil, "", "has had 5"},
		"away by then":     {good, good, &FleetError{ReasonUnreachable, errors.New("no answer")}, "", "no answer"},
		"forged by then":   {good, good, &FleetError{ReasonForged, errors.New("bad signature")}, "", "bad signature"},
		"outside a window": {good, good, nil, "outside the window", "outside the window"},
	} {
		t.Run(name, func(t *testing.T) {
			dir, err := state.Open(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			fleet := &recordingFleet{grant: c.first}
			if name == "none" {
				fleet.grantErr = c.err
			}
			f := NewFollower(Membership{Fleet: fleet, Channel: "main", CoordinatorKey: "U", Node: nf.NodeIdentity{Name: "hn-1"}}, nil)
			f.hearGrant(context.Background(), dir)
			fleet.grant, fleet.grantErr, f.enforcing = c.then, c.err, "c1"
			bounds := f.restarts(context.Background(), apply.Input{State: dir, Restarts: apply.Restarts{Max: 2, Held: func(time.Duration) string { return c.others }}})
			why := bounds.Held(0)
			if (why == "") != (c.why == "") || !strings.Contains(why, c.why) || bounds.Max != 2 {
				t.Errorf("it may not restart because %q, want %q", why, c.why)
			}
			if wants := f.Following().Wants; wants != (c.others == "") {
				t.Errorf("it wants a grant: %v", wants)
			}
		})
	}
}

// TestNoFleetNoRestart: a node that could not join has no grant.
func TestNoFleetNoRestart(t *testing.T) {
	f := NewFollower(Membership{Err: &FleetError{ReasonBadName, errors.New("no")}}, nil)
	if why := f.restarts(context.Background(), apply.Input{}).Held(0); why == "" {
		t.Error("it may restart containers")
	}
}

// TestGrantOfAnotherRevision: a node says that it acts on a grant only while it is of the revision in force. Else the coordinator would
// keep the place of a grant that allows nothing any more.
func TestGrantOfAnotherRevision(t *testing.T) {
	f := Following{Grant: &nf.RestartGrant{Generation: 5, Revision: "c1", Until: time.Now().Add(time.Hour)}}
	status := nf.NodeStatus{Pending: []nf.Pending{{MayRestart: true}}}
	for revision, want := range map[string]uint64{"c1": 5, "c2": 0} {
		status.Revision = &nf.InForce{Commit: revision}
		if n := FleetNode(Membership{}, status, f, 0); n.Grant != want || n.Restarts != 1 {
			t.Errorf("%s is in force: it acts on %d, want %d, and %d restarts wait", revision, n.Grant, want, n.Restarts)
		}
	}
}
