package diff

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"nfsync.dev/nfsync/internal/nf"
)

// unseen says why nothing in a container can be read or changed now; empty if it
// can. c is nil for the node.
func unseen(c *nf.Container) string {
	switch {
	case c == nil:
		return ""
	case c.Unobservable != "":
		return c.Unobservable
	case !nf.Runs(c.State) && !nf.Rests(c.State):
		return "the container is " + c.State
	}
	return ""
}

// asleep reports whether a container has no network namespace: it has no rules, no
// entries and no limit in the kernel until it starts or is resumed.
func asleep(c *nf.Container) bool { return c != nil && nf.Rests(c.State) }

// isSuspended reports whether a container has a dump, from which it is resumed with
// the rules and the level that it had.
func isSuspended(c *nf.Container) bool { return c != nil && c.State == nf.StateSuspended }

// isStopped reports whether a container has neither a namespace nor a dump.
func isStopped(c *nf.Container) bool { return asleep(c) && !isSuspended(c) }

// considerMask compares the levels of a container whose mask is written at a cold
// start only: the saved level, which the next cold start brings, and the live one.
// The live level of a suspended container is that of its dump.
func (p *planner) considerMask(want *nf.Want) {
	w := p.world
	c := w.at(want.Target).container
	f := w.fact(want.Target, nf.KeyLevel)
	saved := nf.Unknown("its configuration was not read")
	if f.Boot != nil {
		saved = *f.Boot
	}
	switch {
	case unseen(c) != "":
		p.differ(want, nf.LayerLive, f.Live, want.Wish.Value)
	case !w.masked(want.Target):
		p.differ(want, nf.LayerLive, w.unmasked(want.Target, f.Live), want.Wish.Value)
	case isStopped(c) || f.Live == want.Wish.Value:
		if saved == want.Wish.Value {
			p.settle(want, saved)
			return
		}
		p.differ(want, nf.LayerBoot, saved, want.Wish.Value)
	default:
		p.considerRestart(want, f.Live, saved)
	}
}

// unmasked returns the level of a container that no mask keeps: none, or unknown
// if a mask may keep it and no container runs that would show one.
func (w *World) unmasked(t nf.Target, live nf.Value) nf.Value {
	switch {
	case w.at(t).keepers().Level == nf.KeeperUnknown:
		return nf.Unknown("cannot determine whether this kernel keeps levels while no container runs")
	case live.IsUnknown():
		return nf.Absent()
	}
	return live
}

// considerRestart decides about a live level that only a cold start changes. By the
// policy it is refused, saved for the next start, or brought by a restart that nfsync
// makes. A level that cannot be saved cannot be brought by any start.
func (p *planner) considerRestart(want *nf.Want, live, saved nf.Value) {
	staged := want.Restart == nf.RestartStage || want.Restart == nf.RestartAllow
	d := &difference{want: want, layer: nf.LayerLive, from: live, to: want.Wish.Value}
	if want.Restart == nf.RestartAllow {
		d.restarted = p.world.restarted(want.Target, want.Wish)
	}
	savable := staged && p.save(want, saved)
	if !savable || live.IsUnknown() || isSuspended(p.world.at(want.Target).container) {
		p.todo = append(p.todo, d)
		return
	}
	if want.Restart == nf.RestartStage {
		p.pend(want, live, nf.UntilContainerRestart, p.world.staged(want, live, saved))
		return
	}
	if d.restarted != nil || notPermitted(p.world, d) != nil || targetStuck(p.world, d) != nil {
		p.todo = append(p.todo, d)
		return
	}
	p.restartable = append(p.restartable, d)
}

// planRestarts plans as many restarts as one run may make. The containers take turns: one
// whose restart, or the saving of whose level, failed when it was last tried comes after
// those that were not tried since.
func (p *planner) planRestarts() {
	slices.SortStableFunc(p.restartable, func(a, b *difference) int {
		return cmp.Or(p.world.triedAt(a.want.Target).Compare(p.world.triedAt(b.want.Target)), a.want.Target.Compare(b.want.Target))
	})
	planned := 0
	for _, d := range p.restartable {
		want := *d.want
		if why := p.noRestart(want.Target, planned); why != "" {
			p.pend(&want, d.from, nf.UntilContainerRestart, why)
			p.plan.Pending[len(p.plan.Pending)-1].MayRestart = p.world.at(want.Target).container.State == nf.StateRunning
			continue
		}
		planned++
		want.Key = nf.KeyRestart
		p.differ(&want, nf.LayerLive, d.from, want.Wish.Value)
	}
}

// triedAt returns when a restart of a container, or the saving of the level for it, was last
// tried in vain; the zero time if memory has no failure.
func (w *World) triedAt(t nf.Target) time.Time {
	restart := w.failures[failureRef{memoryRef(t, nf.KeyRestart), nf.LayerLive}].At
	if save := w.failures[failureRef{memoryRef(t, nf.KeyLevel), nf.LayerBoot}].At; save.After(restart) {
		return save
	}
	return restart
}

// save plans to save the wanted level if it is not saved yet, and reports whether
// it will be saved.
func (p *planner) save(want *nf.Want, saved nf.Value) bool {
	if saved == want.Wish.Value {
		return true
	}
	d := &difference{want: want, layer: nf.LayerBoot, from: saved, to: want.Wish.Value}
	p.todo = append(p.todo, d)
	return p.world.judge(d) == nil
}

// staged says what a saved level waits for. One that nfsync saved for an earlier
// instance should be live by now. It is not if the container was resumed, which
// brings the mask of its dump, or if libvzctl could not write the mask at its start,
// which it does not report.
func (w *World) staged(want *nf.Want, live, saved nf.Value) string {
	m, known := w.at(want.Target).remembered(nf.KeyLevel)
	if known && m.Set && saved == want.Wish.Value && m.Asked == want.Wish && m.Instance != w.instance(want.Target) {
		return fmt.Sprintf("the level was saved before the container last came up, and that did not bring it live: it is %s. "+
			"It was resumed from a dump, or its cold start has not set the saved level; another cold start may", live)
	}
	return "a cold start of the container brings the saved level live"
}

// noRestart says why a container that may be restarted is not restarted in this run, in
// which others are already; empty if it is.
func (p *planner) noRestart(t nf.Target, others int) string {
	most := max(p.bounds.Max, 1)
	down := LeftDown(p.world.snap, p.world.snap.Memory.Stuck)
	switch state := p.world.at(t).container.State; {
	case state != nf.StateRunning:
		return fmt.Sprintf("it is live after a cold start, and the container is %s: nfsync restarts only a running container", state)
	case down != "":
		return heldReason(down)
	case p.bounds.Held != "":
		return heldReason(p.bounds.Held)
	case others >= most:
		return fmt.Sprintf("it is live after a cold start, and others are restarted first: one run restarts at most %s", count(most, "container"))
	}
	return ""
}

// LeftDown says of which container a restart has left it down, so that no other is
// restarted: what has kept it down may do the same to the next. It is empty if there is none.
func LeftDown(s *nf.Snapshot, stuck []nf.StuckChange) string {
	for i := range stuck {
		if c := &stuck[i]; c.Key == nf.KeyRestart && c.Holds(s) {
			return fmt.Sprintf("%s was not seen to run since run %s began to restart it; see nfsync recover", c.Target, c.Run)
		}
	}
	return ""
}

// heldReason is the reason of a level that waits until containers may be restarted.
func heldReason(why string) string {
	return "it is live after a cold start, and no container may be restarted now: " + why
}

// HeldRestart returns the pending entry for a planned restart that may not begin any
// more.
func HeldRestart(c nf.Change, why string) nf.Pending {
	return nf.Pending{Target: c.Target, Key: nf.KeyLevel, From: c.From, To: c.To, Until: nf.UntilContainerRestart, Reason: heldReason(why), Source: c.Source, MayRestart: true}
}

// restarted returns the restart that nfsync has made or begun for this wish; nil if there
// is none. One of the instance that still runs was never made.
func (w *World) restarted(t nf.Target, asked nf.Wish) *nf.RestartDone {
	c := w.at(t).container
	for _, done := range w.restarts[t.Nameless()] {
		if c != nil && done.IsOf(c) && done.Asked == asked && done.Instance != c.Instance {
			return &done
		}
	}
	return nil
}

// mayNotRestart forbids a restart unless the container runs, the saved level is the
// wanted one, and no restart was made for this want.
func (w *World) mayNotRestart(d *difference) *verdict {
	c := w.at(d.want.Target).container
	saved := w.fact(d.want.Target, nf.KeyRestart).Boot
	switch {
	case c == nil || c.State != nf.StateRunning:
		return no("only a container that is running is restarted")
	case saved == nil || *saved != d.to:
		return no("a restart would not bring the level %s, which is not the saved one", d.to)
	}
	if done := w.restarted(d.want.Target, d.want.Wish); done != nil {
		return w.restartedOnce(*done, d.from)
	}
	return nil
}

// restartedOnce is the verdict on a second restart for one want: set_features of
// libvzctl ignores that the mask could not be written, so that the next start may
// end the same. It says no more of the first one than was seen.
func (w *World) restartedOnce(done nf.RestartDone, live nf.Value) *verdict {
	const never = "it is not restarted again until the want changes"
	byHand := "the wanted level is saved: restart the container by hand if it is to have it, or want another level for it"
	switch {
	case done.State == nf.RestartBegun:
		return no("nfsync had begun to restart the container for this want, and did not see it run again; it is another instance now, and its level is %s: %s", live, never).
			withRemedy("%s", byHand)
	case done.State == nf.RestartMade && done.Level == done.Asked.Value:
		return no("nfsync has restarted the container once for this want, which brought the level %s live; it was restarted or resumed since, which was not nfsync, and its level is %s: %s", done.Level, live, never).
			withRemedy("find out what has set the level back; %s", byHand)
	case done.State == nf.RestartMade && done.Became != w.instance(done.Target):
		return no("nfsync has restarted the container once for this want, after which its level was %s; it was restarted or resumed since, which was not nfsync, and its level is %s: %s", done.Level, live, never).
			withRemedy("look in the logs of vzctl and the kernel why no start has set the saved level; %s", byHand)
	}
	return no("nfsync has restarted the container once for this want, and its level is %s: %s", live, never).
		withRemedy("look in the logs of vzctl and the kernel why the start did not set the saved level, and restart the container by hand; or want another level for it")
}

// NotBrought returns the refusal for a restart that was made just now and did not bring
// its level.
func (w *World) NotBrought(c nf.Change) nf.Refusal {
	live := w.Value(c)
	code, v := nf.RestartRequired, w.restartedOnce(nf.RestartDone{Target: c.Target, Asked: c.Asked}, live)
	if live.IsUnknown() {
		code, v = nf.Unobservable, no("nfsync has restarted the container, and its level cannot be read now: %s", live.Why())
	}
	want := nf.Want{Target: c.Target, Key: nf.KeyLevel, Source: c.Source}
	d := &difference{want: &want, layer: nf.LayerLive, from: live, to: c.To}
	return d.refusal(ruleOf(code).complete(v))
}
