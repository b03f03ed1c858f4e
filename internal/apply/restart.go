package apply

import (
	"cmp"
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

// asLevel returns the change whose value shows whether c was made: for a restart,
// that of the level which it is to bring.
func asLevel(c nf.Change) nf.Change {
	if c.Key == nf.KeyRestart {
		c.Key = nf.KeyLevel
	}
	return c
}

// restart makes a change whose key is nf.KeyRestart. Memory has an entry for the
// restart before it is made: after a crash that forbids another one for the same
// want, whatever came of this one.
func (r *run) restart(ctx context.Context, a *attempt) error {
	n := r.node
	if live, err := n.beforeRestart(ctx, a.Change); err != nil || live {
		return err
	}
	// It was allowed when it was planned. The changes and restarts before it took time.
	if why := cmp.Or(diff.LeftDown(n.snap, r.stuck), r.in.Restarts.held(r.longest)); why != "" {
		return &heldRestart{why}
	}
	before := r.memory.Restarts
	if err := r.saveRestarts(withRestart(before, n.begunRestart(a))); err != nil {
		return err
	}
	a.touched = true
	began := r.in.Now()
	err := n.setRestart(ctx, a.Change, r.in.RestartTimeout)
	r.longest = max(r.longest, r.in.Now().Sub(began))
	if !errors.Is(err, nf.ErrGone) { // else another instance was there, and was not touched
		err = n.afterRestart(ctx, a, err)
	}
	var unmade *unmadeRestart
	switch {
	case errors.Is(err, nf.ErrGone), errors.As(err, &unmade): // it does not count
		return errors.Join(err, r.saveRestarts(before))
	case err != nil:
		return err
	}
	if refusal := n.levelNotBrought(a.Change); refusal != nil {
		r.refused = append(r.refused, *refusal)
		a.note = joinReasons(refusal.Reason, a.note)
	}
	return nil
}

// heldRestart is the error of a restart that was planned and may not begin any more.
type heldRestart struct{ why string }

func (h *heldRestart) Error() string { return "it may not begin any more: " + h.why }

// begunRestart returns the entry of a restart that is about to be made.
func (n *node) begunRestart(a *attempt) nf.RestartDone {
	done := nf.RestartDone{Target: a.Target, Asked: a.Asked, Instance: n.instances[a.Target.Nameless()], State: nf.RestartBegun}
	if _, c, ok := n.snap.Find(a.Target); ok && c != nil {
		done.UUID = c.UUID
	}
	return done
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

// beforeRestart checks once more that the restart may be made: by the rules, of
// the instance that was planned, and from the level that was planned. live reports
// that the wanted level is live already.
func (n *node) beforeRestart(ctx context.Context, c nf.Change) (live bool, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), n.timeout)
	defer cancel()
	level := asLevel(c)
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
		return false, fmt.Errorf("changed since it was planned: its level reads %s, and was %s", n.world.Value(level), c.From)
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

// afterRestart checks what came of a restart. The machine decides, not the error
// that Set returned: only a new instance that runs is a restart.
func (n *node) afterRestart(ctx context.Context, a *attempt, returned error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), n.timeout)
	defer cancel()
	if err := n.read(ctx, a.Change); err != nil {
		return afterError(returned, err)
	}
	id := a.Target.Nameless()
	was := n.instances[id]
	now, _ := n.snap.Instance(id)
	if why := n.unobservable(a.Target); why != "" {
		return &unknownRestart{afterError(returned, fmt.Errorf("cannot determine what came of it: %s", why))}
	}
	if now == was {
		return &unmadeRestart{afterError(returned, errors.New("the container was not restarted: it is still the same instance"))}
	}
	n.ended[id], n.instances[id] = was, now
	if now := n.state(a.Target); now != nf.StateRunning {
		return &downRestart{afterError(returned, fmt.Errorf("the container is %s after its restart was begun", now))}
	}
	a.restarted = true
	if returned != nil {
		a.note = "it runs again, although the restart ended with an error: " + returned.Error()
	}
	return nil
}

// unmadeRestart is the error of a restart that was not made: the program has ended, and the
// container is the same instance.
type unmadeRestart struct{ error }

func (u *unmadeRestart) Unwrap() error { return u.error }

// unknownRestart is the error of a restart that may have been made, or still goes on. Its
// target is left as it is: the next start brings what is wanted.
type unknownRestart struct{ error }

// downRestart is the error of a restart that has left its container down.
type downRestart struct{ error }

// leftDown is the reason of a restart after which the container was not seen to run. A person
// has to look at it.
const leftDown = "nfsync starts no container, and restarts no other one until this one runs again, or a person has accepted that it does not (nfsync recover --accept)"

// levelNotBrought returns the refusal for a restart that was made and has not brought the
// level; nil where it has.
func (n *node) levelNotBrought(c nf.Change) *nf.Refusal {
	level := asLevel(c)
	if n.world.InSync(level) {
		return nil
	}
	refusal := n.world.NotBrought(c)
	return &refusal
}

// plannedInstance returns the instance of a target that the plan was made for.
func (n *node) plannedInstance(t nf.Target) string {
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

// endedWithInstance reports whether a change was made in an instance that a restart has
// ended.
func (n *node) endedWithInstance(a *attempt) bool {
	return a.Layer == nf.LayerLive && a.instance != n.instances[a.Target.Nameless()]
}

// keepRestart ends the attempt of a restart that was made, or may have been,
// although its target failed or the run was stopped.
func (n *node) keepRestart(a *attempt, why string) {
	switch {
	case a.result.Outcome == Failed, a.result.Outcome == Stuck:
	case n.state(a.Target) != nf.StateRunning:
		n.endDown(a)
	default:
		a.end(Kept, nil, joinReasons(a.note, "a restart is never undone; "+why))
	}
}

// endDown ends the attempt of a restart during which a run was interrupted, and after which
// the container does not run.
func (n *node) endDown(a *attempt) {
	if _, _, exists := n.snap.Find(a.Target); !exists {
		a.end(Gone, nil, goneReason)
		return
	}
	a.end(Stuck, fmt.Errorf("the run was interrupted after it had begun to restart the container, which is %s now", n.state(a.Target)), leftDown)
}

// restartRecorded reports whether memory has the entry of a restart: the
// interrupted run had begun it, or was about to.
func restartRecorded(memory nf.Memory, i state.Intent) bool {
	return i.Key == nf.KeyRestart && slices.ContainsFunc(memory.Restarts, func(d nf.RestartDone) bool {
		return d.Target.Nameless() == i.Target.Nameless() && d.Asked == i.Asked && d.Instance == i.Instance
	})
}

// endRestarts ends the attempts of restarts during or after which a run was
// interrupted.
func (n *node) endRestarts(u *unit) {
	for _, a := range u.attempts {
		if a.Key == nf.KeyRestart && a.result.Outcome == "" {
			n.endRestart(a)
		}
	}
}

func (n *node) endRestart(a *attempt) {
	switch {
	case a.aboutToRestart: // what is saved for it stays, and the next plan decides
		a.end(Skipped, nil, "the container is still the same instance")
	case n.state(a.Target) != nf.StateRunning:
		n.endDown(a)
	case n.world.InSync(asLevel(a.Change)):
		a.restarted = true
		a.end(Applied, nil, "it was restarted, and its level reads as wanted")
	default:
		a.end(Applied, nil, fmt.Sprintf("it was restarted, and its level is still %s", n.world.Value(a.Change)))
	}
}

// withRestart returns the list with an entry instead of those of its target.
func withRestart(list []nf.RestartDone, done nf.RestartDone) []nf.RestartDone {
	list = slices.DeleteFunc(slices.Clone(list), func(d nf.RestartDone) bool { return d.Target.Nameless() == done.Target.Nameless() })
	list = append(list, done)
	slices.SortFunc(list, func(a, b nf.RestartDone) int { return a.Target.Compare(b.Target) })
	return list
}

// afterError returns the second error, behind the first one if there is any, in one
// line.
func afterError(first, second error) error {
	if first == nil {
		return second
	}
	return fmt.Errorf("%w; %w", first, second)
}

// joinReasons joins two texts, either of which may be empty.
func joinReasons(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "; " + b
}
