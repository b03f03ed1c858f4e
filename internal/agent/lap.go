package agent

import (
	"context"
	"errors"
	"io/fs"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/state"
)

// In is what a lap works with.
type In struct {
	Fetch Fetcher
	// Accept is the commit of a rewritten branch that is taken all the same.
	Accept string
	// Observe plans and reports only: nothing of the machine is changed, and no
	// position moves.
	Observe bool
	// Apply is what runs work with. Its State is nil for who may not open it.
	// Its Wants, Revision, PlanID and Locked are the lap's. Its Restarts bound
	// what is only planned too.
	Apply apply.Input
}

// Result is what a lap did.
type Result struct {
	// Missed is why the new revision is not in force: it could not be fetched,
	// verified, followed or parsed.
	Missed error
	// Revision is the one in force: the new one or, where that was missed, the
	// last good one. Its Commit is empty where there is none.
	Revision Revision
	// Receipt is what was applied; its Kind is empty where nothing was.
	Receipt apply.Receipt
	// Plan is what there would be to do, where the lap only observes.
	Plan *nf.Plan
}

// Lap goes once from the repository to an applied state. What the new revision
// was missed for is in the result; an error says that the lap itself could not
// do its work, or not write down what it did.
func Lap(ctx context.Context, in In) (Result, error) {
	var res Result
	last, err := positions(in.Apply.State)
	if err != nil {
		return res, err
	}
	// Read even where it is not needed: damage is told while there is still
	// something else to fall back on.
	if _, _, err := lastGood(in.Apply.State); err != nil && !outdated(err) {
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

// outdated tells that an older nfsync has kept policies which this one finds
// invalid: no damage, and the next good revision takes their place.
func outdated(err error) bool {
	_, ok := errors.AsType[*InvalidError](err)
	return ok
}

func positions(d *state.Dir) ([]state.Position, error) {
	if d == nil {
		return nil, nil
	}
	return d.Positions()
}

// enforce brings the new revision into force, or plans it only.
func (in In) enforce(ctx context.Context, res Result) (_ Result, err error) {
	if !in.Observe {
		res.Receipt, err = Enforce(ctx, in.Apply, res.Revision)
		return res, err
	}
	if err := keep(in.Apply, res.Revision); err != nil {
		return res, err
	}
	res.Plan, err = in.observe(ctx, res.Revision)
	return res, err
}

// fallBack does the same with the last good revision, if there is one. Neither
// it nor a position changes.
func (in In) fallBack(ctx context.Context, res Result) (Result, error) {
	run := in.Apply
	if !in.Observe {
		unlock, err := lock(run)
		switch {
		case errors.Is(err, fs.ErrPermission):
			run.State = nil // Run only looks then
		case err != nil:
			return res, err
		default:
			defer unlock()
			run.Locked = true
		}
	}
	good, any, err := lastGood(in.Apply.State)
	if err != nil || !any {
		return res, err
	}
	res.Revision = good
	if in.Observe {
		res.Plan, err = in.observe(ctx, good)
		return res, err
	}
	run.Wants, run.Revision = good.Policies.Resolve, good.Commit
	res.Receipt, err = apply.Run(ctx, run)
	return res, err
}

// observe plans the revision and changes nothing.
func (in In) observe(ctx context.Context, r Revision) (*nf.Plan, error) {
	plan, err := apply.Plan(ctx, apply.Question{Facts: apply.Live(in.Apply.Machine, apply.MemoryOf(in.Apply.State)),
		Wants: r.Policies.Resolve, Revision: r.Commit, Restarts: in.Apply.Restarts})
	if err != nil {
		return nil, err
	}
	return &plan, nil
}
