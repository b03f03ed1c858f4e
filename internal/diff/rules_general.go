package diff

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"nfsync.dev/nfsync/internal/nf"
)

// notPermitted: finit_module and delete_module need CAP_SYS_MODULE, the sysctls
// below net need CAP_NET_ADMIN over the namespace, setns needs CAP_SYS_ADMIN.
func notPermitted(w *World, d *difference) *verdict {
	ability := nf.AbilityNode
	if _, ok := d.want.Key.Module(); ok {
		ability = nf.AbilityModules
	} else if !d.want.Target.IsNode() {
		ability = nf.AbilityContainers
	}
	if why, denied := w.snap.Capabilities.Denied[ability]; denied {
		return no("%s", why)
	}
	return nil
}

// targetStuck: the values of the target are not what any run wanted, so that no change can
// be undone to something known.
func targetStuck(w *World, d *difference) *verdict {
	for i := range w.snap.Memory.Stuck {
		c := &w.snap.Memory.Stuck[i]
		switch {
		case c.Target.Nameless() != d.want.Target.Nameless() || !c.Holds(w.snap):
		case c.Key == nf.KeyRestart:
			return no("run %s has begun to restart the container, which was not seen to run since: %s", c.Run, c.Why)
		default:
			return no("run %s could neither change its %s from %s to %s nor undo that: %s", c.Run, c.Key, c.Key.Text(c.From), c.Key.Text(c.To), c.Why)
		}
	}
	return nil
}

// unobservable: what could not be read never counts as off, and is not changed
// blindly.
func unobservable(w *World, d *difference) *verdict {
	if d.from.IsUnknown() {
		return no("its value cannot be read: %s", d.from.Why()).withUnknownRemedy(w, d)
	}
	if why := unseen(w.at(d.want.Target).container); why != "" {
		return no("it cannot be changed: %s", why)
	}
	if own := w.at(d.want.Target); d.want.Key == nf.KeyMax && d.layer == nf.LayerLive && nf.Lowers(d.from, d.to) && own.Count.IsUnknown() {
		return no("lowering the limit may go below the number of live entries, which cannot be read: %s", own.Count.Why())
	}
	if d.lowersNode(w) {
		return w.unknownBelowNode()
	}
	return nil
}

// withUnknownRemedy sets the remedy for a value that is unknown because nfsync does not
// know what the rules use, or because the kernel was updated and not booted.
func (v *verdict) withUnknownRemedy(w *World, d *difference) *verdict {
	_, isModule := d.want.Key.Module()
	switch p := w.at(d.want.Target); {
	case isLevel(d) && p.Namespace != nil && p.Rules != nil && p.Rules.UnknownUses() != "":
		return v.withRemedy("remove the rules that the reason names, or take level out of the policy for this target")
	case isModule && len(w.snap.Modules.Installed) > 0:
		return v.withRemedy("restart the node into the installed kernel (%s)", strings.Join(w.snap.Modules.Installed, ", "))
	}
	return v
}

// unknownBelowNode forbids lowering the node's limit while that of a container, or
// the number of its entries, is unknown.
func (w *World) unknownBelowNode() *verdict {
	if w.broken != "" {
		return no("lowering the node's limit may go below a container that cannot be read: %s", w.broken)
	}
	for _, t := range w.order {
		p := w.at(t)
		if asleep(p.container) {
			continue
		}
		if why := unseen(p.container); why != "" {
			return no("lowering the node's limit may go below %s, which cannot be read: %s", t, why)
		}
		if max := w.fact(t, nf.KeyMax).Live; max.IsUnknown() {
			return no("lowering the node's limit may go below the limit of %s, which cannot be read: %s", t, max.Why())
		}
		if p.Count.IsUnknown() {
			return no("lowering the node's limit may go below the number of live entries of %s, which cannot be read: %s", t, p.Count.Why())
		}
	}
	return nil
}

func conflict(_ *World, d *difference) *verdict {
	if len(d.want.Rivals) == 0 {
		return nil
	}
	twoKeys := slices.ContainsFunc(d.want.Rivals, func(r nf.Rival) bool { return r.Key != "" })
	var lines []string
	for _, r := range append([]nf.Rival{{Wish: d.want.Wish, Source: d.want.Source}}, d.want.Rivals...) {
		key := cmp.Or(r.Key, d.want.Key)
		text := key.WishText(r.Wish)
		if twoKeys {
			text = string(key) + " " + text
		}
		lines = append(lines, fmt.Sprintf("%s (%s)", r.Source, text))
	}
	all := strings.Join(lines, " and ")
	if !twoKeys {
		return no("policies of equal priority want different things: %s", all)
	}
	return no("two keys of one value want different things: %s", all).
		withRemedy("set the value under one of its keys only, or to the same under all")
}

func missing(w *World, d *difference) *verdict {
	if d.layer != nf.LayerLive {
		return nil
	}
	if lacking := w.lacking(d.want.Key, d.to); len(lacking) > 0 {
		name, _ := d.want.Key.Module()
		return no("%s has no parameter %s", name, strings.Join(lacking, ", ")).
			withRemedy("check the name with modinfo -p %s, or take it out of the policy", name)
	}
	if !d.from.IsAbsent() {
		return nil
	}
	if name, ok := d.want.Key.Module(); ok {
		if into := w.mergedInto(name); into != "" {
			return no("%s is no module of its own any more: it became part of %s", name, into).
				withRemedy("want %s instead, or take %s out of the policy for this node", into, name)
		}
		return no("this kernel has no module %s", name).
			withRemedy("check the name with modinfo %s, install the package that brings it, or take it out of the policy", name)
	}
	file, isSysctl := d.want.Key.Sysctl()
	if !isSysctl {
		return nil
	}
	owner := w.owner(file)
	if owner == "" {
		return no("this kernel has no net.netfilter.%s here", file)
	}
	// What a module brings that the plan is going to load shows only then.
	if m, _ := w.snap.Modules.Find(owner); m.State != nf.ModuleUnloaded {
		return no("this kernel has no net.netfilter.%s here, although %s is there", file, owner)
	}
	return nil
}

func notLoaded(w *World, d *difference) *verdict {
	if d.layer != nf.LayerLive {
		return nil
	}
	if name, ok := d.want.Key.Module(); ok {
		return w.needsLoaded(name, d)
	}
	file, ok := d.want.Key.Sysctl()
	if !ok || !d.from.IsAbsent() {
		return nil
	}
	owner := w.owner(file)
	if owner == "" || w.has(owner) {
		return nil
	}
	return no("net.netfilter.%s belongs to the module %s, which is not loaded", file, owner).
		waitFor(ref{nf.Node, nf.ModuleKey(owner)}).
		withRemedy("want the module %s loaded, or a level that brings it (stateful)", owner)
}

// owner returns the module that brings a file below /proc/sys/net/netfilter: of those
// that may, in the order of kernels, the first that this node has. It is empty if the
// node has none of them.
func (w *World) owner(file string) string {
	candidates := []string{"nf_conntrack"}
	if strings.HasPrefix(file, "nf_conntrack_frag6_") {
		candidates = []string{"nf_defrag_ipv6"} // net/ipv6/netfilter/nf_conntrack_reasm.c
	}
	for _, proto := range []string{"sctp", "dccp", "udplite", "gre"} { // modules of their own before 4.19
		if strings.HasPrefix(file, "nf_conntrack_"+proto+"_") {
			candidates = []string{"nf_conntrack_proto_" + proto, "nf_conntrack"}
		}
	}
	for _, name := range candidates {
		if m, ok := w.snap.Modules.Find(name); ok {
			return m.Name
		}
	}
	return ""
}
