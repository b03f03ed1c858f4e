package host

import (
	"context"
	"fmt"

	"nfsync.dev/nfsync/internal/nf"
)

// Refresh re-reads in place what the rules need about the change's target and
// key, and nothing else:
//
//   - a key of a container: its fact; for conntrack.max also the container's
//     entries and the node's value; if it is a container of Virtuozzo also its
//     state, its saved level and the level of its mask
//   - a container's restart: its instance, its state and its level. Only a restart
//     accepts another instance than before, and drops everything else that the
//     snapshot had of the container
//   - a key of the node: its fact; to lower conntrack.max also the limits and
//     entries of all containers
//   - a module: its fact; to unload it also the rules and entries of every
//     namespace
//   - a key of the node's boot layer: its fact, with the present value in nfsync's
//     own boot files
//
// Otherwise what boot files say, nfsync's and others', stays as observed.
//
// Refresh returns nf.ErrGone if the target has vanished, or is another instance
// than before. If every namespace is read, a container that has vanished has no
// rules and no entries, and a container that the snapshot does not have is an
// error: the caller must observe again.
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
		return m.refreshContainer(ctx, s, c)
	}
	n := nf.Ask{}.Need([]nf.Key{c.Key})
	if err := m.refreshNode(ctx, s, n); err != nil {
		return err
	}
	if c.Key == nf.KeyMax && nf.Lowers(c.From, c.To) && c.Layer != nf.LayerBoot {
		return m.refreshAll(ctx, s, n)
	}
	return nil
}

func (m *Machine) refreshModule(ctx context.Context, s *nf.Snapshot, c nf.Change, name string) error {
	fact, ok, err := m.readModule(&s.Modules, name)
	switch {
	case err != nil:
		return err
	case ok:
		s.Modules.Set(fact)
	default:
		s.Modules.Remove(name)
	}
	if state, _, _ := c.To.Module(); state != nf.ModuleUnloaded || c.Layer == nf.LayerBoot {
		return nil
	}
	n := nf.Need{Rules: true, Count: true}
	if err := m.refreshNode(ctx, s, n); err != nil {
		return err
	}
	return m.refreshAll(ctx, s, n)
}

// readModule re-reads what changes of a module. A module that the snapshot does not
// have is searched in all evidence; false if no evidence has it.
func (m *Machine) readModule(observed *nf.Modules, name string) (nf.ModuleFact, bool, error) {
	if was, ok := observed.Find(name); ok {
		return m.cfg.FS.Refresh(*was)
	}
	return m.cfg.FS.Module(name)
}

func (m *Machine) refreshNode(ctx context.Context, s *nf.Snapshot, n nf.Need) error {
	return m.inNode(func() error {
		fresh := m.cfg.Cache.readNamespace(ctx, m.cfg.FS, &s.Modules, s.BootID, n)
		for i := range fresh.Facts {
			f := &fresh.Facts[i]
			was := s.Host.Fact(f.Key)
			f.Boot, f.Declared = was.Boot, was.Declared
		}
		merge(&s.Host, fresh, n)
		return nil
	})
}

// refreshContainer returns nf.ErrGone unless the container is the instance that was
// observed.
func (m *Machine) refreshContainer(ctx context.Context, s *nf.Snapshot, c nf.Change) error {
	at, err := containerOf(s, c.Target)
	if err != nil {
		return err
	}
	if c.Key == nf.KeyMax {
		if err := m.refreshNode(ctx, s, nf.Need{Keys: []nf.Key{nf.KeyMax}}); err != nil {
			return err
		}
	}
	if at.Runtime == nf.RuntimeVZ {
		err = m.refreshVZ(s.BootID, at, c.Key)
	} else {
		err = m.check(s.BootID, at)
	}
	if err != nil || c.Key == nf.KeyRestart {
		return err
	}
	return m.observeContainer(ctx, worker{}, s, at, nf.Ask{}.Need([]nf.Key{c.Key}))
}

// refreshAll re-reads every container. It fails unless the snapshot has all of
// them.
func (m *Machine) refreshAll(ctx context.Context, s *nf.Snapshot, n nf.Need) error {
	now, err := m.List(ctx)
	if err != nil {
		return err
	}
	if why := now.Broken(); why != "" {
		return fmt.Errorf("cannot read every namespace: the container list is incomplete: %s", why)
	}
	unseen := map[nf.Target]*nf.Container{}
	for i := range now.Containers {
		c := &now.Containers[i]
		unseen[c.Target().Nameless()] = c
	}
	ended := map[nf.Target]bool{}
	for i := range s.Containers {
		c := &s.Containers[i]
		id := c.Target().Nameless()
		listed := unseen[id]
		if listed != nil && listed.Instance == c.Instance {
			delete(unseen, id)
		} else {
			ended[id] = true
			c.Namespace = nf.Namespace{Keepers: c.Keepers, Facts: []nf.Fact{}, Rules: &nf.Rules{Tables: []nf.Table{}}}
		}
		c.Unobservable, c.Excluded = "", ""
		if listed != nil {
			c.State, c.Unobservable, c.Excluded = listed.State, listed.Unobservable, listed.Excluded
			for _, f := range listed.Facts {
				c.SetFact(f)
			}
		}
	}
	for _, c := range unseen {
		if !nf.Rests(c.State) || c.Unobservable != "" {
			return fmt.Errorf("cannot read every namespace: %s has appeared since", c.Target())
		}
	}
	var running []*nf.Container
	for i := range s.Containers {
		if c := &s.Containers[i]; !ended[c.Target().Nameless()] {
			running = append(running, c)
		}
	}
	m.each(ctx, running, func(w worker, c *nf.Container) { _ = m.observeContainer(ctx, w, s, c, n) })
	return ctx.Err()
}
