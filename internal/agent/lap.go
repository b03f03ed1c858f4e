package agent

import (
	"context"
	"errors"
	"io/fs"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/state"
)

// In is the input of Lap.
type In struct {
	Fetch Fetcher
	// Accept is a commit that is applied even if its branch was rewritten.
	Accept string
	// Observe makes the lap plan only. It changes nothing on the machine, and no
	// position.
	Observe bool
	// Apply is the input of the run. Its State is nil if this user may not open
	// it. Lap sets its Wants, Revision, PlanID and Locked. Its Restarts also bound
	// a lap that plans only.
	Apply apply.Input
}

// Result is the result of a lap.
type Result struct {
	// Missed says why the new revision is not in force: it could not be fetched,
	// verified, followed or parsed.
	Missed error
	// Revision is the revision in force: the new one or, if Missed is set, the
	// last good one. Its Commit is empty if there is none.
	Revision Revision
	// Receipt is the receipt of the run; its Kind is empty if there was no run.
	Receipt apply.Receipt
	// Plan is the plan of a lap that plans only.
	Plan *nf.Plan
}

// Lap makes one lap: it fetches a revision and applies it, or the last good one if
// Result.Missed is set. An error means that the lap itself failed, or could not save
// what it did.
func Lap(ctx context.Context, in In) (Result, error) {
	var res Result
	last, err := positions(in.Apply.State)
	if err != nil {
		return res, err
	}
	// The last good revision is read even if it is not needed, so that damage is
	// reported while there is still another revision to apply.
	if _, _, err := lastGood(in.Apply.State); err != nil && !isOutdated(err) {
		return res, err
	}
	fresh, err := Fetch(ctx, in.Fetch, last, in.Accept)
	switch {
	case err == nil:
		res.Revision = fresh
		return in.enforce(ctx, res)
	case ctx.Err() != nil:
		return res, err
	}
	res.Missed = err
	return in.fallBack(ctx, res)
}

// isOutdated reports whether an older nfsync has saved policies that this one finds
// invalid. This is no damage, and the next good revision replaces them.
func isOutdated(err error) bool {
	_, ok := errors.AsType[*InvalidError](err)
	return ok
}

func positions(d *state.Dir) ([]state.Position, error) {
	if d == nil {
		return nil, nil
	}
	return d.Positions()
}

// enforce applies the new revision. If in.Observe is set it only plans it and saves
// it as the last good one.
func (in In) enforce(ctx context.Context, res Result) (_ Result, err error) {
	if !in.Observe {
		res.Receipt, err = Enforce(ctx, in.Apply, res.Revision)
		return res, err
	}
	if err := lockAndSave(in.Apply, res.Revision); err != nil {
		return res, err
	}
	res.Plan, err = in.plan(ctx, res.Revision)
	return res, err
}

// fallBack applies or plans the last good revision, if there is one. Neither it nor
// a position changes.
func (in In) fallBack(ctx context.Context, res Result) (Result, error) {
	run := in.Apply
	if !in.Observe {
		unlock, err := lock(run)
		switch {
		case errors.Is(err, fs.ErrPermission):
			run.State = nil // without it Run only plans
		case err != nil:
			return res, err
		default:
			defer unlock()
			run.Locked = true
		}
	}
	good, exists, err := lastGood(in.Apply.State)
	if err != nil || !exists {
		return res, err
	}
	res.Revision = good
	if in.Observe {
		res.Plan, err = in.plan(ctx, good)
		return res, err
	}
	run.Wants, run.Revision = good.Policies.Resolve, good.Commit
	res.Receipt, err = apply.Run(ctx, run)
	return res, err
}

// plan returns the plan of a revision, and changes nothing.
func (in In) plan(ctx context.Context, r Revision) (*nf.Plan, error) {
	plan, err := apply.Plan(ctx, apply.Question{Facts: apply.Live(in.Apply.Machine, apply.MemoryOf(in.Apply.State)),
		Wants: r.Policies.Resolve, Revision: r.Commit, Restarts: in.Apply.Restarts})
	if err != nil {
		return nil, err
	}
	return &plan, nil
}
