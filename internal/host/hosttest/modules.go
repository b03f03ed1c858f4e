package hosttest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"

	"nfsync.dev/nfsync/internal/nf"
)

// module is a module's fact with what a load would bring back. Holders are not
// kept: they follow from what is loaded.
type module struct {
	nf.ModuleFact
	defaults map[string]nf.Parameter
}

// newModule takes a fact; its Refs are those beside the holders.
func newModule(f nf.ModuleFact) *module {
	f.Name = nf.NormalizeModule(f.Name)
	return &module{ModuleFact: f, defaults: maps.Clone(f.Parameters)}
}

// defaultModules are some of Linux 6.12 with the dependencies of its
// modules.dep.
func defaultModules() []nf.ModuleFact {
	loaded := func(name string, deps ...string) nf.ModuleFact {
		return nf.ModuleFact{Name: name, State: nf.ModuleLoaded, Evidence: "/proc/modules", Deps: deps}
	}
	unloaded := func(name string, deps ...string) nf.ModuleFact {
		return nf.ModuleFact{Name: name, State: nf.ModuleUnloaded, Evidence: "modules.dep", Deps: deps}
	}
	ct := []string{"nf_defrag_ipv4", "nf_defrag_ipv6"}
	conntrack := loaded("nf_conntrack", ct...)
	conntrack.Parameters = map[string]nf.Parameter{"hashsize": {Value: "65536", Writable: true}, "expect_hashsize": {Value: "1024"}}
	ipset := unloaded("ip_set", "nfnetlink")
	ipset.Parameters = map[string]nf.Parameter{"max_sets": {Value: "256"}}
	ct = append(ct, "nf_conntrack")
	nat := append(slices.Clone(ct), "nf_nat")
	return []nf.ModuleFact{
		loaded("nfnetlink"), loaded("nf_tables", "nfnetlink"), loaded("nf_defrag_ipv4"), loaded("nf_defrag_ipv6"), conntrack,
		unloaded("nft_ct", append(slices.Clone(ct), "nfnetlink", "nf_tables")...),
		unloaded("nf_nat", ct...),
		unloaded("nft_chain_nat", append(slices.Clone(nat), "nfnetlink", "nf_tables")...),
		unloaded("nft_masq", append(slices.Clone(nat), "nfnetlink", "nf_tables")...),
		unloaded("nf_conntrack_ftp", ct...), unloaded("nf_nat_ftp", append(slices.Clone(nat), "nf_conntrack_ftp")...),
		unloaded("x_tables"), unloaded("xt_conntrack", append(slices.Clone(ct), "x_tables")...),
		unloaded("ip_tables", "x_tables"), unloaded("iptable_filter", "x_tables", "ip_tables"),
		ipset,
	}
}

// SetModule makes the node have a module, or changes the one it has. Holders
// are left out of account, they follow from the Deps of what is loaded; Refs
// are those beside the holders.
func (m *Machine) SetModule(f nf.ModuleFact) {
	m.mu.Lock()
	defer m.mu.Unlock()
	mod := newModule(f)
	m.modules[mod.Name] = mod
}

// RemoveModule makes the node have no such module.
func (m *Machine) RemoveModule(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.modules, nf.NormalizeModule(name))
}

// SetAlias makes a name an alias of a module.
func (m *Machine) SetAlias(alias, name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.support.Aliases[nf.NormalizeModule(alias)] = nf.NormalizeModule(name)
}

// SetSupport says whether modules can be loaded: one of the nf.Support
// constants, with the reason.
func (m *Machine) SetSupport(support, reason string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.support.Support, m.support.Reason = support, reason
}

// SetModulesUnknown makes the evidence about absent modules unreadable, for
// the reason given.
func (m *Machine) SetModulesUnknown(why string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.support.Complete, m.support.Unknown = why == "", why
}

// real is the name of the module that a name or an alias means.
func (m *Machine) real(name string) string {
	name = nf.NormalizeModule(name)
	if _, ok := m.modules[name]; ok {
		return name
	}
	if real, ok := m.support.Aliases[name]; ok {
		return real
	}
	return name
}

// fact is what an observation shows of a module.
func (m *Machine) fact(mod *module, params bool) nf.ModuleFact {
	f := mod.ModuleFact
	f.Deps = slices.Clone(f.Deps)
	f.Parameters, f.Holders, f.Takes = nil, nil, nil
	if params && f.State != nf.ModuleUnloaded {
		f.Parameters = maps.Clone(mod.Parameters)
	}
	if f.State != nf.ModuleUnloaded {
		f.Barred = nf.Bar{}
	}
	if f.State == nf.ModuleLoaded {
		f.Holders = m.holders(f.Name)
		f.Refs += len(f.Holders)
	}
	return f
}

// holders are the loaded modules that need the named one.
func (m *Machine) holders(name string) []string {
	var holders []string
	for _, mod := range m.modules {
		if mod.State == nf.ModuleLoaded && slices.Contains(mod.Deps, name) {
			holders = append(holders, mod.Name)
		}
	}
	slices.Sort(holders)
	return holders
}

// facts are all modules, with the parameters of the asked ones.
func (m *Machine) facts(ask []string, all bool) nf.Modules {
	asked := map[string]bool{}
	for _, name := range ask {
		asked[m.real(name)] = true
	}
	out := m.support
	out.Aliases = maps.Clone(out.Aliases)
	out.List = make([]nf.ModuleFact, 0, len(m.modules))
	for _, name := range slices.Sorted(maps.Keys(m.modules)) {
		f := m.fact(m.modules[name], all || asked[name])
		if asked[name] {
			f.Takes = slices.Clone(m.modules[name].Takes)
		}
		out.List = append(out.List, f)
	}
	return out
}

// setModule makes a module have a state and parameters, as the kernel does:
// exactly the named module, no other.
func (m *Machine) setModule(name, state string, params map[string]string) error {
	mod, ok := m.modules[m.real(name)]
	switch {
	case !ok:
		return fmt.Errorf("cannot find module %s: %w", name, syscall.ENOENT)
	case state == nf.ModuleLoaded && mod.State == nf.ModuleUnloaded:
		return m.load(mod, params)
	case state == nf.ModuleLoaded:
		return mod.setParameters(params)
	case state == nf.ModuleUnloaded:
		return m.unload(mod)
	}
	return fmt.Errorf("cannot make module %s %s: %w", name, state, syscall.EINVAL)
}

func (m *Machine) load(mod *module, params map[string]string) error {
	if m.support.Support != nf.SupportLoadable {
		return fmt.Errorf("cannot load module %s: %w", mod.Name, syscall.EPERM)
	}
	if mod.Barred != (nf.Bar{}) {
		return fmt.Errorf("cannot load module %s: %s", mod.Name, mod.Barred)
	}
	for _, dep := range mod.Deps {
		if d, ok := m.modules[m.real(dep)]; !ok || d.State == nf.ModuleUnloaded {
			return fmt.Errorf("cannot load module %s, which needs %s: %w", mod.Name, dep, syscall.ENOENT)
		}
	}
	mod.State, mod.Evidence = nf.ModuleLoaded, "/proc/modules"
	mod.Parameters = maps.Clone(mod.defaults)
	for name, value := range params {
		if p, ok := mod.Parameters[name]; ok { // the kernel ignores unknown names
			p.Value = value
			mod.Parameters[name] = p
		}
	}
	return nil
}

// setParameters writes the differing parameters of a loaded module.
func (mod *module) setParameters(params map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(params)) {
		p, ok := mod.Parameters[name]
		switch {
		case !ok:
			return fmt.Errorf("cannot set parameter %s of module %s: %w", name, mod.Name, syscall.ENOENT)
		case p.Value == params[name]:
			continue
		case !p.Writable:
			return fmt.Errorf("cannot set parameter %s of module %s: %w", name, mod.Name, syscall.EACCES)
		}
		p.Value = params[name]
		mod.Parameters[name] = p
	}
	return nil
}

// unload takes a module away with what it holds in every namespace: the tables
// of its backend, nf_conntrack's entries and values.
func (m *Machine) unload(mod *module) error {
	switch {
	case m.support.Support != nf.SupportLoadable || mod.State == nf.ModuleBuiltin || mod.Permanent:
		return fmt.Errorf("cannot unload module %s: %w", mod.Name, syscall.EBUSY)
	case mod.State == nf.ModuleUnloaded:
		return nil
	case mod.Refs > 0 || len(m.holders(mod.Name)) > 0:
		return fmt.Errorf("cannot unload module %s: %w", mod.Name, syscall.EWOULDBLOCK)
	}
	mod.State, mod.Evidence = nf.ModuleUnloaded, "modules.dep"
	for _, ns := range append([]*namespace{m.host}, m.containers...) {
		ns.rules.Tables = slices.DeleteFunc(slices.Clone(ns.rules.Tables), func(t nf.Table) bool { return holds(mod.Name, t) })
		if mod.Name == "nf_conntrack" {
			ns.count = 0
		}
	}
	return nil
}

// holds tells whether a table goes with the module.
func holds(name string, t nf.Table) bool {
	if t.Backend == nf.BackendNft {
		return name == "nf_tables"
	}
	legacy := map[string]string{"ip": "iptable_", "ip6": "ip6table_", "arp": "arptable_"}
	table, ok := strings.CutPrefix(name, legacy[t.Family])
	return ok && table == t.Name
}
