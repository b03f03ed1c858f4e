package apply

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"nfsync.dev/nfsync/internal/diff"
	"nfsync.dev/nfsync/internal/nf"
)

// changeTimeout bounds one change with the reads before and after it. Loading a
// module is the slowest change.
const changeTimeout = time.Minute

// node is a machine with the snapshot that the run has of it.
type node struct {
	machine Machine
	snap    *nf.Snapshot
	world   *diff.World
	ask     nf.Ask
	// instances are those of the targets when the run began: another instance of
	// the same id is another target. The keys of this and the maps below are
	// nameless targets.
	instances map[nf.Target]string
	// ended are the instances that this run has ended by a restart.
	ended map[nf.Target]string
	// latches are the instances in which any observation of this run showed
	// tracking on.
	latches map[nf.Target]nf.Latch
	timeout time.Duration
	// mu is held by whoever uses the run or the node while containers are changed side
	// by side; nil: only one goroutine does.
	mu *sync.Mutex
}

// newNode returns the node that a run begins with: a first snapshot, and what was
// asked for it.
func newNode(m Machine, s nf.Snapshot, ask nf.Ask, timeout time.Duration) *node {
	n := &node{machine: m, ask: ask, timeout: cmp.Or(timeout, changeTimeout), ended: map[nf.Target]string{}, latches: map[nf.Target]nf.Latch{}}
	n.setSnapshot(s)
	n.instances = make(map[nf.Target]string, len(s.Containers)+1)
	n.instances[nf.Node] = s.BootID
	for i := range s.Containers {
		n.instances[s.Containers[i].Target().Nameless()] = s.Containers[i].Instance
	}
	return n
}

// setSnapshot replaces the snapshot.
func (n *node) setSnapshot(s nf.Snapshot) {
	n.snap, n.world = &s, diff.NewWorld(&s)
	n.noteLatches()
}

// observeAgain lists and observes everything that was asked again.
func (n *node) observeAgain(ctx context.Context) error {
	s, err := observeWith(ctx, n.machine, n.snap.Memory, n.ask)
	if err == nil {
		n.setSnapshot(s)
	}
	return err
}

// observeWith observes a machine as Observe does, with a memory and a request that are known
// before.
func observeWith(ctx context.Context, m Machine, memory nf.Memory, ask nf.Ask) (nf.Snapshot, error) {
	return Observe(ctx, Live(m, Known(memory)), func(*nf.Snapshot) nf.Ask { return ask })
}

// checkInstance returns nf.ErrGone if the target is another instance than when the
// run began.
func (n *node) checkInstance(t nf.Target) error {
	now, found := n.snap.Instance(t)
	if was, ok := n.instances[t.Nameless()]; !ok || !found || was != now {
		return nf.ErrGone
	}
	return nil
}

// refresh reads again what the rules need about a change. For some changes of the
// node they need every container: if one has appeared since, everything is observed
// again.
func (n *node) refresh(ctx context.Context, c nf.Change) error {
	if err := n.checkInstance(c.Target); err != nil {
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

// read reads again what the rules need about a change.
func (n *node) read(ctx context.Context, c nf.Change) error {
	err := n.machine.Refresh(ctx, n.snap, c)
	diff.JudgeTracking(n.snap, c.Target)
	return err
}

// refused is the error of a change that a rule forbids just before it is made.
type refused struct{ refusal nf.Refusal }

func (r *refused) Error() string {
	return fmt.Sprintf("%s: %s", r.refusal.Code, r.refusal.Reason)
}

// movedError is the error of a write that succeeded although the value reads otherwise
// afterwards.
type movedError struct{ reads string }

func (e *movedError) Error() string {
	return fmt.Sprintf("the write succeeded, and the value reads %s afterwards: something else changes it, or the kernel ignores the write", e.reads)
}

// makeChange makes one change and reads it back. It does nothing if the value is as
// wanted already. touched reports whether the machine was asked to make it. If exact
// is set the value must be c.From; an undo does not set it, and does nothing if the
// value does not exist any more.
func (n *node) makeChange(ctx context.Context, c nf.Change, exact bool) (touched bool, err error) {
	// A change that has begun is finished even if the run is stopped.
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
		return false, errors.New("cannot read its value before the change, which could not be undone then")
	}
	if exact && !n.world.Reads(c, c.From) {
		return false, fmt.Errorf("changed since it was planned: it reads %s, and was %s", c.Key.Text(n.world.Value(c)), c.Key.Text(c.From))
	}
	if err := n.set(ctx, c); err != nil {
		return true, err
	}
	after, cancelAfter := context.WithTimeout(context.WithoutCancel(ctx), n.timeout)
	defer cancelAfter()
	if err := n.refresh(after, c); err != nil {
		return true, err
	}
	if !n.world.InSync(c) {
		return true, &movedError{c.Key.Text(n.world.Value(c))}
	}
	return true, nil
}

// set makes a change. While containers are changed side by side it lets others go on during
// the program that saves a level, which can take long: it then works on a snapshot of its
// own. What is written to the kernel takes no time.
func (n *node) set(ctx context.Context, c nf.Change) error {
	_, at, _ := n.snap.Find(c.Target)
	if n.mu == nil || at == nil || c.Layer != nf.LayerBoot {
		return n.machine.Set(ctx, n.snap, c)
	}
	own := nf.Snapshot{BootID: n.snap.BootID, Containers: []nf.Container{*at}}
	n.mu.Unlock()
	defer n.mu.Lock()
	return n.machine.Set(ctx, &own, c)
}

// complete returns a change with the value before it, which is read now, and that of a range
// as it is decided by that value; false if it cannot be read.
func (n *node) complete(ctx context.Context, c nf.Change) (nf.Change, bool) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), n.timeout)
	defer cancel()
	if err := n.refresh(ctx, c); err != nil {
		return c, false
	}
	if c.Range.IsRange() {
		c = n.world.Decide(c)
	} else {
		c.From = n.world.Value(c)
	}
	return c, hasFrom(c)
}

// vanished reports whether a kernel value does not exist any more, as its module
// was unloaded.
func (n *node) vanished(c nf.Change) bool {
	return c.Layer == nf.LayerLive && c.Key.Conntrack() && n.world.Reads(c, nf.Absent())
}

// inverse returns the change that undoes c.
func inverse(c nf.Change) nf.Change {
	c.From, c.To = c.To, c.From
	return c
}
