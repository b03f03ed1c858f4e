package diff

import (
	"slices"
	"strings"
	"testing"

	"nfsync.dev/nfsync/internal/nf"
)

// bootFiles is the edit that gives the node a boot layer.
func bootFiles(s *nf.Snapshot) { s.Capabilities.BootFiles = true }

func bootModule(name string, v nf.Value) edit {
	return func(s *nf.Snapshot) { bootFiles(s); module(s, name).Boot = &v }
}

// Each row is one rule at work, or just not: the facts, the wants, and every
// answer of the plan. The source says where the kernel or the vendor has it.
var ruleTests = []struct {
	name   string
	source string
	snap   *nf.Snapshot
	wants  []nf.Want
	expect []string
}{
	// not-permitted
	{"an unprivileged user changes nothing of the node", "net/sysctl_net.c, net_ctl_permissions",
		mainline(denied(nf.AbilityNode)), []nf.Want{want(nf.Node, nf.KeyMax, nf.Number(5))}, []string{"not-permitted node conntrack.max"}},
	{"nor loads modules", "kernel/module/main.c, may_init_module",
		mainline(denied(nf.AbilityModules)), []nf.Want{wantModule("ip_set", nf.ModuleLoaded, nil)}, []string{"not-permitted node module/ip_set"}},
	{"nor enters containers, even where it cannot see", "setns(2)",
		mainline(denied(nf.AbilityContainers), func(s *nf.Snapshot) { live(&s.Containers[1].Namespace, nf.TimeoutKey("udp"), nf.Unknown("EPERM")) }),
		[]nf.Want{want(netns("web"), nf.TimeoutKey("udp"), nf.Number(5))}, []string{"not-permitted web conntrack.timeouts.udp"}},
	{"what is in sync needs no privilege", "the definition of a difference",
		mainline(denied(nf.AbilityNode)), []nf.Want{want(nf.Node, nf.KeyMax, nf.Number(262144))}, nil},

	// stuck
	{"a stuck change holds back its target and no other", "the unit of undo is the target",
		mainline(stuck(netns("web"), nf.LayerLive)), []nf.Want{want(netns("web"), nf.TimeoutKey("udp"), nf.Number(5)), want(netns("web"), nf.TimeoutKey("generic"), nf.Number(5)), want(nf.Node, nf.TimeoutKey("udp"), nf.Number(5))},
		[]string{"change node conntrack.timeouts.udp", "stuck web conntrack.timeouts.generic", "stuck web conntrack.timeouts.udp"}},
	{"what is in sync there stays so", "the definition of a difference",
		mainline(stuck(nf.Node, nf.LayerLive)), []nf.Want{want(nf.Node, nf.KeyMax, nf.Number(262144))}, nil},
	{"a live value ends with its instance", "namespaces(7)",
		mainline(stuck(netns("web"), nf.LayerLive), func(s *nf.Snapshot) { container(s, "web").Instance = "2" }),
		[]nf.Want{want(netns("web"), nf.TimeoutKey("udp"), nf.Number(5))}, []string{"change web conntrack.timeouts.udp"}},
	{"or with the node", "boot_id of random(4)",
		mainline(stuck(nf.Node, nf.LayerLive), func(s *nf.Snapshot) { s.BootID = "2" }),
		[]nf.Want{want(nf.Node, nf.TimeoutKey("udp"), nf.Number(5))}, []string{"change node conntrack.timeouts.udp"}},
	{"a saved value does not", "sysctl.d(5)",
		mainline(stuck(nf.Node, nf.LayerBoot), func(s *nf.Snapshot) { s.BootID = "2" }),
		[]nf.Want{want(nf.Node, nf.TimeoutKey("udp"), nf.Number(5))}, []string{"stuck node conntrack.timeouts.udp"}},
	{"what depends on a stuck node waits with it", "nf_conntrack_standalone.c: extra2 is init_net.ct.max",
		virtuozzo(stuck(nf.Node, nf.LayerLive)), []nf.Want{want(nf.Node, nf.KeyMax, nf.Number(400000)), want(vz101, nf.KeyMax, nf.Number(300000))},
		[]string{"stuck node conntrack.max", "above-node 101 conntrack.max"}},
	{"a stuck container is not restarted", "the unit of undo is the target",
		virtuozzo(stuck(vz101, nf.LayerLive)), []nf.Want{level(vz101, nf.LevelStateless, nf.RestartAllow)}, []string{"stuck 101 level", "boot stuck 101 level"}},

	// unobservable
	{"an unknown value is not changed", "absence of evidence",
		mainline(func(s *nf.Snapshot) { live(&s.Host, nf.KeyMax, nf.Unknown("EIO")) }),
		[]nf.Want{want(nf.Node, nf.KeyMax, nf.Number(5))}, []string{"unobservable node conntrack.max"}},
	{"nor anything in a container that cannot be looked into", "namespaces(7)",
		mainline(func(s *nf.Snapshot) { container(s, "web").Unobservable = "no network namespace of its own" }),
		[]nf.Want{want(netns("web"), nf.TimeoutKey("udp"), nf.Number(5))}, []string{"unobservable web conntrack.timeouts.udp"}},
	{"lowering the node needs every container's limit", "nf_conntrack_core.c: the container keeps its own",
		mainline(func(s *nf.Snapshot) { live(&container(s, "web").Namespace, nf.KeyMax, nf.Unknown("EACCES")) }),
		[]nf.Want{want(nf.Node, nf.KeyMax, nf.Number(1000))}, []string{"unobservable node conntrack.max"}},
	{"lowering the node needs every container's count", "nf_conntrack_core.c: the count is per namespace",
		mainline(func(s *nf.Snapshot) { container(s, "web").Count = nf.Unknown("EACCES") }),
		[]nf.Want{want(nf.Node, nf.KeyMax, nf.Number(1000))}, []string{"unobservable node conntrack.max"}},
	{"lowering the node needs every container, also those that a broken runtime hides", "nf_conntrack_core.c: the count is per namespace",
		mainline(broken), []nf.Want{want(nf.Node, nf.KeyMax, nf.Number(1000))}, []string{"unobservable node conntrack.max"}},
	{"nor is a module unloaded while a broken runtime hides containers", "the definition of in-use",
		mainline(func(s *nf.Snapshot) { isolate(s, "nf_conntrack") }, broken),
		[]nf.Want{wantModule("nf_conntrack", nf.ModuleUnloaded, nil)}, []string{"in-use node module/nf_conntrack"}},
	{"lowering any limit needs the count that it caps", "__nf_conntrack_alloc, nf_conntrack_core.c",
		mainline(func(s *nf.Snapshot) { s.Host.Count = nf.Unknown("EACCES") }),
		[]nf.Want{want(nf.Node, nf.KeyMax, nf.Number(1000))}, []string{"unobservable node conntrack.max"}},
	{"raising the node does not", "nf_conntrack_core.c",
		mainline(func(s *nf.Snapshot) { container(s, "web").Count = nf.Unknown("EACCES") }),
		[]nf.Want{want(nf.Node, nf.KeyMax, nf.Number(300000))}, []string{"change node conntrack.max"}},
	{"a module that may or may not exist", "modules.dep(5) unreadable",
		mainline(func(s *nf.Snapshot) { s.Modules.Complete, s.Modules.Unknown = false, "no evidence" }),
		[]nf.Want{wantModule("xt_u32", nf.ModuleLoaded, nil)}, []string{"unobservable node module/xt_u32"}},

	{"rules that nfsync does not know", "a target from outside of the kernel, xt_FULLCONENAT",
		mainline(foreign("xt target FULLCONENAT")), []nf.Want{want(netns("web"), nf.KeyLevel, nf.LevelStateless.Value())}, []string{"unobservable web level"}},
	{"a parameter that the kernel does not show", "include/linux/moduleparam.h: permission 0",
		mainline(), []nf.Want{wantModule("nf_conntrack", nf.ModuleLoaded, map[string]string{"enable_hooks": "1"})}, []string{"unobservable node module/nf_conntrack"}},

	// conflict
	{"equal priority, different wishes", "the policy format",
		mainline(), []nf.Want{rival(want(nf.Node, nf.KeyMax, nf.Number(5)), nf.Number(6))}, []string{"conflict node conntrack.max"}},
	{"even where one of them is met", "the policy format",
		mainline(), []nf.Want{rival(want(nf.Node, nf.KeyMax, nf.Number(262144)), nf.Number(6))}, []string{"conflict node conntrack.max"}},
	{"an explicit unloaded against a level that needs it", "net/netfilter/nft_ct.c needs nf_conntrack",
		mainline(), []nf.Want{want(nf.Node, nf.KeyLevel, nf.LevelStateful.Value()), wantModule("nft_ct", nf.ModuleUnloaded, nil)}, []string{"conflict node module/nft_ct"}},
	{"an explicit unloaded against what a module needs", "modules.dep(5)",
		mainline(), []nf.Want{wantModule("ip_set", nf.ModuleLoaded, nil), wantModule("nfnetlink", nf.ModuleUnloaded, nil), wantModule("nft_ct", nf.ModuleUnloaded, nil)},
		[]string{"change node module/ip_set", "change node module/nft_ct", "conflict node module/nfnetlink"}},
	{"an alias is its module", "modules.alias: nf_conntrack_ipv4 merged in 4.19",
		mainline(), []nf.Want{want(nf.Node, nf.KeyLevel, nf.LevelStateful.Value()), wantModule("nf_conntrack_ipv4", nf.ModuleUnloaded, nil)}, []string{"conflict node module/nf_conntrack"}},

	{"two keys of one value", "nf_conntrack_htable_size, nf_conntrack_core.c",
		mainline(), []nf.Want{want(nf.Node, nf.KeyBuckets, nf.Number(131072)), wantModule("nf_conntrack", nf.ModuleLoaded, map[string]string{"hashsize": "65536"})},
		[]string{"conflict node conntrack.buckets", "conflict node module/nf_conntrack"}},
	{"under an alias of the module", "MODULE_ALIAS(\"ip_conntrack\"), nf_conntrack_proto.c",
		mainline(), []nf.Want{want(nf.Node, nf.KeyBuckets, nf.Number(131072)), wantModule("nf_conntrack_ipv4", nf.ModuleLoaded, map[string]string{"hashsize": "65536"})},
		[]string{"conflict node conntrack.buckets", "conflict node module/nf_conntrack"}},
	{"two keys that want the same of it", "nf_conntrack_htable_size, nf_conntrack_core.c",
		mainline(), []nf.Want{want(nf.Node, nf.KeyBuckets, nf.Number(65536)), wantModule("nf_conntrack", nf.ModuleLoaded, map[string]string{"hashsize": "0x10000"})}, nil},
	{"a range that has the other key's value", "nf_conntrack_htable_size, nf_conntrack_core.c",
		mainline(), []nf.Want{wantRange(nf.Node, nf.KeyBuckets, 1024, 0), wantModule("nf_conntrack", nf.ModuleLoaded, map[string]string{"hashsize": "65536"})}, nil},
	{"a range that does not have it", "nf_conntrack_htable_size, nf_conntrack_core.c",
		mainline(), []nf.Want{wantRange(nf.Node, nf.KeyBuckets, 0, 1024), wantModule("nf_conntrack", nf.ModuleLoaded, map[string]string{"hashsize": "65536"})},
		[]string{"conflict node conntrack.buckets", "conflict node module/nf_conntrack"}},
	{"a parameter with the name of a sysctl has a value of its own", "net->ct.sysctl_acct = nf_ct_acct, nf_conntrack_acct.c",
		mainline(), []nf.Want{want(nf.Node, nf.SysctlKey("nf_conntrack_acct"), nf.Number(1)), wantModule("nf_conntrack", nf.ModuleLoaded, map[string]string{"acct": "N"})},
		[]string{"missing node conntrack.sysctls.nf_conntrack_acct"}},
	{"a module under two names", "modules.alias: nf_conntrack_ipv4 merged in 4.19",
		mainline(), []nf.Want{wantModule("nf_conntrack", nf.ModuleLoaded, nil), rival(wantModule("nf_conntrack_ipv4", nf.ModuleLoaded, nil), nf.Module(nf.ModuleUnloaded, nil))},
		[]string{"conflict node module/nf_conntrack"}},

	// level-unsupported
	{"no mask file, no levels", "kernel/ve/ve.c of Virtuozzo 9",
		virtuozzo(func(s *nf.Snapshot) {
			s.Capabilities.Masks, s.Capabilities.Latches = false, nf.No
			live(&s.Containers[0].Namespace, nf.KeyLevel, nf.Absent())
		}),
		[]nf.Want{want(vz101, nf.KeyLevel, nf.LevelStateless.Value())}, []string{"level-unsupported 101 level"}},

	// restore-keeps-level
	{"a suspended container comes back with its mask", "vz-rst-action.in of libvzctl",
		virtuozzo(state("suspended")), []nf.Want{want(vz101, nf.KeyLevel, nf.LevelStateless.Value())}, []string{"restore-keeps-level 101 level"}},
	{"staged, it is also saved for the cold start", "vz-rst-action.in of libvzctl",
		virtuozzo(state("suspended")), []nf.Want{restart(want(vz101, nf.KeyLevel, nf.LevelStateless.Value()), nf.RestartStage)},
		[]string{"boot change 101 level", "restore-keeps-level 101 level"}},

	// conntrack-latched
	{"conntrack is not taken from a running container", "net->ct.can_alloc, vzkernel nf_conntrack_core.c",
		virtuozzo(tracking(nf.TrackingOn)), []nf.Want{want(vz101, nf.KeyLevel, nf.LevelStateless.Value())}, []string{"conntrack-latched 101 level"}},
	{"nor where tracking is unknown", "net->ct.can_alloc is not exported",
		virtuozzo(), []nf.Want{want(vz101, nf.KeyLevel, nf.LevelStateless.Value())}, []string{"conntrack-latched 101 level"}},
	{"nor where it was seen on earlier in this instance", "nothing clears can_alloc",
		virtuozzo(tracking(nf.TrackingOff), func(s *nf.Snapshot) { s.Memory.Latches = []nf.Latch{{Target: vz101, Instance: "boot-1/101/4711"}} }),
		[]nf.Want{want(vz101, nf.KeyLevel, nf.LevelStateless.Value())}, []string{"conntrack-latched 101 level"}},
	{"a latch of an earlier instance is over", "can_alloc is per namespace",
		virtuozzo(tracking(nf.TrackingOff), func(s *nf.Snapshot) { s.Memory.Latches = []nf.Latch{{Target: vz101, Instance: "boot-0/101/1"}} }),
		[]nf.Want{want(vz101, nf.KeyLevel, nf.LevelStateless.Value())}, []string{"restart-required 101 level"}},
	{"a custom mask may have the conntrack bits", "vziptable_defs.h",
		virtuozzo(func(s *nf.Snapshot) { live(&s.Containers[0].Namespace, nf.KeyLevel, nf.MaskValue(0x4c004003)) }),
		[]nf.Want{want(vz101, nf.KeyLevel, nf.LevelStateless.Value())}, []string{"conntrack-latched 101 level"}},
	{"on the node, where it was seen on", "init_net.ct.can_alloc",
		virtuozzo(func(s *nf.Snapshot) { s.Host.Tracking.State = nf.TrackingOn }),
		[]nf.Want{want(nf.Node, nf.KeyLevel, nf.LevelStateless.Value())}, []string{"conntrack-latched node level"}},
	{"on the node unknown alone only warns", "init_net.ct.can_alloc is not exported",
		virtuozzo(), []nf.Want{want(nf.Node, nf.KeyLevel, nf.LevelDisabled.Value())}, nil},

	// restart-required
	{"raising a running container's level", "ve.iptables_mask: EBUSY, kernel/ve/ve.c",
		virtuozzo(levels(nf.LevelStateless, nf.LevelStateless)), []nf.Want{want(vz101, nf.KeyLevel, nf.LevelDisabled.Value())}, []string{"restart-required 101 level"}},
	{"refuse, even where it is saved already", "the policy format: restart",
		virtuozzo(levels(nf.LevelStateless, nf.LevelDisabled)), []nf.Want{want(vz101, nf.KeyLevel, nf.LevelDisabled.Value())}, []string{"restart-required 101 level"}},
	{"stage saves and waits", "vzctl(8): set --save",
		virtuozzo(levels(nf.LevelStateless, nf.LevelStateless)), []nf.Want{restart(want(vz101, nf.KeyLevel, nf.LevelDisabled.Value()), nf.RestartStage)},
		[]string{"boot change 101 level", "pending 101 level"}},
	{"staged already", "vzctl(8): set --save",
		virtuozzo(levels(nf.LevelStateless, nf.LevelDisabled)), []nf.Want{restart(want(vz101, nf.KeyLevel, nf.LevelDisabled.Value()), nf.RestartStage)}, []string{"pending 101 level"}},
	{"live right, saved wrong", "ve.conf is what the next start takes",
		virtuozzo(levels(nf.LevelStateless, nf.LevelFull)), []nf.Want{want(vz101, nf.KeyLevel, nf.LevelStateless.Value())}, []string{"boot change 101 level"}},
	{"a stopped container has only a saved level", "ve.conf",
		virtuozzo(state("stopped"), levels(nf.LevelStateless, nf.LevelFull)), []nf.Want{want(vz101, nf.KeyLevel, nf.LevelStateless.Value()), want(vz101, nf.KeyMax, nf.Number(5))},
		[]string{"boot change 101 level", "pending 101 conntrack.max"}},
	{"a container in transition is left alone", "prlctl(8) states",
		virtuozzo(state("migrating")), []nf.Want{want(vz101, nf.KeyLevel, nf.LevelStateless.Value())}, []string{"unobservable 101 level"}},

	// level-in-use
	{"the rules use more", "nf_ct_netns_get, nf_conntrack_proto.c",
		mainline(withRules("web", nf.LevelStateful)), []nf.Want{want(netns("web"), nf.KeyLevel, nf.LevelStateless.Value())}, []string{"level-in-use web level"}},
	{"the rules use as much", "a level is a ceiling",
		mainline(withRules("web", nf.LevelStateful)), []nf.Want{want(netns("web"), nf.KeyLevel, nf.LevelStateful.Value())}, nil},

	// modules-locked
	{"a kernel without modules", "CONFIG_MODULES=n",
		mainline(support(nf.SupportNone)), []nf.Want{wantModule("ip_set", nf.ModuleLoaded, nil)}, []string{"modules-locked node module/ip_set"}},
	{"modules_disabled", "kernel/module/main.c",
		mainline(support(nf.SupportLocked)), []nf.Want{wantModule("ip_set", nf.ModuleLoaded, nil)}, []string{"modules-locked node module/ip_set"}},
	{"a writable parameter is still written", "kernel/params.c, param_attr_store",
		mainline(support(nf.SupportLocked)), []nf.Want{wantModule("nf_conntrack", nf.ModuleLoaded, map[string]string{"hashsize": "1024"})}, []string{"change node module/nf_conntrack"}},

	{"a line of modprobe.d", "modprobe.d(5), blacklist",
		mainline(barred("ip_set", localConf)), []nf.Want{wantModule("ip_set", nf.ModuleLoaded, nil)}, []string{"modules-locked node module/ip_set"}},
	{"nothing is saved that could not be loaded", "systemd-modules-load.service(8) fails then",
		mainline(bootFiles, barred("x_tables", localConf)), []nf.Want{wantModule("iptable_filter", nf.ModuleLoaded, nil)},
		[]string{"not-loaded node module/iptable_filter", "modules-locked node module/x_tables"}},
	{"nothing is loaded for a module that is barred", "modules.dep(5)",
		mainline(barred("iptable_filter", localConf)), []nf.Want{wantModule("iptable_filter", nf.ModuleLoaded, nil)}, []string{"modules-locked node module/iptable_filter"}},
	{"nor for one that lacks a parameter", "modules.dep(5)",
		mainline(takes("iptable_filter")), []nf.Want{wantModule("iptable_filter", nf.ModuleLoaded, map[string]string{"x": "1"})}, []string{"missing node module/iptable_filter"}},
	{"nor for one whose other need is barred", "modules.dep(5)",
		mainline(barred("ip_tables", localConf)), []nf.Want{wantModule("iptable_filter", nf.ModuleLoaded, nil)},
		[]string{"modules-locked node module/ip_tables", "not-loaded node module/iptable_filter"}},
	{"what needs a barred module waits for it", "modules.dep(5)",
		mainline(barred("x_tables", nf.Bar{File: "/proc/cmdline", Says: "module_blacklist=x_tables"})), []nf.Want{wantModule("ip_tables", nf.ModuleLoaded, nil)},
		[]string{"not-loaded node module/ip_tables", "modules-locked node module/x_tables"}},
	{"barred, and loaded all the same", "modprobe(8) of a module that is named itself",
		mainline(barred("nf_tables", localConf)), []nf.Want{wantModule("nf_tables", nf.ModuleLoaded, nil)}, nil},
	{"barred and wanted unloaded", "modprobe.d(5)",
		mainline(bootFiles, barred("ip_set", localConf)), []nf.Want{wantModule("ip_set", nf.ModuleUnloaded, nil)}, []string{"boot change node module/ip_set"}},
	{"what nfsync itself keeps out can be wanted again", "modprobe.d(5), install",
		mainline(bootModule("ip_set", nf.Module(nf.ModuleUnloaded, nil))), []nf.Want{wantModule("ip_set", nf.ModuleLoaded, nil)},
		[]string{"change node module/ip_set", "boot change node module/ip_set"}},

	// builtin
	{"a built-in module is loaded", "modules.builtin", mainline(), []nf.Want{wantModule("ipv6", nf.ModuleLoaded, nil)}, nil},
	{"and cannot be unloaded", "delete_module(2)", mainline(), []nf.Want{wantModule("ipv6", nf.ModuleUnloaded, nil)}, []string{"builtin node module/ipv6"}},
	{"nor be given parameters that are read-only", "kernel-parameters.rst",
		mainline(builtinIPv6), []nf.Want{wantModule("ipv6", nf.ModuleLoaded, map[string]string{"disable": "1"})}, []string{"builtin node module/ipv6"}},
	{"nor some of them", "kernel-parameters.rst",
		mainline(builtinIPv6), []nf.Want{wantModule("ipv6", nf.ModuleLoaded, map[string]string{"disable": "1", "autoconf": "0"})}, []string{"builtin node module/ipv6"}},
	{"a writable one is set", "kernel/params.c, param_attr_store",
		mainline(builtinIPv6), []nf.Want{wantModule("ipv6", nf.ModuleLoaded, map[string]string{"disable": "0", "autoconf": "0"})}, []string{"change node module/ipv6"}},
	{"on a kernel without module support too", "kernel/params.c, param_attr_store",
		mainline(builtinIPv6, support(nf.SupportNone)), []nf.Want{wantModule("ipv6", nf.ModuleLoaded, map[string]string{"autoconf": "0"})}, []string{"change node module/ipv6"}},
	{"and where modules are locked", "kernel/params.c, param_attr_store",
		mainline(builtinIPv6, support(nf.SupportLocked)), []nf.Want{wantModule("ipv6", nf.ModuleLoaded, map[string]string{"autoconf": "0"})}, []string{"change node module/ipv6"}},
	{"a read-only one is not a matter of module support", "kernel-parameters.rst",
		mainline(builtinIPv6, support(nf.SupportNone)), []nf.Want{wantModule("ipv6", nf.ModuleLoaded, map[string]string{"disable": "1"})}, []string{"builtin node module/ipv6"}},

	// missing
	{"no such module", "modules.dep(5)", mainline(), []nf.Want{wantModule("xt_u32", nf.ModuleLoaded, nil)}, []string{"missing node module/xt_u32"}},
	{"a module that became part of another", "net/netfilter/Makefile",
		mainline(support(nf.SupportNone)), []nf.Want{wantModule("nf_conntrack_proto_gre", nf.ModuleLoaded, nil)}, []string{"missing node module/nf_conntrack_proto_gre"}},
	{"no such module to unload is as good as unloaded", "modules.dep(5)", mainline(), []nf.Want{wantModule("xt_u32", nf.ModuleUnloaded, nil)}, nil},
	{"no such key", "nf_conntrack_standalone.c", mainline(), []nf.Want{want(nf.Node, nf.TimeoutKey("dccpOpen"), nf.Number(5))}, []string{"missing node conntrack.timeouts.dccpOpen"}},

	{"no such parameter of a module to be loaded", "unknown_module_param_cb, kernel/module/main.c: it is only logged",
		mainline(bootFiles, takes("ip_set", "max_sets")), []nf.Want{wantModule("ip_set", nf.ModuleLoaded, map[string]string{"max_set": "5", "max_sets": "512"})},
		[]string{"missing node module/ip_set"}},
	{"no such parameter of a loaded module", "include/linux/moduleparam.h",
		mainline(takes("nf_conntrack", "acct", "hashsize")), []nf.Want{wantModule("nf_conntrack", nf.ModuleLoaded, map[string]string{"enable_hooks": "1"})},
		[]string{"missing node module/nf_conntrack"}},
	{"one that the kernel shows is there whatever the file says", "a newer file",
		mainline(takes("nf_conntrack", "acct")), []nf.Want{wantModule("nf_conntrack", nf.ModuleLoaded, map[string]string{"hashsize": "65536"})}, nil},
	{"one that the module has and the kernel does not show", "include/linux/moduleparam.h: permission 0",
		mainline(takes("nf_conntrack", "enable_hooks")), []nf.Want{wantModule("nf_conntrack", nf.ModuleLoaded, map[string]string{"enable-hooks": "1"})},
		[]string{"unobservable node module/nf_conntrack"}},
	{"- and _ are the same", "kernel/params.c, parameqn",
		mainline(takes("ip_set", "max_sets")), []nf.Want{wantModule("ip_set", nf.ModuleLoaded, map[string]string{"max-sets": "512"})}, []string{"change node module/ip_set"}},
	{"a module without any parameter", "include/linux/moduleparam.h",
		mainline(takes("ip_set")), []nf.Want{wantModule("ip_set", nf.ModuleLoaded, map[string]string{"max_sets": "512"})}, []string{"missing node module/ip_set"}},

	// not-loaded
	{"a key of a module that nothing loads", "nf_conntrack_standalone_init_sysctl",
		mainline(noConntrack), []nf.Want{want(nf.Node, nf.KeyMax, nf.Number(5))}, []string{"not-loaded node conntrack.max"}},
	{"a key of a module that the plan loads", "nf_conntrack_standalone_init_sysctl",
		mainline(noConntrack), []nf.Want{want(nf.Node, nf.KeyMax, nf.Number(5)), wantModule("nf_conntrack", nf.ModuleLoaded, nil)},
		[]string{"change node module/nf_conntrack", "change node conntrack.max"}},
	{"what a module needs is loaded before it", "modules.dep(5)",
		mainline(func(s *nf.Snapshot) { s.Capabilities.LegacyTables = true }), []nf.Want{wantModule("iptable_filter", nf.ModuleLoaded, nil)},
		[]string{"change node module/x_tables", "change node module/ip_tables", "change node module/iptable_filter"}},
	{"a module whose need is refused", "modules.dep(5)",
		mainline(), []nf.Want{wantModule("iptable_filter", nf.ModuleLoaded, nil), wantModule("ip_tables", nf.ModuleUnloaded, nil)},
		[]string{"change node module/x_tables", "conflict node module/ip_tables", "not-loaded node module/iptable_filter"}},

	// in-use
	{"holders", "delete_module(2)", mainline(), []nf.Want{wantModule("nf_tables", nf.ModuleUnloaded, nil)}, []string{"in-use node module/nf_tables"}},
	{"holders go first", "delete_module(2)", mainline(), []nf.Want{wantModule("nf_tables", nf.ModuleUnloaded, nil), wantModule("nft_ct", nf.ModuleUnloaded, nil)},
		[]string{"change node module/nft_ct", "change node module/nf_tables"}},
	{"references", "delete_module(2)", mainline(func(s *nf.Snapshot) { module(s, "nft_ct").Refs = 2 }), []nf.Want{wantModule("nft_ct", nf.ModuleUnloaded, nil)}, []string{"in-use node module/nft_ct"}},
	{"a table with rules in any namespace", "nf_tables_api.c: rules hold nft_ct, not nf_tables",
		mainline(withRules("web", nf.LevelStateless), func(s *nf.Snapshot) { isolate(s, "nf_tables") }),
		[]nf.Want{wantModule("nf_tables", nf.ModuleUnloaded, nil)}, []string{"in-use node module/nf_tables"}},
	{"a policy without a rule", "iptable_filter.c: the table goes, and with it the policy",
		mainline(func(s *nf.Snapshot) {
			module(s, "iptable_filter").State = nf.ModuleLoaded
			s.Host.Rules.Tables = []nf.Table{{Backend: nf.BackendLegacy, Family: "ip", Name: "filter", Guards: []string{"INPUT"}}}
		}), []nf.Want{wantModule("iptable_filter", nf.ModuleUnloaded, nil)}, []string{"in-use node module/iptable_filter"}},
	{"another table's rules", "iptable_filter.c",
		mainline(func(s *nf.Snapshot) {
			module(s, "iptable_filter").State = nf.ModuleLoaded
			s.Host.Rules.Tables = []nf.Table{{Backend: nf.BackendLegacy, Family: "ip", Name: "mangle", Rules: 1}}
		}), []nf.Want{wantModule("iptable_filter", nf.ModuleUnloaded, nil)}, []string{"change node module/iptable_filter"}},
	{"live entries", "nf_conntrack_cleanup_net_list drops them",
		mainline(func(s *nf.Snapshot) { isolate(s, "nf_conntrack"); container(s, "db").Count = nf.Number(3) }),
		[]nf.Want{wantModule("nf_conntrack", nf.ModuleUnloaded, nil)}, []string{"in-use node module/nf_conntrack"}},
	{"a namespace that nfsync cannot look into", "absence of evidence",
		mainline(func(s *nf.Snapshot) { isolate(s, "nf_conntrack"); container(s, "db").Unobservable = "EIO" }),
		[]nf.Want{wantModule("nf_conntrack", nf.ModuleUnloaded, nil)}, []string{"in-use node module/nf_conntrack"}},
	{"nothing in use", "delete_module(2)",
		mainline(func(s *nf.Snapshot) { isolate(s, "nf_conntrack") }), []nf.Want{wantModule("nf_conntrack", nf.ModuleUnloaded, nil)}, []string{"change node module/nf_conntrack"}},

	// reload-required
	{"a parameter that is set at load only", "kernel/params.c",
		mainline(), []nf.Want{wantModule("nf_conntrack", nf.ModuleLoaded, map[string]string{"acct": "1"})}, []string{"reload-required node module/nf_conntrack"}},
	{"a boolean is printed as Y or N", "kernel/params.c, param_get_bool",
		mainline(), []nf.Want{wantModule("nf_conntrack", nf.ModuleLoaded, map[string]string{"acct": "0"})}, nil},
	{"the size of the table is rounded", "nf_ct_alloc_hashtable, nf_conntrack_core.c",
		mainline(parameter("hashsize", "1024")), []nf.Want{wantModule("nf_conntrack", nf.ModuleLoaded, map[string]string{"hashsize": "1000"})}, nil},
	{"in any base", "kstrtouint, nf_conntrack_set_hashsize",
		mainline(parameter("hashsize", "1024")), []nf.Want{wantModule("nf_conntrack", nf.ModuleLoaded, map[string]string{"hashsize": "0x3e8"})}, nil},
	{"that of expectations too", "nf_conntrack_expect_init, nf_conntrack_expect.c",
		mainline(parameter("expect_hashsize", "512")), []nf.Want{wantModule("nf_conntrack", nf.ModuleLoaded, map[string]string{"expect_hashsize": "256"})}, nil},
	{"no other number", "kernel/params.c",
		mainline(parameter("nat_cache", "1024")), []nf.Want{wantModule("nf_conntrack", nf.ModuleLoaded, map[string]string{"nat_cache": "1000"})}, []string{"reload-required node module/nf_conntrack"}},
	{"nor a smaller table", "nf_conntrack_core.c",
		mainline(parameter("hashsize", "1024")), []nf.Want{wantModule("nf_conntrack", nf.ModuleLoaded, map[string]string{"hashsize": "500"})}, []string{"reload-required node module/nf_conntrack"}},
	{"a writable one is set", "nf_conntrack_set_hashsize",
		mainline(), []nf.Want{wantModule("nf_conntrack", nf.ModuleLoaded, map[string]string{"hashsize": "1024"})}, []string{"change node module/nf_conntrack"}},
	{"one of a module to be loaded", "finit_module(2)",
		mainline(), []nf.Want{wantModule("ip_set", nf.ModuleLoaded, map[string]string{"max_sets": "512"})}, []string{"change node module/ip_set"}},

	// read-only
	{"the node's limit, shown in a container", "nf_conntrack_standalone.c: 0444 outside init_net",
		mainline(), []nf.Want{want(netns("web"), nf.KeyMax, nf.Number(5))}, []string{"read-only web conntrack.max"}},
	{"a want that the node's value meets", "nf_conntrack_standalone.c",
		mainline(), []nf.Want{wantRange(netns("web"), nf.KeyMax, 1000, 0)}, nil},
	{"a want that the node's value will meet", "nf_conntrack_standalone.c",
		mainline(), []nf.Want{want(nf.Node, nf.KeyMax, nf.Number(300000)), want(netns("web"), nf.KeyMax, nf.Number(300000))}, []string{"change node conntrack.max"}},
	{"a want that the node's value will not meet any more", "nf_conntrack_standalone.c",
		mainline(), []nf.Want{want(nf.Node, nf.KeyMax, nf.Number(300000)), want(netns("web"), nf.KeyMax, nf.Number(262144))},
		[]string{"change node conntrack.max", "read-only web conntrack.max"}},
	{"a file without write permission", "nf_conntrack_standalone.c",
		mainline(func(s *nf.Snapshot) { setFact(&s.Host, nf.KeyBuckets, func(f *nf.Fact) { f.ReadOnly = true }) }),
		[]nf.Want{want(nf.Node, nf.KeyBuckets, nf.Number(1024))}, []string{"read-only node conntrack.buckets"}},
	{"as remembered of this kernel", "memory.maxScope",
		mainline(ownMax("web", nf.ScopeUnknown), func(s *nf.Snapshot) { s.Memory.MaxScope = map[string]string{"6.12.0": nf.ScopeNode} }),
		[]nf.Want{want(netns("web"), nf.KeyMax, nf.Number(5))}, []string{"read-only web conntrack.max"}},
	{"unknown is planned as own", "nf_conntrack_standalone.c before 5.13",
		mainline(ownMax("web", nf.ScopeUnknown)), []nf.Want{want(netns("web"), nf.KeyMax, nf.Number(5))}, []string{"change web conntrack.max"}},

	// above-node
	{"a container above the node", "extra2 is init_net.ct.max: EINVAL",
		virtuozzo(), []nf.Want{want(vz101, nf.KeyMax, nf.Number(300000))}, []string{"above-node 101 conntrack.max"}},
	{"raise the node before its container", "extra2 is init_net.ct.max, as it is at the write",
		virtuozzo(), []nf.Want{want(nf.Node, nf.KeyMax, nf.Number(300000)), want(vz101, nf.KeyMax, nf.Number(300000))},
		[]string{"change node conntrack.max", "change 101 conntrack.max"}},
	{"a node without a limit takes none for a container", "0 is the maximum then",
		virtuozzo(func(s *nf.Snapshot) { live(&s.Host, nf.KeyMax, nf.Number(0)) }),
		[]nf.Want{want(vz101, nf.KeyMax, nf.Number(5))}, []string{"above-node 101 conntrack.max"}},
	{"a container above the node as it will be", "extra2 is init_net.ct.max",
		virtuozzo(func(s *nf.Snapshot) { live(&s.Containers[0].Namespace, nf.KeyMax, nf.Number(50)) }),
		[]nf.Want{want(nf.Node, nf.KeyMax, nf.Number(100)), want(vz101, nf.KeyMax, nf.Number(200))},
		[]string{"change node conntrack.max", "above-node 101 conntrack.max"}},

	// below-container
	{"the node below a container", "checked at the container's write only",
		virtuozzo(), []nf.Want{want(nf.Node, nf.KeyMax, nf.Number(1000))}, []string{"below-container node conntrack.max"}},
	{"lower the container before the node", "checked at the container's write only",
		virtuozzo(), []nf.Want{want(nf.Node, nf.KeyMax, nf.Number(1000)), want(vz101, nf.KeyMax, nf.Number(500))},
		[]string{"change 101 conntrack.max", "change node conntrack.max"}},
	{"one that stays above holds the node back, not itself", "checked at the container's write only",
		virtuozzo(), []nf.Want{want(nf.Node, nf.KeyMax, nf.Number(1000)), want(vz101, nf.KeyMax, nf.Number(2000))},
		[]string{"change 101 conntrack.max", "below-container node conntrack.max"}},
	{"a container's 0 is the node's value", "ct_max = net->ct.max ? net->ct.max : init_net.ct.max",
		virtuozzo(func(s *nf.Snapshot) { live(&s.Containers[0].Namespace, nf.KeyMax, nf.Number(0)) }),
		[]nf.Want{want(nf.Node, nf.KeyMax, nf.Number(1000)), want(vz101, nf.KeyMax, nf.Number(1000))}, []string{"change node conntrack.max"}},

	{"a container at the node's new limit is not above it", "ct_max is compared with >",
		virtuozzo(func(s *nf.Snapshot) { live(&s.Containers[0].Namespace, nf.KeyMax, nf.Number(1000)) }),
		[]nf.Want{want(nf.Node, nf.KeyMax, nf.Number(1000))}, []string{"change node conntrack.max"}},
	{"a raise waits for the node, whose limit is being lowered", "extra2 is init_net.ct.max, as it will be",
		virtuozzo(func(s *nf.Snapshot) {
			low := s.Containers[0]
			low.ID, low.Name, low.Facts = "100", "low", slices.Clone(low.Facts)
			live(&low.Namespace, nf.KeyMax, nf.Number(50))
			s.Containers = append([]nf.Container{low}, s.Containers...)
		}), []nf.Want{want(nf.Node, nf.KeyMax, nf.Number(100)),
			want(nf.Target{Kind: nf.TargetContainer, Runtime: nf.RuntimeVZ, ID: "100", Name: "low"}, nf.KeyMax, nf.Number(200)), want(vz101, nf.KeyMax, nf.Number(50))},
		[]string{"change 101 conntrack.max", "change node conntrack.max", "above-node 100 conntrack.max"}},
	{"a bigger table before a higher limit", "nf_conntrack-sysctl.rst: the limit is sized by the buckets",
		mainline(), []nf.Want{want(nf.Node, nf.KeyMax, nf.Number(524288)), want(nf.Node, nf.KeyBuckets, nf.Number(131072))},
		[]string{"change node conntrack.buckets", "change node conntrack.max"}},
	{"a lower limit before a smaller table", "nf_conntrack-sysctl.rst",
		mainline(), []nf.Want{want(nf.Node, nf.KeyMax, nf.Number(1000)), want(nf.Node, nf.KeyBuckets, nf.Number(512))},
		[]string{"change node conntrack.max", "change node conntrack.buckets"}},

	// the boot layer
	{"what the next start brings is saved too", "sysctl.d(5)",
		mainline(bootFiles), []nf.Want{want(nf.Node, nf.KeyMax, nf.Number(300000))}, []string{"change node conntrack.max", "boot change node conntrack.max"}},
	{"also where the live value is right", "sysctl.d(5)",
		mainline(bootFiles), []nf.Want{want(nf.Node, nf.KeyMax, nf.Number(262144))}, []string{"boot change node conntrack.max"}},
	{"saved already", "sysctl.d(5)",
		mainline(bootFiles, func(s *nf.Snapshot) { boot(&s.Host, nf.KeyMax, nf.Number(262144)) }), []nf.Want{want(nf.Node, nf.KeyMax, nf.Number(262144))}, nil},
	{"a range is saved as the live value that meets it", "sysctl.d(5)",
		mainline(bootFiles, func(s *nf.Snapshot) { boot(&s.Host, nf.KeyMax, nf.Number(262000)) }), []nf.Want{wantRange(nf.Node, nf.KeyMax, 200000, 0)}, nil},
	{"a module to be loaded, not what it needs", "modules-load.d(5), modprobe(8)",
		mainline(bootFiles), []nf.Want{wantModule("iptable_filter", nf.ModuleLoaded, nil)},
		[]string{"change node module/x_tables", "boot change node module/iptable_filter", "change node module/ip_tables", "change node module/iptable_filter"}},
	{"parameters of a loaded module wait for the reload, and are saved", "modprobe.d(5)",
		mainline(bootModule("nf_conntrack", nf.Module(nf.ModuleLoaded, nil))), []nf.Want{wantModule("nf_conntrack", nf.ModuleLoaded, map[string]string{"acct": "1"})},
		[]string{"boot change node module/nf_conntrack", "reload-required node module/nf_conntrack"}},
	{"nothing to save of a built-in module", "modules.builtin", mainline(bootFiles), []nf.Want{wantModule("ipv6", nf.ModuleLoaded, nil)}, nil},
	{"a module is kept out after it was unloaded", "modprobe.d(5): install",
		mainline(bootFiles), []nf.Want{wantModule("nft_ct", nf.ModuleUnloaded, nil)}, []string{"change node module/nft_ct", "boot change node module/nft_ct"}},
	{"one that stays loaded is not kept out", "the next start would lose the firewall",
		mainline(bootFiles), []nf.Want{wantModule("nf_tables", nf.ModuleUnloaded, nil)}, []string{"in-use node module/nf_tables", "boot in-use node module/nf_tables"}},
	{"boot files that cannot be read", "absence of evidence",
		mainline(bootFiles, func(s *nf.Snapshot) { s.Capabilities.BootUnknown = "EIO" }), []nf.Want{want(nf.Node, nf.KeyMax, nf.Number(262144))}, []string{"boot unobservable node conntrack.max"}},
	{"not for a namespace that is not the initial one", "sysctl.d(5) is for the initial one",
		mainline(), []nf.Want{want(nf.Node, nf.KeyMax, nf.Number(262144))}, nil},

	// below-count
	{"a limit below a container's own entries", "__nf_conntrack_alloc",
		virtuozzo(func(s *nf.Snapshot) { s.Containers[0].Count = nf.Number(700) }),
		[]nf.Want{want(vz101, nf.KeyMax, nf.Number(500))}, []string{"below-count 101 conntrack.max"}},
	{"the node's limit caps every namespace of mainline", "the count is per namespace, the limit is global",
		mainline(func(s *nf.Snapshot) { container(s, "db").Count = nf.Number(700) }),
		[]nf.Want{want(nf.Node, nf.KeyMax, nf.Number(500))}, []string{"below-count node conntrack.max"}},
	{"raising is always possible", "__nf_conntrack_alloc",
		mainline(func(s *nf.Snapshot) { live(&s.Host, nf.KeyMax, nf.Number(100)); s.Host.Count = nf.Number(700) }),
		[]nf.Want{want(nf.Node, nf.KeyMax, nf.Number(500))}, []string{"change node conntrack.max"}},
}

var localConf = nf.Bar{File: "/etc/modprobe.d/local.conf", Line: 3, Says: "blacklist it"}

func barred(name string, by nf.Bar) edit {
	return func(s *nf.Snapshot) {
		if m := module(s, name); m.State == nf.ModuleUnloaded {
			m.Barred = by
		}
	}
}

func takes(name string, params ...string) edit {
	return func(s *nf.Snapshot) { module(s, name).Takes = append([]string{}, params...) }
}

func parameter(name, value string) edit {
	return func(s *nf.Snapshot) {
		module(s, "nf_conntrack").Parameters = map[string]nf.Parameter{name: {Value: value}}
	}
}

// stuck adds a change of the target that an earlier run could neither make nor undo.
func stuck(t nf.Target, l nf.Layer) edit {
	return func(s *nf.Snapshot) {
		instance, _ := s.Instance(t)
		s.Memory.Stuck = append(s.Memory.Stuck, nf.StuckChange{Target: t, Key: nf.KeyMax, Layer: l, Instance: instance, BootID: s.BootID, Why: "EPERM"})
	}
}

func denied(ability string) edit {
	return func(s *nf.Snapshot) { s.Capabilities.Denied = map[string]string{ability: "no CAP_NET_ADMIN"} }
}

func state(name string) edit { return func(s *nf.Snapshot) { s.Containers[0].State = name } }

func tracking(state string) edit {
	return func(s *nf.Snapshot) { s.Containers[0].Tracking = &nf.Tracking{State: state} }
}

func support(kind string) edit {
	return func(s *nf.Snapshot) { s.Modules.Support, s.Modules.Reason = kind, "because" }
}

func levels(now, saved nf.Level) edit {
	return func(s *nf.Snapshot) {
		live(&s.Containers[0].Namespace, nf.KeyLevel, now.Value())
		boot(&s.Containers[0].Namespace, nf.KeyLevel, saved.Value())
	}
}

func withRules(name string, l nf.Level) edit {
	return withTables(name, l, &nf.Table{Backend: nf.BackendNft, Family: "inet", Name: "t", Rules: 1, Uses: []nf.Use{{Level: l, Chain: "input", What: "ct state", Count: 1}}})
}

func withTables(name string, l nf.Level, table *nf.Table) edit {
	return func(s *nf.Snapshot) {
		c := container(s, name)
		c.Rules = &nf.Rules{Tables: []nf.Table{*table}}
		live(&c.Namespace, nf.KeyLevel, l.Value())
	}
}

func noConntrack(s *nf.Snapshot) {
	module(s, "nf_conntrack").State = nf.ModuleUnloaded
	module(s, "nft_ct").State = nf.ModuleUnloaded
	s.Host.Facts = s.Host.Facts[len(s.Host.Facts)-1:]
}

func ownMax(name, scope string) edit {
	return func(s *nf.Snapshot) {
		container(s, name).MaxScope = scope
		setFact(&container(s, name).Namespace, nf.KeyMax, func(f *nf.Fact) { f.ReadOnly = false })
	}
}

// broken is a runtime that is there and cannot be read.
func broken(s *nf.Snapshot) {
	s.Warnings = []nf.Warning{{Code: nf.WarnRuntimeBroken, Target: nf.Node, Message: "cannot list network namespaces: EIO"}}
}

func TestRules(t *testing.T) {
	seen := map[nf.Code]bool{}
	for _, test := range ruleTests {
		t.Run(test.name, func(t *testing.T) {
			p := Plan(wants(test.wants...), test.snap)
			if got := answers(p); !slices.Equal(got, test.expect) {
				t.Errorf("answers (source: %s)\n got %q\nwant %q\n%+v", test.source, got, test.expect, p.Refusals)
			}
			for _, r := range p.Refusals {
				seen[r.Code] = true
				if r.Reason == "" || r.Remedy == "" || !slices.Contains(ruleOf(r.Code).until, r.Until) {
					t.Errorf("a refusal needs a reason, a remedy and an event of its row: %+v", r)
				}
				if !r.Target.IsNode() && strings.Contains(r.Reason, r.Target.String()) {
					t.Errorf("the reason repeats the target: %+v", r)
				}
			}
		})
	}
	for _, code := range nf.Codes() {
		if !seen[code] {
			t.Errorf("no row shows %s", code)
		}
	}
}

func TestEveryCodeIsExplained(t *testing.T) {
	if len(rules) != len(nf.Codes()) {
		t.Fatalf("%d rules for %d codes", len(rules), len(nf.Codes()))
	}
	for i, code := range nf.Codes() {
		if rules[i].code != code || rules[i].forbids == nil {
			t.Errorf("rule %d is %s, want %s", i, rules[i].code, code)
		}
		e, ok := Explain(code)
		if !ok || e.Meaning == "" || e.Cause == "" || e.Remedy == "" || len(e.Sources) == 0 || slices.Contains(e.Sources, "") || len(e.Until) == 0 {
			t.Errorf("%s is not explained: %+v", code, e)
		}
	}
	if _, ok := Explain("no-such-code"); ok {
		t.Error("an unknown code is explained")
	}
}

func TestReasonsNameTheCulprit(t *testing.T) {
	for _, test := range []struct {
		snap  *nf.Snapshot
		want  nf.Want
		named string
	}{
		{mainline(withRules("web", nf.LevelStateful)), want(netns("web"), nf.KeyLevel, nf.LevelStateless.Value()), "nft table inet t chain input: ct state"},
		{mainline(), wantModule("nf_tables", nf.ModuleUnloaded, nil), "nft_ct"},
		{mainline(foreign("fullcone")), want(netns("web"), nf.KeyLevel, nf.LevelStateful.Value()), "fullcone in chain input of the nft table inet t"},
		{mainline(withRules("web", nf.LevelStateful), func(s *nf.Snapshot) { container(s, "web").Rules.Tables[0].Uses[0].Chain = "object ftp-std" }),
			want(netns("web"), nf.KeyLevel, nf.LevelStateless.Value()), "nft table inet t object ftp-std: ct state"},
		{mainline(withRules("web", nf.LevelStateful), func(s *nf.Snapshot) { container(s, "web").Rules.Tables[0].Uses[0].Chain = "flowtable ft" }),
			want(netns("web"), nf.KeyLevel, nf.LevelStateless.Value()), "nft table inet t flowtable ft: ct state"},
		// What the kernel counts for iptable_filter on Linux 6.12 are the rules of its table.
		{mainline(func(s *nf.Snapshot) {
			m := module(s, "iptable_filter")
			m.State, m.Refs = nf.ModuleLoaded, 1
			s.Host.Rules = &nf.Rules{Tables: []nf.Table{{Family: "ip", Name: "filter", Backend: nf.BackendLegacy, Rules: 1}}}
		}), wantModule("iptable_filter", nf.ModuleUnloaded, nil), "1 rule of the legacy table ip filter of node"},
		{mainline(), rival(want(nf.Node, nf.KeyMax, nf.Number(5)), nf.Number(6)), "p.yaml:1:1 (5) and q.yaml:2:1 (6)"},
		{mainline(barred("ip_set", localConf)), wantModule("ip_set", nf.ModuleLoaded, nil), `/etc/modprobe.d/local.conf:3 says "blacklist it"`},
		{mainline(takes("ip_set", "max_sets")), wantModule("ip_set", nf.ModuleLoaded, map[string]string{"max_set": "1"}), "no parameter max_set"},
		{virtuozzo(), want(nf.Node, nf.KeyMax, nf.Number(1000)), "vz/101"},
		{virtuozzo(), want(vz101, nf.KeyMax, nf.Number(300000)), "262144"},
	} {
		p := Plan(wants(test.want), test.snap)
		if len(p.Refusals) != 1 || !strings.Contains(p.Refusals[0].Reason, test.named) {
			t.Errorf("the reason does not name %q: %+v", test.named, p.Refusals)
		}
	}
}

// What the rules use is a lower bound if they could not all be read, so that no
// level is in sync then: a wish for one is unobservable.
func TestUnreadableRules(t *testing.T) {
	tables := []nf.Table{{Backend: nf.BackendNft, Family: "inet", Name: "t", Rules: 1,
		Uses: []nf.Use{{Level: nf.LevelStateful, Chain: "input", What: "ct state", Count: 1}}}}
	for name, rules := range map[string]*nf.Rules{
		"not read":        nil,
		"none could":      {Unknown: "EIO"},
		"only some could": {Unknown: "EIO", Tables: tables},
	} {
		for level := nf.LevelDisabled; level <= nf.LevelFull; level++ {
			s := mainline(func(s *nf.Snapshot) {
				c := container(s, "web")
				c.Rules = rules
				live(&c.Namespace, nf.KeyLevel, nf.Value{})
			})
			web := container(s, "web").Target()
			p := Plan(nf.Wants{List: []nf.Want{want(web, nf.KeyLevel, level.Value())}}, s)
			if len(p.Refusals) != 1 || p.Refusals[0].Code != nf.Unobservable || p.Refusals[0].Target != web ||
				slices.ContainsFunc(p.Changes, func(c nf.Change) bool { return c.Target == web }) ||
				slices.ContainsFunc(p.InSync, func(k nf.Settled) bool { return k.Target == web }) {
				t.Errorf("%s, %s wanted: changes %v, refusals %v, in sync %v", name, level, p.Changes, p.Refusals, p.InSync)
			}
		}
	}
}
