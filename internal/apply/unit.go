package apply

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"nfsync.dev/nfsync/internal/nf"
)

const goneReason = "the target has vanished, or is another instance now"

// whyGone returns the reason for a target that is gone: that of the error, if it has one.
func whyGone(err error) string {
	if why := strings.TrimSuffix(err.Error(), nf.ErrGone.Error()); why != "" {
		return goneReason + ": " + strings.TrimSuffix(why, ": ")
	}
	return goneReason
}

// attempt is one change, with its result so far.
type attempt struct {
	nf.Change // From is the value that was read before it
	result    Result
	unit      *unit
	instance  string // of the target that it is for
	// touched reports whether the machine was asked to make it, or may have been by
	// an interrupted run.
	touched bool
	// aboutToRestart reports whether an interrupted run was about to make this
	// restart, or had begun one that still goes on: the instance has not ended.
	aboutToRestart bool
	// via is the intermediate change before it, of the same value; nil if there is none.
	via       *attempt
	restarted bool           // another instance ran after the restart
	failure   string         // why it could not be made, whatever became of it then
	note      string         // what is to be said of it although it was applied
	notify    func(*attempt) // after an outcome; may be nil
}

// end gives the attempt its outcome. An earlier error stays, before the new one; what both say
// is said once.
func (a *attempt) end(o Outcome, err error, reason string) {
	a.result.Outcome, a.result.Reason = o, reason
	switch {
	case err == nil:
	case strings.Contains(a.result.Error, err.Error()):
	case strings.Contains(err.Error(), a.result.Error): // the same again, with more around it
		a.result.Error = err.Error()
	default:
		a.result.Error += "; " + err.Error()
	}
	if a.notify != nil {
		a.notify(a)
	}
}

// changePlace is the value that a change is about.
type changePlace struct {
	memoryPlace
	layer nf.Layer
}

func placeOfChange(c nf.Change) changePlace { return changePlace{placeOf(c.Target, c.Key), c.Layer} }

// linkIntermediate sets the intermediate change of each attempt that has one.
func linkIntermediate(attempts []*attempt) {
	via := map[changePlace]*attempt{}
	for _, a := range attempts {
		at := placeOfChange(a.Change)
		a.via = via[at]
		if delete(via, at); a.Intermediate {
			via[at] = a
		}
	}
}

// last returns the attempt to which an intermediate one leads; the attempt itself if it is
// not intermediate.
func (u *unit) last(a *attempt) *attempt {
	if i := slices.IndexFunc(u.attempts, func(o *attempt) bool { return o.via == a }); i >= 0 {
		return u.last(u.attempts[i])
	}
	return a
}

// decide completes the change. Its result shows what was decided of a range.
func (a *attempt) decide(c nf.Change) {
	if a.Range.IsRange() {
		a.result.From, a.result.To = c.From, c.To
		switch {
		case c.From != c.To:
		case c.Layer == nf.LayerBoot:
			a.note = "the live value is in the range by itself: nothing is saved for the next start"
		default:
			a.note = "it is in the range (" + a.Range.String() + ")"
		}
	}
	a.From, a.To, a.Range = c.From, c.To, c.Range
}

// hasFrom reports whether the value before the change is known, so that it can be
// put back. In the boot layer absent is a value: nothing is saved. Before that the change
// of a range is not decided.
func hasFrom(c nf.Change) bool {
	return c.Range == nf.Wish{} && !c.From.IsUnknown() && (c.Layer == nf.LayerBoot || !c.From.IsAbsent())
}

// irreversible reports whether the change is never undone.
func (a *attempt) irreversible() bool { return a.OneWay || a.Disruptive }

// unit holds the changes of one instance of a target, which are undone together.
type unit struct {
	target   nf.Target
	attempts []*attempt
	// stopped, if set, is the outcome of the attempts that are not made any more,
	// and why is the reason.
	stopped Outcome
	why     string
}

func (u *unit) stop(o Outcome, why string) { u.stopped, u.why = o, why }

// unitsOf groups attempts by target and instance, in the order in which these appear.
func unitsOf(attempts []*attempt) (order []*unit) {
	type place struct {
		target   nf.Target
		instance string
	}
	by := map[place]*unit{}
	for _, a := range attempts {
		at := place{a.Target, a.instance}
		if by[at] == nil {
			by[at] = &unit{target: a.Target}
			order = append(order, by[at])
		}
		a.unit = by[at]
		a.unit.attempts = append(a.unit.attempts, a)
	}
	return order
}

// stuck returns the attempts that could be neither made nor undone.
func (u *unit) stuck() []*attempt {
	return slices.DeleteFunc(slices.Clone(u.attempts), func(a *attempt) bool { return a.result.Outcome != Stuck })
}

// undoUnit undoes what has been made of a unit, in reverse order. A change that is
// stuck does not keep the others from being undone.
func (n *node) undoUnit(ctx context.Context, u *unit, why string) {
	for _, a := range slices.Backward(u.attempts) {
		if a.touched {
			n.undo(ctx, a, why)
		}
	}
}

// undo undoes one change that the machine was asked to make.
func (n *node) undo(ctx context.Context, a *attempt, why string) {
	if a.Key == nf.KeyRestart {
		n.keepRestart(a, why)
		return
	}
	if n.endedWithInstance(a) {
		a.end(Gone, nil, endedByRestart)
		return
	}
	if a.irreversible() {
		n.keepChange(ctx, a, why)
		return
	}
	_, err := n.makeChange(ctx, inverse(a.Change), false)
	switch {
	case errors.Is(err, nf.ErrGone):
		a.end(Gone, nil, whyGone(err))
	case err != nil:
		a.end(worst(err), fmt.Errorf("cannot undo it: %w", err), why)
	case a.result.Outcome != Failed:
		a.end(Undone, nil, why)
	}
}

// worst returns the outcome of a change that could be neither made nor undone. What
// something else changes is drift, which the next run finds: no person is needed.
func worst(err error) Outcome {
	if _, moved := errors.AsType[*movedError](err); moved {
		return Failed
	}
	return Stuck
}

// keepSavedLevels ends as kept, not as stuck, the saved levels of containers that
// could not be undone and read as wanted. They have no effect until a cold start,
// which is to bring them: where another program holds the lock of a container for
// hours, the next run does the rest, and no person is needed.
func (n *node) keepSavedLevels(ctx context.Context, u *unit, why string) {
	for _, a := range u.stuck() {
		if a.Key == nf.KeyLevel && a.Layer == nf.LayerBoot && !a.Target.IsNode() && n.readsAsWanted(ctx, a.Change) {
			a.end(Kept, nil, "it is what the policy wants saved; "+why)
		}
	}
}

// readsAsWanted reads a value again and reports whether it is as wanted.
func (n *node) readsAsWanted(ctx context.Context, c nf.Change) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), n.timeout)
	defer cancel()
	return n.refresh(ctx, c) == nil && n.world.InSync(c)
}

// keepChange ends the attempt of a change that is never undone: as kept, or as
// undone if it never took effect.
func (n *node) keepChange(ctx context.Context, a *attempt, why string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), n.timeout)
	defer cancel()
	err := n.refresh(ctx, inverse(a.Change))
	switch {
	case errors.Is(err, nf.ErrGone):
		a.end(Gone, nil, whyGone(err))
	case err == nil && n.world.Reads(a.Change, a.From):
		if a.result.Outcome != Failed {
			a.end(Undone, nil, "it reads as before")
		}
	default:
		a.end(Kept, nil, "a change of this kind is never undone; "+why)
	}
}

// finishUnit makes the rest of a unit that could not be undone, because other
// targets rely on it by now. What a rule forbids now is left as it was.
func (n *node) finishUnit(ctx context.Context, u *unit, why string) {
	for _, a := range u.attempts {
		if a.Intermediate && u.last(a).touched && n.world.InSync(u.last(a).Change) {
			a.result.Error = ""
			a.end(Applied, nil, "")
			continue
		}
		if o := a.result.Outcome; o == Kept || o == Gone || o == Applied || !hasFrom(a.Change) || a.nothingToMake() || a.Key == nf.KeyRestart {
			continue // a restart is made where it was planned, and never to finish something
		}
		touched, err := n.makeChange(ctx, a.Change, true)
		a.touched = a.touched || touched
		var no *refused
		switch {
		case err == nil:
			a.result.Error = ""
			a.end(Applied, nil, "finished, because it could not be undone: "+why)
		case errors.Is(err, nf.ErrGone):
			a.end(Gone, nil, whyGone(err))
		case errors.As(err, &no) && n.world.Reads(a.Change, a.From):
			a.end(Refused, nil, err.Error())
		default:
			a.end(worst(err), err, why)
		}
	}
}
