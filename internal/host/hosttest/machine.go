package hosttest

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"nfsync.dev/nfsync/internal/nf"
)

// Scope is how a container's conntrack.max stands to the node's.
type Scope int

// The scopes.
const (
	// ReadOnly shows the node's value and refuses writes with EACCES: Linux
	// since 5.13 (0444, net/netfilter/nf_conntrack_standalone.c).
	ReadOnly Scope = iota
	// Own is a value of the container's own: a write above the node's, and any
	// while the node's is 0, is EINVAL (net->ct.max of the Virtuozzo 7 kernel).
	Own
	// Shared shows the node's value, and a write changes that: Linux before
	// 5.13.
	Shared
)

// bucketStep is what buckets are rounded up to: a page of 4 KiB of list heads.
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
	made       int          // namespaces ever made
	warnings   []nf.Warning
	boot       *bootFiles // nil: the node has none
	masks      bool       // nf.Capabilities
	latches    string
	faults     []*Fault
	calls      []Call
}

// namespace is one network namespace: the node's, or a container.
type namespace struct {
	runtime, id  string // empty for the node's
	aliases      []string
	instance     string
	unobservable string
	scope        Scope
	values       map[nf.Key]int64 // its own
	rules        nf.Rules
	tracking     *nf.Tracking // nil: by its rules
	count        int64
	vz           *virtuozzo // nil: no container of that runtime
}

// New is a node named node-1 with no containers: a present-day kernel with
// loadable modules, of which nf_tables and nf_conntrack are loaded, no rules,
// 262144 connections in 65536 buckets, and the kernel's default timeouts.
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

// namespace makes a namespace with the kernel's default values.
func (m *Machine) namespace(id string) *namespace {
	m.made++
	return &namespace{id: id, instance: fmt.Sprintf("%s/ns-%d", m.bootID, m.made), values: defaultValues(), rules: nf.Rules{Tables: []nf.Table{}}}
}

// SetNode names the node and its labels.
func (m *Machine) SetNode(name string, labels map[string]string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.node = nf.NodeIdentity{Name: name, Labels: labels}
}

// Deny takes the privilege for a kind of change away: one of the nf.Ability
// constants.
func (m *Machine) Deny(ability, why string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.denied[ability] = why
}

// Warn makes every observation carry a warning.
func (m *Machine) Warn(w nf.Warning) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.warnings = append(m.warnings, w)
}

// AddContainer makes a container of the netns runtime, with conntrack.max
// ReadOnly, and returns its target.
func (m *Machine) AddContainer(name string, aliases ...string) nf.Target {
	m.mu.Lock()
	defer m.mu.Unlock()
	ns := m.namespace(name)
	ns.runtime, ns.aliases = nf.RuntimeNetns, aliases
	ns.values[nf.KeyMax], _ = m.read(m.host, nf.KeyMax).Number()
	m.add(ns)
	return ns2target(ns)
}

func (m *Machine) add(ns *namespace) {
	m.containers = append(m.containers, ns)
	slices.SortFunc(m.containers, func(a, b *namespace) int { return ns2target(a).Compare(ns2target(b)) })
}

// Remove ends a container.
func (m *Machine) Remove(t nf.Target) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.remove(t)
}

func (m *Machine) remove(t nf.Target) {
	m.containers = slices.DeleteFunc(m.containers, func(ns *namespace) bool { return ns.is(t) })
}

// Recreate replaces a container by a new one of the same name: another
// instance, with default values and no rules. One of the vz runtime gets a cold
// start.
func (m *Machine) Recreate(t nf.Target) {
	m.mu.Lock()
	defer m.mu.Unlock()
	old := m.must(t)
	if old.vz != nil {
		old.halt()
		m.start(old)
		return
	}
	ns := m.namespace(old.id)
	ns.runtime, ns.aliases, ns.scope = old.runtime, old.aliases, old.scope
	ns.values[nf.KeyMax], _ = m.read(m.host, nf.KeyMax).Number()
	*old = *ns
}

// Reboot restarts the node: another boot id, every container a new instance.
// The values stay, as if something had set them again; those of the vz runtime
// that ran get a cold start.
func (m *Machine) Reboot() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.bootID += "'"
	for _, ns := range m.containers {
		if ns.vz != nil {
			if ns.runs() {
				ns.halt()
				m.start(ns)
			}
			continue
		}
		m.made++
		ns.instance = fmt.Sprintf("%s/ns-%d", m.bootID, m.made)
	}
}

// SetScope says how a container's conntrack.max stands to the node's.
func (m *Machine) SetScope(t nf.Target, s Scope) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.must(t).scope = s
}

// SetUnobservable makes a container unreadable, for the reason given; an empty
// one makes it readable again.
func (m *Machine) SetUnobservable(t nf.Target, why string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.must(t).unobservable = why
}

// SetRules gives a target these tables.
func (m *Machine) SetRules(t nf.Target, tables ...nf.Table) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.must(t).rules = nf.Rules{Tables: append([]nf.Table{}, tables...)}
}

// SetRulesUnknown makes a target's rules unreadable, for the reason given.
func (m *Machine) SetRulesUnknown(t nf.Target, why string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.must(t).rules.Unknown = why
}

// SetTracking says whether a target tracks connections; without it that is
// what its rules need.
func (m *Machine) SetTracking(t nf.Target, tracking nf.Tracking) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.must(t).tracking = &tracking
}

// SetCount says how many live conntrack entries a target has.
func (m *Machine) SetCount(t nf.Target, n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.must(t).count = n
}

// Put changes a value behind nfsync's back. No rule of the kernel holds it up,
// but a value that is the node's is changed there.
func (m *Machine) Put(t nf.Target, k nf.Key, n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.owner(m.must(t), k).values[k] = n
}

// Drop takes a value away, as a kernel that lacks the file.
func (m *Machine) Drop(t nf.Target, k nf.Key) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.must(t).values, k)
}

// Value is what a target's key is now: a sysctl's number or a module's state
// with all its parameters.
func (m *Machine) Value(t nf.Target, k nf.Key) nf.Value {
	m.mu.Lock()
	defer m.mu.Unlock()
	if name, ok := k.Module(); ok {
		if mod, ok := m.modules[m.real(name)]; ok {
			f := m.fact(mod, true)
			return f.Value(slices.Collect(maps.Keys(f.Parameters)))
		}
		return nf.Absent()
	}
	return m.read(m.must(t), k)
}

// must finds a target that a test itself has made.
func (m *Machine) must(t nf.Target) *namespace {
	ns, ok := m.find(t)
	if !ok {
		panic(fmt.Sprintf("hosttest: there is no %s", t))
	}
	return ns
}

func (m *Machine) find(t nf.Target) (*namespace, bool) {
	if t.IsNode() {
		return m.host, true
	}
	for _, ns := range m.containers {
		if ns.is(t) {
			return ns, true
		}
	}
	return nil, false
}

func (ns *namespace) is(t nf.Target) bool { return ns.id == t.ID && ns.runtime == t.Runtime }

func ns2target(ns *namespace) nf.Target {
	if ns.id == "" {
		return nf.Node
	}
	t := nf.Target{Kind: nf.TargetContainer, Runtime: ns.runtime, ID: ns.id, Name: ns.id}
	if ns.vz != nil {
		t.Name = ns.vz.name
	}
	return t
}

// takenAt is the time of every snapshot: a machine in memory has no clock.
var takenAt = time.Date(2026, time.January, 2, 3, 4, 5, 0, time.UTC)
