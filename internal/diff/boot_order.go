package diff

import (
	"fmt"
	"slices"

	"nfsync.dev/nfsync/internal/nf"
)

// bootOrder warns of values that nfsync's own sysctl.d file has, or is to have, and that
// the next start cannot set. systemd-sysctl(8) runs after systemd-modules-load(8) and
// before anything that adds a rule: if only a rule loads the module, its values do not
// exist then. Before Linux 4.7, as on Virtuozzo 7, sysctl.d cannot set the number of
// buckets at all (3183ab8997a4 "netfilter: conntrack: allow increasing bucket size via
// sysctl too").
func (p *planner) bootOrder(wants []nf.Want) []nf.Warning {
	w := p.world
	start := w.nextStart(p.plan.Changes)
	var list []nf.Warning
	for i := range wants {
		want := &wants[i]
		if !want.Target.IsNode() {
			continue
		}
		file, ok := want.Key.Sysctl()
		if !ok || !w.hasBoot(want, w.fact(want.Target, want.Key).Live) {
			continue
		}
		warn := func(why string) {
			list = append(list, nf.Warning{Code: nf.WarnBootOrder, Target: nf.Node, Key: want.Key, Source: sourceOf(want), Message: "the next start cannot set this: " + why})
		}
		if w.fact(nf.Node, want.Key).Parameter != "" {
			if !start.setsBuckets(want) {
				warn("this kernel sets it by the parameter hashsize of nf_conntrack, not by sysctl.d: want that parameter of the module too (modules: {nf_conntrack: {state: loaded, parameters: {hashsize: N}}})")
			}
			continue
		}
		m, found := w.snap.Modules.Find(w.owner(file))
		if !found || m.State == nf.ModuleBuiltin || m.Rereads || start.loaded[m.Name] {
			continue
		}
		warn(start.without(m.Name))
	}
	return list
}

// start is what the next start does with modules before systemd-sysctl(8) runs.
type start struct {
	world *World
	// own are the values of modules in nfsync's own boot files, with the changes planned.
	own    map[string]nf.Value
	loaded map[string]bool
}

// nextStart returns what the next start does with modules, once these changes are made.
func (w *World) nextStart(changes []nf.Change) start {
	s := start{world: w, own: map[string]nf.Value{}, loaded: map[string]bool{}}
	for _, m := range w.snap.Modules.List {
		if m.Boot != nil {
			s.own[m.Name] = *m.Boot
		}
	}
	for _, c := range changes {
		if name, ok := c.Key.Module(); ok && c.Layer == nf.LayerBoot {
			s.own[name] = c.To
		}
	}
	for i := range w.snap.Modules.List {
		if m := &w.snap.Modules.List[i]; s.lists(m) && s.barred(m, false) == "" {
			s.load(m)
		}
	}
	return s
}

// setsBuckets reports whether options of nf_conntrack, nfsync's or others', bring the
// wanted number of buckets.
func (s *start) setsBuckets(want *nf.Want) bool {
	if _, params, _ := s.own["nf_conntrack"].Module(); params["hashsize"] != "" {
		return s.loaded["nf_conntrack"]
	}
	for _, d := range s.world.fact(nf.Node, want.Key).Declared {
		if met, _ := s.world.compare(want.Key, want.Wish, d.Value); met && d.Directive == nf.DirectiveOptions {
			return s.loaded["nf_conntrack"]
		}
	}
	return false
}

// load adds a module and those that it needs. A module that is kept out is not loaded,
// and neither is one that needs it.
func (s *start) load(m *nf.ModuleFact) {
	for _, name := range m.Deps {
		if dep, ok := s.world.snap.Modules.Find(name); ok && s.barred(dep, true) != "" {
			return
		}
		s.loaded[name] = true
	}
	s.loaded[m.Name] = true
}

// lists reports whether a file of modules-load.d(5), nfsync's or another one, lists the
// module.
func (s *start) lists(m *nf.ModuleFact) bool {
	if state, _, _ := s.own[m.Name].Module(); state == nf.ModuleLoaded {
		return true
	}
	for _, d := range m.Declared {
		if d.Directive == nf.DirectiveLoad {
			return true
		}
	}
	return false
}

// barred returns the place of a line of modprobe.d(5) that keeps out a module that is
// listed, or that another module needs; empty if none does. An alias and a blacklist do
// not keep out what another module needs.
func (s *start) barred(m *nf.ModuleFact, needed bool) string {
	if state, _, _ := s.own[m.Name].Module(); state == nf.ModuleUnloaded {
		return "/etc/modprobe.d/nfsync.conf"
	}
	for _, d := range m.Declared {
		byName := d.Directive == nf.DirectiveBlacklist || d.Directive == nf.DirectiveAlias
		if state, _, _ := d.Value.Module(); state == nf.ModuleUnloaded && !d.Overruled && !(needed && byName) {
			return d.Place()
		}
	}
	return ""
}

// without says why a module is not loaded, and what to do about it.
func (s *start) without(name string) string {
	m, _ := s.world.snap.Modules.Find(name)
	if line := s.barred(m, false); line != "" {
		return fmt.Sprintf("%s keeps out %s, which systemd-sysctl needs loaded before it runs: remove that line", line, name)
	}
	level := ""
	for l, names := range tiers {
		if slices.Contains(names, name) {
			level = fmt.Sprintf(" or level: %s,", l)
		}
	}
	return fmt.Sprintf("nothing loads %s before systemd-sysctl runs: want modules: {%s: loaded},%s or list it in /etc/modules-load.d", name, name, level)
}
