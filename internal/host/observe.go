package host

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
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
	s.Modules = m.cfg.FS.Modules(ask.Modules, ask.All)
	if s.Modules.List == nil {
		s.Modules.List = []nf.ModuleFact{}
	}
	boot := m.readBoot(ask)
	m.observeNode(ctx, &s)
	keys := map[nf.Target][]nf.Key{}
	for t, list := range ask.Keys {
		keys[t.Nameless()] = append(keys[t.Nameless()], list...)
	}
	m.each(ctx, s.Containers, func(at kernel.FS, c *nf.Container) {
		m.observeContainer(ctx, at, &s, c, ask.Need(keys[c.Target().Nameless()]))
	})
	m.addBoot(&s, <-boot)
	if err := ctx.Err(); err != nil {
		return nf.Snapshot{}, err
	}
	s.Containers = slices.DeleteFunc(s.Containers, func(c nf.Container) bool { return c.Unobservable == vanished })
	return s, nil
}

// vanished marks a container that no longer exists: Observe leaves it out.
const vanished = "it vanished while it was observed"

// workers is the number of namespaces that are read at the same time. More gain
// nothing: the kernel has one lock for all sysctls.
const workers = 2

// each calls f for every container, until the context is done. The kernel.FS reads
// through a netns.Proc of the worker.
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

// observeNode reads the capabilities of the kernel and the node's own namespace.
// The capabilities that List has found, and the keepers, stay.
func (m *Machine) observeNode(ctx context.Context, s *nf.Snapshot) {
	listed, keepers := s.Capabilities, s.Host.Keepers
	err := m.inNode(func() error {
		s.Capabilities = m.cfg.FS.Capabilities(&s.Modules)
		s.Host = readNamespace(ctx, m.cfg.FS, &s.Modules, nf.Need{All: true, Rules: true, Count: true})
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
// Its level is the level that its rules use.
func readNamespace(ctx context.Context, fs kernel.FS, m *nf.Modules, n nf.Need) nf.Namespace {
	ns := nf.Namespace{Facts: fs.Sysctls(n.Keys, n.All)}
	if n.Count {
		ns.Count = fs.Count()
	}
	if n.Rules {
		rules := fs.Rules(ctx, m)
		tracking := fs.Tracking(ctx, m, &rules)
		ns.Rules, ns.Tracking = &rules, &tracking
		ns.SetFact(nf.Fact{Key: nf.KeyLevel, Live: rules.Value()})
	}
	return ns
}

// rulesTimeout bounds the reading of the rules of a container, which decides how many it
// has: one container must not hold up the others.
const rulesTimeout = 5 * time.Second

// observeContainer reads what is needed of a container, through at. What was read
// of it before stays. A container that is stopped, mounted or suspended has no
// network namespace, and so no rules.
func (m *Machine) observeContainer(ctx context.Context, at kernel.FS, s *nf.Snapshot, c *nf.Container, n nf.Need) {
	if n.Nothing() || c.Instance == "" || c.Excluded != "" {
		return
	}
	if n.Rules && nf.Rests(c.State) {
		c.Rules = &nf.Rules{Tables: []nf.Table{}}
	}
	if !nf.Runs(c.State) {
		return
	}
	timeout := cmp.Or(m.cfg.RulesTimeout, rulesTimeout)
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("reading them takes longer than %s", timeout))
	defer cancel()
	var fresh nf.Namespace
	err := m.inContainer(s.BootID, c, func() error {
		fresh = readNamespace(ctx, at, &s.Modules, n)
		return nil
	})
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
		c.Unobservable = ""
		merge(&c.Namespace, fresh, n)
		if f := c.Fact(nf.KeyMax); !f.Live.IsAbsent() {
			c.MaxScope = nf.MaxScope(f, s.Host.Fact(nf.KeyMax).Live)
		}
	}
}

// merge adds what was read now to what was read before. If the container's runtime
// knows the level, as Virtuozzo does, the level that the rules use is dropped.
func merge(ns *nf.Namespace, fresh nf.Namespace, n nf.Need) {
	runtimeLevel := ns.Fact(nf.KeyLevel).Boot != nil
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
