package apply

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-multierror"

	"nfsync.dev/nfsync/internal/diff"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/state"
)

// run is the state of one call of Run.
type run struct {
	in        Input
	id        string // of the receipt
	started   time.Time
	memory    nf.Memory // as it was when the run began
	recovered []*attempt
	planned   nf.Plan
	node      *node
	attempts  []*attempt // one for each change of the plan, then those of again
	units     []*unit
	journal   state.Run
	stopped   bool             // before the last change
	stuck     []nf.StuckChange // of this run and earlier ones
	unsaved   bool             // stuck could not be saved
	maxScope  string           // nf.ScopeOwn or nf.ScopeNode, once a change has shown it
	refused   []nf.Refusal     // what was found after restarts
	again     []nf.Settled     // what was in sync after restarts
	held      []nf.Pending     // of restarts that could not begin any more
	longest   time.Duration    // that a restart of this run took
	wants     nf.Wants
	left      []Result // changes that are not to be made
	back      Receipt  // of what an earlier run did and was taken back
}

// prepare settles what an interrupted run has left, and plans.
func (r *run) prepare(ctx context.Context) error {
	if err := r.settle(ctx); err != nil {
		return err
	}
	if r.in.Settled != nil {
		if err := r.in.Settled(); err != nil {
			return err
		}
	}
	r.memory.Stuck = r.stuck
	if err := r.plan(ctx, Known(r.memory)); err != nil {
		return err
	}
	return r.dropEnded()
}

// settle settles what an interrupted run has left.
func (r *run) settle(ctx context.Context) (err error) {
	if r.memory, err = r.in.State.Memory(); err != nil {
		return err
	}
	r.stuck = r.memory.Stuck
	if err := r.in.State.RemoveLeftovers(); err != nil {
		return err
	}
	if r.id, err = r.in.State.NextReceipt(r.started); err != nil {
		return err
	}
	return r.recover(ctx)
}

// dropEnded drops what is stuck in an instance that has ended.
func (r *run) dropEnded() error {
	held := slices.DeleteFunc(slices.Clone(r.stuck), r.existing().settled)
	if len(held) == len(r.stuck) {
		return nil
	}
	r.stuck, r.memory.Stuck = held, held
	return r.in.State.SaveStuck(held)
}

// plan plans, and prepares the changes.
func (r *run) plan(ctx context.Context, memory func() (nf.Memory, error)) error {
	a, err := Question{Facts: Live(r.in.Machine, memory), Wants: r.in.Wants, Labels: r.in.Labels, Revision: r.in.Revision, Only: r.in.Only, Restarts: r.in.Restarts, Filter: r.in.Filter}.answer(ctx)
	if err != nil {
		return err
	}
	if r.in.Reviewed != nil {
		if err := r.in.Reviewed(a.plan); err != nil {
			return err
		}
	}
	r.wants, r.planned = a.wants, a.plan
	r.planned.Changes = r.leave(r.planned.Changes)
	r.node = newNode(r.in.Machine, a.snap, a.ask, r.in.Timeout)
	for i, c := range r.planned.Changes {
		r.attempts = append(r.attempts, r.attempt(i, c))
	}
	linkIntermediate(r.attempts)
	for _, a := range r.attempts {
		if a.via != nil {
			a.From = nf.Absent() // until the change before it is made: see begin
		}
	}
	r.units = unitsOf(r.attempts)
	return nil
}

// leave returns the changes that are to be made. A rule that needs one of the others refuses
// the change that relies on it. An intermediate change is left with the last one.
func (r *run) leave(planned []nf.Change) []nf.Change {
	if r.in.Leave == nil && r.in.Confirm == nil {
		return planned
	}
	left := map[changePlace]string{}
	for _, c := range planned {
		at := placeOfChange(c)
		left[at] = cmp.Or(left[at], r.whyLeft(c))
	}
	var changes []nf.Change
	for _, c := range planned {
		if why := left[placeOfChange(c)]; why != "" {
			r.left = append(r.left, Result{Change: c, Outcome: Skipped, Reason: why})
			continue
		}
		changes = append(changes, c)
	}
	return changes
}

// attempt returns the attempt with that index.
func (r *run) attempt(i int, c nf.Change) *attempt {
	return &attempt{Change: c, result: Result{Change: c}, instance: r.node.instances[c.Target.Nameless()], notify: r.done(i)}
}

func (r *run) report(e Event) {
	if r.in.Progress != nil {
		e.Total = len(r.attempts)
		r.in.Progress(e)
	}
}

func (r *run) done(i int) func(*attempt) {
	return func(a *attempt) {
		r.report(Event{Kind: EventDone, Index: i, Change: a.result.Change, Outcome: a.result.Outcome})
	}
}

// execute makes the changes in the order of the plan, those of several containers in a row
// side by side. Its error says why it stopped before the last one.
func (r *run) execute(ctx context.Context) error {
	r.report(Event{Kind: EventPlanned})
	planned := len(r.attempts)
	for i := 0; i < planned; {
		if err := r.interrupted(ctx); err != nil {
			return r.stop(ctx, err)
		}
		next, err := r.intend(ctx, i)
		for err == nil && i < next {
			end := r.independent(i, next)
			err = r.steps(ctx, i, end)
			i = end
		}
		if err != nil {
			return r.stop(ctx, err)
		}
	}
	return nil
}

// interrupted returns an error if the run is to stop before its next change.
func (r *run) interrupted(ctx context.Context) error {
	if ctx.Err() == nil {
		return nil
	}
	next := slices.IndexFunc(r.attempts, func(a *attempt) bool { return a.result.Outcome == "" })
	return fmt.Errorf("interrupted before change %d of %d: %w", next+1, len(r.attempts), context.Cause(ctx))
}

// intend completes the intents of the next changes and makes them durable. It goes
// up to the first change whose value cannot be read yet, because a change before it
// brings it, and returns the index of that one.
func (r *run) intend(ctx context.Context, first int) (next int, err error) {
	var completed []*attempt
	var intents []state.Intent
	for next = first; next < len(r.planned.Changes); next++ {
		a := r.attempts[next]
		if hasFrom(a.Change) || a.unit.stopped != "" {
			continue
		}
		if a.Range.IsRange() && a.Key == nf.KeyMax && containsNodeMax(r.attempts[first:next]) {
			break // the value may be the node's, which is changed first
		}
		c, ok := r.complete(ctx, a)
		if !ok && next > first {
			break
		}
		if ok {
			intent := r.intent(a)
			intent.From, intent.To, intent.Range = c.From, c.To, c.Range
			completed, intents = append(completed, a), append(intents, intent)
		}
	}
	if len(intents) > 0 {
		err = r.in.State.Intend(intents)
	}
	for i, a := range completed {
		if err == nil {
			a.decide(intents[i].Change)
		}
	}
	return next, err
}

func containsNodeMax(attempts []*attempt) bool {
	return slices.ContainsFunc(attempts, func(a *attempt) bool { return a.Target.IsNode() && a.Key == nf.KeyMax })
}

// complete returns a change with what can be known only now. Of a range the boot value is
// decided together with the live one, which was read before its change.
func (r *run) complete(ctx context.Context, a *attempt) (nf.Change, bool) {
	if a.via != nil && a.via.result.Outcome != Refused {
		c := a.Change
		c.From = a.via.To
		return c, a.via.result.Outcome == Applied
	}
	if !a.Range.IsRange() || a.Layer == nf.LayerLive {
		return r.node.complete(ctx, a.Change)
	}
	c := a.Change
	for _, live := range a.unit.attempts {
		if live.Key == a.Key && live.Layer == nf.LayerLive && hasFrom(live.Change) {
			c.Range = nf.Wish{}
			if c.To = live.To; live.From == live.To {
				c.To = c.From
			}
			return c, true
		}
	}
	return c, false
}

// begin makes all intents durable. One whose value cannot be read yet has no from,
// which means that its change was not made.
func (r *run) begin() error {
	if len(r.attempts) == 0 {
		return nil
	}
	intents := make([]state.Intent, len(r.attempts))
	for i, a := range r.attempts {
		intents[i] = r.intent(a)
	}
	r.journal = state.Run{ID: r.id, BootID: r.node.snap.BootID, Intents: intents}
	if r.in.Confirm != nil {
		r.journal.ConfirmWithin, r.journal.Plan, r.journal.Revision = r.in.Confirm.Within, r.planned.ID, r.planned.Revision
	}
	return r.in.State.Begin(r.journal)
}

func (r *run) intent(a *attempt) state.Intent {
	change := a.Change
	change.LastFailure = nil // memory has it
	return state.Intent{Change: change, Asked: a.Asked, Instance: a.instance}
}

// step makes one change. Its error says why no other can follow.
func (r *run) step(ctx context.Context, i int) error {
	a := r.attempts[i]
	u := a.unit
	if u.stopped != "" {
		a.end(u.stopped, nil, u.why)
		return nil
	}
	if a.Range.IsRange() && a.Layer == nf.LayerBoot {
		a.end(Skipped, nil, "its live value could not be read, so that nothing is known to be outside the range")
		return nil
	}
	r.report(Event{Kind: EventStarted, Index: i, Change: a.result.Change})
	err := r.change(ctx, a)
	var no *refused
	var unknown *unknownRestart
	var held *heldRestart
	switch {
	case err == nil:
		r.applied(a)
		if a.restarted {
			return r.setAgain(ctx, a)
		}
	case errors.As(err, &unknown):
		a.failure = err.Error()
		a.end(Stuck, unknown.error, leftDown)
		return r.saveStuck(r.journal, u)
	case errors.As(err, &held):
		r.held = append(r.held, diff.HeldRestart(a.Change, held.why))
		a.end(Skipped, nil, err.Error())
	case errors.Is(err, nf.ErrGone):
		a.end(Gone, nil, whyGone(err))
		u.stop(Gone, whyGone(err))
	case errors.As(err, &no):
		a.end(Refused, nil, err.Error())
		if a.via != nil && a.via.touched {
			r.node.undo(ctx, a.via, fmt.Sprintf("it was on the way to %s, which was refused", a.Key.Text(a.To)))
			return r.saveStuck(r.journal, u)
		}
	default:
		a.failure, a.result.Busy = err.Error(), errors.Is(err, nf.ErrBusy)
		_, a.result.Moved = errors.AsType[*movedError](err)
		var down *downRestart
		if errors.As(err, &down) {
			a.end(Stuck, err, leftDown)
		} else {
			a.end(Failed, err, "")
		}
		if errors.Is(err, nf.ErrNodeScope) {
			r.maxScope = nf.ScopeNode
		}
		why := fmt.Sprintf("%s of the same target failed", a.Key)
		u.stop(Skipped, why)
		r.node.undoUnit(ctx, u, why)
		r.node.keepSavedLevels(ctx, u, why)
		return r.saveStuck(r.journal, u)
	}
	return nil
}

func (r *run) change(ctx context.Context, a *attempt) (err error) {
	if a.Key == nf.KeyRestart {
		return r.restart(ctx, a)
	}
	a.touched, err = r.node.makeChange(ctx, a.Change, true)
	return err
}

func (r *run) applied(a *attempt) {
	reason := a.note
	if !a.touched && reason == "" {
		reason = "it was so already"
	}
	// Package host reads the node's value after it has written a container's: it
	// did not move.
	if a.touched && a.Key == nf.KeyMax && !a.Target.IsNode() && r.maxScope == "" {
		r.maxScope = nf.ScopeOwn
	}
	if _, c, ok := r.node.snap.Find(a.Target); a.touched && ok && c != nil && r.in.Late != nil {
		a.result.Late = r.in.Late(c)
	}
	a.end(Applied, nil, reason)
}

// stop settles the targets that are partly made: they are undone or, where other
// targets rely on them, finished. No other change is begun.
func (r *run) stop(ctx context.Context, err error) error {
	r.stopped = true
	for _, u := range slices.Backward(r.units) {
		if u.stopped != "" || !u.partlyMade() || r.in.Routine {
			continue
		}
		const why = "the run was stopped"
		r.node.undoUnit(ctx, u, why)
		if len(u.stuck()) > 0 {
			r.node.finishUnit(ctx, u, why)
		}
		if stuckErr := r.saveStuck(r.journal, u); stuckErr != nil {
			err = flat(multierror.Append(err, stuckErr))
		}
	}
	for _, a := range r.attempts {
		if a.result.Outcome == "" {
			a.end(Skipped, nil, "the run was stopped before it")
		}
	}
	return err
}

// partlyMade reports whether some changes of a unit were made and some not tried.
func (u *unit) partlyMade() bool {
	var made, left bool
	for _, a := range u.attempts {
		made = made || a.touched
		left = left || a.result.Outcome == ""
	}
	return made && left
}

// saveStuck saves what could be neither made nor undone of a unit. It holds back the target
// in later runs.
func (r *run) saveStuck(run state.Run, u *unit) error {
	list := u.stuck()
	if len(list) == 0 {
		return nil
	}
	for _, a := range list {
		r.stuck = append(r.stuck, nf.StuckChange{Target: a.Target, Key: a.Key, Layer: a.Layer, From: a.From, To: a.To,
			Reads: r.node.world.Value(a.Change), Run: run.ID, Instance: a.instance, BootID: run.BootID, Why: a.result.Error})
	}
	if err := r.in.State.SaveStuck(r.stuck); err != nil {
		r.unsaved = true
		return err
	}
	return nil
}

// show says what the run has seen, after its changes.
func (r *run) show() {
	if r.in.Seen != nil {
		r.in.Seen(overview(r.in.Now(), r.in.Only != nil, r.wants, r.node.snap, r.node.world))
	}
}

// finish saves what the run did. The journal ends last, and only if everything else
// is saved: otherwise the next run surveys the machine again.
func (r *run) finish(stopped error) (Receipt, error) {
	r.show()
	if r.waits() {
		return r.finishUnconfirmed(stopped)
	}
	receipt := r.receipt()
	var errs *multierror.Error
	errs = multierror.Append(errs, r.in.State.Finishing(), r.saveMemory(r.memory, r.remember()))
	if !r.in.Routine || len(r.attempts)+len(r.recovered) > 0 {
		errs = multierror.Append(errs, r.in.State.SaveReceipt(r.id, receipt))
	}
	if errs.ErrorOrNil() == nil && len(r.attempts) > 0 && !r.unsaved {
		errs = multierror.Append(errs, r.in.State.End())
	}
	if stopped != nil {
		errs = multierror.Append(errs, stopped)
	}
	return receipt, flat(errs)
}

// flat returns the errors as one line.
func flat(errs *multierror.Error) error {
	if errs != nil {
		errs.ErrorFormat = func(list []error) string {
			texts := make([]string, len(list))
			for i, err := range list {
				texts[i] = err.Error()
			}
			return strings.Join(texts, "; ")
		}
	}
	return errs.ErrorOrNil()
}

// saveMemory saves a memory if it has changed.
func (r *run) saveMemory(was, is nf.Memory) error {
	if reflect.DeepEqual(was, is) {
		return nil
	}
	err := r.in.State.SaveMemory(is)
	if err == nil && r.in.Routine {
		_, err = r.in.State.Memory() // decoded now, it need not be when the next lap begins
	}
	return err
}

func (r *run) receipt() Receipt {
	p := r.planned
	out := Receipt{APIVersion: nf.APIVersion, Kind: nf.KindReceipt, ID: r.id, Node: p.Node, Revision: p.Revision, Plan: p.ID,
		StartedAt: r.started, FinishedAt: r.in.Now(), Interrupted: r.stopped, TakenBack: r.back.TakenBack, Recovered: results(r.recovered), Results: append(results(r.attempts), r.left...),
		Refusals: append(r.stillRefused(), r.refused...), Pending: r.pending(), Warnings: p.Warnings, Stuck: r.stuck}
	out.Summary = Summary{Refusals: len(out.Refusals), Pending: len(out.Pending), InSync: p.Summary.InSync}
	slices.SortStableFunc(out.Refusals, func(a, b nf.Refusal) int {
		return cmp.Or(a.Target.Compare(b.Target), cmp.Compare(a.Key, b.Key))
	})
	slices.SortStableFunc(out.Pending, func(a, b nf.Pending) int {
		return cmp.Or(a.Target.Compare(b.Target), cmp.Compare(a.Key, b.Key))
	})
	for _, result := range out.Results {
		out.Summary.count(result.Outcome)
	}
	return out
}

// pending returns what waits after the run. A level that is to be brought by a cold start
// waits for that only if it is saved: otherwise the result of saving it says what happened.
func (r *run) pending() []nf.Pending {
	list := append(slices.Clone(r.planned.Pending), r.held...)
	return slices.DeleteFunc(list, func(p nf.Pending) bool {
		saved := nf.Change{Target: p.Target, Key: p.Key, Layer: nf.LayerBoot, To: p.To}
		return p.Key == nf.KeyLevel && p.Until == nf.UntilContainerRestart && !r.node.world.InSync(saved)
	})
}

func results(attempts []*attempt) []Result {
	list := make([]Result, len(attempts))
	for i, a := range attempts {
		list[i] = a.result
	}
	return list
}
