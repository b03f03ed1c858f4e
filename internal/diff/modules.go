package diff

import (
	"fmt"
	"slices"
	"strings"

	"nfsync.dev/nfsync/internal/nf"
)

// tiers are the modules that each level adds to those of the level below.
var tiers = map[nf.Level][]string{
	nf.LevelStateless: {"ip_tables", "iptable_filter", "iptable_mangle", "ip6_tables", "ip6table_filter", "ip6table_mangle", "nf_tables"},
	nf.LevelStateful:  {"nf_conntrack", "nf_conntrack_ipv4", "nf_conntrack_ipv6", "xt_conntrack", "nft_ct"},
	nf.LevelFull: {"nf_nat", "nf_nat_ipv4", "nf_nat_ipv6", "iptable_nat", "ip6table_nat", "xt_nat", "xt_MASQUERADE", "ipt_MASQUERADE",
		"ip6t_MASQUERADE", "xt_REDIRECT", "nft_chain_nat", "nft_chain_nat_ipv4", "nft_chain_nat_ipv6", "nft_nat", "nft_masq", "nft_redir"},
}

// legacy reports whether a module is ip_tables, ip6_tables or needs one of them. A
// node that uses only nf_tables does not get those.
func legacy(name string, m *nf.ModuleFact) bool {
	if m != nil && (slices.Contains(m.Deps, "ip_tables") || slices.Contains(m.Deps, "ip6_tables")) {
		return true
	}
	return name == "ip_tables" || name == "ip6_tables" || strings.HasPrefix(name, "iptable_") || strings.HasPrefix(name, "ip6table_")
}

// expansion collects the wants for modules: those that policies name, under their
// real names, and those that follow from the levels.
type expansion struct {
	world    *World
	modules  map[string]*nf.Want // by real name
	explicit map[string]bool
	// unknown are modules of levels of which nobody knows whether they exist.
	unknown []string
}

// expand returns the wants for modules, sorted by key, and their warnings. It adds to the
// other wants the rivals that they have among the modules.
func expand(w *World, wants []nf.Want) ([]nf.Want, []nf.Warning) {
	e := expansion{world: w, modules: map[string]*nf.Want{}, explicit: map[string]bool{}}
	for i := range wants {
		if name, ok := wants[i].Key.Module(); ok {
			e.addExplicit(name, wants[i])
		}
	}
	e.addRivals(wants)
	e.addLevels(wants)
	e.addDependencies()
	list := make([]nf.Want, 0, len(e.modules))
	for _, want := range e.modules {
		list = append(list, *want)
	}
	slices.SortFunc(list, func(a, b nf.Want) int { return strings.Compare(string(a.Key), string(b.Key)) })
	return list, e.warnings()
}

// real returns the name in a module's key: an alias is replaced by its module.
func (e *expansion) real(name string) string {
	if m, ok := e.world.snap.Modules.Find(name); ok {
		return m.Name
	}
	return nf.NormalizeModule(name)
}

func (e *expansion) addExplicit(name string, want nf.Want) {
	real := e.real(name)
	written := want.Key
	want.Key = nf.ModuleKey(real)
	e.explicit[real] = true
	other, ok := e.modules[real]
	if !ok {
		e.modules[real] = &want
		return
	}
	for _, rival := range append([]nf.Rival{{Wish: want.Wish, Source: want.Source}}, want.Rivals...) { // two names of one module
		if rival.Wish != other.Wish {
			rival.Key = written
			other.Rivals = appendRival(other.Rivals, rival)
		}
	}
}

// addRivals makes the wants for the node rivals that set one value under two keys.
func (e *expansion) addRivals(wants []nf.Want) {
	var node []*nf.Want
	for i := range wants {
		if _, isModule := wants[i].Key.Module(); wants[i].Target.IsNode() && !isModule {
			node = append(node, &wants[i])
		}
	}
	for _, name := range sortedNames(e.modules) {
		node = append(node, e.modules[name])
	}
	nf.AddRivals(node)
}

// addLoaded adds the want that a module be loaded, for a level or for a module that
// needs it.
func (e *expansion) addLoaded(name string, source nf.Source) {
	wish := nf.Exactly(nf.Module(nf.ModuleLoaded, nil))
	if want, ok := e.modules[name]; ok {
		state, _, _ := want.Wish.Value.Module()
		if state != nf.ModuleUnloaded {
			return
		}
		if e.explicit[name] {
			want.Rivals = appendRival(want.Rivals, nf.Rival{Wish: wish, Source: source})
			return
		}
	}
	e.modules[name] = &nf.Want{Target: nf.Node, Key: nf.ModuleKey(name), Wish: wish, Source: source}
}

func appendRival(rivals []nf.Rival, r nf.Rival) []nf.Rival {
	if slices.Contains(rivals, r) {
		return rivals
	}
	return append(rivals, r)
}

// addLevels adds the wants for the modules of the highest level that the node or any
// container wants: the kernel would load them on first use. If the policy says so it
// adds that those above be unloaded.
func (e *expansion) addLevels(wants []nf.Want) {
	asked := map[nf.Level]nf.Source{} // by level: the first line that asks for at least that much
	for i := range wants {
		want := &wants[i]
		level, ok := want.Wish.Value.Level()
		if want.Key != nf.KeyLevel || !ok || len(want.Rivals) > 0 {
			continue
		}
		for l := nf.LevelStateless; l <= level; l++ {
			if _, ok := asked[l]; !ok {
				asked[l] = want.Source
			}
		}
	}
	for l := nf.LevelStateless; l <= nf.LevelFull; l++ {
		if source, ok := asked[l]; ok {
			e.addTier(tiers[l], source)
		}
	}
	for i := range wants {
		want := &wants[i]
		if unloadsAbove(want) && len(want.Rivals) == 0 {
			e.unloadAbove(e.ceiling(wants), want.Source)
		}
	}
}

func (e *expansion) addTier(names []string, source nf.Source) {
	caps := e.world.snap.Capabilities
	for _, name := range names {
		m, found := e.world.snap.Modules.Find(name)
		if !caps.LegacyTables && !caps.Masks && legacy(name, m) {
			continue
		}
		switch {
		case found:
			e.addLoaded(m.Name, source)
		case !e.world.snap.Modules.Complete:
			e.unknown = append(e.unknown, name)
		}
	}
}

// warnings names the modules of levels of which it is unknown whether they exist.
func (e *expansion) warnings() []nf.Warning {
	if len(e.unknown) == 0 {
		return nil
	}
	return []nf.Warning{{Code: nf.WarnModuleUnknown, Target: nf.Node,
		Message: fmt.Sprintf("cannot determine whether this kernel has %s: %s", strings.Join(e.unknown, ", "), e.world.snap.Modules.Unknown)}}
}

// ceiling returns the highest level that the node or any container wants or has.
// Unknown counts as full.
func (e *expansion) ceiling(wants []nf.Want) nf.Level {
	if e.world.broken != "" {
		return nf.LevelFull
	}
	top := e.world.hasLevel(nf.Node)
	for _, t := range e.world.order {
		top = max(top, e.world.hasLevel(t))
	}
	for i := range wants {
		want := &wants[i]
		if want.Key != nf.KeyLevel {
			continue
		}
		for _, wish := range append([]nf.Rival{{Wish: want.Wish}}, want.Rivals...) {
			if l, ok := wish.Wish.Value.Level(); ok {
				top = max(top, l)
			}
		}
	}
	return top
}

// hasLevel returns the highest level that a target has, live or saved; for a stopped
// container the saved one. A container whose saved level no mask enforces may use
// any level.
func (w *World) hasLevel(t nf.Target) nf.Level {
	f := w.fact(t, nf.KeyLevel)
	if w.at(t).runtimeLevel() && (!w.masked(t) || f.Boot == nil) {
		return nf.LevelFull
	}
	top := nf.LevelDisabled
	if !isStopped(w.at(t).container) {
		top = atMost(f.Live)
	}
	if f.Boot != nil {
		top = max(top, atMost(*f.Boot))
	}
	return top
}

// atMost returns the highest level that a value may mean. Unknown counts as full.
func atMost(v nf.Value) nf.Level {
	if level, ok := v.MaskLevel(); ok {
		return level
	}
	return nf.LevelFull
}

func (e *expansion) unloadAbove(ceiling nf.Level, source nf.Source) {
	for l := ceiling + 1; l <= nf.LevelFull; l++ {
		for _, name := range tiers[l] {
			m, ok := e.world.snap.Modules.Find(name)
			if !ok || m.State != nf.ModuleLoaded || e.modules[m.Name] != nil {
				continue
			}
			e.modules[m.Name] = &nf.Want{Target: nf.Node, Key: nf.ModuleKey(m.Name),
				Wish: nf.Exactly(nf.Module(nf.ModuleUnloaded, nil)), Source: source}
		}
	}
}

// addDependencies adds the modules that a module to be loaded needs, each as a want
// of its own, so that nothing is loaded that the plan does not show. If the module
// cannot be loaded anyway, only its barred dependencies are added: they are refused.
func (e *expansion) addDependencies() {
	for _, name := range sortedNames(e.modules) {
		want := e.modules[name]
		if state, _, _ := want.Wish.Value.Module(); state != nf.ModuleLoaded || len(want.Rivals) > 0 {
			continue
		}
		m, ok := e.world.snap.Modules.Find(name)
		if !ok || m.State != nf.ModuleUnloaded {
			continue
		}
		loadable := e.world.loadable(m, want)
		for _, dep := range m.Deps {
			dep = e.real(dep)
			if !loadable && e.world.bar(dep) == (nf.Bar{}) { // for nothing
				continue
			}
			e.world.dependency[dep] = !e.wantsLoaded(dep) || e.world.dependency[dep]
			e.addLoaded(dep, want.Source)
		}
	}
}

// wantsLoaded reports whether a module is wanted loaded so far.
func (e *expansion) wantsLoaded(name string) bool {
	want := e.modules[name]
	if want == nil {
		return false
	}
	state, _, _ := want.Wish.Value.Module()
	return state == nf.ModuleLoaded
}

func sortedNames(m map[string]*nf.Want) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
