package hosttest

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"nfsync.dev/nfsync/internal/nf"
)

// List is List of host.Machine.
func (m *Machine) List(ctx context.Context) (nf.Snapshot, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	effect, err := m.applyFault(ctx, OpList, nf.Change{})
	if !effect {
		return nf.Snapshot{}, err
	}
	return m.list(), err
}

// Observe is Observe of host.Machine.
func (m *Machine) Observe(ctx context.Context, listed nf.Snapshot, ask nf.Ask) (nf.Snapshot, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	effect, err := m.applyFault(ctx, OpObserve, nf.Change{})
	if !effect {
		return nf.Snapshot{}, err
	}
	s := listed.Clone()
	s.Containers = slices.DeleteFunc(s.Containers, func(c nf.Container) bool {
		_, exists := m.find(c.Target())
		return !exists
	})
	s.Capabilities = m.capabilities()
	s.Modules = m.moduleFacts(ask.Modules, ask.All)
	m.observeNamespace(&s.Host, m.host, nf.Need{All: true, Rules: true, Count: true})
	m.observeBoot(&s)
	keys := map[nf.Target][]nf.Key{}
	for t, list := range ask.Keys {
		keys[t.Nameless()] = append(keys[t.Nameless()], list...)
	}
	for i := range s.Containers {
		c := &s.Containers[i]
		m.observeContainer(c, ask.Need(keys[c.Target().Nameless()]))
	}
	return s, err
}

func (m *Machine) list() nf.Snapshot {
	s := nf.Snapshot{APIVersion: nf.APIVersion, Kind: nf.KindNodeSnapshot, TakenAt: takenAt, BootID: m.bootID, Kernel: m.kernel,
		Node:       nf.NodeIdentity{Name: m.node.Name, Labels: maps.Clone(m.node.Labels)},
		Host:       nf.Namespace{Facts: []nf.Fact{}},
		Containers: []nf.Container{}, Warnings: append([]nf.Warning{}, m.warnings...)}
	s.Modules.List = []nf.ModuleFact{}
	s.Capabilities.Masks, s.Capabilities.Latches = m.masks, m.latches
	for _, ns := range m.containers {
		t := ns.target()
		c := nf.Container{Runtime: t.Runtime, ID: t.ID, Name: t.Name, Aliases: slices.Clone(ns.aliases), Namespace: nf.Namespace{Facts: []nf.Fact{}}}
		m.identify(&c, ns)
		s.Containers = append(s.Containers, c)
	}
	s.AddKeepers()
	return s
}

func (m *Machine) capabilities() nf.Capabilities {
	mod, ok := m.modules["ip_tables"]
	return nf.Capabilities{Denied: maps.Clone(m.denied), Masks: m.masks, Latches: m.latches, BucketStep: bucketStep, LegacyTables: ok && mod.State != nf.ModuleUnloaded}
}

// observeContainer reads what is needed of a container. A container that does not
// run has no network namespace, and so no rules.
func (m *Machine) observeContainer(c *nf.Container, n nf.Need) {
	ns, ok := m.find(c.Target())
	switch {
	case n.Nothing():
		return
	case !ok || ns.instance != c.Instance:
		c.Unobservable = "the namespace has vanished"
		return
	case ns.unobservable != "":
		c.Unobservable = ns.unobservable
		return
	case ns.vz != nil:
		c.Unobservable = ns.vz.transitionReason()
		if n.Rules && nf.Rests(ns.vz.state) {
			c.Rules = &nf.Rules{Tables: []nf.Table{}}
		}
	}
	if !ns.runs() {
		return
	}
	m.observeNamespace(&c.Namespace, ns, n)
	if f := c.Fact(nf.KeyMax); !f.Live.IsAbsent() {
		c.MaxScope = nf.MaxScope(f, m.read(m.host, nf.KeyMax))
	}
}

// observeNamespace reads what is needed of a namespace.
func (m *Machine) observeNamespace(out *nf.Namespace, ns *namespace, n nf.Need) {
	out.Facts = m.sysctlFacts(ns, n.Keys, n.All)
	if ns.vz != nil {
		out.SetFact(m.levelFact(ns))
	}
	if n.Rules {
		m.observeRules(out, ns)
	}
	if n.Count {
		out.Count = m.count(ns)
	}
}

func (m *Machine) observeRules(out *nf.Namespace, ns *namespace) {
	rules := nf.Rules{Tables: slices.Clone(ns.rules.Tables), Unknown: ns.rules.Unknown}
	out.Rules = &rules
	if ns.vz == nil { // there is no mask: the level is what the rules use
		out.SetFact(nf.Fact{Key: nf.KeyLevel, Live: rules.Value()})
	}
	tracking := nf.Tracking{State: nf.TrackingOff, Evidence: "no rule needs it"}
	switch {
	case ns.tracking != nil:
		tracking = *ns.tracking
	case rules.Level() >= nf.LevelStateful:
		tracking = nf.Tracking{State: nf.TrackingOn, Evidence: "rules need it"}
	case rules.UnknownUses() != "":
		tracking = nf.Tracking{State: nf.TrackingUnknown, Evidence: rules.UnknownUses()}
	case rules.Unknown != "":
		tracking = nf.Tracking{State: nf.TrackingUnknown, Evidence: rules.Unknown}
	}
	out.Tracking = &tracking
}

func (m *Machine) count(ns *namespace) nf.Value {
	if !m.hasConntrack() {
		return nf.Absent()
	}
	return nf.Number(ns.count)
}

// Refresh is Refresh of host.Machine.
func (m *Machine) Refresh(ctx context.Context, s *nf.Snapshot, c nf.Change) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if effect, err := m.applyFault(ctx, OpRefresh, c); !effect || err != nil {
		return err
	}
	err := m.refreshLive(s, c)
	if err == nil && c.Layer == nf.LayerBoot && c.Target.IsNode() && m.boot != nil {
		s.Capabilities.BootUnknown = m.boot.unknown
		m.addBoot(s, c.Key)
	}
	return err
}

func (m *Machine) refreshLive(s *nf.Snapshot, c nf.Change) error {
	if name, ok := c.Key.Module(); ok {
		m.refreshModule(s, name)
		if state, _, _ := c.To.Module(); state == nf.ModuleUnloaded && c.Layer != nf.LayerBoot {
			return m.refreshAll(s, nf.Need{Rules: true, Count: true})
		}
		return nil
	}
	if !c.Target.IsNode() {
		return m.refreshContainer(s, c)
	}
	m.refreshNode(s, c.Key)
	if c.Key == nf.KeyMax && nf.Lowers(c.From, c.To) && c.Layer != nf.LayerBoot {
		return m.refreshAll(s, nf.Need{Keys: []nf.Key{nf.KeyMax}, Count: true})
	}
	return nil
}

func (m *Machine) refreshNode(s *nf.Snapshot, k nf.Key) {
	if k == nf.KeyLevel {
		m.observeRules(&s.Host, m.host)
	} else {
		s.Host.SetFact(withBoot(s, m.sysctlFact(m.host, k)))
	}
	s.Host.Count = m.count(m.host)
}

func (m *Machine) refreshContainer(s *nf.Snapshot, c nf.Change) error {
	_, at, ok := s.Find(c.Target)
	ns, exists := m.find(c.Target)
	if ok && exists && ns.vz != nil && c.Key == nf.KeyRestart {
		m.refreshRestart(at, ns)
		return nil
	}
	if !ok || !exists || ns.instance != at.Instance {
		return fmt.Errorf("cannot read %s: %w", c.Target, nf.ErrGone)
	}
	m.identify(at, ns)
	n := nf.Ask{}.Need([]nf.Key{c.Key})
	m.merge(at, n)
	if c.Key == nf.KeyMax {
		m.refreshNode(s, nf.KeyMax)
	}
	return nil
}

// merge re-reads a container. What else was read of it before stays.
func (m *Machine) merge(at *nf.Container, n nf.Need) {
	fresh := nf.Container{Runtime: at.Runtime, ID: at.ID, Name: at.Name, Instance: at.Instance}
	m.observeContainer(&fresh, n)
	at.Unobservable = fresh.Unobservable
	for _, f := range fresh.Facts {
		at.SetFact(f)
	}
	if fresh.MaxScope != "" {
		at.MaxScope = fresh.MaxScope
	}
	if n.Rules {
		at.Rules, at.Tracking = fresh.Rules, fresh.Tracking
	}
	if n.Count {
		at.Count = fresh.Count
	}
}

// refreshAll re-reads every namespace. A container that has vanished has no rules
// and no entries any more; a container that the snapshot does not have is an error.
func (m *Machine) refreshAll(s *nf.Snapshot, n nf.Need) error {
	var fresh nf.Namespace
	m.observeNamespace(&fresh, m.host, n)
	for _, f := range fresh.Facts {
		s.Host.SetFact(withBoot(s, f))
	}
	s.Host.Count = fresh.Count
	if n.Rules {
		s.Host.Rules, s.Host.Tracking = fresh.Rules, fresh.Tracking
	}
	for i := range s.Containers {
		c := &s.Containers[i]
		ns, ok := m.find(c.Target())
		same := ok && ns.instance == c.Instance
		if !same {
			c.Namespace = nf.Namespace{Keepers: c.Keepers, Facts: []nf.Fact{}, Rules: &nf.Rules{Tables: []nf.Table{}}}
		}
		c.Unobservable = ""
		if ok && ns.vz != nil {
			fresh := nf.Container{}
			m.identify(&fresh, ns)
			c.State, c.Unobservable = fresh.State, fresh.Unobservable
			c.SetFact(m.levelFact(ns))
		}
		if same {
			m.merge(c, n)
		}
	}
	for _, ns := range m.containers {
		if ns.vz != nil && nf.Rests(ns.vz.state) {
			continue
		}
		if _, c, ok := s.Find(ns.target()); !ok || c.Instance != ns.instance {
			return fmt.Errorf("cannot read every namespace: %s has appeared since", ns.target())
		}
	}
	return nil
}

func (m *Machine) refreshModule(s *nf.Snapshot, name string) {
	mod, ok := m.modules[m.realName(name)]
	if !ok {
		s.Modules.Remove(name)
		return
	}
	f := m.moduleFact(mod, true)
	if was, known := s.Modules.Find(f.Name); known {
		f.Takes, f.Boot, f.Declared, f.Rereads = was.Takes, was.Boot, was.Declared, was.Rereads
	}
	s.Modules.Set(f)
}
