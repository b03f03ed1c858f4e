package main

import (
	"context"
	"os"
	"time"

	"nfsync.dev/nfsync/internal/fleet"
	"nfsync.dev/nfsync/internal/nf"
)

// hurryVariable makes agents wait less for their fleet.
const hurryVariable = "NFSYNC_TEST_HURRY"

// hurry makes this process wait less for its fleet, if its environment says so: a step of a roll-out is spread over a minute at least.
func hurry() {
	if os.Getenv(hurryVariable) == "" {
		return
	}
	joinFleet = func(cfg fleet.Config, wake func()) (member, error) {
		cfg.Intervals = fleet.Intervals{Reconnect: 100 * time.Millisecond, Jitter: 100 * time.Millisecond}
		m, err := fleet.Join(cfg, wake)
		return hurried{m}, err
	}
}

// hurried is a member of a fleet whose roll-outs are as quick as whole seconds allow.
type hurried struct{ *fleet.Member }

func (h hurried) Rollout(ctx context.Context) (nf.RolloutDocument, error) {
	d, err := h.Member.Rollout(ctx)
	d.Spread, d.FetchSpread, d.RescueSpread = min(d.Spread, 1), min(d.FetchSpread, 1), min(d.RescueSpread, 1)
	return d, err
}
