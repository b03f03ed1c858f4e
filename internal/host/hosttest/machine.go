package hosttest

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"nfsync.dev/nfsync/internal/nf"
)

// Scope is the relation of a container's conntrack.max to the node's.
type Scope int

// The scopes.
const (
	// ReadOnly reads the node's value; a write is EACCES: Linux since 5.13
	// (0444, net/netfilter/nf_conntrack_standalone.c).
	ReadOnly Scope = iota
	// Own is a separate value. A write above the node's is EINVAL, and so is any
	// while the node's is 0 (net->ct.max of the Virtuozzo 7 kernel).
	Own
	// Shared reads the node's value, and a write changes that: Linux before
	// 5.13.
	Shared
)

// bucketStep is the unit to which buckets are rounded up: a page of 4 KiB of list
// heads.
const bucketStep = 512

// Machine is a node in memory. Its methods can be called by many goroutines.
type Machine struct {
	mu         sync.Mutex
	node       nf.NodeIdentity
	bootID     string
	kernel     nf.Kernel
	denied     map[string]string
	support    nf.Modules // without List
	modules    map[string]*module
	host       *namespace
	containers []*namespace // sorted by runtime and id
	created    int          // number of namespaces, for their instances
	warnings   []nf.Warning
	boot       *bootFiles // nil: the node has none
	masks      bool       // nf.Capabilities
	latches    string
	faults     []*Fault
	calls      []Call
	labels     map[nf.Target]labels // by nameless target
	labelled   int                  // calls of Label
}

// namespace is the network namespace of the node or of a container.
type namespace struct {
	runtime, id  string // empty for the node's
	aliases      []string
	instance     string
	unobservable string
	scope        Scope
	values       map[nf.Key]int64 // without those that owner finds in the node's
	rules        nf.Rules
	tracking     *nf.Tracking // nil: as its rules need
	count        int64
	vz           *virtuozzo // nil: not a container of the vz runtime
}

// New returns a node named node-1 without containers and rules. Its kernel is Linux
// 6.12 with loadable modules, of which nf_tables and nf_conntrack are loaded. It
// allows 262144 conntrack entries in 65536 buckets, and has the default timeouts.
func New() *Machine {
	m := &Machine{
		node:    nf.NodeIdentity{Name: "node-1"},
		bootID:  "boot-1",
		kernel:  nf.Kernel{Release: "6.12.0-test", Machine: "x86_64"},
		denied:  map[string]string{},
		support: nf.Modules{Support: nf.SupportLoadable, Complete: true, Aliases: map[string]string{"ip_conntrack": "nf_conntrack"}},
		modules: map[string]*module{},
		latches: nf.No,
	}
	m.host = m.namespace("")
	m.host.values[nf.KeyMax] = 262144
	m.host.values[nf.KeyBuckets] = 65536
	m.host.values[nf.KeyExpectMax] = 1024
	for _, f := range defaultModules() {
		m.modules[f.Name] = newModule(f)
	}
	return m
}

// namespace returns a new namespace with the kernel's default values.
func (m *Machine) namespace(id string) *namespace {
	m.created++
	return &namespace{id: id, instance: fmt.Sprintf("%s/ns-%d", m.bootID, m.created), values: defaultValues(), rules: nf.Rules{Tables: []nf.Table{}}}
}

// SetNode names the node and its labels.
func (m *Machine) SetNode(name string, labels map[string]string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.node = nf.NodeIdentity{Name: name, Labels: labels}
}

// Deny denies a kind of change: one of the nf.Ability constants.
func (m *Machine) Deny(ability, why string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.denied[ability] = why
}

// Warn adds a warning to every snapshot.
func (m *Machine) Warn(w nf.Warning) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.warnings = append(m.warnings, w)
}

// AddContainer adds a container of the netns runtime with the scope ReadOnly, and
// returns its target.
func (m *Machine) AddContainer(name string, aliases ...string) nf.Target {
	m.mu.Lock()
	defer m.mu.Unlock()
	ns := m.namespace(name)
	ns.runtime, ns.aliases = nf.RuntimeNetns, aliases
	ns.values[nf.KeyMax], _ = m.read(m.host, nf.KeyMax).Number()
	m.add(ns)
	return ns.target()
}

func (m *Machine) add(ns *namespace) {
	m.containers = append(m.containers, ns)
	slices.SortFunc(m.containers, func(a, b *namespace) int { return a.target().Compare(b.target()) })
}

// Remove removes a container.
func (m *Machine) Remove(t nf.Target) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.remove(t)
}

func (m *Machine) remove(t nf.Target) {
	m.containers = slices.DeleteFunc(m.containers, func(ns *namespace) bool { return ns.matches(t) })
}

// Recreate replaces a container by a new instance with default values and no rules.
// A container of the vz runtime gets a cold start.
func (m *Machine) Recreate(t nf.Target) {
	m.mu.Lock()
	defer m.mu.Unlock()
	old := m.mustFind(t)
	if old.vz != nil {
		old.stop()
		m.start(old)
		return
	}
	ns := m.namespace(old.id)
	ns.runtime, ns.aliases, ns.scope = old.runtime, old.aliases, old.scope
	ns.values[nf.KeyMax], _ = m.read(m.host, nf.KeyMax).Number()
	*old = *ns
}

// Reboot restarts the node: the boot id and the instance of every container change.
// The values stay, as if another program had set them again. Running containers of
// the vz runtime get a cold start.
func (m *Machine) Reboot() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.bootID += "'"
	for _, ns := range m.containers {
		if ns.vz != nil {
			if ns.runs() {
				ns.stop()
				m.start(ns)
			}
			continue
		}
		m.created++
		ns.instance = fmt.Sprintf("%s/ns-%d", m.bootID, m.created)
	}
}

// SetScope sets the relation of a container's conntrack.max to the node's.
func (m *Machine) SetScope(t nf.Target, s Scope) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mustFind(t).scope = s
}

// SetUnobservable makes a container unreadable for a reason; an empty reason makes
// it readable again.
func (m *Machine) SetUnobservable(t nf.Target, why string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mustFind(t).unobservable = why
}

// SetRules replaces the tables of a target.
func (m *Machine) SetRules(t nf.Target, tables ...nf.Table) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mustFind(t).rules = nf.Rules{Tables: append([]nf.Table{}, tables...)}
}

// SetRulesUnknown makes a target's rules unreadable for a reason.
func (m *Machine) SetRulesUnknown(t nf.Target, why string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mustFind(t).rules.Unknown = why
}

// SetTracking sets whether a target tracks connections. By default it does if its
// rules need it.
func (m *Machine) SetTracking(t nf.Target, tracking nf.Tracking) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mustFind(t).tracking = &tracking
}

// SetCount sets the number of conntrack entries of a target.
func (m *Machine) SetCount(t nf.Target, n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mustFind(t).count = n
}

// Put changes a value as another program would, without the kernel's checks. A
// value that belongs to the node is changed there.
func (m *Machine) Put(t nf.Target, k nf.Key, n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.owner(m.mustFind(t), k).values[k] = n
}

// Drop removes a value, as if the kernel did not have its file.
func (m *Machine) Drop(t nf.Target, k nf.Key) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.mustFind(t).values, k)
}

// Value returns the present value of a target's key: the number of a sysctl, or the
// state of a module with all its parameters.
func (m *Machine) Value(t nf.Target, k nf.Key) nf.Value {
	m.mu.Lock()
	defer m.mu.Unlock()
	if name, ok := k.Module(); ok {
		if mod, ok := m.modules[m.realName(name)]; ok {
			f := m.moduleFact(mod, true)
			return f.Value(slices.Collect(maps.Keys(f.Parameters)))
		}
		return nf.Absent()
	}
	return m.read(m.mustFind(t), k)
}

// mustFind returns a target that the test has added.
func (m *Machine) mustFind(t nf.Target) *namespace {
	ns, ok := m.find(t)
	if !ok {
		panic(fmt.Sprintf("hosttest: no such target: %s", t))
	}
	return ns
}

func (m *Machine) find(t nf.Target) (*namespace, bool) {
	if t.IsNode() {
		return m.host, true
	}
	for _, ns := range m.containers {
		if ns.matches(t) {
			return ns, true
		}
	}
	return nil, false
}

func (ns *namespace) matches(t nf.Target) bool { return ns.id == t.ID && ns.runtime == t.Runtime }

func (ns *namespace) target() nf.Target {
	if ns.id == "" {
		return nf.Node
	}
	t := nf.Target{Kind: nf.TargetContainer, Runtime: ns.runtime, ID: ns.id, Name: ns.id}
	if ns.vz != nil {
		t.Name = ns.vz.name
	}
	return t
}

// takenAt is the time of every snapshot: the machine has no clock.
var takenAt = time.Date(2026, time.January, 2, 3, 4, 5, 0, time.UTC)
