package agent

import (
	"context"
	"errors"
	"slices"
	"time"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/nf"
)

// errOfOthers is why a lap for born containers alone does not settle them.
var errOfOthers = errors.New("a container that was born is one of another runtime, or has gone")

// errNotEnforced is why a lap for born containers alone cannot be made.
var errNotEnforced = errors.New("the last lap has not enforced a revision")

// birthLap gives containers that were born their values, and observes no other container. Where
// that does not settle them, it wakes a lap for the whole node.
func (a *Agent) birthLap(ctx context.Context, t Trip) (s Schedule, unreachable bool) {
	r := Report{Trip: t, Started: time.Now()}
	r.Result, r.Err = a.runBirth(ctx, t)
	r.Finished, r.Stopped = time.Now(), ctx.Err() != nil
	a.birth = &r
	a.answerBirths(r)
	if !r.settled() {
		a.Wake(WakeContainer)
		time.AfterFunc(stateWritten, func() { a.Wake(WakeContainer) })
	}
	return s, false
}

// stateWritten is the time after which a runtime has written the state of a container that was born.
// Before that a lap for the whole node may not see it.
const stateWritten = 5 * time.Second

// settled reports whether a lap for born containers has settled them.
func (r Report) settled() bool {
	receipt := r.Result.Receipt
	undecided := slices.ContainsFunc(receipt.Warnings, func(w nf.Warning) bool { return w.Code == nf.WarnLabelsUnknown })
	return r.Err == nil && !undecided && receipt.Verdict() != apply.RolledBack && receipt.Verdict() != apply.Unsettled
}

func (a *Agent) runBirth(ctx context.Context, t Trip) (Result, error) {
	if a.setup == nil {
		return Result{}, errNotEnforced
	}
	in := a.setup.Lap
	var err error
	if in.Apply, err = a.setup.Apply(); err != nil {
		return Result{}, err
	}
	switch suspension, err := a.suspensionNow(in.Apply); {
	case err != nil:
		return Result{}, err
	case suspension != nil:
		return Result{}, suspendedError(suspension.Reason)
	case in.Observe:
		return Result{}, errObserves
	case a.enforced == nil || a.suspended:
		return Result{}, errNotEnforced
	}
	j, err := newJudge(in.Apply, false)
	if err != nil {
		return Result{}, err
	}
	in.Fleet = a.reporter.Follower()
	in.Fetch, in.Known, in.Apply.Routine, in.Apply.Only = nil, *a.enforced, true, t.isFor
	in.Apply.Seen, in.Apply.Late = a.saw, a.lateness(in.Apply.Machine)
	born := &bornLister{lister: lister{in.Apply.Machine, a.tables}, born: t.Born}
	in.Apply.Machine = born
	in.Apply.Restarts = a.whileAllowed(in.Apply)
	j.partial = true
	in.Apply = j.input(in.Apply)
	var res Result
	if a.setup.Directory != nil {
		res, err = a.enforceDirectory(ctx, in, Result{Revision: *a.enforced})
	} else {
		res, err = Lap(ctx, in)
	}
	if err == nil && born.others {
		err = errOfOthers
	}
	return res, err
}

// bornMachine is a machine that can list containers that were born alone.
type bornMachine interface {
	ListBorn(ctx context.Context, born []nf.Container) (s nf.Snapshot, ok bool, err error)
}

// beginner is a machine that knows whether a container runs its program already.
type beginner interface {
	HasBegun(c *nf.Container) bool
}

// lateness returns what apply.Input.Late is for a lap that begins now.
func (a *Agent) lateness(m apply.Machine) func(*nf.Container) bool {
	b, can := m.(beginner)
	known := a.tables.instances()
	if !can || known == nil {
		return nil
	}
	return func(c *nf.Container) bool { return !known(c.Instance) && b.HasBegun(c) }
}

// bornLister is the machine of a lap for born containers. It lists these alone, if it can, and if
// none of them is another name of a container that was there before.
type bornLister struct {
	lister
	born   []nf.Container
	others bool // one of them was not listed or observed: another runtime has it, or it has gone
}

func (l *bornLister) List(ctx context.Context) (nf.Snapshot, error) {
	s, err := l.list(ctx)
	l.others = err == nil && l.lack(s)
	return s, err
}

// Observe is Observe of the machine, which leaves out a container that has gone. A process that ends while
// its container is being made looks like that.
func (l *bornLister) Observe(ctx context.Context, listed nf.Snapshot, ask nf.Ask) (nf.Snapshot, error) {
	s, err := l.lister.Observe(ctx, listed, ask)
	l.others = l.others || err == nil && l.lack(s)
	return s, err
}

// lack reports whether a snapshot lacks a container that was born.
func (l *bornLister) lack(s nf.Snapshot) bool {
	return slices.ContainsFunc(l.born, func(b nf.Container) bool {
		return !slices.ContainsFunc(s.Containers, func(c nf.Container) bool { return is(&c, &b) })
	})
}

func (l *bornLister) list(ctx context.Context) (nf.Snapshot, error) {
	m, can := l.Machine.(bornMachine)
	if !can {
		return l.lister.List(ctx)
	}
	s, ok, err := m.ListBorn(ctx, l.born)
	if err != nil || !ok || l.tables.haveOther(s.Containers) {
		return l.lister.List(ctx)
	}
	l.tables.addListed(s)
	return s, nil
}

// isFor reports whether a container is one that was born.
func (t Trip) isFor(c *nf.Container) bool {
	return slices.ContainsFunc(t.Born, func(b nf.Container) bool { return is(c, &b) })
}

// is reports whether a container is one that was born.
func is(c, born *nf.Container) bool {
	return c.Runtime == born.Runtime && (c.ID == born.ID || c.Runtime == nf.RuntimeNetns && slices.Contains(c.Aliases, born.ID))
}

// afterBirth returns the status after a lap for born containers that has settled them, given the
// one before it and the last lap for the whole node. What that has found of other targets stays.
func afterBirth(was nf.NodeStatus, whole, r Report) nf.NodeStatus {
	s := was
	r.found(&s)
	born := map[nf.Target]bool{}
	for i := range r.Trip.Born {
		born[r.Trip.Born[i].Target().Nameless()] = true
	}
	s.Changes = replace(was.Changes, s.Changes, born, func(c nf.Change) nf.Target { return c.Target })
	s.Refusals = replace(was.Refusals, s.Refusals, born, func(x nf.Refusal) nf.Target { return x.Target })
	s.Pending = replace(was.Pending, s.Pending, born, func(p nf.Pending) nf.Target { return p.Target })
	s.Warnings, s.Stuck = was.Warnings, was.Stuck
	s.Summary = &nf.Summary{Changes: len(s.Changes), Refusals: len(s.Refusals), Pending: len(s.Pending), InSync: was.Summary.InSync + s.Summary.InSync}
	s.UpdatedAt, s.LastLap = r.Finished, r.lap()
	s.Conditions = conditions(&s, whole)
	transitions(was.Conditions, s.Conditions, r.Finished)
	return s
}

// replace returns a list with the entries of some targets replaced by those of a newer list.
func replace[E any](was, is []E, targets map[nf.Target]bool, target func(E) nf.Target) []E {
	return append(slices.DeleteFunc(slices.Clone(was), func(e E) bool { return targets[target(e).Nameless()] }), is...)
}
