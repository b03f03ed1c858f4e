package diff

import (
	"fmt"
	"strings"

	"nfsync.dev/nfsync/internal/nf"
)

// rule is one row of the table of what is impossible.
type rule struct {
	Explanation
	// forbids says why the difference cannot be closed now; nil where this
	// rule does not stand in its way.
	forbids func(w *World, d *difference) *verdict
}

// verdict is a rule's "no" to one difference.
type verdict struct {
	code   nf.Code
	reason string
	remedy string // empty: the rule's own
	until  nf.Until
	// waits are other keys whose planned change may lift the verdict.
	waits []ref
}

// no is a verdict with a reason.
func no(format string, args ...any) *verdict { return &verdict{reason: fmt.Sprintf(format, args...)} }

func (v *verdict) waitFor(refs ...ref) *verdict {
	v.waits = append(v.waits, refs...)
	return v
}

func (v *verdict) mend(format string, args ...any) *verdict {
	v.remedy = fmt.Sprintf(format, args...)
	return v
}

// judge asks the rules in their order; the first that matches decides.
func (w *World) judge(d *difference) *verdict {
	for i := range rules {
		r := &rules[i]
		v := r.forbids(w, d)
		if v == nil {
			continue
		}
		r.complete(v)
		return v
	}
	return nil
}

// complete gives a verdict what it does not say itself.
func (r *rule) complete(v *verdict) {
	v.code = r.Code
	if v.remedy == "" {
		v.remedy = r.Remedy
	}
	if v.until == "" {
		v.until = r.Until[0]
	}
}

// rules is the table, in the order in which the rules are tried.
var rules = table()

// table sets each rule beside its explanation.
func table() []rule {
	forbids := map[nf.Code]func(*World, *difference) *verdict{
		nf.NotPermitted:      notPermitted,
		nf.Unobservable:      unobservable,
		nf.Conflict:          conflict,
		nf.LevelUnsupported:  levelUnsupported,
		nf.RestoreKeepsLevel: restoreKeepsLevel,
		nf.ConntrackLatched:  conntrackLatched,
		nf.RestartRequired:   restartRequired,
		nf.LevelInUse:        levelInUse,
		nf.ModulesLocked:     modulesLocked,
		nf.Builtin:           builtin,
		nf.Missing:           missing,
		nf.NotLoaded:         notLoaded,
		nf.InUse:             inUse,
		nf.ReloadRequired:    reloadRequired,
		nf.ReadOnly:          readOnly,
		nf.AboveNode:         aboveNode,
		nf.BelowContainer:    belowContainer,
		nf.BelowCount:        belowCount,
	}
	list := make([]rule, 0, len(explanations))
	for _, e := range explanations {
		list = append(list, rule{e, forbids[e.Code]})
	}
	return list
}

// notPermitted: capabilities(7). finit_module and delete_module want
// CAP_SYS_MODULE, the sysctls below net want CAP_NET_ADMIN over the namespace
// (net_ctl_permissions, net/sysctl_net.c), setns wants CAP_SYS_ADMIN.
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

// unobservable: what could not be read is not taken for off, and is not
// changed blindly.
func unobservable(w *World, d *difference) *verdict {
	if d.from.IsUnknown() {
		return no("its value cannot be read: %s", d.from.Why())
	}
	if why := unseen(w.at(d.want.Target).container); why != "" {
		return no("it cannot be changed: %s", why)
	}
	if own := w.at(d.want.Target); d.want.Key == nf.KeyMax && d.layer == nf.LayerLive && nf.Lowers(d.from, d.to) && own.Count.IsUnknown() {
		return no("lowering the limit may go below the number of live entries, which cannot be read: %s", own.Count.Why())
	}
	if !d.lowersNode(w) {
		return nil
	}
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

// lowersNode tells whether the difference lowers the node's conntrack.max.
func (d *difference) lowersNode(w *World) bool {
	if !d.want.Target.IsNode() || d.want.Key != nf.KeyMax || d.layer != nf.LayerLive {
		return false
	}
	return nf.Lowers(d.from, d.to)
}

func conflict(_ *World, d *difference) *verdict {
	if len(d.want.Rivals) == 0 {
		return nil
	}
	lines := []string{fmt.Sprintf("%s (%s)", d.want.Source, d.want.Wish)}
	for _, r := range d.want.Rivals {
		lines = append(lines, fmt.Sprintf("%s (%s)", r.Source, r.Wish))
	}
	return no("policies of equal standing want different things: %s", strings.Join(lines, " and "))
}

func isLevel(d *difference) bool { return d.want.Key == nf.KeyLevel }

// levelUnsupported: a Virtuozzo node whose kernel has the ve cgroup and no
// mask file (the mask was dropped in Virtuozzo Hybrid Server 9).
func levelUnsupported(w *World, d *difference) *verdict {
	if isLevel(d) && w.at(d.want.Target).runtimeLevel() && !w.masked(d.want.Target) {
		return no("this node keeps no netfilter levels for its containers")
	}
	return nil
}

// restoreKeepsLevel: resuming writes the mask of the dump back (vz-cpt,
// vz-rst-action of libvzctl), whatever the configuration says.
func restoreKeepsLevel(w *World, d *difference) *verdict {
	if isLevel(d) && d.layer == nf.LayerLive && w.masked(d.want.Target) && isSuspended(w.at(d.want.Target).container) {
		v := no("the container is suspended with the level %s in its dump, and resuming brings that back", d.from)
		if saved := w.fact(d.want.Target, nf.KeyLevel).Boot; saved != nil && *saved == d.to {
			v.mend("the level is saved: start the container cold (vzctl restart drops the dump, or resume it, stop it and start it)")
		}
		return v
	}
	return nil
}

// conntrackLatched: the Virtuozzo 7 kernel never clears net->ct.can_alloc, so
// tracking ends with the namespace only. What a restart was made for and has not
// brought is told by restartRequired.
func conntrackLatched(w *World, d *difference) *verdict {
	if !isLevel(d) || d.layer != nf.LayerLive || !w.latching() || d.restarted {
		return nil
	}
	if to, _ := d.to.Level(); to >= nf.LevelStateful || !d.from.MaskTracks() {
		return nil
	}
	tracking := w.tracking(d.want.Target)
	if d.want.Target.IsNode() {
		if tracking != nf.TrackingOn {
			return nil
		}
		v := no("connection tracking was seen on in the node's own namespace, and this kernel keeps it on until the node restarts")
		v.until = nf.UntilNodeRestart
		return v.mend("remove the rules that track, and restart the node; or want the level stateful for it")
	}
	if tracking == nf.TrackingOff {
		return nil
	}
	reason := "connection tracking is on in the container, and this kernel keeps it on until the container restarts"
	if tracking != nf.TrackingOn {
		reason = "connection tracking may be on in the container, as nothing shows that it never was, and this kernel keeps it on until the container restarts"
	}
	if !w.masked(d.want.Target) {
		return no("%s", reason).mend("remove the rules that track, and make the network namespace anew; or want the level %s for it", d.from)
	}
	return no("%s", reason).startsAnew(w, d)
}

// startsAnew mends by a restart alone where the level is saved already.
func (v *verdict) startsAnew(w *World, d *difference) *verdict {
	if saved := w.fact(d.want.Target, nf.KeyLevel).Boot; saved != nil && *saved == d.to {
		return v.mend("the level is saved: restart the container (suspending and resuming brings the old level back), or let nfsync with restart: allow in its policy")
	}
	return v
}

// restartRequired: ve.iptables_mask answers EBUSY while the container runs
// (kernel/ve/ve.c of the Virtuozzo 7 kernel).
func restartRequired(w *World, d *difference) *verdict {
	switch {
	case d.want.Key == nf.KeyRestart:
		return w.mayNotRestart(d)
	case !isLevel(d) || d.layer != nf.LayerLive || !w.masked(d.want.Target):
		return nil
	case d.restarted:
		return restartedOnce(d.from)
	case !asleep(w.at(d.want.Target).container):
		return no("the level of a running container cannot be changed: it is %s until the container restarts", d.from).startsAnew(w, d)
	}
	return nil
}

// levelInUse: without a mask nothing but the rules themselves decides what a
// namespace uses (nf_ct_netns_get, net/netfilter/nf_conntrack_proto.c).
func levelInUse(w *World, d *difference) *verdict {
	if !isLevel(d) || d.layer != nf.LayerLive || w.masked(d.want.Target) {
		return nil
	}
	to, _ := d.to.Level()
	users := levelUsers(w.at(d.want.Target).Rules, to)
	if len(users) == 0 {
		return no("the namespace is observed at %s, above %s", d.from, d.to)
	}
	return no("its own rules use %s: %s", d.from, list(users, 3)).
		mend("remove these rules, or want at least the level %s for it", d.from)
}

// modulesLocked: a kernel without CONFIG_MODULES, kernel.modules_disabled
// (kernel/module/main.c), lockdown (security/lockdown).
func modulesLocked(w *World, d *difference) *verdict {
	if _, ok := d.want.Key.Module(); !ok || d.layer != nf.LayerLive {
		return nil
	}
	m := w.snap.Modules
	if m.Support == nf.SupportNone {
		v := no("this kernel cannot load or unload modules: %s", m.Reason)
		return v.mend("boot a kernel that has, or has not, the module as the policy wants it; or take the module out of the policy")
	}
	if m.Support == nf.SupportLocked && (stateDiffers(d) || len(w.fixed(d)) > 0) {
		return no("modules cannot be loaded or unloaded any more: %s", m.Reason)
	}
	return w.barred(d)
}

// barred: modprobe.d(5), blacklist and install; modprobe.blacklist= and
// module_blacklist= on the kernel's command line (kernel/module/main.c). What
// is loaded all the same is loaded.
func (w *World) barred(d *difference) *verdict {
	name, _ := d.want.Key.Module()
	bar := w.bar(name)
	if want, _, _ := d.to.Module(); bar == (nf.Bar{}) || want != nf.ModuleLoaded {
		return nil
	}
	v := no("%s is kept from being loaded: %s", name, bar)
	if bar.Line == 0 {
		return v.mend("take that word off the kernel's command line and restart the node, or want %s unloaded", name)
	}
	v.until = nf.UntilModuleLoad
	return v.mend("remove line %d of %s, or want %s unloaded", bar.Line, bar.File, name)
}

// stateDiffers tells a load or an unload from a mere parameter.
func stateDiffers(d *difference) bool {
	state, _, ok := d.from.Module()
	running := ok && state != nf.ModuleUnloaded
	want, _, _ := d.to.Module()
	return running != (want == nf.ModuleLoaded)
}

// builtin: a module in the kernel image has no delete_module, and takes its
// parameters from the kernel command line.
func builtin(w *World, d *difference) *verdict {
	if state, _, _ := d.from.Module(); state != nf.ModuleBuiltin {
		return nil
	}
	name, _ := d.want.Key.Module()
	if want, params, _ := d.to.Module(); want == nf.ModuleLoaded {
		_, have, _ := d.from.Module()
		return no("%s is built into this kernel, which takes %s from its command line only", name, strings.Join(w.differing(d.want.Key, params, have), ", ")).
			mend("set it on the kernel command line as %s.PARAMETER=VALUE and restart, or take it out of the policy", name)
	}
	return no("%s is built into this kernel and cannot be unloaded", name)
}

func missing(w *World, d *difference) *verdict {
	if d.layer != nf.LayerLive {
		return nil
	}
	if lacking := w.lacking(d.want.Key, d.to); len(lacking) > 0 {
		name, _ := d.want.Key.Module()
		return no("%s has no parameter %s", name, strings.Join(lacking, ", ")).
			mend("check the name with modinfo -p %s, or take it out of the policy", name)
	}
	if !d.from.IsAbsent() {
		return nil
	}
	if name, ok := d.want.Key.Module(); ok {
		return no("this kernel has no module %s", name).
			mend("check the name with modinfo %s, install the package that brings it, or take it out of the policy", name)
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
		mend("want the module %s loaded, or a level that brings it (stateful)", owner)
}

// needsLoaded: what a module needs must be there before it.
func (w *World) needsLoaded(name string, d *difference) *verdict {
	if want, _, _ := d.to.Module(); want != nf.ModuleLoaded || !stateDiffers(d) {
		return nil
	}
	m, ok := w.snap.Modules.Find(name)
	if !ok {
		return nil
	}
	var first string
	for _, dep := range m.Deps {
		if w.has(dep) || w.moduleState(dep) == "" {
			continue
		}
		if first == "" || w.bar(dep) != (nf.Bar{}) && w.bar(first) == (nf.Bar{}) { // what no plan loads tells more
			first = dep
		}
	}
	if first == "" {
		return nil
	}
	return w.unmet(name, first).waitFor(ref{nf.Node, nf.ModuleKey(first)})
}

// unmet is the verdict on a module that needs another one. One that is barred
// cannot be had by wanting it.
func (w *World) unmet(name, dep string) *verdict {
	v := no("%s needs the module %s, which is not loaded", name, dep)
	if bar := w.bar(dep); bar != (nf.Bar{}) {
		v.reason += ": " + bar.String()
		v.mend("let %s be loaded, or take %s out of the policy", dep, name)
	}
	return v
}

// bar is what keeps a module from being loaded; zero where nothing does.
func (w *World) bar(name string) nf.Bar {
	if m, ok := w.snap.Modules.Find(name); ok {
		return m.Barred
	}
	return nf.Bar{}
}

// owner is the module that brings a file below /proc/sys/net/netfilter: the
// first of those that may, in the order of kernels, that this node knows.
// Empty: none of them exists here.
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

// fixed lists the differing parameters that only a reload sets.
func (w *World) fixed(d *difference) []string {
	name, _ := d.want.Key.Module()
	m, ok := w.snap.Modules.Find(name)
	_, want, _ := d.to.Module()
	if !ok || m.State != nf.ModuleLoaded {
		return nil
	}
	_, have, _ := d.from.Module()
	var fixed []string
	for _, p := range w.differing(d.want.Key, want, have) {
		if !m.Parameters[p].Writable {
			fixed = append(fixed, p)
		}
	}
	return fixed
}

// reloadRequired: module_param with no write permission is set at load only
// (kernel/params.c).
func reloadRequired(w *World, d *difference) *verdict {
	if _, ok := d.want.Key.Module(); !ok || d.layer != nf.LayerLive || stateDiffers(d) {
		return nil
	}
	fixed := w.fixed(d)
	if len(fixed) == 0 {
		return nil
	}
	name, _ := d.want.Key.Module()
	return no("%s is loaded, and takes %s only when it is loaded", name, strings.Join(fixed, ", "))
}

// readOnly: nf_conntrack_max, _buckets and _expect_max are 0444 outside the
// initial namespace since Linux 5.13 (nf_conntrack_standalone.c).
func readOnly(w *World, d *difference) *verdict {
	if d.layer != nf.LayerLive || !d.want.Key.Conntrack() {
		return nil
	}
	file, _ := d.want.Key.Sysctl()
	if !d.want.Target.IsNode() && d.want.Key == nf.KeyMax && w.maxScope(d.want.Target) == nf.ScopeNode {
		node := w.fact(nf.Node, nf.KeyMax).Live
		return no("on this kernel net.netfilter.%s of a container is the node's, %s", file, node).
			mend("set conntrack.max in a NodePolicy: it holds for each container alike")
	}
	if w.fact(d.want.Target, d.want.Key).ReadOnly {
		v := no("the kernel offers net.netfilter.%s read-only here", file)
		if d.want.Target.IsNode() {
			v.mend("run nfsync in the node's initial network namespace, where the value can be written, or take it out of the policy")
		}
		return v
	}
	return nil
}

// aboveNode: proc_dointvec_minmax with the node's value as its maximum answers
// EINVAL (nf_conntrack_standalone.c of the Virtuozzo 7 kernel).
func aboveNode(w *World, d *difference) *verdict {
	if d.want.Target.IsNode() || d.want.Key != nf.KeyMax || d.layer != nf.LayerLive {
		return nil
	}
	to, _ := d.to.Number()
	limit, known := w.fact(nf.Node, nf.KeyMax).Live.Number()
	if !known {
		return nil
	}
	node := ref{nf.Node, nf.KeyMax}
	if open := w.open[node]; open != nil {
		if will, ok := open.to.Number(); ok && limit != 0 && will < limit {
			limit = will
		}
	}
	if limit == 0 && w.at(d.want.Target).keepers().Limit != nf.KeeperNobody {
		return no("the node's own limit is 0, and the kernel then takes no limit for a container").waitFor(node)
	}
	if limit == 0 || to <= limit {
		return nil
	}
	return no("%d is above the node's own limit of %d", to, limit).waitFor(node)
}

// belowContainer: the ceiling is checked only when a container's value is
// written, so a node that goes below leaves the container above it.
func belowContainer(w *World, d *difference) *verdict {
	if !d.lowersNode(w) {
		return nil
	}
	to, _ := d.to.Number()
	var above []ref
	var highest int64
	for _, t := range w.order {
		n, ok := w.fact(t, nf.KeyMax).Live.Number()
		if !ok || n <= to || w.maxScope(t) == nf.ScopeNode || asleep(w.at(t).container) {
			continue
		}
		above = append(above, ref{t, nf.KeyMax})
		highest = max(highest, n)
	}
	if len(above) == 0 {
		return nil
	}
	return no("%d is below the limit of %s (up to %d)", to, targets(above), highest).waitFor(above...)
}

// belowCount: a namespace with more entries than its limit drops new
// connections (__nf_conntrack_alloc, nf_conntrack_core.c).
func belowCount(w *World, d *difference) *verdict {
	if d.want.Key != nf.KeyMax || d.layer != nf.LayerLive {
		return nil
	}
	to, _ := d.to.Number()
	if to == 0 || !nf.Lowers(d.from, d.to) {
		return nil
	}
	capped := []nf.Target{d.want.Target}
	if d.want.Target.IsNode() {
		for _, t := range w.order {
			if w.capped(t) {
				capped = append(capped, t)
			}
		}
	}
	for _, t := range capped {
		if n, ok := w.at(t).Count.Number(); ok && n > to {
			return no("%d is below the %d live entries of %s: new connections would be dropped", to, n, t)
		}
	}
	return nil
}

// capped tells whether the node's limit may hold for a container's entries: where
// its limit is the node's, or is 0, which stands for the node's, or nobody knows.
func (w *World) capped(t nf.Target) bool {
	if asleep(w.at(t).container) {
		return false
	}
	n, ok := w.fact(t, nf.KeyMax).Live.Number()
	return w.maxScope(t) != nf.ScopeOwn || ok && n == 0
}
