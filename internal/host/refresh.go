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
//     entries and the node's value; of one of Virtuozzo also its state, and the
//     level that is saved and that its mask keeps
//   - a container's restart: its instance, its state and its level. Another
//     instance than before is accepted here and nowhere else, and everything else
//     that the snapshot had of it is gone
//   - a key of the node: its fact; for lowering conntrack.max also the limits
//     and entries of all containers
//   - a module: its fact; for its unloading also the rules and entries of every
//     namespace
//   - in the boot layer of the node: its fact, with what nfsync's own boot files
//     hold now
//
// What boot files hold, nfsync's and others', is otherwise kept as observed.
//
// It returns nf.ErrGone where the target has vanished, or is another instance
// than before. Where every namespace must be answered for, one that has vanished
// holds nothing any more, and one that the snapshot does not have is an error:
// observe again.
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
	if c.Key == nf.KeyMax && nf.Lowers(c.From, c.To) && c.Layer != nf.LayerBoot {
		return m.refreshAll(ctx, s, n)
	}
	return nil
}

func (m *Machine) refreshModule(ctx context.Context, s *nf.Snapshot, c nf.Change, name string) error {
	fact, ok, err := m.moduleNow(&s.Modules, name)
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
	if err := m.refreshNode(s, n); err != nil {
		return err
	}
	return m.refreshAll(ctx, s, n)
}

// moduleNow reads again what changes of a module. One that the snapshot does not
// have is looked up in all evidence.
func (m *Machine) moduleNow(observed *nf.Modules, name string) (nf.ModuleFact, bool, error) {
	if was, ok := observed.Find(name); ok {
		return m.cfg.FS.Refresh(*was)
	}
	return m.cfg.FS.Module(name)
}

func (m *Machine) refreshNode(s *nf.Snapshot, n nf.Need) error {
	return m.inNode(func() error {
		fresh := readNamespace(m.cfg.FS, &s.Modules, n)
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
	at, err := containerOf(s, c.Target)
	if err != nil {
		return err
	}
	if c.Key == nf.KeyMax {
		if err := m.refreshNode(s, nf.Need{Keys: []nf.Key{nf.KeyMax}}); err != nil {
			return err
		}
	}
	if err := m.refreshIdentity(s, at, c.Key); err != nil || c.Key == nf.KeyRestart {
		return err
	}
	m.observeContainer(m.cfg.FS, s, at, nf.Ask{}.Need([]nf.Key{c.Key}))
	return nil
}

// refreshIdentity makes sure that the container is the one that was observed.
func (m *Machine) refreshIdentity(s *nf.Snapshot, at *nf.Container, k nf.Key) error {
	if at.Runtime == nf.RuntimeVZ {
		return m.refreshVZ(s.BootID, at, k)
	}
	err := m.inContainer(s.BootID, at, func() error { return nil })
	if isGone(err) {
		return err
	}
	return nil // any other error observeContainer returns too
}

// refreshAll re-reads every container.
func (m *Machine) refreshAll(ctx context.Context, s *nf.Snapshot, n nf.Need) error {
	now, err := m.List(ctx)
	if err != nil {
		return err
	}
	if why := now.Broken(); why != "" {
		return fmt.Errorf("cannot answer for every namespace: %s", why)
	}
	lives := map[nf.Target]*nf.Container{}
	for i := range now.Containers {
		c := &now.Containers[i]
		lives[c.Target().Nameless()] = c
	}
	ended := map[nf.Target]bool{}
	for i := range s.Containers {
		c := &s.Containers[i]
		id := c.Target().Nameless()
		listed := lives[id]
		if listed != nil && listed.Instance == c.Instance {
			delete(lives, id)
		} else {
			ended[id] = true
			c.Namespace = nf.Namespace{Keepers: c.Keepers, Facts: []nf.Fact{}, Rules: &nf.Rules{Tables: []nf.Table{}}}
		}
		renew(c, listed)
	}
	for _, c := range lives {
		if !nf.Rests(c.State) || c.Unobservable != "" {
			return fmt.Errorf("cannot answer for every namespace: %s has appeared since", c.Target())
		}
	}
	m.each(ctx, s.Containers, func(fs kernel.FS, c *nf.Container) {
		if !ended[c.Target().Nameless()] {
			m.observeContainer(fs, s, c, n)
		}
	})
	return ctx.Err()
}

// renew puts what a list shows of a container over what was known of it; nil
// where it shows none.
func renew(c, listed *nf.Container) {
	if listed == nil {
		c.Unobservable, c.Excluded = "", ""
		return
	}
	c.State, c.Unobservable, c.Excluded = listed.State, listed.Unobservable, listed.Excluded
	for _, f := range listed.Facts {
		c.SetFact(f)
	}
}
