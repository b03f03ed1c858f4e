package host

import (
	"context"
	"fmt"

	"nfsync.dev/nfsync/internal/kernel"
	"nfsync.dev/nfsync/internal/nf"
)

// Refresh re-reads in place what the rules need about the change's target and
// key, and nothing else:
//
//   - a key of a container: its fact; for conntrack.max also the container's
//     entries and the node's value
//   - a key of the node: its fact; for lowering conntrack.max also the limits
//     and entries of all containers
//   - a module: its fact; for its unloading also the rules and entries of every
//     namespace
//   - in the boot layer of the node: its fact, with what nfsync's own boot files
//     hold now
//
// What boot files hold, nfsync's and others', is otherwise kept as observed.
//
// It returns nf.ErrGone where the target has vanished. Where every namespace
// must be answered for, one that has vanished holds nothing any more, and one
// that the snapshot does not have is an error: observe again.
func (m *Machine) Refresh(ctx context.Context, s *nf.Snapshot, c nf.Change) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := m.refreshLive(ctx, s, c); err != nil || c.Layer != nf.LayerBoot || !c.Target.IsNode() {
		return err
	}
	return m.refreshBoot(s, c.Key)
}

func (m *Machine) refreshLive(ctx context.Context, s *nf.Snapshot, c nf.Change) error {
	if name, ok := c.Key.Module(); ok {
		return m.refreshModule(ctx, s, c, name)
	}
	if !c.Target.IsNode() {
		return m.refreshContainer(s, c)
	}
	n := nf.Ask{}.Need([]nf.Key{c.Key})
	if err := m.refreshNode(s, n); err != nil {
		return err
	}
	if c.Key == nf.KeyMax && lowers(c) && c.Layer != nf.LayerBoot {
		return m.refreshAll(ctx, s, n)
	}
	return nil
}

// lowers tells whether a change may leave less room: 0 is unlimited.
func lowers(c nf.Change) bool {
	from, known := c.From.Number()
	to, ok := c.To.Number()
	return !known || !ok || to != 0 && (from == 0 || to < from)
}

func (m *Machine) refreshModule(ctx context.Context, s *nf.Snapshot, c nf.Change, name string) error {
	if real, ok := s.Modules.Find(name); ok {
		name = real.Name // of an alias
	}
	fact, ok, err := m.cfg.FS.Module(name)
	switch {
	case err != nil:
		return err
	case ok:
		if was, known := s.Modules.Find(name); known {
			fact.Boot, fact.Declared = was.Boot, was.Declared
		}
		s.Modules.Set(fact)
	default:
		s.Modules.Remove(name)
	}
	if state, _, _ := c.To.Module(); state != nf.ModuleUnloaded || c.Layer == nf.LayerBoot {
		return nil
	}
	n := nf.Need{Rules: true, Count: true}
	if err := m.refreshNode(s, n); err != nil {
		return err
	}
	return m.refreshAll(ctx, s, n)
}

func (m *Machine) refreshNode(s *nf.Snapshot, n nf.Need) error {
	return m.inNode(func() error {
		fresh := look(m.cfg.FS, &s.Modules, n)
		for i := range fresh.Facts {
			f := &fresh.Facts[i]
			was := s.Host.Fact(f.Key)
			f.Boot, f.Declared = was.Boot, was.Declared
		}
		merge(&s.Host, fresh, n)
		return nil
	})
}

func (m *Machine) refreshContainer(s *nf.Snapshot, c nf.Change) error {
	_, at, ok := s.Find(c.Target)
	if !ok {
		return fmt.Errorf("cannot find %s: %w", c.Target, nf.ErrGone)
	}
	if c.Key == nf.KeyMax {
		if err := m.refreshNode(s, nf.Need{Keys: []nf.Key{nf.KeyMax}}); err != nil {
			return err
		}
	}
	if err := m.inContainer(s.BootID, idOf(c.Target), at.Instance, func() error { return nil }); gone(err) {
		return err
	}
	m.observeContainer(m.cfg.FS, s, at, nf.Ask{}.Need([]nf.Key{c.Key}))
	m.confirm(at)
	return nil
}

// refreshAll re-reads every container.
func (m *Machine) refreshAll(ctx context.Context, s *nf.Snapshot, n nf.Need) error {
	now, _, err := m.identify(ctx)
	if err != nil {
		return err
	}
	for _, w := range now.Warnings {
		if w.Code == nf.WarnRuntimeBroken {
			return fmt.Errorf("cannot answer for every namespace: %s", w.Message)
		}
	}
	lives := map[containerID]string{}
	for _, c := range now.Containers {
		lives[idOf(c.Target())] = c.Instance
	}
	ended := map[containerID]bool{}
	for i := range s.Containers {
		c := &s.Containers[i]
		id := idOf(c.Target())
		if lives[id] == c.Instance {
			delete(lives, id)
			continue
		}
		ended[id] = true
		c.Unobservable = ""
		c.Namespace = nf.Namespace{Facts: []nf.Fact{}, Rules: &nf.Rules{Tables: []nf.Table{}}}
	}
	for id := range lives {
		return fmt.Errorf("cannot answer for every namespace: container %s/%s has appeared since", id.runtime, id.id)
	}
	m.each(ctx, s.Containers, func(fs kernel.FS, c *nf.Container) {
		if !ended[idOf(c.Target())] {
			m.observeContainer(fs, s, c, n)
		}
	})
	return ctx.Err()
}
