package diff

import (
	"strings"

	"nfsync.dev/nfsync/internal/nf"
)

// WarningText explains a warning: its meaning, what causes it and what to do.
type WarningText struct {
	Code    string
	Meaning string
	Cause   string
	Remedy  string
}

// Warnings explains every warning.
func Warnings() []WarningText {
	return []WarningText{
		{nf.WarnNotEnforced, "Nothing in the kernel enforces the level.",
			"Only Virtuozzo 7 has a mask. Elsewhere whoever has CAP_NET_ADMIN in the namespace can add a rule that uses more.",
			"none needed: the next plan reports rules that use more"},
		{nf.WarnNodeTracking, "The node itself tracks connections, or may.",
			"A rule in the node's own namespace tracks, the policy allows it, or on a kernel that latches nobody knows. A flood that fills the table cuts the whole node off.",
			"want the level stateless for the node and remove its rules that track"},
		{nf.WarnLeftoverEntries, "No rule tracks any more, and entries remain until their timeouts.",
			"The last rule that tracks was removed a short time ago.",
			"none needed; conntrack -D drops them at once"},
		{nf.WarnOtherUser, "Open vSwitch, IPVS or tc may track connections without a rule that nfsync can see.",
			"The module openvswitch, ip_vs or act_ct is loaded, and a level below stateful is wanted.",
			"unload the module if nothing needs it"},
		{nf.WarnModuleAbsent, "A module that is wanted unloaded does not exist on this kernel.",
			"Its name is misspelled, this kernel is built without it, or it became part of another module.",
			"check the name with modinfo NAME, or take it out of the policy"},
		{nf.WarnModuleUnknown, "It is unknown whether the kernel has a module that a level needs.",
			"The files of /lib/modules for the running kernel cannot be read, or an update has removed them.",
			"restart into the installed kernel after an update; otherwise make them readable, or name their place with --root"},
		{nf.WarnSavedLevel, "The next cold start of the container brings a level that is neither the live nor the wanted one.",
			"The level was staged and the policy was changed or removed before a start brought it; or somebody has saved another one by hand.",
			"save the level that the container is to have: restart: stage in its policy saves the wanted one, prlctl set or vzctl set any"},
		{nf.WarnNoLongerWanted, "nfsync set this key, and no policy names it any more: it stays as it is.",
			"A policy was removed or changed, or does not select this target any more.",
			"write the wanted value into a policy, or set it by hand; nfsync forget KEY ends the warning"},
		{nf.WarnSelectsNothing, "A policy selects no container of this node.",
			"No container here has such a name, id, labels or runtime, or it was not listed.",
			"check spec.containers; nfsync snapshot shows the containers"},
		{nf.WarnLabelsUnknown, "A policy selects by labels, and those of some containers are not known: it selects none of these.",
			"The runtime was not asked, gave no answer, or keeps its files where this user cannot read them.",
			"see the reason in the warning; names, ids and runtimes select without labels"},
		{nf.WarnNoPolicy, "No policy selects this node.",
			"spec.nodes of every policy names other nodes or labels.",
			"check the node's name and labels: --node, --label and the configuration"},
		{nf.WarnDeclaredElsewhere, "Another boot file sets a value that differs from the policy.",
			"A file of sysctl.d, modprobe.d or modules-load.d that nfsync does not own names the key, or a file of ufw, tuned, udev, a unit or rc.local, which set values later.",
			"take the line that the warning names out of that file: nfsync does not edit it"},
		{nf.WarnBootOrder, "The next start cannot set a value that nfsync has saved for it.",
			"systemd-sysctl sets the saved values before anything loads the module that has them: a firewall rule that loads it comes later. Or it is the number of buckets, which sysctl.d cannot set before Linux 4.7.",
			"want the module loaded, or a level that has it, so that /etc/modules-load.d/nfsync.conf lists it; or list it in another file there"},
		{nf.WarnBootLeftover, "nfsync's own boot files name a module that does not exist any more.",
			"The module was there when the file was written; another kernel lacks it.",
			"none needed: the next start passes over it"},
		{nf.WarnNodeNamespace, "A file in the netns directory is the node's own namespace, not a container.",
			"The namespace of process 1 was given a name, with ip netns attach for instance.",
			"remove the name if nothing needs it: ip netns delete NAME"},
		{nf.WarnNotANamespace, "A file in the netns directory is not a namespace.",
			"The mount of the namespace is gone and its file was left, or something else put a file there.",
			"remove the file"},
		{nf.WarnRuntimeDegraded, "One of the programs that list containers failed; the other one worked.",
			"prlctl or vzlist is missing, fails or takes too long.",
			"run the program that the warning names, and mend what it reports"},
		{nf.WarnRuntimeBroken, "The containers of a runtime cannot be listed; their state is unknown.",
			"Its programs fail, or the directory of its containers cannot be read.",
			"mend what the warning names, or leave the runtime out with --runtime; nfsync doctor shows more"},
		{nf.WarnUnusableEntry, "A program lists a container without an id that nfsync can use.",
			"The registration of the container is damaged or half made.",
			"register the container again: prlctl unregister, then prlctl register"},
		{nf.WarnVanished, "A container vanished before it was observed.",
			"It was stopped or removed while nfsync looked.",
			"none needed: the next run looks again"},
		{nf.WarnOtherSource, "The policies are not those of the configured source.",
			"They were applied by hand from a directory or another repository.",
			"none needed for a trial: the agent's next lap brings its own back; to keep them, commit them to the configured source"},
		{nf.WarnUnconfirmed, "Changes of an earlier run were not confirmed: the values of the plan may be taken back.",
			"They were made with apply --confirm-within.",
			"nfsync confirm keeps them; without it they are taken back when the time is up, and nothing else is changed before"},
		{nf.WarnMemoryUnreadable, "This user may not read nfsync's memory: the cause of every difference is new.",
			"The state directory is root's alone.",
			"run it as root, or plan from a snapshot that root has taken"},
	}
}

// ExplainWarning returns the explanation of a warning's code.
func ExplainWarning(code string) (WarningText, bool) {
	for _, w := range Warnings() {
		if w.Code == code {
			return w, true
		}
	}
	return WarningText{}, false
}

// LevelText explains a level: what it allows, what makes a namespace use it, and what to do
// to get below it.
type LevelText struct {
	Level   nf.Level
	Meaning string
	Cause   string
	Remedy  string
}

// Levels explains every level, the lowest first.
func Levels() []LevelText {
	const below = "; a Virtuozzo 7 container gets below it with a restart only, see restart-required"
	return []LevelText{
		{nf.LevelDisabled, "No rules at all: a namespace may have no table with rules and no chain that drops.",
			"A namespace without rules, whose chains accept, uses no more.", "none needed: there is no level below it"},
		{nf.LevelStateless, "Rules that judge each packet by itself. The node's modules for it: " + strings.Join(tiers[nf.LevelStateless], ", ") + ".",
			"Any rule uses it, or a chain whose policy is not accept.", "remove the rules to want disabled" + below},
		{nf.LevelStateful, "Rules that track connections too, but no NAT. The node's modules for it, beside those of stateless: " + strings.Join(tiers[nf.LevelStateful], ", ") + ".",
			"Expressions, matches and targets of conntrack use it: ct, conntrack, state, connmark, connlimit, helper, CT, SYNPROXY, flowtables.",
			"remove these rules to want stateless" + below},
		{nf.LevelFull, "Everything, NAT too. The node's modules for it, beside those of stateful: " + strings.Join(tiers[nf.LevelFull], ", ") + ".",
			"Any NAT statement uses it. Empty NAT chains use nothing.", "remove the NAT rules to want stateful" + below},
	}
}

// ExplainLevel returns the explanation of a level.
func ExplainLevel(name string) (LevelText, bool) {
	for _, l := range Levels() {
		if l.Level.String() == name {
			return l, true
		}
	}
	return LevelText{}, false
}
