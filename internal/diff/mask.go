package diff

import "nfsync.dev/nfsync/internal/nf"

// stateClass is what a container's state means for changing it.
type stateClass int

const (
	stateOther stateClass = iota // on its way somewhere: not this time
	stateRunning
	stateStopped
	stateSuspended
)

// classOf maps the states of prlctl(8) and vzlist(8): a mounted container is
// stopped, a paused one runs.
func classOf(state string) stateClass {
	switch state {
	case nf.StateRunning, "paused":
		return stateRunning
	case "stopped", "mounted":
		return stateStopped
	case "suspended":
		return stateSuspended
	}
	return stateOther
}

func (w *World) state(d *difference) stateClass {
	if c := w.places[d.want.Target].container; c != nil {
		return classOf(c.State)
	}
	return stateRunning
}

// considerMask compares the level of a container whose kernel keeps it in a
// mask that is written at a cold start only: the saved level, which the next
// start brings, and the live one.
func (p *planner) considerMask(want nf.Want) {
	f := p.world.fact(want.Target, nf.KeyLevel)
	c := p.world.places[want.Target].container
	saved := nf.Unknown("its configuration was not read")
	if f.Boot != nil {
		saved = *f.Boot
	}
	if c == nil || c.Unobservable != "" || classOf(c.State) == stateOther {
		if !f.Live.IsUnknown() {
			f.Live = nf.Unknown("the container is " + c.State)
		}
		p.differ(want, nf.LayerLive, f.Live, want.Wish.Value)
		return
	}
	if classOf(c.State) == stateStopped {
		p.considerSaved(want, saved, true)
		return
	}
	if f.Live == want.Wish.Value {
		p.considerSaved(want, saved, true)
		return
	}
	p.considerRestart(want, f.Live, saved)
}

// considerSaved brings the saved level to the want.
func (p *planner) considerSaved(want nf.Want, saved nf.Value, settles bool) {
	if saved != want.Wish.Value {
		p.differ(want, nf.LayerBoot, saved, want.Wish.Value)
	} else if settles {
		p.settle(want, saved)
	}
}

// considerRestart decides about a live level that only a cold start changes.
func (p *planner) considerRestart(want nf.Want, live, saved nf.Value) {
	suspended := classOf(p.world.places[want.Target].container.State) == stateSuspended
	staged := want.Restart == nf.RestartStage || want.Restart == nf.RestartAllow
	if suspended || !staged || live.IsUnknown() {
		p.differ(want, nf.LayerLive, live, want.Wish.Value)
	}
	if !staged || live.IsUnknown() {
		return
	}
	p.considerSaved(want, saved, false)
	if suspended {
		return
	}
	p.pend(want, live, nf.UntilContainerRestart, "a cold start of the container brings the saved level live")
}
