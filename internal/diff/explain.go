package diff

import (
	"fmt"
	"slices"
	"strings"

	"nfsync.dev/nfsync/internal/nf"
)

// Explanation is what a refusal code means, what brings it about, what to do,
// and the sources that the rule rests on. Until lists what ends the refusal,
// the usual one first.
type Explanation struct {
	Code    nf.Code    `json:"code"`
	Until   []nf.Until `json:"until"`
	Meaning string     `json:"meaning"`
	Cause   string     `json:"cause"`
	Remedy  string     `json:"remedy"`
	Sources []string   `json:"sources"`
}

// Explain returns the explanation of a refusal code.
func Explain(code nf.Code) (Explanation, bool) {
	for _, e := range explanations {
		if e.Code == code {
			return e, true
		}
	}
	return Explanation{}, false
}

// remedyRestart is what to do about a level that only a cold start brings.
const remedyRestart = "in the container's policy restart: stage saves the level for its next cold start, restart: allow saves it and restarts the container"

// explanations is the text of the table of rules, in the order in which they
// are tried.
var explanations = []Explanation{
	{nf.NotPermitted, []nf.Until{nf.UntilPrivilege},
		"nfsync itself may not make this change.",
		"It runs without the capability that the kernel asks for, or not in the node's own network namespace, from where it would change something else.",
		"run nfsync as root on the node itself, or name the node's network namespace with --node-netns",
		[]string{"capabilities(7): CAP_SYS_MODULE, CAP_NET_ADMIN, CAP_SYS_ADMIN", "net/sysctl_net.c, net_ctl_permissions"}},
	{nf.Unobservable, []nf.Until{nf.UntilObservable},
		"The present value could not be read, so it is not changed blindly.",
		"A container is on its way from one state to another (starting, migrating) or has no network namespace of its own, a runtime is broken, a file, a Virtuozzo container's configuration or the mask in its dump is unreadable. What is not known never counts as off.",
		"see what the reason names (nfsync doctor checks the usual causes), then plan again",
		[]string{"net/netfilter/nf_conntrack_standalone.c", "namespaces(7)", "prlctl(8) and vzlist(8): the states", "OpenVZ/libvzctl, branch vz7-u22, scripts/vz-cpt.in: vz_iptables_mask.img"}},
	{nf.Conflict, []nf.Until{nf.UntilPolicyChange},
		"Policies of equal standing want different things for one key of one target.",
		"Two policies of the same priority set the key, or a module is wanted unloaded that a wanted level needs. Neither is applied.",
		"give one of the policies a higher spec.priority, or take the key out of one of them",
		[]string{"the policy format: the highest priority wins, per key"}},
	{nf.LevelUnsupported, []nf.Until{nf.UntilNever},
		"This node keeps no netfilter levels for its containers.",
		"The kernel has the ve cgroup and no ve.iptables_mask in it, as on Virtuozzo Hybrid Server 9, which dropped levels. A NETFILTER= line in a container's configuration means nothing there.",
		"take level out of the policies for this node (select nodes by a label); limits and timeouts are still managed",
		[]string{"kernel/ve/ve.c of Virtuozzo 8 and later has no iptables_mask", "OpenVZ/libvzctl, branch vz7-u22, lib/iptables.c"}},
	{nf.RestoreKeepsLevel, []nf.Until{nf.UntilContainerRestart},
		"A suspended container comes back with the level that it had.",
		"Suspending saves the mask in the dump, and resuming writes it back, as does a migration. Only a cold start takes the configured level.",
		"start the container cold: vzctl restart drops the dump, or resume it, stop it and start it; restart: stage or allow in its policy saves the level for that start",
		[]string{"OpenVZ/libvzctl, branch vz7-u22, scripts/vz-cpt.in, vz-rst.in and vz-rst-action.in"}},
	{nf.ConntrackLatched, []nf.Until{nf.UntilContainerRestart, nf.UntilNodeRestart},
		"Connection tracking cannot be taken away from what may be tracking.",
		"On this kernel tracking, once a rule has turned it on in a namespace, stays on until that namespace ends, even when the rule is gone. No file shows whether it is on, so that only a mask without conntrack, or no nf_conntrack at all, proves it off.",
		remedyRestart,
		[]string{"net->ct.can_alloc in nf_conntrack_core.c of the Virtuozzo 7 kernel: nothing clears it", "Virtuozzo 7 User's Guide, Managing iptables Modules"}},
	{nf.RestartRequired, []nf.Until{nf.UntilContainerRestart},
		"A running container's level cannot be changed.",
		"The kernel keeps the mask locked while the container runs, and only a cold start writes it. nfsync restarts a container for a want once at most: one that then still has another level is not restarted again until the want changes.",
		remedyRestart,
		[]string{"kernel/ve/ve.c of the Virtuozzo 7 kernel, ve.iptables_mask: EBUSY while running", "prlctl(8), --netfilter", "OpenVZ/libvzctl, branch vz7-u22: set_features ignores that the mask could not be written"}},
	{nf.LevelInUse, []nf.Until{nf.UntilRulesRemoved},
		"The namespace's own rules use more than the level allows.",
		"No mask keeps a level here: what the rules use is the level. nfsync does not remove anybody's rules.",
		"remove the rules that the reason names, or want the level that they need",
		[]string{"net/netfilter/nf_conntrack_proto.c, nf_ct_netns_get", "net/netfilter/nft_ct.c, xt_conntrack.c"}},
	{nf.ModulesLocked, []nf.Until{nf.UntilNodeRestart, nf.UntilModuleLoad},
		"The module may not be loaded or unloaded on this node.",
		"The kernel is built without module support, kernel.modules_disabled is 1 (which cannot be taken back), or lockdown forbids it; or a line of modprobe.d (blacklist, install) or the kernel's command line (module_blacklist=) keeps this one out.",
		"restart the node with modules enabled, remove the line that the reason names, or take the module out of the policy",
		[]string{"kernel/module/main.c, may_init_module, delete_module and blacklisted", "Documentation/admin-guide/sysctl/kernel.rst, modules_disabled", "modprobe.d(5), blacklist and install"}},
	{nf.Builtin, []nf.Until{nf.UntilKernelChange},
		"The module is part of the kernel image.",
		"A built-in module cannot be unloaded, and takes its parameters from the kernel command line.",
		"take the module out of the policy, or boot a kernel that has it as a module",
		[]string{"kernel/params.c", "Documentation/admin-guide/kernel-parameters.rst"}},
	{nf.Missing, []nf.Until{nf.UntilKernelChange},
		"This kernel has no such module, parameter or key.",
		"The name is misspelt, belongs to another kernel version, or the kernel was built without it.",
		"check the name, take it out of the policy for this node, or boot a kernel that has it",
		[]string{"net/netfilter/nf_conntrack_standalone.c", "modules.dep(5)", "include/linux/moduleparam.h, __param_ and parmtype"}},
	{nf.NotLoaded, []nf.Until{nf.UntilModuleLoad},
		"The key belongs to a module that is not loaded.",
		"Its file below /proc/sys/net/netfilter appears only with the module, and nothing in this plan loads it.",
		"want the module loaded, or a level that brings it",
		[]string{"net/netfilter/nf_conntrack_standalone.c, nf_conntrack_standalone_init_sysctl"}},
	{nf.InUse, []nf.Until{nf.UntilHoldersGone},
		"The module is in use, or unloading it would lose something.",
		"Other modules, rules, sockets or sets refer to it, or a table with rules, a chain whose policy holds traffic back, or live connections would go with it.",
		"remove what the reason names; nfsync unloads only what nothing needs",
		[]string{"delete_module(2), EWOULDBLOCK", "net/ipv4/netfilter/iptable_filter.c, iptable_filter_fini", "net/netfilter/nf_tables_api.c"}},
	{nf.ReloadRequired, []nf.Until{nf.UntilModuleReload},
		"The parameter is taken only when the module is loaded.",
		"The module is loaded already, and the parameter's file is read-only.",
		"unload the module when nothing uses it (or restart the node): nfsync loads it with the parameter",
		[]string{"kernel/params.c, param_attr_store", "include/linux/moduleparam.h"}},
	{nf.ReadOnly, []nf.Until{nf.UntilKernelChange},
		"The kernel offers the value read-only here.",
		"Outside the initial network namespace Linux 5.13 and later, and many stable kernels before, show nf_conntrack_max, _buckets and _expect_max of the node and let nobody write them.",
		"set it for the node in a NodePolicy, where it holds for every container alike, or take it out of the container's policy",
		[]string{"net/netfilter/nf_conntrack_standalone.c: netfilter: conntrack: Make global sysctls readonly in non-init netns"}},
	{nf.AboveNode, []nf.Until{nf.UntilPolicyChange},
		"A container's limit cannot be above the node's.",
		"The kernel answers EINVAL to a container's value above what the node's is at that moment. A node's 0, which is no limit for the node itself, leaves no value for its containers either.",
		"raise conntrack.max in the NodePolicy (nfsync raises the node first), or lower the container's",
		[]string{"nf_conntrack_standalone.c of the Virtuozzo 7 kernel: extra2 is init_net.ct.max"}},
	{nf.BelowContainer, []nf.Until{nf.UntilPolicyChange},
		"The node's limit cannot go below a container's.",
		"The kernel checks the ceiling only when a container's value is written: the container would stay above the node.",
		"lower the containers' conntrack.max in their policies (nfsync lowers them first), or keep the node's",
		[]string{"nf_conntrack_core.c of the Virtuozzo 7 kernel: ct_max = net->ct.max ? net->ct.max : init_net.ct.max"}},
	{nf.BelowCount, []nf.Until{nf.UntilEntriesDrained},
		"The limit is below the number of live entries.",
		"A namespace over its limit evicts nothing that is in use: it drops new connections.",
		"wait until the entries have ended (shorter timeouts help), or choose a higher limit",
		[]string{"net/netfilter/nf_conntrack_core.c, __nf_conntrack_alloc"}},
}

// KeyExplanation is what a key is, in which unit, and where the kernel keeps it.
type KeyExplanation struct {
	Key     string `json:"key"`
	Meaning string `json:"meaning"`
	Unit    string `json:"unit"`
	Where   string `json:"where"`
	Scope   string `json:"scope"`
}

const (
	scopeNodeAlways = "the node"
	scopeNodeMostly = "the node; in a container Linux 5.13 and later show the node's value read-only, the Virtuozzo 7 kernel keeps one per container, at most the node's"
	scopeEach       = "each network namespace, the node's and every container's"
)

// ExplainKey returns the explanation of a key such as conntrack.max,
// module/NAME or conntrack.timeouts.tcpEstablished.
func ExplainKey(name string) (KeyExplanation, bool) {
	k := nf.Key(name)
	e := KeyExplanation{Key: name}
	file, isSysctl := k.Sysctl()
	e.Where = "/proc/sys/net/netfilter/" + file
	switch {
	case k == nf.KeyLevel:
		e.Meaning = "The netfilter level, a ceiling: disabled (no rules), stateless (any rule that does not track), stateful (connection tracking), full (NAT too)."
		e.Unit, e.Where, e.Scope = "one of disabled, stateless, stateful, full", "the namespace's own rules; of a Virtuozzo 7 container ve.iptables_mask in its ve cgroup, and NETFILTER= in its ve.conf for the next start", scopeEach
	case k == nf.KeyAboveLevel:
		e.Meaning = "Whether the modules of levels that neither the node nor any container wants or has are left loaded."
		e.Unit, e.Where, e.Scope = "keep or unload", "/proc/modules", scopeNodeAlways
	case k == nf.KeyRestart:
		e.Meaning = "A cold start of a Virtuozzo container that nfsync makes to bring its saved level live: only with restart: allow in its policy, only while it is running, after all else, and once for a want. Its values are the live level before and after."
		e.Unit, e.Where, e.Scope = "one of disabled, stateless, stateful, full, before also custom(0x...)", "vzctl restart", "one container"
	case k == nf.KeyMax:
		e.Meaning = "The most connections that are tracked at one time, in each network namespace. Over it new connections are dropped. 0 is no limit."
		e.Unit, e.Scope = "entries", scopeNodeMostly
	case k == nf.KeyBuckets:
		e.Meaning = "The size of the hash table of connections. The kernel rounds it up to a whole page. Changing it does not change conntrack.max."
		e.Unit, e.Scope = "hash buckets", scopeNodeAlways
	case k == nf.KeyExpectMax:
		e.Meaning = "The most expected connections (of FTP, SIP and other helpers)."
		e.Unit, e.Scope = "entries", scopeNodeMostly
	default:
		return explainNamed(k, e, isSysctl)
	}
	return e, true
}

func explainNamed(k nf.Key, e KeyExplanation, isSysctl bool) (KeyExplanation, bool) {
	if name, ok := k.Module(); ok && name != "" {
		e.Meaning = fmt.Sprintf("Whether the kernel module %s is loaded, and its parameters.", name)
		e.Unit, e.Where, e.Scope = "loaded or unloaded", "/proc/modules, /sys/module/"+name, scopeNodeAlways
		return e, true
	}
	if name, ok := k.Timeout(); ok && slices.Contains(nf.TimeoutNames(), name) {
		e.Meaning = "How long a connection in this state is kept without a packet."
		e.Unit, e.Scope = "whole seconds", scopeEach
		return e, true
	}
	if k.Conntrack() && isSysctl && strings.HasPrefix(e.Where, "/proc/sys/net/netfilter/nf_conntrack_") {
		if _, ok := k.Timeout(); !ok {
			e.Meaning = "A value of connection tracking, by its kernel name (Documentation/networking/nf_conntrack-sysctl.rst)."
			e.Unit, e.Scope = "a whole number", scopeEach
			return e, true
		}
	}
	return KeyExplanation{}, false
}
