package apply

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"nfsync.dev/nfsync/internal/diff"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/state"
)

// restartTimeout bounds the restart of one container: its services are given
// minutes to end, and its start loads a whole system. Package vz bounds the
// program that does it by ten minutes; its answer says more.
const restartTimeout = 10*time.Minute + changeTimeout

// endedReason is for live values of an instance that a restart has ended.
const endedReason = "the restart of its container has ended it: nothing of it is left"

// subject is the change whose value tells about c: of a restart, the level that
// it was to bring.
func subject(c nf.Change) nf.Change {
	if c.Key == nf.KeyRestart {
		c.Key = nf.KeyLevel
	}
	return c
}

// restart makes a change whose key is nf.KeyRestart. That the restart is about to
// be made is durable before it is: after a crash memory forbids another one for
// the same want, whatever has come of this one.
func (r *run) restart(ctx context.Context, a *attempt) error {
	n := r.node
	if there, err := n.beforeRestart(ctx, a.Change); err != nil || there {
		return err
	}
	before := r.memory.Restarts
	done := nf.RestartDone{Target: a.Target, Asked: a.Asked, Instance: n.instances[a.Target.Nameless()]}
	if err := r.saveRestarts(withRestart(before, done)); err != nil {
		return err
	}
	a.touched = true
	err := n.setRestart(ctx, a.Change, r.in.RestartTimeout)
	if errors.Is(err, nf.ErrGone) { // it was another instance, which was not touched
		return errors.Join(err, r.saveRestarts(before))
	}
	if err := n.afterRestart(ctx, a, err); err != nil {
		return err
	}
	if late := n.notBrought(a.Change); late != nil {
		r.late = append(r.late, *late)
		a.note = joined(late.Reason, a.note)
	}
	for _, other := range r.unitOf[a.Target].attempts {
		if other.touched && other.Layer == nf.LayerLive && other != a {
			other.result.Reason = endedReason + "; the next run makes it again"
		}
	}
	return nil
}

// saveRestarts makes the list of restarts durable at once.
func (r *run) saveRestarts(list []nf.RestartDone) error {
	m := r.memory
	m.Restarts = list
	if err := r.in.State.SaveMemory(m); err != nil {
		return err
	}
	r.memory = m
	return nil
}

// beforeRestart looks once more whether the restart is to be made: the rules say
// whether it would bring the level, and of this instance it must be, at the level
// that was planned. It is there already where the level is live.
func (n *node) beforeRestart(ctx context.Context, c nf.Change) (there bool, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), n.timeout)
	defer cancel()
	level := subject(c)
	if err := n.refresh(ctx, level); err != nil {
		return false, err
	}
	if n.world.InSync(level) {
		return true, nil
	}
	if r := n.world.Check(c); r != nil {
		return false, &refused{*r}
	}
	if !n.world.Reads(level, c.From) {
		return false, fmt.Errorf("changed meanwhile: its level reads %s, and was %s", n.world.Value(level), c.From)
	}
	return false, nil
}

func (n *node) setRestart(ctx context.Context, c nf.Change, timeout time.Duration) error {
	if timeout == 0 {
		timeout = restartTimeout
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer cancel()
	return n.machine.Set(ctx, n.snap, c)
}

// afterRestart looks what has come of a restart. The machine decides, not what
// the restart returned: a new instance that runs is a restart, and anything
// else is none.
func (n *node) afterRestart(ctx context.Context, a *attempt, returned error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), n.timeout)
	defer cancel()
	if err := n.read(ctx, a.Change); err != nil {
		return both(returned, err)
	}
	id := a.Target.Nameless()
	was, now := n.instances[id], n.instance(id)
	if why := n.unobservable(a.Target); why != "" {
		return &unseen{both(returned, fmt.Errorf("what has come of it cannot be read: %s", why))}
	}
	if now == was {
		return both(returned, errors.New("the container was not restarted: it is the same instance still"))
	}
	n.ended[id], n.instances[id] = was, now
	if now := n.state(a.Target); now != nf.StateRunning {
		return both(returned, fmt.Errorf("the container is %s after its restart was begun", now))
	}
	if returned != nil {
		a.note = "it runs again, although the restart ended with an error: " + returned.Error()
	}
	return nil
}

// unseen is a restart that was made, or may have been, and nobody can say. Its
// target is left as it is: what the next start brings is what is wanted.
type unseen struct{ error }

// notBrought is the refusal for a restart that was made and has not brought the
// level; nil where it has.
func (n *node) notBrought(c nf.Change) *nf.Refusal {
	level := subject(c)
	if n.world.InSync(level) {
		return nil
	}
	late := diff.NotBrought(c, n.world.Value(level))
	return &late
}

// planned is the instance of a target that the plan was made for.
func (n *node) planned(t nf.Target) string {
	if was, ended := n.ended[t.Nameless()]; ended {
		return was
	}
	return n.instances[t.Nameless()]
}

func (n *node) unobservable(t nf.Target) string {
	if _, c, ok := n.snap.Find(t); ok && c != nil {
		return c.Unobservable
	}
	return ""
}

func (n *node) state(t nf.Target) string {
	if _, c, ok := n.snap.Find(t); ok && c != nil {
		return c.State
	}
	return ""
}

// endedWithInstance tells whether a change was of an instance that a restart by
// this run has ended.
func (n *node) endedWithInstance(c nf.Change) bool {
	_, ended := n.ended[c.Target.Nameless()]
	return ended && c.Layer == nf.LayerLive
}

// keepRestart names a restart that was made, or may have been, although its
// target failed or the run was stopped.
func keepRestart(a *attempt, why string) {
	if a.result.Outcome != Failed {
		a.end(Kept, nil, joined(a.note, "a restart is never undone; "+why))
	}
}

// begun tells whether an interrupted run had begun a restart, or was about to:
// memory has its entry.
func begun(memory nf.Memory, i state.Intent) bool {
	return i.Key == nf.KeyRestart && slices.ContainsFunc(memory.Restarts, func(d nf.RestartDone) bool {
		return d.Target.Nameless() == i.Target.Nameless() && d.Asked == i.Asked && d.Instance == i.Instance
	})
}

// endRestarts says what has come of a restart in the middle of which, or after
// which, a run was cut.
func (n *node) endRestarts(u *unit) {
	for _, a := range u.attempts {
		if a.Key == nf.KeyRestart && a.result.Outcome == "" {
			n.endRestart(a)
		}
	}
}

func (n *node) endRestart(a *attempt) {
	switch now := n.state(a.Target); {
	case a.poised: // what is saved for it stays, and the next plan decides
		a.end(Skipped, nil, "the container is the same instance still")
	case now != nf.StateRunning:
		a.end(Kept, nil, fmt.Sprintf("the run was interrupted after it had begun to restart the container, which is %s now; nfsync starts no container", now))
	case n.world.InSync(subject(a.Change)):
		a.end(Applied, nil, "it was restarted, and its level reads as wanted")
	default:
		a.end(Applied, nil, fmt.Sprintf("it was restarted, and its level is %s all the same", n.world.Value(a.Change)))
	}
}

// withRestart is the list with an entry in the place of those of its target.
func withRestart(list []nf.RestartDone, done nf.RestartDone) []nf.RestartDone {
	list = slices.DeleteFunc(slices.Clone(list), func(d nf.RestartDone) bool { return d.Target.Nameless() == done.Target.Nameless() })
	list = append(list, done)
	slices.SortFunc(list, func(a, b nf.RestartDone) int { return a.Target.Compare(b.Target) })
	return list
}

// both is the second error, after the first one if there is any, in one line.
func both(first, second error) error {
	if first == nil {
		return second
	}
	return fmt.Errorf("%w; %w", first, second)
}

// joined is both texts, of which either may be empty.
func joined(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "; " + b
}
