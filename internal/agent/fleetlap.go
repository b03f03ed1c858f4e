package agent

import (
	"cmp"
	"context"
	"errors"
	"time"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/rollout"
	"nfsync.dev/nfsync/internal/source"
	"nfsync.dev/nfsync/internal/spec"
	"nfsync.dev/nfsync/internal/state"
)

// fleetLap makes a lap that asks the fleet. Unless the fleet lets the node take another revision, the last good one
// stays in force.
func (in In) fleetLap(ctx context.Context, res Result, good Revision, last []state.Position) (Result, error) {
	f, dir := in.Fleet, in.Apply.State
	if dir == nil { // this user may not say that the node has begun
		return in.stay(ctx, res, good)
	}
	saved, err := dir.LastGood()
	if err != nil {
		return res, err
	}
	f.saved = saved.Revision
	turn, ok, err := f.hear(ctx, dir, good.Commit)
	if err != nil {
		return res, err
	}
	if !ok {
		return in.stay(ctx, res, good)
	}
	look, err := f.holds(ctx, dir, good.Commit)
	if err != nil {
		return res, err
	}
	if look || f.Following().Grant != nil && f.mayRestart {
		in.InForce = "" // the lap looks at the node
	}
	f.forgetOthers(turn)
	switch why := cmp.Or(in.Hold, turn.Reason); {
	case turn.Commit == good.Commit && good.Commit != "":
		return in.stay(ctx, res, good)
	case in.Suspended:
		return in.wait(ctx, res, good, "the agent is suspended")
	case in.Hold != "", turn.Commit == "" && turn.Meanwhile == "":
		return in.wait(ctx, res, good, why)
	}
	s := step{In: in, turn: turn, good: good, last: last}
	if turn.Commit != "" {
		if res, done, err := s.take(ctx, res); done || err != nil {
			return res, err
		}
	}
	if turn.Meanwhile != "" {
		if res, done, err := s.takeMeanwhile(ctx, res); done || err != nil {
			return res, err
		}
	}
	return in.wait(ctx, res, good, cmp.Or(s.why, whyWaits(turn)))
}

// step is a lap in which the fleet lets the node take another revision.
type step struct {
	In
	turn rollout.Turn
	good Revision
	last []state.Position
	why  string // the node waits
}

// take takes the revision of the roll-out if it changes nothing for the node, or if its turn has come. done reports
// whether the lap has ended with that.
func (s *step) take(ctx context.Context, res Result) (_ Result, done bool, err error) {
	f, turn := s.Fleet, s.turn
	at, within := time.Time{}, turn.Within
	if !turn.OnlyUnaffected {
		if at, err = f.beginsAt(ctx, s.Apply.State, turn); err != nil { // its time begins now, whatever the fetch takes
			return res, true, err
		}
		within = min(within, f.Following().Document.FetchSpread.Duration())
	}
	next, err := f.fetch(ctx, s.In, Bounds{UpTo: turn.Commit, After: f.after()}, within, s.last)
	if err != nil {
		return s.missed(ctx, res, turn.Commit, err)
	}
	isKnown := s.good.Commit == f.saved // else what is in force cannot be read any more
	switch {
	case isKnown && spec.AreAlike(s.good.Policies, next.Policies, f.member.Node):
		return s.begin(ctx, res, next, nf.ProgressUnaffected, func(t rollout.Turn) bool { return t.Commit == next.Commit })
	case turn.OnlyUnaffected:
		return res, false, nil
	case f.isLater(at):
		f.change(func(is *Following) { is.BeginsAt = at })
		s.why = "its turn has come, and the nodes of a step begin one after the other"
		return res, false, nil
	}
	return s.begin(ctx, res, next, nf.ProgressBegun, func(t rollout.Turn) bool { return t.Commit == next.Commit && !t.OnlyUnaffected })
}

// takeMeanwhile takes the revision that is for a node which has an older one, or none, until its turn comes. The branch has to
// show that it is older than the revision of the roll-out, and newer than what the node has had.
func (s *step) takeMeanwhile(ctx context.Context, res Result) (_ Result, done bool, err error) {
	doc := s.Fleet.Following().Document
	next, err := s.Fleet.fetch(ctx, s.In, Bounds{UpTo: s.turn.Meanwhile, Before: doc.Revision, After: s.Fleet.after()}, doc.FetchSpread.Duration(), s.last)
	switch {
	case errors.Is(err, errOlder):
		return res, false, nil
	case err != nil:
		return s.missed(ctx, res, s.turn.Meanwhile, err)
	}
	res, done, err = s.begin(ctx, res, next, nf.ProgressBegun, func(t rollout.Turn) bool { return t.Meanwhile == next.Commit })
	if done {
		s.Fleet.change(func(is *Following) { is.AskAt = time.Now() }) // the next lap looks at the roll-out's own
	}
	return res, done, err
}

// begin takes a revision if the fleet, asked once more, still lets the node. done is false if it does not.
func (s *step) begin(ctx context.Context, res Result, next Revision, as nf.ProgressState, mayBegin func(rollout.Turn) bool) (_ Result, done bool, err error) {
	waits := res
	res.Revision, s.Fleet.enforcing = next, next.Commit
	res, err = s.In.take(ctx, res, func() error {
		return s.Fleet.begin(ctx, s.Apply.State, next.Commit, s.good.Commit, as, mayBegin)
	})
	if not, ok := errors.AsType[*notBegunError](err); ok {
		s.Fleet.enforcing, s.why = s.good.Commit, not.why
		return waits, false, nil
	}
	return res, true, err
}

// missed says why a revision could not be fetched or may not be taken. One that the node has to wait for is no error
// of the lap.
func (s *step) missed(ctx context.Context, res Result, commit string, err error) (_ Result, done bool, _ error) {
	switch {
	case ctx.Err() != nil:
		return res, true, err
	case errors.Is(err, errNotYet):
		s.why = "it fetches the revision in its part of the time"
		return res, false, nil
	case errors.Is(err, errOlder):
		s.why = err.Error()
		return res, false, nil
	}
	progress := nf.ProgressFailed
	if isType[*source.FetchError](err) {
		progress = nf.ProgressWaiting
	}
	if commit == s.turn.Commit {
		if err := s.Fleet.setProgress(ctx, s.Apply.State, commit, progress, err.Error()); err != nil {
			return res, true, err
		}
	}
	res.Missed = err
	res, err = s.fallBack(ctx, res)
	return res, true, err
}

// wait leaves the last good revision in force, and says why the one of the roll-out is not taken.
func (in In) wait(ctx context.Context, res Result, good Revision, why string) (Result, error) {
	if good.Commit != in.Fleet.Following().Document.Revision {
		if err := in.Fleet.waits(ctx, in.Apply.State, why); err != nil {
			return res, err
		}
	}
	return in.stay(ctx, res, good)
}

// stay leaves the last good revision in force, as a lap without news does.
func (in In) stay(ctx context.Context, res Result, good Revision) (Result, error) {
	if in.InForce != "" && in.InForce == good.Commit {
		res.Revision, res.Unchanged = good, true
		return res, nil
	}
	if in.Apply.State != nil && in.Fleet.saved == "" { // it waits for its first one
		res.Unchanged = true
		return res, nil
	}
	return in.fallBack(ctx, res)
}
