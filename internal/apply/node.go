package apply

import (
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

// observe looks at the machine for the first time.
func observe(ctx context.Context, m Machine, ask nf.Ask, memory nf.Memory, timeout time.Duration) (*node, error) {
	if timeout == 0 {
		timeout = changeTimeout
	}
	n := &node{machine: m, ask: ask, timeout: timeout, ended: map[nf.Target]string{}, latches: map[nf.Target]nf.Latch{}}
	if err := n.look(ctx, memory); err != nil {
		return nil, err
	}
	n.instances = map[nf.Target]string{nf.Node: n.snap.BootID}
	for i := range n.snap.Containers {
		n.instances[n.snap.Containers[i].Target().Nameless()] = n.snap.Containers[i].Instance
	}
	return n, nil
}

// look observes what was asked.
func (n *node) look(ctx context.Context, memory nf.Memory) error {
	s, err := n.machine.Observe(ctx, n.ask)
	if err != nil {
		return fmt.Errorf("cannot observe the node: %w", err)
	}
	s.Memory = memory
	n.snap, n.world = &s, diff.NewWorld(&s)
	n.noteTracking()
	return nil
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
	err := n.machine.Refresh(ctx, n.snap, c)
	if err == nil || errors.Is(err, nf.ErrGone) || !c.Target.IsNode() {
		return err
	}
	if err := n.look(ctx, n.snap.Memory); err != nil {
		return err
	}
	return n.machine.Refresh(ctx, n.snap, c)
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
	if exact && !n.reads(c, c.From) {
		return false, fmt.Errorf("changed meanwhile: it reads %s, and was to be changed from %s", n.value(c), c.From)
	}
	if err := n.machine.Set(ctx, c); err != nil {
		return true, err
	}
	if err := n.refresh(ctx, c); err != nil {
		return true, err
	}
	if !n.world.InSync(c) {
		return true, fmt.Errorf("the kernel took the write and kept %s", n.value(c))
	}
	return true, nil
}

// read re-reads what a change's key is now; false where that cannot be told.
func (n *node) read(ctx context.Context, c nf.Change) (nf.Value, bool) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), n.timeout)
	defer cancel()
	if err := n.refresh(ctx, c); err != nil {
		return nf.Value{}, false
	}
	c.From = n.value(c)
	return c.From, hasFrom(c)
}

// reads tells whether a value reads as another, as the snapshot has it.
func (n *node) reads(c nf.Change, v nf.Value) bool {
	c = subject(c)
	return n.world.Reads(c, v) || n.value(c) == v
}

// vanished tells whether a kernel value is not there any more: its module was
// unloaded, and nothing is left of what was done to it.
func (n *node) vanished(c nf.Change) bool {
	return c.Layer == nf.LayerLive && c.Key.Conntrack() && n.world.Reads(c, nf.Absent())
}

// value is what the snapshot has of a change's key.
func (n *node) value(c nf.Change) nf.Value {
	c = subject(c)
	if c.Layer == nf.LayerBoot && c.Target.IsNode() {
		return n.boot(c.Key)
	}
	if name, ok := c.Key.Module(); ok {
		return n.module(name, c)
	}
	ns, container, ok := n.snap.Find(c.Target)
	switch {
	case !ok:
		return nf.Unknown("the target is gone")
	case container != nil && container.Unobservable != "":
		return nf.Unknown(container.Unobservable)
	}
	f := ns.Fact(c.Key)
	switch {
	case c.Layer != nf.LayerBoot:
		return f.Live
	case f.Boot != nil:
		return *f.Boot
	}
	return nf.Absent()
}

// boot is what nfsync's own boot files hold of a key of the node.
func (n *node) boot(k nf.Key) nf.Value {
	if why := n.snap.Capabilities.BootUnknown; why != "" {
		return nf.Unknown(why)
	}
	boot := n.snap.Host.Fact(k).Boot
	if name, ok := k.Module(); ok {
		boot = nil
		if m, ok := n.snap.Modules.Find(name); ok {
			boot = m.Boot
		}
	}
	if boot == nil {
		return nf.Absent()
	}
	return *boot
}

// module is a module's state, with the parameters that the change names.
func (n *node) module(name string, c nf.Change) nf.Value {
	m, ok := n.snap.Modules.Find(name)
	if !ok {
		return nf.Absent()
	}
	var names []string
	_, params, _ := c.To.Module()
	for p := range params {
		names = append(names, p)
	}
	return m.Value(names)
}

// inverse is the change that undoes c.
func inverse(c nf.Change) nf.Change {
	c.From, c.To = c.To, c.From
	return c
}
