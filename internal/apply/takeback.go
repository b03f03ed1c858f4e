package apply

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/state"
)

// settleUnconfirmed settles an open run that was to be confirmed. The error is ErrUnconfirmed as
// long as it waits.
func (r *run) settleUnconfirmed(ctx context.Context, left state.Run) (err error) {
	if waiting(left, left.BootID, r.in.uptime()) != nil {
		now, err := r.in.Machine.List(ctx)
		if err != nil {
			return fmt.Errorf("cannot determine whether run %s still waits for its confirmation: %w", left.ID, err)
		}
		if waits := waiting(left, now.BootID, r.in.uptime()); waits != nil {
			return waits
		}
	}
	decided, err := r.in.State.Decide(left.ID, state.TakenBack)
	if err != nil {
		return err
	}
	if decided == state.TakenBack {
		return r.takeBack(ctx, left)
	}
	if err = r.in.State.Promote(left.ID, r.in.Now()); err == nil {
		r.memory, err = r.in.State.Memory()
	}
	return err
}

// takeBack undoes the changes of a run that was not confirmed, in reverse order.
func (r *run) takeBack(ctx context.Context, left state.Run) error {
	kept, err := r.in.State.Confirmation()
	if err != nil {
		return err
	}
	if kept.Run == left.ID && kept.Memory != nil {
		r.keepSeen(*kept.Memory)
	}
	r.stuck = stuckBefore(left, r.stuck)
	r.memory.Stuck = r.stuck
	var units []*unit
	if r.node, r.recovered, units, err = surveyIntents(ctx, r.in.Machine, left, r.memory, r.in.Timeout); err != nil {
		return fmt.Errorf("cannot take back the changes of run %s: %w", left.ID, err)
	}
	later := r.node.takeBack(ctx, r.recovered, left.Made != nil)
	if err := r.in.State.SaveStuck(r.stuck); err != nil {
		return err
	}
	for _, u := range units {
		if err := r.saveStuck(left, u); err != nil {
			return err
		}
	}
	if later != nil {
		return fmt.Errorf("cannot take back all changes of run %s now: %w; the next run tries again, or nfsync recover --accept takes the present state as it is", left.ID, later)
	}
	if err := r.rememberRecovered(); err != nil {
		return err
	}
	return r.endTakenBack(left)
}

// keepSeen remembers what the run that is taken back has seen of the kernel.
func (r *run) keepSeen(m nf.Memory) {
	r.memory.MaxScope = m.MaxScope
	for _, l := range m.Latches {
		if !slices.ContainsFunc(r.memory.Latches, func(o nf.Latch) bool { return o.Target.Nameless() == l.Target.Nameless() && o.Instance == l.Instance }) {
			r.memory.Latches = append(r.memory.Latches, l)
		}
	}
}

// endTakenBack saves the receipt of what was taken back, and that this plan is not to be tried
// again, and ends the run.
func (r *run) endTakenBack(left state.Run) error {
	d, now := r.in.State, r.in.Now()
	r.back = r.takeBackReceipt(left)
	if err := d.SaveReceipt(r.id, r.back); err != nil {
		return err
	}
	if err := d.SaveUnconfirmed(unconfirmed(left, r.id, now)); err != nil {
		return err
	}
	if err := d.SaveConfirmation(state.Confirmation{Run: left.ID, Changes: r.back.Summary.Undone, Decision: state.TakenBack, At: now, Receipt: r.id}); err != nil {
		return err
	}
	if err := d.End(); err != nil {
		return err
	}
	var err error
	r.id, err = d.NextReceipt(now)
	return err
}

// unconfirmed returns the changes of a run that was taken back, for each instance of a target.
func unconfirmed(left state.Run, receipt string, now time.Time) []state.Failure {
	var list []state.Failure
	for _, c := range left.Intents {
		i := slices.IndexFunc(list, func(f state.Failure) bool {
			return f.Target.Nameless() == c.Target.Nameless() && f.Instance == c.Instance
		})
		if i < 0 {
			i = len(list)
			list = append(list, state.Failure{Target: c.Target, Instance: c.Instance, Revision: left.Revision, Receipt: receipt, At: now, Unconfirmed: true})
		}
		list[i].Changes = append(list[i].Changes, state.FailedChange{Key: c.Key, Layer: c.Layer, From: c.From, To: c.To, Why: notConfirmed})
	}
	return list
}

func (r *run) takeBackReceipt(left state.Run) Receipt {
	out := Receipt{APIVersion: nf.APIVersion, Kind: nf.KindReceipt, ID: r.id, Node: r.node.snap.Node.Name, Revision: left.Revision, Plan: left.Plan,
		StartedAt: r.started, FinishedAt: r.in.Now(), TakenBack: left.ID, Recovered: []Result{}, Results: results(r.recovered),
		Refusals: []nf.Refusal{}, Pending: []nf.Pending{}, Warnings: []nf.Warning{}, Stuck: r.stuck}
	for _, result := range out.Results {
		out.Summary.count(result.Outcome)
	}
	return out
}

// takeBack undoes attempts in reverse order, across all targets: it goes back through the states
// in which the node was. made reports whether all of them had been made: then a value that reads
// otherwise was changed by something else. The error names what can be undone only later.
func (n *node) takeBack(ctx context.Context, attempts []*attempt, made bool) (later error) {
	for again := true; again; {
		again, later = false, nil
		for _, a := range slices.Backward(attempts) {
			unread := n.unreadable(a.Target)
			switch {
			case unread != nil:
				later = unread
			case a.result.Outcome != "":
			case !a.touched:
				a.end(Skipped, nil, "it reads as before")
			case made && n.changedSince(a, attempts):
				a.end(Skipped, nil, "something else has changed it to "+a.Key.Text(n.world.Value(a.Change))+" since: it is left")
			default:
				done, err := n.undoUnconfirmed(ctx, a)
				again = again || done
				if errors.Is(err, nf.ErrBusy) {
					later = err
				}
			}
		}
	}
	for _, a := range attempts { // what a rule still forbids when all others are undone
		if a.result.Outcome == "" && a.failure != "" {
			a.end(Kept, nil, "it cannot be taken back: "+a.failure)
		}
	}
	return later
}

// undoUnconfirmed undoes one change, and reports whether it has. An attempt that a rule forbids
// now, or whose target is busy, gets no outcome.
func (n *node) undoUnconfirmed(ctx context.Context, a *attempt) (done bool, err error) {
	_, err = n.makeChange(ctx, inverse(a.Change), false)
	var no *refused
	switch {
	case err == nil:
		a.end(Undone, nil, notConfirmed)
		return true, nil
	case errors.Is(err, nf.ErrBusy):
	case errors.As(err, &no):
		a.failure = err.Error()
	case errors.Is(err, nf.ErrGone):
		a.end(Gone, nil, whyGone(err))
	default:
		a.end(worst(err), fmt.Errorf("cannot take it back: %w", err), notConfirmed)
	}
	return false, err
}

// changedSince reports whether a value reads as none of the attempts at it have left it. An
// unknown one is no evidence of that.
func (n *node) changedSince(a *attempt, attempts []*attempt) bool {
	return !n.world.Value(a.Change).IsUnknown() && !slices.ContainsFunc(attempts, func(o *attempt) bool {
		return placeOfChange(o.Change) == placeOfChange(a.Change) && (n.world.InSync(o.Change) || n.world.Reads(o.Change, o.From))
	})
}

// TakeBack takes back the changes of a run that was not confirmed in time, or finishes one that
// was confirmed. It returns the receipt of what was taken back; one without a kind if nothing was.
// The error is ErrUnconfirmed as long as a run waits.
func TakeBack(ctx context.Context, in Input) (Receipt, error) {
	if in.State == nil {
		return Receipt{}, nil
	}
	left, open, err := in.State.Unfinished()
	if err != nil || !open || left.ConfirmWithin == 0 {
		return Receipt{}, err
	}
	unlock, err := in.Lock.Take()
	if err != nil {
		return Receipt{}, err
	}
	defer unlock()
	r := &run{in: in, started: in.Now()}
	err = r.settle(ctx)
	return r.back, err
}

// How often AwaitDecision looks whether a run was confirmed, and the longest time until it tries
// again what could not be taken back.
const (
	lookEvery = time.Second
	tryEvery  = 30 * time.Second
)

// AwaitDecision waits until the open run, if it was to be confirmed, is confirmed, or takes its
// changes back when its time is up. What cannot be taken back at once is tried again. bootID is that
// of the node now.
func AwaitDecision(ctx context.Context, in Input, bootID string) error {
	first, pause := "", lookEvery
	for {
		run, open, err := in.State.Unfinished()
		if err != nil || !open || run.ConfirmWithin == 0 || first != "" && run.ID != first {
			return err
		}
		first = run.ID
		if waits := waiting(run, bootID, in.uptime()); waits != nil {
			pause = min(lookEvery, waits.Left)
		} else if _, err = TakeBack(ctx, in); err == nil {
			return nil
		} else if !errors.Is(err, ErrLocked) {
			pause = min(max(2*pause, lookEvery), tryEvery)
		}
		clock := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			clock.Stop()
			return ctx.Err()
		case <-clock.C:
		}
	}
}
