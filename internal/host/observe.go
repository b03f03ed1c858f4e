package host

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"sync"

	"nfsync.dev/nfsync/internal/kernel"
	"nfsync.dev/nfsync/internal/netns"
	"nfsync.dev/nfsync/internal/nf"
)

// Observe observes the node's own facts, and of the containers what is asked.
// A container that cannot be read is unobservable with the reason, and one that
// has vanished meanwhile is left out; the others are not touched by that.
func (m *Machine) Observe(ctx context.Context, ask nf.Ask) (nf.Snapshot, error) {
	s, denied, err := m.list(ctx)
	if err != nil {
		return nf.Snapshot{}, err
	}
	s.Modules = m.cfg.FS.Modules(ask.Modules, ask.All)
	if s.Modules.List == nil {
		s.Modules.List = []nf.ModuleFact{}
	}
	m.observeNode(&s)
	m.observeBoot(&s)
	deny(&s.Capabilities, denied)
	keys := map[containerID][]nf.Key{}
	for t, list := range ask.Keys {
		keys[idOf(t)] = append(keys[idOf(t)], list...)
	}
	m.each(ctx, s.Containers, func(at kernel.FS, c *nf.Container) {
		m.observeContainer(at, &s, c, ask.Need(keys[idOf(c.Target())]))
	})
	if err := ctx.Err(); err != nil {
		return nf.Snapshot{}, err
	}
	s.Containers = slices.DeleteFunc(s.Containers, func(c nf.Container) bool { return c.Unobservable == vanished })
	return s, nil
}

// vanished is why a container that does not exist any more is unobservable.
const vanished = "it vanished while it was observed"

// workers is how many namespaces are read at the same time: more gain nothing,
// the kernel has one lock for all sysctls.
const workers = 2

// each calls f for every container, with where to read it from, until the
// context is done.
func (m *Machine) each(ctx context.Context, containers []nf.Container, f func(kernel.FS, *nf.Container)) {
	next := make(chan *nf.Container)
	var all sync.WaitGroup
	for range min(workers, len(containers)) {
		all.Go(func() {
			proc := netns.NewProc(m.cfg.FS.Proc)
			defer proc.Close()
			fs := m.cfg.FS
			for c := range next {
				fs.Proc = proc.Path()
				f(fs, c)
			}
		})
	}
	for i := range containers {
		if ctx.Err() != nil {
			break
		}
		next <- &containers[i]
	}
	close(next)
	all.Wait()
}

func (m *Machine) observeNode(s *nf.Snapshot) {
	err := m.inNode(func() error {
		s.Capabilities = m.cfg.FS.Capabilities(&s.Modules)
		s.Host = look(m.cfg.FS, &s.Modules, nf.Need{All: true, Rules: true, Count: true})
		return nil
	})
	if err != nil {
		s.Capabilities = m.cfg.FS.Capabilities(&s.Modules)
		deny(&s.Capabilities, err.Error())
		s.Host = unread(err.Error())
	}
}

// deny takes the privilege for every kind of change away, if there is a reason
// to.
func deny(c *nf.Capabilities, why string) {
	if why != "" {
		c.Denied = map[string]string{nf.AbilityModules: why, nf.AbilityNode: why, nf.AbilityContainers: why}
	}
}

// unread is a namespace of which nothing could be read.
func unread(why string) nf.Namespace {
	keys := []nf.Key{nf.KeyLevel, nf.KeyMax, nf.KeyBuckets, nf.KeyExpectMax}
	for _, name := range nf.TimeoutNames() {
		keys = append(keys, nf.TimeoutKey(name))
	}
	ns := nf.Namespace{Facts: []nf.Fact{}, Rules: &nf.Rules{Tables: []nf.Table{}, Unknown: why},
		Tracking: &nf.Tracking{State: nf.TrackingUnknown, Evidence: why}, Count: nf.Unknown(why)}
	for _, k := range keys {
		ns.SetFact(nf.Fact{Key: k, Live: nf.Unknown(why)})
	}
	return ns
}

// look reads what is needed of the calling thread's network namespace.
func look(fs kernel.FS, modules *nf.Modules, n nf.Need) nf.Namespace {
	ns := nf.Namespace{Facts: fs.Sysctls(n.Keys, n.All)}
	if n.Rules {
		rules := fs.Rules(modules)
		tracking := fs.Tracking(modules, &rules)
		ns.Rules, ns.Tracking = &rules, &tracking
		ns.SetFact(nf.Fact{Key: nf.KeyLevel, Live: rules.Value()})
	}
	if n.Count {
		ns.Count = fs.Count()
	}
	return ns
}

// observeContainer reads what is needed of a container and keeps what was read
// of it before.
func (m *Machine) observeContainer(at kernel.FS, s *nf.Snapshot, c *nf.Container, n nf.Need) {
	if n.Nothing() || c.Instance == "" { // without an instance it could not even be identified
		return
	}
	var fresh nf.Namespace
	err := m.inContainer(s.BootID, idOf(c.Target()), c.Instance, func() error {
		fresh = look(at, &s.Modules, n)
		return nil
	})
	switch {
	case gone(err) && errors.Is(err, fs.ErrNotExist):
		c.Unobservable = vanished
	case gone(err):
		c.Unobservable = "it was made anew while it was observed"
	case err != nil:
		c.Unobservable = err.Error()
	default:
		c.Unobservable = ""
		merge(&c.Namespace, fresh, n)
		if f := c.Fact(nf.KeyMax); !f.Live.IsAbsent() {
			c.MaxScope = nf.MaxScope(f, s.Host.Fact(nf.KeyMax).Live)
		}
	}
}

// merge puts what was read now over what was read before.
func merge(ns *nf.Namespace, fresh nf.Namespace, n nf.Need) {
	for _, f := range fresh.Facts {
		ns.SetFact(f)
	}
	if n.Rules {
		ns.Rules, ns.Tracking = fresh.Rules, fresh.Tracking
	}
	if n.Count {
		ns.Count = fresh.Count
	}
}
