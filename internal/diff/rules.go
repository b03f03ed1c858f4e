package diff

import (
	"cmp"
	"fmt"

	"nfsync.dev/nfsync/internal/nf"
)

// rule is one row of the table of what is impossible.
type rule struct {
	code nf.Code
	// forbids returns why the difference cannot be closed now, with the reason;
	// nil if this rule does not forbid it.
	forbids func(w *World, d *difference) *verdict
	until   []nf.Until // what ends the refusal, the usual event first
	meaning string     // what the code says
	cause   string     // what brings it about
	remedy  string     // unless the verdict has one
	sources []string   // the kernel files and pages that the rule rests on
}

// verdict is the "no" of a rule to one difference.
type verdict struct {
	code   nf.Code
	reason string
	remedy string // empty: that of the rule
	until  nf.Until
	// waits are other keys whose planned change may lift the verdict.
	waits []ref
}

// no returns a verdict with a reason.
func no(format string, args ...any) *verdict { return &verdict{reason: fmt.Sprintf(format, args...)} }

func (v *verdict) waitFor(refs ...ref) *verdict {
	v.waits = append(v.waits, refs...)
	return v
}

func (v *verdict) withRemedy(format string, args ...any) *verdict {
	v.remedy = fmt.Sprintf(format, args...)
	return v
}

// judge tries the rules in their order; the first that forbids decides.
func (w *World) judge(d *difference) *verdict {
	for i := range rules {
		if v := rules[i].forbids(w, d); v != nil {
			return rules[i].complete(v)
		}
	}
	return nil
}

// ruleOf returns the row of a code; nil if there is none.
func ruleOf(code nf.Code) *rule {
	for i := range rules {
		if rules[i].code == code {
			return &rules[i]
		}
	}
	return nil
}

// complete adds the code, and the remedy and the event of the row where the verdict
// has none.
func (r *rule) complete(v *verdict) *verdict {
	v.code = r.code
	v.remedy = cmp.Or(v.remedy, r.remedy)
	v.until = cmp.Or(v.until, r.until[0])
	return v
}

// rules is the table, in the order in which the rules are tried.
var rules = []rule{
	{
		code: nf.NotPermitted, forbids: notPermitted, until: []nf.Until{nf.UntilPrivilege},
		meaning: "nfsync lacks the privilege for this change.",
		cause:   "It runs without the capability that the kernel asks for, or outside the node's network namespace, where it would change another one.",
		remedy:  "run nfsync as root on the node itself, or name the node's network namespace with --node-netns",
		sources: []string{"capabilities(7): CAP_SYS_MODULE, CAP_NET_ADMIN, CAP_SYS_ADMIN", "net/sysctl_net.c, net_ctl_permissions"},
	},
	{
		code: nf.TargetStuck, forbids: targetStuck, until: []nf.Until{nf.UntilRecovered},
		meaning: "An earlier change of the same target could be neither made nor undone.",
		cause:   "A write or its undo returned an error, or a rule forbade the undo; or a restart has left its container down, and then nfsync restarts no other container either. nfsync changes nothing more of that target until a person has looked at it, or its instance has ended (after a restart: until it runs again); it changes other targets.",
		remedy:  "see what nfsync recover shows, correct it by hand, and run nfsync recover --accept",
		sources: []string{"the unit of undo is the target"},
	},
	{
		code: nf.Unobservable, forbids: unobservable, until: []nf.Until{nf.UntilObservable},
		meaning: "The value could not be read, so it is not changed.",
		cause:   "A container is in transition (starting, migrating) or has no network namespace of its own, programs and files disagree about which container it is or whether it runs, a runtime is broken, or a file is unreadable: of the kernel, of a Virtuozzo container's configuration, or the mask in its dump. Of a level: rules use a match, target or expression from outside of the kernel, which may need any level. Unknown never counts as off.",
		remedy:  "mend what the reason names (nfsync doctor checks the usual causes), then plan again",
		sources: []string{"net/netfilter/nf_conntrack_standalone.c", "namespaces(7)", "prlctl(8) and vzlist(8): the states", "OpenVZ/libvzctl, branch vz7-u22, scripts/vz-cpt.in: vz_iptables_mask.img"},
	},
	{
		code: nf.Conflict, forbids: conflict, until: []nf.Until{nf.UntilPolicyChange},
		meaning: "Policies want different things of one value of one target.",
		cause:   "Two policies of the same priority set the key, a module is wanted unloaded that a wanted level needs, or two keys set one value of the kernel: conntrack.buckets and the parameter hashsize of nf_conntrack, or two names of one module. Then priorities do not matter. None is applied.",
		remedy:  "give one of the policies a higher spec.priority, or remove the key from one of them",
		sources: []string{"the policy format: the highest priority wins, per key", "net/netfilter/nf_conntrack_core.c and nf_conntrack_standalone.c: nf_conntrack_htable_size"},
	},
	{
		code: nf.LevelUnsupported, forbids: levelUnsupported, until: []nf.Until{nf.UntilNever},
		meaning: "This node keeps no netfilter levels for its containers.",
		cause:   "The kernel has the ve cgroup and no ve.iptables_mask in it, as on Virtuozzo Hybrid Server 9, which dropped levels. A NETFILTER= line in a container's configuration means nothing there.",
		remedy:  "take level out of the policies for this node (select nodes by a label); limits and timeouts are still managed",
		sources: []string{"kernel/ve/ve.c of Virtuozzo 8 and later has no iptables_mask", "OpenVZ/libvzctl, branch vz7-u22, lib/iptables.c"},
	},
	{
		code: nf.RestoreKeepsLevel, forbids: restoreKeepsLevel, until: []nf.Until{nf.UntilContainerRestart},
		meaning: "A suspended container is resumed with the level that it had.",
		cause:   "Suspending saves the mask in the dump, and resuming or migrating writes it back. Only a cold start sets the configured level.",
		remedy:  "start the container cold: vzctl restart drops the dump, or resume it, stop it and start it; restart: stage or allow in its policy saves the level for that start",
		sources: []string{"OpenVZ/libvzctl, branch vz7-u22, scripts/vz-cpt.in, vz-rst.in and vz-rst-action.in"},
	},
	{
		code: nf.ConntrackLatched, forbids: conntrackLatched, until: []nf.Until{nf.UntilContainerRestart, nf.UntilNodeRestart},
		meaning: "Connection tracking cannot be turned off where it may be on.",
		cause:   "On this kernel tracking, once a rule has turned it on in a namespace, stays on until that namespace ends, even when the rule is gone. No file shows whether it is on, so that only a mask without conntrack, or no nf_conntrack at all, proves it off.",
		remedy:  remedyRestart,
		sources: []string{"net->ct.can_alloc in nf_conntrack_core.c of the Virtuozzo 7 kernel: nothing clears it", "Virtuozzo 7 User's Guide, Managing iptables Modules"},
	},
	{
		code: nf.RestartRequired, forbids: restartRequired, until: []nf.Until{nf.UntilContainerRestart},
		meaning: "A running container's level cannot be changed.",
		cause:   "The kernel keeps the mask locked while the container runs, and only a cold start writes it. nfsync restarts a container for a want once at most: a container that has another level after that is restarted again only when the want changes.",
		remedy:  remedyRestart,
		sources: []string{"kernel/ve/ve.c of the Virtuozzo 7 kernel, ve.iptables_mask: EBUSY while running", "prlctl(8), --netfilter", "OpenVZ/libvzctl, branch vz7-u22: set_features ignores that the mask could not be written"},
	},
	{
		code: nf.LevelInUse, forbids: levelInUse, until: []nf.Until{nf.UntilRulesRemoved},
		meaning: "The namespace's own rules use more than the level allows.",
		cause:   "No mask keeps a level here: what the rules use is the level. nfsync does not remove anybody's rules.",
		remedy:  "remove the rules that the reason names, or want the level that they need",
		sources: []string{"net/netfilter/nf_conntrack_proto.c, nf_ct_netns_get", "net/netfilter/nft_ct.c, xt_conntrack.c"},
	},
	{
		code: nf.ModulesLocked, forbids: modulesLocked, until: []nf.Until{nf.UntilNodeRestart, nf.UntilModuleLoad},
		meaning: "The module may not be loaded or unloaded on this node.",
		cause:   "The kernel is built without module support, kernel.modules_disabled is 1 (until the node restarts), or lockdown forbids it; or a line of modprobe.d (blacklist, install, alias, or options that the kernel refuses) or the kernel's command line (module_blacklist=) keeps this one out.",
		remedy:  "restart the node with modules enabled, remove the line that the reason names, or take the module out of the policy",
		sources: []string{"kernel/module/main.c, may_init_module, delete_module and blacklisted", "Documentation/admin-guide/sysctl/kernel.rst, modules_disabled", "modprobe.d(5), blacklist, install and alias", "kernel/params.c, parse_one"},
	},
	{
		code: nf.Builtin, forbids: builtin, until: []nf.Until{nf.UntilKernelChange},
		meaning: "The module is part of the kernel image.",
		cause:   "A built-in module cannot be unloaded, and takes a parameter whose file in /sys/module is read-only from the kernel command line. It takes the others while it runs.",
		remedy:  "take the module out of the policy for this node, or want it loaded",
		sources: []string{"kernel/params.c", "Documentation/admin-guide/kernel-parameters.rst"},
	},
	{
		code: nf.Missing, forbids: missing, until: []nf.Until{nf.UntilKernelChange},
		meaning: "This kernel has no such module, parameter or key.",
		cause:   "The name is misspelt, belongs to another kernel version, in which it was a module of its own for instance, or the kernel was built without it.",
		remedy:  "check the name, or take it out of the policy for this node",
		sources: []string{"net/netfilter/nf_conntrack_standalone.c", "modules.dep(5)", "include/linux/moduleparam.h, __param_ and parmtype"},
	},
	{
		code: nf.NotLoaded, forbids: notLoaded, until: []nf.Until{nf.UntilModuleLoad},
		meaning: "The key belongs to a module that is not loaded.",
		cause:   "Its file below /proc/sys/net/netfilter appears only with the module, and nothing in this plan loads it.",
		remedy:  "want the module loaded, or a level that brings it",
		sources: []string{"net/netfilter/nf_conntrack_standalone.c, nf_conntrack_standalone_init_sysctl"},
	},
	{
		code: nf.InUse, forbids: inUse, until: []nf.Until{nf.UntilHoldersGone},
		meaning: "The module is in use, or unloading it would lose something.",
		cause:   "Other modules, rules, sockets or sets refer to it, or its unloading would lose a table with rules, a chain whose policy drops traffic, or live connections.",
		remedy:  "remove what the reason names; nfsync unloads only what nothing needs",
		sources: []string{"delete_module(2), EWOULDBLOCK", "net/ipv4/netfilter/iptable_filter.c, iptable_filter_fini", "net/netfilter/nf_tables_api.c"},
	},
	{
		code: nf.ReloadRequired, forbids: reloadRequired, until: []nf.Until{nf.UntilModuleReload},
		meaning: "The parameter is set only when the module is loaded.",
		cause:   "The module is loaded already, and the parameter's file is read-only.",
		remedy:  "unload the module when nothing uses it (or restart the node): nfsync loads it with the parameter",
		sources: []string{"kernel/params.c, param_attr_store", "include/linux/moduleparam.h"},
	},
	{
		code: nf.ReadOnly, forbids: readOnly, until: []nf.Until{nf.UntilKernelChange},
		meaning: "The value is read-only in this network namespace.",
		cause:   "Outside the initial network namespace Linux 5.13 and later, and many stable kernels before, show the node's nf_conntrack_max, _buckets and _expect_max read-only.",
		remedy:  "set it in a NodePolicy, which limits each container too, or take it out of the container's policy",
		sources: []string{"net/netfilter/nf_conntrack_standalone.c: netfilter: conntrack: Make global sysctls readonly in non-init netns"},
	},
	{
		code: nf.AboveNode, forbids: aboveNode, until: []nf.Until{nf.UntilPolicyChange},
		meaning: "A container's limit cannot be above the node's.",
		cause:   "The kernel answers EINVAL to a container's value above the node's value at that moment. 0 is no limit for the node, and then the kernel takes no value for its containers: a plan that lowers both takes an intermediate step.",
		remedy:  "raise conntrack.max in the NodePolicy (nfsync raises the node first), or lower the container's",
		sources: []string{"nf_conntrack_standalone.c of the Virtuozzo 7 kernel: extra2 is init_net.ct.max"},
	},
	{
		code: nf.BelowContainer, forbids: belowContainer, until: []nf.Until{nf.UntilPolicyChange},
		meaning: "The node's limit cannot go below a container's.",
		cause:   "The kernel checks the ceiling only when a container's value is written: the container would stay above the node.",
		remedy:  "lower the containers' conntrack.max in their policies (nfsync lowers them first), or leave the node's limit as it is",
		sources: []string{"nf_conntrack_core.c of the Virtuozzo 7 kernel: ct_max = net->ct.max ? net->ct.max : init_net.ct.max"},
	},
	{
		code: nf.BelowCount, forbids: belowCount, until: []nf.Until{nf.UntilEntriesDrained},
		meaning: "The limit is below the number of live entries.",
		cause:   "A namespace over its limit evicts nothing that is in use: it drops new connections.",
		remedy:  "wait until the entries have ended (shorter timeouts help), or choose a higher limit",
		sources: []string{"net/netfilter/nf_conntrack_core.c, __nf_conntrack_alloc"},
	},
}

// remedyRestart is the remedy for a level that only a cold start brings.
const remedyRestart = "in the container's policy restart: stage saves the level for its next cold start, restart: allow saves it and restarts the container"
