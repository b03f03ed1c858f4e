package hosttest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"

	"nfsync.dev/nfsync/internal/nf"
)

// module is a module's fact without its holders, which follow from the modules that
// are loaded. Its Refs do not count the holders.
type module struct {
	nf.ModuleFact
	defaults map[string]nf.Parameter // after a load
}

// newModule returns a module whose parameters, after a load, are those of the fact.
func newModule(f nf.ModuleFact) *module {
	f.Name = nf.NormalizeModule(f.Name)
	return &module{ModuleFact: f, defaults: maps.Clone(f.Parameters)}
}

// defaultModules returns some modules of Linux 6.12, with the dependencies of its
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

// SetModule adds or replaces a module of the node. It ignores Holders, which follow
// from the Deps of the loaded modules. Refs does not count the holders.
func (m *Machine) SetModule(f nf.ModuleFact) {
	m.mu.Lock()
	defer m.mu.Unlock()
	mod := newModule(f)
	m.modules[mod.Name] = mod
}

// RemoveModule removes a module from the node.
func (m *Machine) RemoveModule(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.modules, nf.NormalizeModule(name))
}

// SetAlias adds an alias of a module.
func (m *Machine) SetAlias(alias, name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.support.Aliases[nf.NormalizeModule(alias)] = nf.NormalizeModule(name)
}

// SetSupport sets whether modules can be loaded, one of the nf.Support constants,
// and the reason.
func (m *Machine) SetSupport(support, reason string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.support.Support, m.support.Reason = support, reason
}

// SetModulesUnknown makes the evidence of absent modules unreadable for a reason.
func (m *Machine) SetModulesUnknown(why string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.support.Complete, m.support.Unknown = why == "", why
}

// realName returns the name of the module that a name or an alias means.
func (m *Machine) realName(name string) string {
	name = nf.NormalizeModule(name)
	if _, ok := m.modules[name]; ok {
		return name
	}
	if real, ok := m.support.Aliases[name]; ok {
		return real
	}
	return name
}

// moduleFact returns the fact of a module in an observation.
func (m *Machine) moduleFact(mod *module, params bool) nf.ModuleFact {
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

// holders returns the loaded modules that depend on the named one.
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

// moduleFacts returns all modules, with the parameters of those that are asked.
func (m *Machine) moduleFacts(ask []string, all bool) nf.Modules {
	asked := map[string]bool{}
	for _, name := range ask {
		asked[m.realName(name)] = true
	}
	out := m.support
	out.Aliases = maps.Clone(out.Aliases)
	out.List = make([]nf.ModuleFact, 0, len(m.modules))
	for _, name := range slices.Sorted(maps.Keys(m.modules)) {
		f := m.moduleFact(m.modules[name], all || asked[name])
		if asked[name] {
			f.Takes = slices.Clone(m.modules[name].Takes)
		}
		out.List = append(out.List, f)
	}
	return out
}

// setModule sets the state and the parameters of exactly the named module.
func (m *Machine) setModule(name, state string, params map[string]string) error {
	mod, ok := m.modules[m.realName(name)]
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
	return fmt.Errorf("cannot set module %s to %s: %w", name, state, syscall.EINVAL)
}

func (m *Machine) load(mod *module, params map[string]string) error {
	if m.support.Support != nf.SupportLoadable {
		return fmt.Errorf("cannot load module %s: %w", mod.Name, syscall.EPERM)
	}
	if mod.Barred != (nf.Bar{}) {
		return fmt.Errorf("cannot load module %s: %s", mod.Name, mod.Barred)
	}
	for _, dep := range mod.Deps {
		if d, ok := m.modules[m.realName(dep)]; !ok || d.State == nf.ModuleUnloaded {
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

// setParameters writes those parameters of a loaded module that differ.
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

// unload unloads a module. The tables that it holds in every namespace end with it,
// and the conntrack entries with nf_conntrack.
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
		ns.rules.Tables = slices.DeleteFunc(slices.Clone(ns.rules.Tables), func(t nf.Table) bool { return holdsTable(mod.Name, t) })
		if mod.Name == "nf_conntrack" {
			ns.count = 0
		}
	}
	return nil
}

// holdsTable reports whether a table ends when the named module is unloaded.
func holdsTable(name string, t nf.Table) bool {
	if t.Backend == nf.BackendNft {
		return name == "nf_tables"
	}
	legacy := map[string]string{"ip": "iptable_", "ip6": "ip6table_", "arp": "arptable_"}
	table, ok := strings.CutPrefix(name, legacy[t.Family])
	return ok && table == t.Name
}
