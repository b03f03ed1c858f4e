package agent

import (
	"cmp"
	"context"
	"errors"
	"time"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/rollout"
	"nfsync.dev/nfsync/internal/source"
	"nfsync.dev/nfsync/internal/state"
)

// fleetLap makes a lap that asks the fleet. Unless the fleet lets the node take another revision, the last good one
// stays in force.
func (in In) fleetLap(ctx context.Context, res Result, good Revision, last []state.Position) (Result, error) {
	f, dir := in.Fleet, in.Apply.State
	if dir == nil { // this user may not say that the node has begun
		return in.stay(ctx, res, good)
	}
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
	if look {
		in.InForce = ""
	}
	if turn.Commit == "" || turn.Commit == good.Commit {
		return in.wait(ctx, res, good, turn.Reason)
	}
	if in.Suspended || in.Hold != "" {
		return in.wait(ctx, res, good, cmp.Or(in.Hold, "the agent is suspended"))
	}
	at := f.beginsAt(turn) // its time begins now, whatever the fetch takes
	next, err := f.fetch(ctx, in, turn, last)
	if err != nil {
		return in.missed(ctx, res, good, turn, err)
	}
	alike, err := apply.WantTheSame(ctx, in.Apply.Machine, wishes(good), wishes(next))
	switch {
	case err != nil:
		return res, err
	case alike:
		return in.takeUnaffected(ctx, res, next)
	case turn.OnlyUnaffected:
		return in.wait(ctx, res, good, whyWaits(turn))
	case f.isLater(at):
		f.change(func(is *Following) { is.BeginsAt = at })
		return in.wait(ctx, res, good, "its turn has come, and the nodes of a step begin one after the other")
	}
	return in.takeTurn(ctx, res, good, next)
}

func wishes(r Revision) apply.Wishes {
	return apply.Wishes{Wants: r.Policies.Resolve, Labels: r.Policies.UseLabels}
}

// takeUnaffected takes a revision that changes nothing for the node.
func (in In) takeUnaffected(ctx context.Context, res Result, next Revision) (Result, error) {
	res.Revision, in.Fleet.enforcing = next, next.Commit
	return in.take(ctx, res, func() error {
		return in.Fleet.setProgress(ctx, in.Apply.State, next.Commit, nf.ProgressUnaffected, "")
	})
}

// takeTurn takes the revision for which the turn of the node has come.
func (in In) takeTurn(ctx context.Context, res Result, good, next Revision) (Result, error) {
	f := in.Fleet
	begun := res
	begun.Revision, f.enforcing = next, next.Commit
	begun, err := in.take(ctx, begun, func() error { return f.begin(ctx, in.Apply.State, next.Commit, good.Commit) })
	not, ok := errors.AsType[*notBegunError](err)
	if !ok {
		if next.Commit != f.Following().Document.Revision {
			f.change(func(is *Following) { is.AskAt = time.Now() }) // that one may be for this node too
		}
		return begun, err
	}
	f.enforcing = good.Commit
	return in.wait(ctx, res, good, not.why)
}

// missed leaves the last good revision in force, because the one of the roll-out could not be fetched or may not be
// taken.
func (in In) missed(ctx context.Context, res Result, good Revision, turn rollout.Turn, err error) (Result, error) {
	rewritten, _ := errors.AsType[*source.RewrittenError](err)
	switch {
	case ctx.Err() != nil:
		return res, err
	case errors.Is(err, errNotYet):
		return in.wait(ctx, res, good, "it fetches the revision in its part of the time")
	case rewritten != nil && rewritten.Behind:
		return in.wait(ctx, res, good, "the revision in force is newer: "+err.Error())
	}
	progress := nf.ProgressFailed
	if isType[*source.FetchError](err) {
		progress = nf.ProgressWaiting
	}
	if err := in.Fleet.setProgress(ctx, in.Apply.State, turn.Commit, progress, err.Error()); err != nil {
		return res, err
	}
	res.Missed = err
	return in.fallBack(ctx, res)
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
	return in.fallBack(ctx, res)
}
