package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/state"
)

// restarts returns the bounds of restarts, which also need a grant of the fleet.
func (f *Follower) restarts(ctx context.Context, in apply.Input) apply.Restarts {
	bounds := in.Restarts
	others := bounds.Held
	bounds.Held = func(takes time.Duration) string {
		why := ""
		if others != nil {
			why = others(takes)
		}
		f.change(func(is *Following) { is.Wants = why == "" })
		if why != "" {
			return why // a grant would be of no use
		}
		return f.whyUngranted(ctx, in.State)
	}
	return bounds
}

// whyUngranted returns why no restart may begin now; empty if it may. A grant that was good is asked for again.
func (f *Follower) whyUngranted(ctx context.Context, dir *state.Dir) string {
	if f.Following().Grant == nil || dir == nil {
		return whyUngranted(nf.RestartGrant{}, f.enforcing, time.Now())
	}
	if why := f.askGrant(ctx, dir); why != "" {
		return why
	}
	grant := nf.RestartGrant{}
	if g := f.Following().Grant; g != nil {
		grant = *g
	}
	return whyUngranted(grant, f.enforcing, time.Now())
}

// whyUngranted returns why a grant allows no restart; empty if it does.
func whyUngranted(g nf.RestartGrant, revision string, now time.Time) string {
	switch {
	case g.Until.IsZero() || !now.Before(g.Until):
		return "the fleet has not granted this node a restart"
	case g.Revision != revision:
		return fmt.Sprintf("the fleet has granted this node restarts of revision %s, which is not in force", g.Revision)
	}
	return ""
}

// hearGrant asks for the restart grant if that may be of use: a restart waits for it, or has not been looked for.
func (f *Follower) hearGrant(ctx context.Context, dir *state.Dir) {
	is := f.Following()
	if f.hasAsked && !(is.Wants && f.mayRestart) && is.Grant == nil {
		return
	}
	f.hasAsked = true
	f.askGrant(ctx, dir)
}

// askGrant asks for the restart grant, and returns why there is none that can be trusted.
func (f *Follower) askGrant(ctx context.Context, dir *state.Dir) string {
	asking, cancel := context.WithTimeout(ctx, fleetTimeout)
	defer cancel()
	g, err := f.member.Fleet.Grant(asking)
	if err == nil && (g.Node != f.member.Node.Name || g.Channel != f.member.Channel) {
		err = &FleetError{ReasonForged, fmt.Errorf("the restart grant is of node %q of channel %q", g.Node, g.Channel)}
	}
	if err == nil {
		_, err = f.save(ctx, dir, func(is *state.Fleet) error { return asFleetError(is.AcceptGrant(g)) })
	}
	if e, ok := errors.AsType[*FleetError](err); ok && e.Reason == ReasonNoDocument {
		err = nil // nothing was granted yet
	}
	if err != nil {
		f.change(func(is *Following) { is.Grant = nil })
		return "the fleet's grant of a restart cannot be trusted or read: " + err.Error()
	}
	f.change(func(is *Following) {
		if is.Grant = nil; time.Now().Before(g.Until) {
			is.Grant = &g
		}
	})
	return ""
}
