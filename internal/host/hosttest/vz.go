package hosttest

import (
	"cmp"
	"errors"
	"fmt"

	"nfsync.dev/nfsync/internal/nf"
)

// VZ is a container of the vz runtime, as AddVZ makes it.
type VZ struct {
	ID    string // CTID
	Name  string // empty: the ID
	UUID  string // empty: the ID
	State string // empty: nf.StateRunning
	// Saved is the level in the container's configuration; absent where that
	// names none, which starts it stateless.
	Saved nf.Value
	// Live is the mask of one that runs, and that in the dump of a suspended
	// one; absent: as saved.
	Live nf.Value
}

// virtuozzo is what a container of the vz runtime has beside its namespace.
type virtuozzo struct {
	name, uuid, state string
	saved, live       nf.Value
	start             nf.Value // the mask of every start, whatever is saved; absent: the saved one
}

// NewVirtuozzo is a node as New makes it, of which the kernel keeps levels in
// masks and latches, as that of Virtuozzo 7.
func NewVirtuozzo() *Machine {
	m := New()
	m.kernel.Release = "3.10.0-1160.vz7.test"
	m.masks, m.latches = true, nf.Yes
	return m
}

// SetCapabilities says whether the kernel keeps levels in masks, and whether
// it latches: nf.Yes, nf.No or nf.MaybeUnknown. With neither it is that of VHS 9.
func (m *Machine) SetCapabilities(masks bool, latches string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.masks, m.latches = masks, latches
}

// AddVZ makes a container of the vz runtime, with conntrack.max Own, and
// returns its target.
func (m *Machine) AddVZ(c VZ) nf.Target {
	m.mu.Lock()
	defer m.mu.Unlock()
	ns := m.namespace(c.ID)
	ns.runtime, ns.scope = nf.RuntimeVZ, Own
	ns.values[nf.KeyMax], _ = m.read(m.host, nf.KeyMax).Number()
	v := &virtuozzo{name: cmp.Or(c.Name, c.ID), uuid: cmp.Or(c.UUID, c.ID), state: cmp.Or(c.State, nf.StateRunning),
		saved: c.Saved, live: c.Live}
	if v.saved.IsAbsent() {
		v.saved = nf.LevelStateless.Value()
	}
	if v.live.IsAbsent() {
		v.live = v.saved
	}
	ns.vz = v
	switch v.state {
	case nf.StateStopped, nf.StateMounted:
		ns.instance, v.live = nf.InstanceStopped, nf.Absent()
	case nf.StateSuspended:
		ns.instance = nf.InstanceSuspended
	}
	m.add(ns)
	return ns2target(ns)
}

// Start starts a container of the vz runtime as an admin would: a suspended
// one is resumed, with the level and the rules of its dump, any other gets a
// cold start, with the level that is saved. Both are a new instance, whose
// values are the kernel's defaults, and conntrack.max the node's.
func (m *Machine) Start(t nf.Target) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.start(m.must(t))
}

func (m *Machine) start(ns *namespace) {
	fresh := m.namespace(ns.id)
	fresh.runtime, fresh.scope, fresh.unobservable, fresh.vz = ns.runtime, ns.scope, ns.unobservable, ns.vz
	fresh.values[nf.KeyMax], _ = m.read(m.host, nf.KeyMax).Number()
	switch v := ns.vz; {
	case v.state == nf.StateSuspended:
		fresh.rules = ns.rules
	case !v.start.IsAbsent():
		v.live = v.start
	default:
		v.live = v.saved
	}
	ns.vz.state = nf.StateRunning
	*ns = *fresh
}

// Stop stops a container of the vz runtime.
func (m *Machine) Stop(t nf.Target) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.must(t).halt()
}

func (ns *namespace) halt() {
	ns.vz.state, ns.vz.live, ns.instance = nf.StateStopped, nf.Absent(), nf.InstanceStopped
	ns.rules, ns.tracking, ns.count = nf.Rules{Tables: []nf.Table{}}, nil, 0
}

// Suspend suspends a container of the vz runtime: its dump keeps the level and
// the rules.
func (m *Machine) Suspend(t nf.Target) {
	m.mu.Lock()
	defer m.mu.Unlock()
	ns := m.must(t)
	ns.vz.state, ns.instance, ns.tracking, ns.count = nf.StateSuspended, nf.InstanceSuspended, nil, 0
}

// SetState makes a container of the vz runtime show another state; its instance
// stays. Start, Stop and Suspend change both.
func (m *Machine) SetState(t nf.Target, state string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.must(t).vz.state = state
}

// Rename gives a container of the vz runtime another name, under which it is
// the same one.
func (m *Machine) Rename(t nf.Target, name string) nf.Target {
	m.mu.Lock()
	defer m.mu.Unlock()
	ns := m.must(t)
	ns.vz.name = name
	return ns2target(ns)
}

// PutLevel changes the live or the saved level of a container of the vz runtime
// behind nfsync's back.
func (m *Machine) PutLevel(t nf.Target, layer nf.Layer, v nf.Value) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if layer == nf.LayerBoot {
		m.must(t).vz.saved = v
	} else {
		m.must(t).vz.live = v
	}
}

// SetStartLevel makes every cold start of a container bring that level live,
// whatever is saved: libvzctl ignores that the mask could not be written. An
// absent one ends that.
func (m *Machine) SetStartLevel(t nf.Target, v nf.Value) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.must(t).vz.start = v
}

// Level is the live or the saved level of a container of the vz runtime.
func (m *Machine) Level(t nf.Target, layer nf.Layer) nf.Value {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.level(m.must(t))
	if layer == nf.LayerBoot {
		return *f.Boot
	}
	return f.Live
}

// State is the state of a container, and its instance.
func (m *Machine) State(t nf.Target) (state, instance string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	ns := m.must(t)
	if ns.vz == nil {
		return nf.StateRunning, ns.instance
	}
	return ns.vz.state, ns.instance
}

// level is the fact of the level that masks keep: where the kernel has none,
// nothing is live.
func (m *Machine) level(ns *namespace) nf.Fact {
	f := nf.Fact{Key: nf.KeyLevel, Live: ns.vz.live, Boot: new(nf.Value)}
	*f.Boot = ns.vz.saved
	if !m.masks && m.latches == nf.No && ns.vz.state != nf.StateSuspended {
		f.Live = nf.Absent()
	}
	return f
}

// runs tells whether there is a namespace to enter.
func (ns *namespace) runs() bool {
	return ns.vz == nil || nf.Runs(ns.vz.state)
}

// onItsWay says why a container in a state that is none of those known is
// unobservable; empty where it is not.
func (v *virtuozzo) onItsWay() string {
	if nf.Rests(v.state) || nf.Runs(v.state) {
		return ""
	}
	return fmt.Sprintf("its state is %q", v.state)
}

// open tells whether there is a namespace to look into, and says what is known
// where not.
func (ns *namespace) open(c *nf.Container, n nf.Need) bool {
	c.Unobservable = ns.vz.onItsWay()
	if n.Rules && nf.Rests(ns.vz.state) {
		c.Rules = &nf.Rules{Tables: []nf.Table{}}
	}
	return ns.runs()
}

// identify puts what a list shows of a namespace into the container.
func (m *Machine) identify(c *nf.Container, ns *namespace) {
	c.Instance, c.State = ns.instance, nf.StateRunning
	if ns.vz == nil {
		return
	}
	c.State, c.UUID, c.Unobservable = ns.vz.state, ns.vz.uuid, ns.unobservable
	if why := ns.vz.onItsWay(); why != "" {
		c.Unobservable = why
	}
	c.SetFact(m.level(ns))
}

// refreshRestart reads the instance, the state and the level again, and accepts
// another instance than before: nothing is known of its namespace yet.
func (m *Machine) refreshRestart(at *nf.Container, ns *namespace) {
	if at.Instance != ns.instance {
		at.Namespace, at.MaxScope = nf.Namespace{Keepers: at.Keepers, Facts: []nf.Fact{}}, ""
	}
	m.identify(at, ns)
}

// saveLevel saves a level for the next cold start.
func (ns *namespace) saveLevel(c nf.Change) error {
	level, ok := c.To.Level()
	switch {
	case ns.vz == nil || c.Key != nf.KeyLevel:
		return fmt.Errorf("cannot save %s of %s: nothing keeps it for the next start", c.Key, c.Target)
	case !ok:
		return fmt.Errorf("cannot save %s of %s as %s: no such level", c.Key, c.Target, c.To)
	}
	ns.vz.saved = level.Value()
	return nil
}

// restart cold-starts a running container.
func (m *Machine) restart(ns *namespace) error {
	if ns.vz == nil || ns.vz.state != nf.StateRunning {
		return errors.New("cannot restart what is not a running container")
	}
	m.start(ns)
	return nil
}
