package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/source"
	"nfsync.dev/nfsync/internal/state"
)

// In is the input of Lap.
type In struct {
	// Fetch fetches a revision; nil applies the last good one again.
	Fetch Fetcher
	// Mode is the mode of verification of Fetch. A last good revision that was saved with a
	// weaker one is enforced only if Verify returns its signer.
	Mode   source.Mode
	Verify func(ctx context.Context, commit string) (signer string, err error)
	// AllowEmpty allows a revision without policies. Path is where they should be.
	AllowEmpty bool
	Path       string
	// Accept is a commit that is applied even if its branch was rewritten.
	Accept string
	// Observe makes the lap plan only. It changes nothing on the machine, and no
	// position.
	Observe bool
	// Known is a revision that an earlier lap has parsed: it is not parsed again.
	Known Revision
	// InForce, if not empty, is the commit that is in force: if it is still the newest, the lap
	// does not look at the node.
	InForce string
	// Suspended makes the lap plan only, without making the revision the last good one.
	Suspended bool
	// Fleet, if set, decides which revision the lap takes. Fetch then says whether the lap asks it, and fetches
	// nothing itself. Hold says why no revision is begun; empty: it may be.
	Fleet *Follower
	Hold  string
	// Apply is the input of the run. Its State is nil if this user may not open
	// it. Lap sets its Wants, Labels and Revision. Its Restarts also bound
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
	// Unchanged reports whether the lap did not look at the node because of In.InForce.
	Unchanged bool
	// TakenBack is the receipt of an earlier run's changes that were taken back before the lap; its
	// Kind is empty if there is none.
	TakenBack apply.Receipt
	// Held is the last good revision of a lap that is suspended: it stays in force.
	Held Revision
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
	// reported while there is still another revision to apply. Policies that an older
	// nfsync has saved and this one finds invalid are no damage: the next good revision
	// replaces them.
	var outdated *InvalidError
	good, err := lastGood(in.Apply.State, in.Known)
	if err != nil && !errors.As(err, &outdated) {
		return res, err
	}
	if in.Suspended {
		in.Observe, res.Held = true, good
	}
	if in.Fleet != nil {
		in.Apply.Restarts = in.Fleet.restarts(ctx, in.Apply)
		in.Fleet.enforcing = good.Commit
	}
	if in.Fleet != nil && in.Fetch != nil {
		return in.fleetLap(ctx, res, good, last)
	}
	if in.Fetch == nil {
		return in.fallBack(ctx, res)
	}
	if in.Observe && (good.Branch != "" || good.Head) {
		// Laps that plan only record no position. The branch must descend from what they planned.
		seen := state.Position{URL: good.URL, Branch: good.Branch, Commit: good.Commit, Head: good.Head}
		last = slices.Insert(last, 0, seen)
	}
	fresh, err := Fetch(ctx, in.Fetch, in.Mode, last, in.Accept)
	if err == nil && !in.AllowEmpty {
		err = fresh.CheckEmpty(in.Path)
	}
	switch {
	case err != nil && ctx.Err() != nil:
		return res, err
	case err != nil:
		res.Missed = err
		return in.fallBack(ctx, res)
	}
	res.Revision = fresh
	if res.Unchanged = in.InForce == fresh.Commit; res.Unchanged {
		return res, nil
	}
	return in.take(ctx, res, nil)
}

// take adds to a result the run for its revision, or the plan. begin, if not nil, is called just before anything is
// saved or changed; an error of it ends the lap.
func (in In) take(ctx context.Context, res Result, begin func() error) (_ Result, err error) {
	if !in.Observe {
		res.Receipt, err = enforce(ctx, in.Apply, res.Revision, begin)
		return res, err
	}
	if !in.Suspended {
		err = lockAndSave(in.Apply, res.Revision, begin)
	}
	if err != nil {
		return res, err
	}
	return in.plan(ctx, res)
}

func positions(d *state.Dir) ([]state.Position, error) {
	if d == nil {
		return nil, nil
	}
	return d.Positions()
}

// fallBack applies or plans the last good revision, if there is one. Neither it nor
// a position changes.
func (in In) fallBack(ctx context.Context, res Result) (Result, error) {
	run := in.Apply
	if !in.Observe {
		locked, unlock, err := lock(run)
		if err != nil {
			return res, err
		}
		defer unlock()
		run = locked
	}
	good, err := lastGood(in.Apply.State, in.Known)
	if err == nil && stricter(in.Mode, good.Verified) && good.Commit != "" {
		good, err = in.verifyAgain(ctx, run, good)
	}
	if err != nil || good.Commit == "" {
		return res, err
	}
	res.Revision = good
	if in.Observe {
		return in.plan(ctx, res)
	}
	run.Wants, run.Labels, run.Revision = good.Policies.Resolve, good.Policies.UseLabels, good.Commit
	res.Receipt, err = apply.Run(ctx, run)
	return res, err
}

// verifyAgain verifies a last good revision that was saved with a weaker mode than the
// configured one, and saves how it was verified. One that is not trusted is not enforced.
func (in In) verifyAgain(ctx context.Context, run apply.Input, good Revision) (Revision, error) {
	signer, err := in.Verify(ctx, good.Commit)
	if err != nil {
		return Revision{}, fmt.Errorf("the last good revision %s was saved with the verification %q and is not enforced: %w", good.Commit, cmp.Or(good.Verified, source.VerifyNone), err)
	}
	good.Signer, good.Verified = signer, in.Mode
	if run.State != nil && !in.Observe {
		err = saveLastGood(run.State, good, run.Now())
	}
	return good, err
}

// plan adds the plan of the revision in force to a result, and changes nothing.
func (in In) plan(ctx context.Context, res Result) (Result, error) {
	plan, err := apply.Plan(ctx, apply.Question{Facts: apply.Live(in.Apply.Machine, apply.MemoryOf(in.Apply.State)),
		Wants: res.Revision.Policies.Resolve, Labels: res.Revision.Policies.UseLabels, Revision: res.Revision.Commit, Restarts: in.Apply.Restarts, Seen: in.Apply.Seen})
	if err == nil {
		res.Plan = &plan
	}
	return res, err
}
