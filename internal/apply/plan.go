package apply

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"nfsync.dev/nfsync/internal/diff"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/state"
)

// Observer is a machine that is only observed.
type Observer interface {
	// List observes identities only: the node and its containers.
	List(ctx context.Context) (nf.Snapshot, error)
	// Observe observes the facts that are asked, of the containers that List
	// has returned.
	Observe(ctx context.Context, listed nf.Snapshot, ask nf.Ask) (nf.Snapshot, error)
}

// Facts is where the facts of a plan come from: Live or Recorded.
type Facts interface {
	Observer
	Labeler
	// Memory returns what nfsync remembers of earlier runs on the node. Where
	// this user may not read it the error is fs.ErrPermission.
	Memory() (nf.Memory, error)
}

// Live returns the facts of a machine, with what memory reads. Labels are those of a Labeler.
func Live(m Observer, memory func() (nf.Memory, error)) Facts { return live{m, memory} }

type live struct {
	Observer
	memory func() (nf.Memory, error)
}

func (l live) Memory() (nf.Memory, error) { return l.memory() }

// Observe also judges what was seen of tracking.
func (l live) Observe(ctx context.Context, listed nf.Snapshot, ask nf.Ask) (nf.Snapshot, error) {
	s, err := l.Observer.Observe(ctx, listed, ask)
	diff.JudgeTracking(&s, nf.Node)
	return s, err
}

// Label adds the labels of a machine that knows them.
func (l live) Label(ctx context.Context, listed *nf.Snapshot) { Label(ctx, l.Observer, listed) }

// Recorded returns the facts and the memory of a snapshot.
func Recorded(s nf.Snapshot) Facts { return recorded{s} }

type recorded struct{ snapshot nf.Snapshot }

func (r recorded) List(context.Context) (nf.Snapshot, error) { return r.snapshot, nil }

// Label adds nothing: a snapshot has its labels, or says why they are not known.
func (r recorded) Label(context.Context, *nf.Snapshot) {}

func (r recorded) Observe(context.Context, nf.Snapshot, nf.Ask) (nf.Snapshot, error) {
	return r.snapshot, nil
}

func (r recorded) Memory() (nf.Memory, error) { return r.snapshot.Memory, nil }

// MemoryOf returns a function that reads the memory of a state directory; nil is
// one that this user may not open.
func MemoryOf(d *state.Dir) func() (nf.Memory, error) {
	if d == nil {
		return func() (nf.Memory, error) { return nf.Memory{}, fs.ErrPermission }
	}
	return d.Memory
}

// Known returns a function that returns a memory that was read before.
func Known(m nf.Memory) func() (nf.Memory, error) {
	return func() (nf.Memory, error) { return m, nil }
}

// Observe lists the node's containers, observes what ask wants of them, and adds
// what nfsync remembers. Memory that this user may not read is a warning.
func Observe(ctx context.Context, f Facts, ask func(listed *nf.Snapshot) nf.Ask) (nf.Snapshot, error) {
	return observe(ctx, f, nil, nil, ask)
}

// Snapshot observes everything, as for the snapshot that a node publishes. Labels of containers
// are asked for as labels says, see Question. Where they are not, the snapshot says so.
func Snapshot(ctx context.Context, f Facts, labels LabelUse) (nf.Snapshot, error) {
	s, err := observe(ctx, f, nil, labels, func(*nf.Snapshot) nf.Ask { return nf.Ask{All: true} })
	if err == nil && !labels.of(&s) {
		markLabelsUnknown(&s)
	}
	return s, err
}

// observe observes the node with the containers that only names; nil: all.
func observe(ctx context.Context, f Facts, only func(*nf.Container) bool, labels LabelUse, ask func(listed *nf.Snapshot) nf.Ask) (nf.Snapshot, error) {
	listed, err := f.List(ctx)
	if err != nil {
		return nf.Snapshot{}, fmt.Errorf("cannot list the node's containers: %w", err)
	}
	if only != nil {
		listed.Containers = slices.DeleteFunc(listed.Containers, func(c nf.Container) bool { return !only(&c) })
	}
	if labels.of(&listed) {
		f.Label(ctx, &listed)
	}
	wanted := ask(&listed)
	wanted.NoBoot = only != nil
	s, err := f.Observe(ctx, listed, wanted)
	if err != nil {
		return nf.Snapshot{}, fmt.Errorf("cannot observe the node: %w", err)
	}
	s.Memory, err = f.Memory()
	if errors.Is(err, fs.ErrPermission) {
		s.Warnings = append(s.Warnings, nf.Warning{Code: nf.WarnMemoryUnreadable, Target: nf.Node,
			Message: "this user may not read what nfsync remembers of earlier runs: every difference counts as new"})
		err = nil
	}
	return s, err
}

// Question is the input of a plan: wants and facts.
type Question struct {
	Facts Facts
	// Wants resolves the policies for the node that was listed.
	Wants func(listed *nf.Snapshot) nf.Wants
	// Labels says whether Wants needs the labels of containers.
	Labels   LabelUse
	Revision string                   // the policies' commit, or empty
	Only     func(*nf.Container) bool // see Input
	// Restarts bounds the restarts of containers that a run may make.
	Restarts Restarts
	// Filter selects the wants. A target that it names and that does not exist is an error.
	Filter nf.Filter
	// Seen, if set, receives what Plan has seen.
	Seen func(Overview)
}

// Plan makes a plan. It changes nothing.
func Plan(ctx context.Context, q Question) (nf.Plan, error) {
	a, err := q.answer(ctx)
	if err == nil && q.Seen != nil {
		q.Seen(overview(a.snap.TakenAt, q.Only != nil, a.wants, &a.snap, diff.NewWorld(&a.snap)))
	}
	return a.plan, err
}

// answer is a plan with what it rests on.
type answer struct {
	wants nf.Wants
	ask   nf.Ask
	snap  nf.Snapshot
	plan  nf.Plan
}

func (q Question) answer(ctx context.Context) (a answer, err error) {
	var unknown error
	a.snap, err = observe(ctx, q.Facts, q.Only, q.Labels, func(listed *nf.Snapshot) nf.Ask {
		unknown = q.Filter.Check(listed)
		a.wants = q.Filter.Wants(q.Wants(listed))
		if q.Only != nil {
			a.wants.List = slices.DeleteFunc(a.wants.List, func(w nf.Want) bool { return w.Target.IsNode() })
		}
		a.wants.Restarts, a.wants.Revision = q.Restarts.now(), q.Revision
		a.ask = diff.Ask(a.wants)
		return a.ask
	})
	if err != nil || unknown != nil {
		return a, cmp.Or(unknown, err)
	}
	a.plan = diff.Plan(a.wants, &a.snap)
	a.plan.Warnings = q.Filter.Warnings(a.plan.Warnings)
	return a, nil
}
