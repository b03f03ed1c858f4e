package diff

import (
	"fmt"
	"slices"

	"nfsync.dev/nfsync/internal/nf"
	"pgregory.net/rapid"
)

// randomVirtuozzo makes a container of the vz runtime one in any state, with any
// saved and live level, of which nfsync may remember a restart.
func randomVirtuozzo(t *rapid.T, s *nf.Snapshot, c *nf.Container) {
	states := []string{nf.StateRunning, nf.StateRunning, nf.StateRunning, nf.StatePaused, nf.StateStopped, nf.StateMounted, nf.StateSuspended, "starting"}
	masks := append(nf.LevelNames(), nf.LevelNames()...)
	masks = append(masks, customTracking, customPlain, "unknown")
	c.State = rapid.SampledFrom(states).Draw(t, "state")
	now := levelValue(rapid.SampledFrom(masks).Draw(t, "live"))
	saved := levelValue(rapid.SampledFrom(masks).Draw(t, "saved"))
	level := nf.Fact{Key: nf.KeyLevel, Live: now, Boot: &saved}
	switch c.State {
	case nf.StateRunning, nf.StatePaused:
		setFact(&c.Namespace, nf.KeyLevel, func(f *nf.Fact) { *f = level })
		c.Tracking = &nf.Tracking{State: rapid.SampledFrom([]string{nf.TrackingOn, nf.TrackingOff, nf.TrackingUnknown}).Draw(t, "tracking")}
	case nf.StateSuspended:
		c.Instance, c.Namespace = nf.InstanceSuspended, nf.Namespace{Facts: []nf.Fact{level}}
	default:
		level.Live = nf.Absent()
		c.Instance, c.Namespace = nf.InstanceStopped, nf.Namespace{Facts: []nf.Fact{level}}
	}
	if rapid.IntRange(0, 4).Draw(t, "restarted") == 0 {
		s.Memory.Restarts = append(s.Memory.Restarts, nf.RestartDone{Target: c.Target(),
			Asked: nf.Exactly(levelValue(rapid.SampledFrom(nf.LevelNames()).Draw(t, "for"))), Instance: rapid.SampledFrom([]string{"boot-0/x", c.Instance}).Draw(t, "ended")})
	}
}

func randomRestarts(t *rapid.T) nf.Restarts {
	r := nf.Restarts{Max: rapid.IntRange(0, 3).Draw(t, "max restarts")}
	if rapid.IntRange(0, 5).Draw(t, "held") == 0 {
		r.Held = "outside the window"
	}
	return r
}

// takeLevel: only a saved level can be changed, of a container that is in no
// other hands, to one that has a name.
func (o oracle) takeLevel(ct *nf.Container, c nf.Change) error {
	_, named := c.To.Level()
	switch {
	case c.Layer == nf.LayerLive:
		return fmt.Errorf("the mask of %s is locked", ct.ID)
	case ct.State == "starting":
		return fmt.Errorf("%s is locked", ct.ID)
	case !o.Capabilities.Masks || !named:
		return fmt.Errorf("%s cannot be saved as %s", ct.ID, c.To)
	}
	if from := ct.Fact(nf.KeyLevel).Boot; from.IsUnknown() || *from != c.From {
		return fmt.Errorf("%s is saved as %s, not %s", ct.ID, from, c.From)
	}
	if _, named := c.From.Level(); named == c.OneWay {
		return fmt.Errorf("%s can be saved again, or is one-way: %v", c.From, c.OneWay)
	}
	boot(&ct.Namespace, nf.KeyLevel, c.To)
	return nil
}

// takeRestart: a cold start brings a new namespace with the saved level, or with
// another one of a stubborn container, and with the node's limit.
func (o oracle) takeRestart(ct *nf.Container, c nf.Change) error {
	saved := *ct.Fact(nf.KeyLevel).Boot
	was := nf.RestartDone{Target: c.Target, Asked: c.Asked, Instance: ct.Instance}
	switch {
	case ct.State != nf.StateRunning:
		return fmt.Errorf("%s is %s", ct.ID, ct.State)
	case !o.allow[c.Target]:
		return fmt.Errorf("nobody allows to restart %s", ct.ID)
	case saved != c.To:
		return fmt.Errorf("a restart of %s brings %s, not %s", ct.ID, saved, c.To)
	case slices.ContainsFunc(o.Memory.Restarts, func(d nf.RestartDone) bool {
		return d.Target == was.Target && d.Asked == was.Asked && d.Instance != was.Instance
	}):
		return fmt.Errorf("%s is restarted a second time", ct.ID)
	}
	o.Memory.Restarts = append(slices.Clone(o.Memory.Restarts), was)
	ct.Instance += "'"
	now := saved
	if o.stubborn[c.Target] {
		now = levelValue(customPlain)
	}
	facts := []nf.Fact{{Key: nf.KeyLevel, Live: now, Boot: &saved}}
	if max := o.Host.Fact(nf.KeyMax); !max.Live.IsAbsent() {
		facts = append(facts, nf.Fact{Key: nf.KeyMax, Live: max.Live}, nf.Fact{Key: nf.TimeoutKey("udp"), Live: nf.Number(30)})
	}
	ct.Namespace = nf.Namespace{Keepers: ct.Keepers, Facts: facts, Rules: &nf.Rules{}, Tracking: &nf.Tracking{State: nf.TrackingUnknown}, Count: nf.Number(0)}
	return nil
}

// checkLaps runs more laps until nothing is left to change: after the first only
// where that has lowered what containers have, which lets modules go, or has
// restarted some, which lose their values, or where it has loaded a module and its value,
// wanted in a range, was refused. Each restarts no more containers than
// it may, and none twice, which the oracle sees.
func checkLaps(t *rapid.T, w nf.Wants, first nf.Plan, o oracle) {
	p := first
	for lap := range 12 {
		if n := restartsOf(p); n > max(w.Restarts.Max, 1) || n > 0 && w.Restarts.Held != "" {
			t.Fatalf("lap %d makes %d restarts: %+v", lap, n, w.Restarts)
		}
		next := Plan(w, o.Snapshot)
		switch {
		case len(next.Changes) == 0:
			return
		case !slices.ContainsFunc(p.Changes, func(c nf.Change) bool { return c.Key == nf.KeyRestart || c.Key == nf.KeyLevel }) &&
			!slices.ContainsFunc(p.Refusals, func(r nf.Refusal) bool { return r.Asked.IsRange() && r.From.IsAbsent() }):
			t.Fatalf("lap %d is not empty: %v\nfirst: %v", lap+1, answers(next), answers(p))
		}
		for _, c := range next.Changes {
			if err := o.take(c); err != nil {
				t.Fatalf("lap %d: %v: %v", lap+1, answers(next), err)
			}
		}
		p = next
	}
	t.Fatalf("the laps do not end: %v", answers(p))
}

func restartsOf(p nf.Plan) (n int) {
	for _, c := range p.Changes {
		if c.Key == nf.KeyRestart {
			n++
		}
	}
	return n
}
