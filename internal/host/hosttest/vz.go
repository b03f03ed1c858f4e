package hosttest

import (
	"cmp"
	"errors"
	"fmt"

	"nfsync.dev/nfsync/internal/nf"
)

// VZ is the input of AddVZ: a container of the vz runtime.
type VZ struct {
	ID    string // CTID
	Name  string // empty: the ID
	UUID  string // empty: the ID
	State string // empty: nf.StateRunning
	// Saved is the level in the container's configuration; absent: the
	// configuration names none, and the container starts stateless.
	Saved nf.Value
	// Live is the mask of a running container, or the mask in the dump of a
	// suspended one; absent: as saved.
	Live nf.Value
}

// virtuozzo is the part of a namespace that only containers of the vz runtime have.
type virtuozzo struct {
	name, uuid, state string
	saved, live       nf.Value
	start             nf.Value // the mask of every cold start; absent: the saved level
}

// NewVirtuozzo returns a node as New does, but with a kernel that has masks and
// latches, as that of Virtuozzo 7.
func NewVirtuozzo() *Machine {
	m := New()
	m.kernel.Release = "3.10.0-1160.vz7.test"
	m.masks, m.latches = true, nf.Yes
	return m
}

// SetCapabilities sets whether the kernel has masks, and whether it latches: nf.Yes,
// nf.No or nf.MaybeUnknown. The kernel of VHS 9 does neither.
func (m *Machine) SetCapabilities(masks bool, latches string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.masks, m.latches = masks, latches
}

// AddVZ adds a container of the vz runtime with the scope Own, and returns its
// target.
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
	return ns.target()
}

// Start starts a container of the vz runtime as an admin would. A suspended
// container is resumed, with the level and the rules of its dump. Any other gets a
// cold start, with the saved level. Both are a new instance with the kernel's
// default values and the node's conntrack.max.
func (m *Machine) Start(t nf.Target) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.start(m.mustFind(t))
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
	m.mustFind(t).stop()
}

func (ns *namespace) stop() {
	ns.vz.state, ns.vz.live, ns.instance = nf.StateStopped, nf.Absent(), nf.InstanceStopped
	ns.rules, ns.tracking, ns.count = nf.Rules{Tables: []nf.Table{}}, nil, 0
}

// Suspend suspends a container of the vz runtime. Its dump has the level and the
// rules.
func (m *Machine) Suspend(t nf.Target) {
	m.mu.Lock()
	defer m.mu.Unlock()
	ns := m.mustFind(t)
	ns.vz.state, ns.instance, ns.tracking, ns.count = nf.StateSuspended, nf.InstanceSuspended, nil, 0
}

// SetState sets the state of a container of the vz runtime, and not its instance.
// Start, Stop and Suspend change both.
func (m *Machine) SetState(t nf.Target, state string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mustFind(t).vz.state = state
}

// Rename gives a container of the vz runtime another name, and returns its target.
// The instance stays.
func (m *Machine) Rename(t nf.Target, name string) nf.Target {
	m.mu.Lock()
	defer m.mu.Unlock()
	ns := m.mustFind(t)
	ns.vz.name = name
	return ns.target()
}

// PutLevel changes the live or the saved level of a container of the vz runtime as
// another program would.
func (m *Machine) PutLevel(t nf.Target, layer nf.Layer, v nf.Value) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if layer == nf.LayerBoot {
		m.mustFind(t).vz.saved = v
	} else {
		m.mustFind(t).vz.live = v
	}
}

// SetStartLevel sets the level that is live after every cold start of a container,
// whatever is saved: libvzctl ignores that it could not write the mask. An absent
// level ends that.
func (m *Machine) SetStartLevel(t nf.Target, v nf.Value) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mustFind(t).vz.start = v
}

// Level returns the live or the saved level of a container of the vz runtime.
func (m *Machine) Level(t nf.Target, layer nf.Layer) nf.Value {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.levelFact(m.mustFind(t))
	if layer == nf.LayerBoot {
		return *f.Boot
	}
	return f.Live
}

// State returns the state of a container, and its instance.
func (m *Machine) State(t nf.Target) (state, instance string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	ns := m.mustFind(t)
	if ns.vz == nil {
		return nf.StateRunning, ns.instance
	}
	return ns.vz.state, ns.instance
}

// levelFact returns the fact of a container's level. Without masks no level is live.
func (m *Machine) levelFact(ns *namespace) nf.Fact {
	f := nf.Fact{Key: nf.KeyLevel, Live: ns.vz.live, Boot: new(nf.Value)}
	*f.Boot = ns.vz.saved
	if !m.masks && m.latches == nf.No && ns.vz.state != nf.StateSuspended {
		f.Live = nf.Absent()
	}
	return f
}

// runs reports whether there is a namespace to enter.
func (ns *namespace) runs() bool {
	return ns.vz == nil || nf.Runs(ns.vz.state)
}

// transitionReason returns why a container in transition is unobservable; empty if
// it is not in transition.
func (v *virtuozzo) transitionReason() string {
	if nf.Rests(v.state) || nf.Runs(v.state) {
		return ""
	}
	return fmt.Sprintf("its state is %q", v.state)
}

// identify sets what List reads of a container.
func (m *Machine) identify(c *nf.Container, ns *namespace) {
	c.Instance, c.State = ns.instance, nf.StateRunning
	if ns.vz == nil {
		return
	}
	c.State, c.UUID, c.Unobservable = ns.vz.state, ns.vz.uuid, ns.unobservable
	if why := ns.vz.transitionReason(); why != "" {
		c.Unobservable = why
	}
	c.SetFact(m.levelFact(ns))
}

// refreshRestart re-reads the instance, the state and the level. It accepts another
// instance than before: nothing is known of its namespace yet.
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
		return fmt.Errorf("cannot save %s of %s: nothing stores it for the next start", c.Key, c.Target)
	case !ok:
		return fmt.Errorf("cannot save %s of %s as %s: no such level", c.Key, c.Target, c.To)
	}
	ns.vz.saved = level.Value()
	return nil
}

// restart gives a running container a cold start.
func (m *Machine) restart(ns *namespace) error {
	if ns.vz == nil || ns.vz.state != nf.StateRunning {
		return errors.New("cannot restart: not a running container")
	}
	m.start(ns)
	return nil
}
