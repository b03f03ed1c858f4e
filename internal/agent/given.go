package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/nf"
)

// errObserves is why a lap for born containers is not made by an agent with mode: observe.
var errObserves = errors.New("the mode is observe")

// suspendedError is why a lap for born containers is not made by a suspended agent: the reason that a
// person has given.
type suspendedError string

func (e suspendedError) Error() string { return "the agent is suspended: " + string(e) }

// whyIdle returns why an agent makes no changes, if its mode or a person has said so; else it is empty.
func whyIdle(err error) string {
	if errors.Is(err, errObserves) || isType[suspendedError](err) {
		return err.Error()
	}
	return ""
}

// awaited is a call of Birth that waits for a lap.
type awaited struct {
	container nf.Container
	birth     chan nf.Birth
}

// Birth makes a lap for a container that a hook gives, and returns what became of the container when the
// lap has ended. The error is that of ctx, or says why the container is not known.
func (a *Agent) Birth(ctx context.Context, g nf.Given) (nf.Birth, error) {
	a.mu.Lock()
	given := a.given
	a.mu.Unlock()
	if given == nil {
		return nf.Birth{NotReady: true}, nil
	}
	c, nothing, err := given(g)
	if err != nil || nothing != "" {
		return nf.Birth{Nothing: nothing}, err
	}
	w := &awaited{c, make(chan nf.Birth, 1)}
	a.mu.Lock()
	a.births[w] = true
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.births, w)
	}()
	a.tables.give(c)
	a.loop.WakeBirth(c)
	select {
	case b := <-w.birth:
		return b, nil
	case <-ctx.Done():
		return nf.Birth{}, ctx.Err()
	}
}

// answerBirths answers the calls of Birth that wait for a lap for born containers.
func (a *Agent) answerBirths(r Report) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for w := range a.births {
		of := func(b nf.Container) bool {
			return b.Target().Nameless() == w.container.Target().Nameless() && b.Instance == w.container.Instance
		}
		if slices.ContainsFunc(r.Trip.Born, of) {
			w.birth <- born(&w.container, a.tables.known(), r.Result, r.Err)
			delete(a.births, w)
		}
	}
}

// born returns what a lap has made of a container, given the containers that it has listed.
func born(c *nf.Container, listed []nf.Container, res Result, err error) nf.Birth {
	b := nf.Birth{Container: c.Target().String()}
	if errors.Is(err, errOfOthers) {
		err = nil // the listing says which ones
	}
	switch {
	case whyIdle(err) != "":
		b.Nothing = whyIdle(err)
	case errors.Is(err, errNotEnforced):
		b.NotReady = true
	case err != nil:
		b.Problems = []string{err.Error()}
	}
	if err != nil {
		return b
	}
	if b.Nothing, b.Problems = whyUnlisted(c, listed); b.Nothing != "" || b.Problems != nil {
		return b
	}
	is := func(t nf.Target) bool { return t.Nameless() == c.Target().Nameless() }
	problem := func(key nf.Key, why string) { b.Problems = append(b.Problems, fmt.Sprintf("%s: %s", key, why)) }
	for _, r := range res.Receipt.Results {
		switch {
		case !is(r.Target):
		case r.Outcome == apply.Applied:
			b.Changes++
		default:
			problem(r.Key, fmt.Sprintf("%s: %s", r.Outcome, whyOf(r)))
		}
	}
	for _, r := range res.Receipt.Refusals {
		if is(r.Target) {
			problem(r.Key, fmt.Sprintf("refused: %s (%s)", r.Reason, r.Code))
		}
	}
	for _, s := range res.Receipt.Stuck {
		if is(s.Target) {
			problem(s.Key, "could be neither made nor undone: "+s.Why)
		}
	}
	return b
}

// whyUnlisted returns why a container was not listed: it is in the namespace of another one, which has its
// values already, or it was not found. Both are empty for one that was.
func whyUnlisted(c *nf.Container, listed []nf.Container) (nothing string, problems []string) {
	for i := range listed {
		switch o := &listed[i]; {
		case o.Instance != c.Instance, isFileOf(o, c):
		case o.Target().Nameless() == c.Target().Nameless():
			return "", nil
		default:
			nothing = "it is in the network namespace of " + o.Target().String()
		}
	}
	if nothing != "" {
		return nothing, nil
	}
	return "", []string{"it was not found when the containers of the node were listed"}
}

// whyOf returns why a change was not made.
func whyOf(r apply.Result) string {
	if r.Error != "" {
		return r.Error
	}
	if r.Reason != "" {
		return r.Reason
	}
	return "the container is not there any more"
}

// BirthLap makes the last good revision the state of one container that a hook gives, where no agent runs,
// and returns what became of the container. The revision is that of in.Apply.State. The error is as that
// of Lap: apply.ErrLocked if another nfsync is at work.
func BirthLap(ctx context.Context, in In, c nf.Container) (nf.Birth, error) {
	trip := Trip{Born: []nf.Container{c}}
	in.Fetch, in.Apply.Routine, in.Apply.Only = nil, true, trip.isFor
	lister := &givenLister{Machine: in.Apply.Machine, born: trip.Born}
	in.Apply.Machine = lister
	res, err := Lap(ctx, in)
	if err != nil {
		return nf.Birth{}, err
	}
	if res.Receipt.Kind == "" {
		return nf.Birth{Container: c.Target().String(), Nothing: "there is no last good revision"}, nil
	}
	return born(&c, lister.listed, res, nil), nil
}

// givenLister is the machine of BirthLap. It lists the container alone, if the machine can, and if that is
// not another name of a container that is there already.
type givenLister struct {
	apply.Machine
	born   []nf.Container
	listed []nf.Container // by the last List
}

func (l *givenLister) List(ctx context.Context) (nf.Snapshot, error) {
	s, err := l.list(ctx)
	l.listed = identities(s.Containers)
	return s, err
}

func (l *givenLister) list(ctx context.Context) (nf.Snapshot, error) {
	all, err := l.Machine.List(ctx)
	m, can := l.Machine.(bornMachine)
	if err != nil || !can {
		return all, err
	}
	s, ok, err := m.ListBorn(ctx, l.born)
	if err != nil || !ok || haveOther(all.Containers, s.Containers) {
		return all, err
	}
	return s, nil
}
