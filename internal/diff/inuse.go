package diff

import (
	"fmt"
	"slices"
	"strings"

	"nfsync.dev/nfsync/internal/nf"
)

// inUse: delete_module(2) refuses a module with references. An unload that it allows
// can still lose state: the rules of a table, a chain policy that drops traffic, live
// connections.
func inUse(w *World, d *difference) *verdict {
	name, ok := d.want.Key.Module()
	if want, _, _ := d.to.Module(); !ok || want != nf.ModuleUnloaded {
		return nil
	}
	if d.keepsOut() {
		return w.notYetUnloaded(name)
	}
	m, found := w.snap.Modules.Find(name)
	if !found {
		return nil
	}
	v := w.held(name, m)
	if v != nil && len(v.waits) > 0 { // for other modules, which is the better reason
		return v
	}
	loss := w.loses(name)
	if v != nil {
		loss = append(loss, w.users(name)...)
	}
	switch {
	case v == nil && len(loss) == 0:
		return nil
	case v == nil:
		return no("unloading %s would lose %s", name, list(loss, 3))
	case len(loss) > 0: // the kernel counts references, the tables show their owners
		v.reason += ": " + list(loss, 3)
	}
	return v
}

// notYetUnloaded forbids keeping a module out at the next start while it stays loaded
// now: it may hold a firewall that the next start would not have.
func (w *World) notYetUnloaded(name string) *verdict {
	if w.moduleState(name) != nf.ModuleLoaded {
		return nil
	}
	return no("%s stays loaded now, so the next start is not kept from loading it", name).waitFor(ref{nf.Node, nf.ModuleKey(name)})
}

// held forbids the unload while the module has holders or references, without the
// holders that the plan unloads before.
func (w *World) held(name string, m *nf.ModuleFact) *verdict {
	refs := m.Refs
	var holders []string
	var waits []ref
	for _, h := range m.Holders {
		if w.has(h) {
			holders = append(holders, h)
			waits = append(waits, ref{nf.Node, nf.ModuleKey(h)})
		} else {
			refs--
		}
	}
	switch {
	case len(holders) > 0:
		return no("%s is used by the module %s", name, list(holders, 5)).waitFor(waits...)
	case m.Permanent:
		return no("%s can never be unloaded", name)
	case refs < 0:
		return no("cannot determine how often %s is used", name)
	case refs > 0:
		return no("%s is in use: %s (rules, sockets or sets)", name, count(refs, "reference"))
	}
	return nil
}

// loses names what unloading the module would lose, in any namespace.
func (w *World) loses(name string) []string {
	lost := stateOf(name)
	if lost == nil {
		return nil
	}
	var found []string
	for _, t := range append([]nf.Target{nf.Node}, w.order...) {
		p := w.at(t)
		if isStopped(p.container) { // it has no namespace, and starts with an empty one
			continue
		}
		if why := w.unreadable(p); why != "" {
			found = append(found, fmt.Sprintf("what %s may have, which cannot be read: %s", t, why))
			continue
		}
		found = append(found, lost(t, p)...)
	}
	if w.broken != "" {
		found = append(found, "what containers may have that cannot be read: "+w.broken)
	}
	return found
}

// unreadable says why the state of a namespace could not be read; empty if it was.
func (w *World) unreadable(p *place) string {
	switch {
	case unseen(p.container) != "":
		return unseen(p.container)
	case isSuspended(p.container):
		return "it is suspended, and its dump is not read"
	case p.Rules == nil:
		return "its rules were not read"
	case p.Rules.Unknown != "":
		return p.Rules.Unknown
	case p.Count.IsUnknown():
		return p.Count.Why()
	}
	return ""
}

// stateOf returns the function that lists what a module holds in a namespace without
// a reference: tables belong to their table module, entries to nf_conntrack. It is nil
// for other modules, which each rule or set that uses them references.
func stateOf(name string) func(nf.Target, *place) []string {
	tables := func(match func(nf.Table) bool) func(nf.Target, *place) []string {
		return func(t nf.Target, p *place) []string { return guarded(t, p.Rules.Tables, match) }
	}
	word, table, _ := strings.Cut(name, "_")
	switch {
	case name == "nf_tables":
		return tables(func(t nf.Table) bool { return t.Backend == nf.BackendNft })
	case name == "x_tables":
		return tables(func(t nf.Table) bool { return t.Backend == nf.BackendLegacy })
	case legacyFamily[name] != "":
		return tables(func(t nf.Table) bool { return t.Backend == nf.BackendLegacy && t.Family == legacyFamily[name] })
	case legacyFamily[word] != "":
		return tables(func(t nf.Table) bool {
			return t.Backend == nf.BackendLegacy && t.Family == legacyFamily[word] && t.Name == table
		})
	case slices.Contains([]string{"nf_conntrack", "nf_conntrack_ipv4", "nf_conntrack_ipv6", "nf_nat", "nf_nat_ipv4", "nf_nat_ipv6"}, name):
		return entries
	}
	return nil
}

// legacyFamily maps the first word of a legacy table's module (iptable_filter),
// and the module below it, to the family of the tables.
var legacyFamily = map[string]string{"iptable": "ip", "ip_tables": "ip", "ip6table": "ip6", "ip6_tables": "ip6", "arptable": "arp", "arp_tables": "arp"}

// guarded names the tables that have rules, or a chain whose policy drops traffic.
func guarded(t nf.Target, all []nf.Table, match func(nf.Table) bool) []string {
	var found []string
	for _, table := range all {
		if !match(table) {
			continue
		}
		where := fmt.Sprintf("%s of %s", table.Title(), t)
		switch {
		case len(table.Guards) > 0:
			found = append(found, fmt.Sprintf("the policy of chain %s in the %s: the firewall would be open", table.Guards[0], where))
		case table.Rules > 0:
			found = append(found, fmt.Sprintf("%s of the %s", count(table.Rules, "rule"), where))
		}
	}
	return found
}

func entries(t nf.Target, p *place) []string {
	if n, ok := p.Count.Number(); ok && n > 0 {
		return []string{fmt.Sprintf("%d live conntrack entries of %s", n, t)}
	}
	return nil
}

// levelUsers names the rules of a namespace that need more than a level, and counts those
// that the snapshot does not name.
func levelUsers(r *nf.Rules, ceiling nf.Level) (users []string, more int) {
	if r == nil {
		return nil, 0
	}
	for _, table := range r.Tables {
		if table.Level() <= ceiling {
			continue
		}
		where := table.Title()
		named := len(users)
		for _, u := range table.Uses {
			if u.Level > max(ceiling, nf.LevelStateless) {
				users = append(users, fmt.Sprintf("%s %s: %s", where, u.Place(), u.What))
			}
		}
		for level, n := range table.MoreUses {
			if level > max(ceiling, nf.LevelStateless) {
				more += n
			}
		}
		if len(users) > named {
			continue
		}
		more += table.MoreGuards
		for _, guard := range table.Guards {
			users = append(users, fmt.Sprintf("%s: the policy of chain %s", where, guard))
		}
		if table.Rules > 0 {
			users = append(users, fmt.Sprintf("%s: %s", where, count(table.Rules, "rule")))
		}
	}
	return users, more
}

// count writes a number of things: 1 rule, 2 rules.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// list joins the first texts and counts the rest.
func list(texts []string, most int) string { return listOf(texts, most, len(texts)) }

// listOf joins the first of so many texts and counts the rest.
func listOf(texts []string, most, total int) string {
	texts = texts[:min(len(texts), most)]
	if len(texts) == total {
		return strings.Join(texts, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(texts, ", "), total-len(texts))
}

// targets joins the targets of some keys.
func targets(refs []ref) string {
	names := make([]string, len(refs))
	for i, r := range refs {
		names[i] = r.target.String()
	}
	return list(names, 3)
}
