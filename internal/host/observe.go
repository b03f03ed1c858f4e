package host

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"nfsync.dev/nfsync/internal/kernel"
	"nfsync.dev/nfsync/internal/netns"
	"nfsync.dev/nfsync/internal/nf"
)

// Observe reads the node's own facts, and what is asked of the containers that
// List has returned. A container that cannot be read is unobservable, with the
// reason. A container that has vanished since is left out. Neither affects the
// other containers.
func (m *Machine) Observe(ctx context.Context, listed nf.Snapshot, ask nf.Ask) (nf.Snapshot, error) {
	if err := ctx.Err(); err != nil {
		return nf.Snapshot{}, err
	}
	s := listed.Clone()
	boot := m.readBoot(ask) // meanwhile
	s.Modules = m.cfg.FS.Modules(ask.Modules, ask.All)
	if s.Modules.List == nil {
		s.Modules.List = []nf.ModuleFact{}
	}
	m.observeNode(ctx, &s)
	m.ObserveContainers(ctx, &s, ask)
	m.addBoot(&s, <-boot)
	if err := ctx.Err(); err != nil {
		return nf.Snapshot{}, err
	}
	s.Containers = slices.DeleteFunc(s.Containers, func(c nf.Container) bool { return c.Unobservable == vanished })
	return s, nil
}

// ObserveContainers reads what is asked of each container of a snapshot, as Observe does: first of
// those whose files are open, which is no more than a few system calls each, and then of the others
// side by side. What was read before and is not asked stays.
func (m *Machine) ObserveContainers(ctx context.Context, s *nf.Snapshot, ask nf.Ask) {
	keys := make(map[nf.Target][]nf.Key, len(ask.Keys))
	for t, list := range ask.Keys {
		if also := keys[t.Nameless()]; also != nil {
			list = slices.Concat(also, list)
		}
		keys[t.Nameless()] = list
	}
	need := func(c *nf.Container) nf.Need { return ask.Need(keys[c.Target().Nameless()]) }
	var left []*nf.Container
	var facts []nf.Fact
	for i := range s.Containers {
		c := &s.Containers[i]
		n := need(c)
		fresh, ok := m.readOpen(facts[:0], c, n)
		if !ok {
			left = append(left, c)
			continue
		}
		facts = fresh.Facts
		setObserved(s, c, fresh, n)
	}
	m.each(ctx, left, func(w worker, c *nf.Container) { _ = m.observeContainer(ctx, w, s, c, need(c)) })
}

// vanished marks a container that no longer exists: Observe leaves it out.
const vanished = "it vanished while it was observed"

// workers is the number of namespaces that are read at the same time. More gain
// nothing: the kernel has one lock for all sysctls.
const workers = 2

// worker reads network namespaces, one after another. The zero worker reads through the shared
// procfs, and enters each by a new thread.
type worker struct {
	thread *netns.Thread
	proc   *netns.Proc
}

// fs returns the kernel's files for the next namespace.
func (w worker) fs(shared kernel.FS) kernel.FS {
	if w.proc == nil {
		return shared
	}
	return w.proc.FS()
}

// each calls f for every container, until the context is done.
func (m *Machine) each(ctx context.Context, containers []*nf.Container, f func(worker, *nf.Container)) {
	var next atomic.Int64
	var all sync.WaitGroup
	for range min(workers, len(containers)) {
		all.Go(func() {
			netns.OnThread(func(t *netns.Thread) {
				w := worker{t, netns.NewProc(m.cfg.FS)}
				defer w.proc.Close()
				for ctx.Err() == nil {
					i := int(next.Add(1)) - 1
					if i >= len(containers) {
						return
					}
					f(w, containers[i])
				}
			})
		})
	}
	all.Wait()
}

// observeNode reads the capabilities of the kernel and the node's own namespace.
// The capabilities that List has found, and the keepers, stay.
func (m *Machine) observeNode(ctx context.Context, s *nf.Snapshot) {
	listed, keepers := s.Capabilities, s.Host.Keepers
	err := m.inNode(func() error {
		s.Capabilities = m.cfg.FS.Capabilities(&s.Modules)
		s.Host = m.cfg.Cache.readNamespace(ctx, m.cfg.FS, &s.Modules, s.BootID, nf.Need{All: true, Rules: true, Count: true})
		return nil
	})
	switch {
	case err != nil:
		s.Capabilities = m.cfg.FS.Capabilities(&s.Modules)
		deny(&s.Capabilities, err.Error())
		s.Host = unknownNamespace(err.Error())
	case listed.Denied != nil:
		s.Capabilities.Denied = listed.Denied
	}
	s.Capabilities.Masks, s.Capabilities.Latches = listed.Masks, listed.Latches
	s.Host.Keepers = keepers
}

// deny denies every kind of change.
func deny(c *nf.Capabilities, why string) {
	c.Denied = map[string]string{nf.AbilityModules: why, nf.AbilityNode: why, nf.AbilityContainers: why}
}

// unknownNamespace returns a namespace in which every fact is unknown.
func unknownNamespace(why string) nf.Namespace {
	ns := nf.Namespace{Facts: []nf.Fact{}, Rules: &nf.Rules{Tables: []nf.Table{}, Unknown: why},
		Tracking: &nf.Tracking{State: nf.TrackingUnknown, Evidence: why}, Count: nf.Unknown(why)}
	for _, k := range append(kernel.KnownSysctls(), nf.KeyLevel) {
		ns.SetFact(nf.Fact{Key: k, Live: nf.Unknown(why)})
	}
	return ns
}

// readNamespace reads what is needed of the calling thread's network namespace.
// Its level is the level that its rules use. The instance is that of the container, or the boot id
// of the node.
func (c *Cache) readNamespace(ctx context.Context, fs kernel.FS, m *nf.Modules, instance string, n nf.Need) nf.Namespace {
	ns := c.values(fs, instance, n)
	if n.Rules {
		rules := c.readRules(ctx, fs, m, instance)
		tracking := fs.Tracking(ctx, m, &rules)
		ns.Rules, ns.Tracking = &rules, &tracking
		ns.SetFact(nf.Fact{Key: nf.KeyLevel, Live: rules.Value()})
	}
	return ns
}

// rulesTimeout bounds the reading of the rules of a container, which decides how many it
// has: one container must not hold up the others.
const rulesTimeout = 5 * time.Second

// observeContainer reads what is needed of a container. What was read of it before stays. A
// container that is stopped, mounted or suspended has no network namespace, and so no rules. The
// error is nf.ErrGone if the instance has ended; any other only makes it unobservable.
func (m *Machine) observeContainer(ctx context.Context, w worker, s *nf.Snapshot, c *nf.Container, n nf.Need) error {
	if n.Nothing() || c.Instance == "" || c.Excluded != "" {
		return nil
	}
	if n.Rules && nf.Rests(c.State) {
		c.Rules = &nf.Rules{Tables: []nf.Table{}}
	}
	if !nf.Runs(c.State) {
		return nil
	}
	fresh, err := m.readContainer(ctx, w, s, c, n)
	switch {
	case isGone(err) && c.Runtime == nf.RuntimeVZ:
		c.Unobservable = "it was stopped or started while it was observed"
	case isGone(err) && errors.Is(err, fs.ErrNotExist):
		c.Unobservable = vanished
	case isGone(err):
		c.Unobservable = "it was recreated while it was observed"
	case err != nil:
		c.Unobservable = err.Error()
	default:
		setObserved(s, c, fresh, n)
		return nil
	}
	if isGone(err) {
		return err
	}
	return nil
}

// setObserved sets what was read of a container.
func setObserved(s *nf.Snapshot, c *nf.Container, fresh nf.Namespace, n nf.Need) {
	c.Unobservable = ""
	merge(&c.Namespace, fresh, n)
	if f := c.Fact(nf.KeyMax); !f.Live.IsAbsent() {
		c.MaxScope = nf.MaxScope(f, s.Host.Fact(nf.KeyMax).Live)
	}
}

// readOpen reads what is needed of a container through files that are open; false where that is not
// enough.
func (m *Machine) readOpen(facts []nf.Fact, c *nf.Container, n nf.Need) (nf.Namespace, bool) {
	if n.Rules || !nf.Runs(c.State) || c.Excluded != "" {
		return nf.Namespace{}, false
	}
	return m.cfg.Cache.read(facts, c.Instance, n)
}

// readContainer reads what is needed of a container: through files that are open, or in its
// network namespace.
func (m *Machine) readContainer(ctx context.Context, w worker, s *nf.Snapshot, c *nf.Container, n nf.Need) (fresh nf.Namespace, err error) {
	if fresh, ok := m.readOpen(nil, c, n); ok {
		return fresh, nil
	}
	timeout := cmp.Or(m.cfg.RulesTimeout, rulesTimeout)
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("reading them takes longer than %s", timeout))
	defer cancel()
	at := w.fs(m.cfg.FS)
	err = m.inContainer(w.thread, s.BootID, c, func() error {
		fresh = m.cfg.Cache.readNamespace(ctx, at, &s.Modules, c.Instance, n)
		return nil
	})
	return fresh, err
}

// merge adds what was read now to what was read before. If the container's runtime
// knows the level, as Virtuozzo does, the level that the rules use is dropped.
func merge(ns *nf.Namespace, fresh nf.Namespace, n nf.Need) {
	runtimeLevel := ns.Fact(nf.KeyLevel).Boot != nil
	ns.Facts = slices.Grow(ns.Facts, len(fresh.Facts))
	for _, f := range fresh.Facts {
		if f.Key != nf.KeyLevel || !runtimeLevel {
			ns.SetFact(f)
		}
	}
	if n.Rules {
		ns.Rules, ns.Tracking = fresh.Rules, fresh.Tracking
	}
	if n.Count {
		ns.Count = fresh.Count
	}
}
