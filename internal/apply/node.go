package apply

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"nfsync.dev/nfsync/internal/diff"
	"nfsync.dev/nfsync/internal/nf"
)

// changeTimeout bounds one change with the looks before and after it. Loading a
// module is the slowest of them.
const changeTimeout = time.Minute

// node is the machine and what is known of it.
type node struct {
	machine Machine
	snap    *nf.Snapshot
	world   *diff.World
	ask     nf.Ask
	// instances are the targets' when the run began: another instance of the
	// same id is another target. This and the maps below are by nameless target.
	instances map[nf.Target]string
	// ended are the instances that a restart by this run has ended.
	ended map[nf.Target]string
	// latches are where tracking was seen on, in any of the looks.
	latches map[nf.Target]nf.Latch
	timeout time.Duration
}

// newNode returns a node that was observed for the first time, with what was
// asked of it.
func newNode(m Machine, s nf.Snapshot, ask nf.Ask, timeout time.Duration) *node {
	n := &node{machine: m, ask: ask, timeout: cmp.Or(timeout, changeTimeout), ended: map[nf.Target]string{}, latches: map[nf.Target]nf.Latch{}}
	n.hold(s)
	n.instances = map[nf.Target]string{nf.Node: s.BootID}
	for i := range s.Containers {
		n.instances[s.Containers[i].Target().Nameless()] = s.Containers[i].Instance
	}
	return n
}

// hold takes a snapshot as what is known of the machine.
func (n *node) hold(s nf.Snapshot) {
	n.snap, n.world = &s, diff.NewWorld(&s)
	n.noteLatches()
}

// observeAgain observes all that was asked, anew.
func (n *node) observeAgain(ctx context.Context) error {
	memory := func() (nf.Memory, error) { return n.snap.Memory, nil }
	s, err := Observe(ctx, Live(n.machine, memory), func(*nf.Snapshot) nf.Ask { return n.ask })
	if err == nil {
		n.hold(s)
	}
	return err
}

// instance is that of a target now; empty where it has vanished.
func (n *node) instance(t nf.Target) string {
	if t.IsNode() {
		return n.snap.BootID
	}
	if _, c, ok := n.snap.Find(t); ok {
		return c.Instance
	}
	return ""
}

// here is nf.ErrGone where the target is not what it was when the run began.
func (n *node) here(t nf.Target) error {
	if was, ok := n.instances[t.Nameless()]; !ok || was != n.instance(t) {
		return nf.ErrGone
	}
	return nil
}

// refresh re-reads what a change is about. The rules for the node look at every
// container: where they cannot be answered for, because one has appeared since,
// all is observed anew.
func (n *node) refresh(ctx context.Context, c nf.Change) error {
	if err := n.here(c.Target); err != nil {
		return err
	}
	err := n.read(ctx, c)
	if err == nil || errors.Is(err, nf.ErrGone) || !c.Target.IsNode() {
		return err
	}
	if err := n.observeAgain(ctx); err != nil {
		return err
	}
	return n.read(ctx, c)
}

// read re-reads what a change is about, and judges what was seen of tracking.
func (n *node) read(ctx context.Context, c nf.Change) error {
	err := n.machine.Refresh(ctx, n.snap, c)
	diff.JudgeTracking(n.snap, c.Target)
	return err
}

// refused is a rule's no at the last moment.
type refused struct{ refusal nf.Refusal }

func (r *refused) Error() string {
	return fmt.Sprintf("%s: %s", r.refusal.Code, r.refusal.Reason)
}

// make makes one change, or nothing where the value reads as wanted already. It
// is touched from the moment on where the machine was told. Where it is exact,
// the value must be the one that the change starts from; an undo is not, and
// has nothing to do where there is no value any more.
func (n *node) make(ctx context.Context, c nf.Change, exact bool) (touched bool, err error) {
	// A change that is under way is finished even if the run is to stop.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), n.timeout)
	defer cancel()
	if err := n.refresh(ctx, c); err != nil {
		return false, err
	}
	if n.world.InSync(c) || !exact && n.vanished(c) {
		return false, nil
	}
	if r := n.world.Check(c); r != nil {
		return false, &refused{*r}
	}
	if !hasFrom(c) {
		return false, errors.New("its value before cannot be read, so that it could not be put back")
	}
	if exact && !n.world.Reads(c, c.From) {
		return false, fmt.Errorf("changed meanwhile: it reads %s, and was to be changed from %s", n.world.Value(c), c.From)
	}
	if err := n.machine.Set(ctx, n.snap, c); err != nil {
		return true, err
	}
	if err := n.refresh(ctx, c); err != nil {
		return true, err
	}
	if !n.world.InSync(c) {
		return true, fmt.Errorf("the kernel took the write and kept %s", n.world.Value(c))
	}
	return true, nil
}

// from re-reads the value of a change's key before the change; false where that
// cannot be read.
func (n *node) from(ctx context.Context, c nf.Change) (nf.Value, bool) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), n.timeout)
	defer cancel()
	if err := n.refresh(ctx, c); err != nil {
		return nf.Value{}, false
	}
	c.From = n.world.Value(c)
	return c.From, hasFrom(c)
}

// vanished reports whether a kernel value does not exist any more: its module was
// unloaded, and nothing is left of what was done to it.
func (n *node) vanished(c nf.Change) bool {
	return c.Layer == nf.LayerLive && c.Key.Conntrack() && n.world.Reads(c, nf.Absent())
}

// inverse is the change that undoes c.
func inverse(c nf.Change) nf.Change {
	c.From, c.To = c.To, c.From
	return c
}
