package apply

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"nfsync.dev/nfsync/internal/nf"
)

const goneReason = "the target has vanished, or is another instance now"

// attempt is one change, and what has become of it so far.
type attempt struct {
	nf.Change // From is what the value really was
	result    Result
	// touched tells that the machine was told to make it, or may have been by
	// a run that did not come to its end.
	touched bool
	// poised tells that an interrupted run was about to make it, a restart, or
	// that what it has started still goes on: the instance has not ended.
	poised bool
	note   string         // what is to be said of it although it was applied
	notify func(*attempt) // after an outcome; may be nil
}

// end gives the attempt its outcome. What went wrong before is still told.
func (a *attempt) end(o Outcome, err error, reason string) {
	a.result.Outcome, a.result.Reason = o, reason
	switch {
	case err == nil:
	case a.result.Error == "":
		a.result.Error = err.Error()
	default:
		a.result.Error += "; " + err.Error()
	}
	if a.notify != nil {
		a.notify(a)
	}
}

// hasFrom tells whether it is known what the value was, so that it can be put
// back. In the boot layer absent is a value: nothing is saved.
func hasFrom(c nf.Change) bool {
	return !c.From.IsUnknown() && (c.Layer == nf.LayerBoot || !c.From.IsAbsent())
}

// lasting changes are never undone.
func (a *attempt) lasting() bool { return a.OneWay || a.Disruptive }

// unit is the changes of one target, which are undone together.
type unit struct {
	target   nf.Target
	attempts []*attempt
	// stopped is the outcome of what is not tried any more, and why.
	stopped Outcome
	why     string
}

func (u *unit) stop(o Outcome, why string) { u.stopped, u.why = o, why }

// unitsOf sorts attempts by target, the targets in the order in which they
// appear.
func unitsOf(attempts []*attempt) (order []*unit, by map[nf.Target]*unit) {
	by = map[nf.Target]*unit{}
	for _, a := range attempts {
		u := by[a.Target]
		if u == nil {
			u = &unit{target: a.Target}
			by[a.Target] = u
			order = append(order, u)
		}
		u.attempts = append(u.attempts, a)
	}
	return order, by
}

// stuck are the attempts that could neither be made nor undone.
func (u *unit) stuck() []*attempt {
	return slices.DeleteFunc(slices.Clone(u.attempts), func(a *attempt) bool { return a.result.Outcome != Stuck })
}

// back undoes what has been made of a unit, in reverse. All that can be undone
// is undone, also where something else is stuck.
func (n *node) back(ctx context.Context, u *unit, why string) {
	for _, a := range slices.Backward(u.attempts) {
		if a.touched {
			n.takeBack(ctx, a, why)
		}
	}
}

func (n *node) takeBack(ctx context.Context, a *attempt, why string) {
	if a.Key == nf.KeyRestart {
		keepRestart(a, why)
		return
	}
	if n.endedWithInstance(a.Change) {
		a.end(Gone, nil, endedReason)
		return
	}
	if a.lasting() {
		n.keep(ctx, a, why)
		return
	}
	_, err := n.make(ctx, inverse(a.Change), false)
	switch {
	case errors.Is(err, nf.ErrGone):
		a.end(Gone, nil, goneReason)
	case err != nil:
		a.end(Stuck, fmt.Errorf("cannot undo it: %w", err), why)
	case a.result.Outcome != Failed:
		a.end(Undone, nil, why)
	}
}

// spare keeps saved levels of containers that could not be taken back and read as
// wanted. They touch nothing until a cold start, which is then to bring them:
// where another program holds a container's lock for hours, the next run does the
// rest, and nobody is called for it.
func (n *node) spare(ctx context.Context, u *unit, why string) {
	for _, a := range u.stuck() {
		if a.Key == nf.KeyLevel && a.Layer == nf.LayerBoot && !a.Target.IsNode() && n.finds(ctx, a.Change) {
			a.end(Kept, nil, "it is what the policy wants saved; "+why)
		}
	}
}

// finds tells whether a value reads as wanted when it is read again.
func (n *node) finds(ctx context.Context, c nf.Change) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), n.timeout)
	defer cancel()
	return n.refresh(ctx, c) == nil && n.world.InSync(c)
}

// keep names a change that is never undone, unless it never took effect.
func (n *node) keep(ctx context.Context, a *attempt, why string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), n.timeout)
	defer cancel()
	err := n.refresh(ctx, inverse(a.Change))
	switch {
	case errors.Is(err, nf.ErrGone):
		a.end(Gone, nil, goneReason)
	case err == nil && n.world.Reads(a.Change, a.From):
		if a.result.Outcome != Failed {
			a.end(Undone, nil, "it reads as before")
		}
	default:
		a.end(Kept, nil, "a change of this kind is never undone; "+why)
	}
}

// forth finishes a unit that could not be taken back: what other targets rely
// on by now stays, and the rest follows. What a rule forbids now is left as it
// was.
func (n *node) forth(ctx context.Context, u *unit, why string) {
	for _, a := range u.attempts {
		if o := a.result.Outcome; o == Kept || o == Gone || o == Applied || !hasFrom(a.Change) || a.Key == nf.KeyRestart {
			continue // a restart is made where it was planned, and never to finish something
		}
		touched, err := n.make(ctx, a.Change, true)
		a.touched = a.touched || touched
		var no *refused
		switch {
		case err == nil:
			a.result.Error = ""
			a.end(Applied, nil, "finished, because it could not be undone: "+why)
		case errors.Is(err, nf.ErrGone):
			a.end(Gone, nil, goneReason)
		case errors.As(err, &no) && n.world.Reads(a.Change, a.From):
			a.end(Refused, nil, err.Error())
		default:
			a.end(Stuck, err, why)
		}
	}
}
