package host

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"nfsync.dev/nfsync/internal/nf"
)

// Set makes the change's key have the value To on its target, as the snapshot has
// it; From is not read, and the snapshot does not follow. To undo a change is to
// set its From. That Set returns nil is no proof: Refresh reads back. In the boot
// layer the level of a container is what its next cold start brings; the key
// restart is such a start, whatever To is.
//
// It returns nf.ErrGone where the container is another instance than that of the
// snapshot, and nf.ErrNodeScope where a container's conntrack.max turned out to be
// the node's.
func (m *Machine) Set(ctx context.Context, s *nf.Snapshot, c nf.Change) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	name, module := c.Key.Module()
	n, number := c.To.Number()
	switch {
	case c.Layer == nf.LayerBoot && c.Target.IsNode():
		return m.setNextStart(c)
	case c.Layer == nf.LayerBoot && c.Target.Runtime == nf.RuntimeVZ && c.Key == nf.KeyLevel:
		return m.saveLevel(ctx, s, c)
	case c.Layer == nf.LayerBoot:
		return fmt.Errorf("cannot save %s of %s: nothing keeps it for the next start", c.Key, c.Target)
	case module && c.Target.IsNode():
		return m.setModule(ctx, &s.Modules, name, c.To)
	case c.Key == nf.KeyRestart && c.Target.Runtime == nf.RuntimeVZ:
		return m.restart(ctx, s, c.Target)
	case c.Key.Conntrack() && number && c.Target.IsNode():
		return m.inNode(func() error { return m.cfg.FS.SetSysctl(c.Key, n) })
	case c.Key.Conntrack() && number:
		return m.setContainer(s, c, n)
	}
	return fmt.Errorf("cannot make %s of %s %s: there is no such change", c.Key, c.Target, c.To)
}

// setModule loads or unloads exactly the named module, or sets those
// parameters of a loaded one that differ.
func (m *Machine) setModule(ctx context.Context, observed *nf.Modules, name string, to nf.Value) error {
	state, params, _ := to.Module()
	switch state {
	case nf.ModuleUnloaded:
		return m.cfg.FS.UnloadModule(name)
	case nf.ModuleLoaded:
	default:
		return fmt.Errorf("cannot make module %s %s: there is no such change", name, to)
	}
	fact, ok, err := m.moduleNow(observed, name)
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
	in := func(f func() error) error { return m.inContainer(s.BootID, at, f) }
	if c.Key != nf.KeyMax {
		return in(func() error { return m.cfg.FS.SetSysctl(c.Key, n) })
	}
	return setLimit(limit{m.cfg.FS, in}, limit{m.cfg.FS, m.inNode}, n)
}

// setLimit sets a container's conntrack.max and looks whether that moved the
// node's: before Linux 5.13 a container could write it, and changed the node's
// (2671fa4dc010 "netfilter: conntrack: Make global sysctls readonly in
// non-init netns"). If it did, both are put back and nf.ErrNodeScope is
// returned. Another writer that moves the node's to something else is no
// business of this one.
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
