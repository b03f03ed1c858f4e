package host

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"nfsync.dev/nfsync/internal/nf"
)

// Set sets the change's key to the value To on its target. It does not read From,
// and does not update the snapshot. To undo a change, set its From. A nil error
// does not prove that the value was set: Refresh reads it back.
//
// In the boot layer, the level of a container is the level of its next cold start.
// The key restart makes such a start, whatever To is.
//
// Set returns nf.ErrGone if the container is another instance than that of the
// snapshot, and nf.ErrNodeScope if a container's conntrack.max turned out to be the
// node's.
func (m *Machine) Set(ctx context.Context, s *nf.Snapshot, c nf.Change) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	name, module := c.Key.Module()
	n, number := c.To.Number()
	switch {
	case c.Layer == nf.LayerBoot && c.Target.IsNode():
		return m.saveBoot(c)
	case c.Layer == nf.LayerBoot && c.Target.Runtime == nf.RuntimeVZ && c.Key == nf.KeyLevel:
		return m.saveLevel(ctx, s, c)
	case c.Layer == nf.LayerBoot:
		return fmt.Errorf("cannot save %s of %s: nothing stores it for the next start", c.Key, c.Target)
	case module && c.Target.IsNode():
		return m.setModule(ctx, &s.Modules, name, c.To)
	case c.Key == nf.KeyRestart && c.Target.Runtime == nf.RuntimeVZ:
		return m.restart(ctx, s, c.Target)
	case c.Key.Conntrack() && number && c.Target.IsNode():
		return m.inNode(func() error { return m.cfg.FS.SetSysctl(c.Key, n) })
	case c.Key.Conntrack() && number:
		return m.setContainer(s, c, n)
	}
	return fmt.Errorf("cannot set %s of %s to %s: no such change", c.Key, c.Target, c.To)
}

// setModule loads or unloads exactly the named module. If it is loaded already, the
// parameters that differ are set.
func (m *Machine) setModule(ctx context.Context, observed *nf.Modules, name string, to nf.Value) error {
	state, params, _ := to.Module()
	switch state {
	case nf.ModuleUnloaded:
		return m.cfg.FS.UnloadModule(name)
	case nf.ModuleLoaded:
	default:
		return fmt.Errorf("cannot set module %s to %s: no such change", name, to)
	}
	fact, ok, err := m.readModule(observed, name)
	if err != nil {
		return err
	}
	if !ok || fact.State == nf.ModuleUnloaded {
		return m.cfg.FS.LoadModule(ctx, name, params)
	}
	for _, p := range slices.Sorted(maps.Keys(params)) {
		if fact.Parameters[p].Value == params[p] {
			continue
		}
		if err := m.cfg.FS.SetParameter(fact.Name, p, params[p]); err != nil {
			return err
		}
	}
	return nil
}

func (m *Machine) setContainer(s *nf.Snapshot, c nf.Change, n int64) error {
	at, err := containerOf(s, c.Target)
	if err != nil {
		return err
	}
	in := func(f func() error) error { return m.inContainer(nil, s.BootID, at, f) }
	if c.Key != nf.KeyMax {
		if ok, err := m.writeOpen(s.BootID, at, c.Key, n); ok || err != nil {
			return err
		}
		return in(func() error { return m.cfg.FS.SetSysctl(c.Key, n) })
	}
	return setLimit(limit{m.cfg.FS, in}, limit{m.cfg.FS, m.inNode}, n)
}

// writeOpen writes a value through the open file of a container; false if there is none.
func (m *Machine) writeOpen(bootID string, at *nf.Container, k nf.Key, n int64) (ok bool, err error) {
	if at.Runtime == nf.RuntimeVZ || !m.cfg.Cache.has(at.Instance) {
		return false, nil
	}
	if err := m.check(bootID, at); err != nil {
		return false, err
	}
	return m.cfg.Cache.write(at.Instance, k, n)
}

// sysctls reads and writes conntrack values of the calling thread's network
// namespace; kernel.FS does.
type sysctls interface {
	Sysctls(keys []nf.Key, all bool) []nf.Fact
	SetSysctl(k nf.Key, n int64) error
}

// limit is the conntrack.max of one network namespace. enter runs a function in
// that namespace.
type limit struct {
	fs    sysctls
	enter func(func() error) error
}

func (l limit) read() (n int64, err error) {
	err = l.enter(func() error {
		v := l.fs.Sysctls([]nf.Key{nf.KeyMax}, false)[0].Live
		var ok bool
		if n, ok = v.Number(); !ok {
			return fmt.Errorf("cannot read %s: it is %s %s", nf.KeyMax, v, v.Why())
		}
		return nil
	})
	return n, err
}

func (l limit) write(n int64) error {
	return l.enter(func() error { return l.fs.SetSysctl(nf.KeyMax, n) })
}

// setLimit sets a container's conntrack.max and checks whether that changed the
// node's: before Linux 5.13 a container could write it, and changed the node's
// (2671fa4dc010 "netfilter: conntrack: Make global sysctls readonly in
// non-init netns"). If it did, both values are put back and setLimit returns
// nf.ErrNodeScope. A node's value that is neither the old nor the new one comes
// from another writer and is ignored.
func setLimit(container, node limit, n int64) error {
	was, err := container.read()
	if err != nil {
		return err
	}
	before, err := node.read()
	if err != nil {
		return err
	}
	if err := container.write(n); err != nil {
		return err
	}
	after, err := node.read()
	if err != nil {
		return errors.Join(err, container.write(was))
	}
	if after == before || after != n {
		return nil
	}
	if err := node.write(before); err != nil {
		return errors.Join(fmt.Errorf("cannot put the node's %s back to %d: %w", nf.KeyMax, before, err), nf.ErrNodeScope)
	}
	if now, err := container.read(); err != nil || now != was {
		return errors.Join(nf.ErrNodeScope, err, container.write(was))
	}
	return nf.ErrNodeScope
}
