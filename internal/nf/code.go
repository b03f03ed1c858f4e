package nf

// Code names the rule that refuses a difference.
type Code string

// The refusal codes, in the order in which the rules are tried.
const (
	NotPermitted      Code = "not-permitted"
	TargetStuck       Code = "stuck"
	Unobservable      Code = "unobservable"
	Conflict          Code = "conflict"
	LevelUnsupported  Code = "level-unsupported"
	RestoreKeepsLevel Code = "restore-keeps-level"
	ConntrackLatched  Code = "conntrack-latched"
	RestartRequired   Code = "restart-required"
	LevelInUse        Code = "level-in-use"
	ModulesLocked     Code = "modules-locked"
	Builtin           Code = "builtin"
	Missing           Code = "missing"
	NotLoaded         Code = "not-loaded"
	InUse             Code = "in-use"
	ReloadRequired    Code = "reload-required"
	ReadOnly          Code = "read-only"
	AboveNode         Code = "above-node"
	BelowContainer    Code = "below-container"
	BelowCount        Code = "below-count"
)

// Codes lists the refusal codes in the order in which the rules are tried.
func Codes() []Code {
	return []Code{NotPermitted, TargetStuck, Unobservable, Conflict, LevelUnsupported, RestoreKeepsLevel, ConntrackLatched,
		RestartRequired, LevelInUse, ModulesLocked, Builtin, Missing, NotLoaded, InUse, ReloadRequired, ReadOnly,
		AboveNode, BelowContainer, BelowCount}
}

// Until names the event that ends a refusal or a pending entry.
type Until string

// The events.
const (
	UntilPrivilege        Until = "privilege"
	UntilObservable       Until = "observable"
	UntilPolicyChange     Until = "policy-change"
	UntilNever            Until = "never"
	UntilContainerStart   Until = "container-start"
	UntilContainerRestart Until = "container-restart"
	UntilNodeRestart      Until = "node-restart"
	UntilRulesRemoved     Until = "rules-removed"
	UntilKernelChange     Until = "kernel-change"
	UntilModuleLoad       Until = "module-load"
	UntilHoldersGone      Until = "holders-gone"
	UntilModuleReload     Until = "module-reload"
	UntilEntriesDrained   Until = "entries-drained"
	UntilRecovered        Until = "recovered"
)

// Untils lists the events.
func Untils() []Until {
	return []Until{UntilPrivilege, UntilObservable, UntilPolicyChange, UntilNever, UntilContainerStart, UntilContainerRestart, UntilNodeRestart,
		UntilRulesRemoved, UntilKernelChange, UntilModuleLoad, UntilHoldersGone, UntilModuleReload, UntilEntriesDrained, UntilRecovered}
}

// The codes of warnings.
const (
	WarnNodeTracking      = "node-tracking"      // the node itself tracks connections, or may
	WarnNotEnforced       = "level-not-enforced" // nothing in the kernel enforces a level
	WarnLeftoverEntries   = "leftover-entries"   // conntrack entries remain although no rule tracks
	WarnOtherUser         = "conntrack-user"     // OVS, IPVS or tc may use conntrack without a rule
	WarnModuleAbsent      = "module-absent"      // wanted unloaded, and does not exist
	WarnModuleUnknown     = "module-unknown"     // it is unknown whether a module of a level exists
	WarnNoLongerWanted    = "no-longer-wanted"   // nfsync set the key, no policy names it any more
	WarnSavedLevel        = "saved-level"        // the next cold start brings a level that is neither live nor wanted
	WarnSelectsNothing    = "selects-nothing"    // a policy matches no container of this node
	WarnLabelsUnknown     = "labels-unknown"     // a policy selects by labels, and those of containers are not known
	WarnNoPolicy          = "no-policy"          // no policy selects this node
	WarnNodeNamespace     = "node-namespace"     // a file under the netns directory names the node's own namespace
	WarnNotANamespace     = "not-a-namespace"    // a file under the netns directory is no namespace, or dangles
	WarnRuntimeBroken     = "runtime-broken"     // the containers of a runtime cannot be listed
	WarnRuntimeDegraded   = "runtime-degraded"   // one of the programs that list a runtime's containers cannot be used
	WarnUnusableEntry     = "unusable-entry"     // a container that a program lists has no usable id
	WarnVanished          = "vanished"           // a container went away before it could be observed
	WarnMemoryUnreadable  = "memory-unreadable"  // nfsync's own memory may not be read by this user
	WarnBootLeftover      = "boot-leftover"      // nfsync's own boot files load a module that no longer exists
	WarnDeclaredElsewhere = "declared-elsewhere" // another boot file sets a wanted key to something else
	WarnBootOrder         = "boot-order"         // a saved value is set before its module is loaded
	WarnOtherSource       = "other-source"       // the policies are not those of the configured source
	WarnUnconfirmed       = "unconfirmed"        // changes of an earlier run wait for a confirmation, or for being taken back
)

// WarningCodes lists the codes of warnings.
func WarningCodes() []string {
	return []string{WarnNodeTracking, WarnNotEnforced, WarnLeftoverEntries, WarnOtherUser, WarnModuleAbsent, WarnModuleUnknown, WarnNoLongerWanted,
		WarnSavedLevel, WarnSelectsNothing, WarnLabelsUnknown, WarnNoPolicy, WarnNodeNamespace, WarnNotANamespace, WarnRuntimeBroken, WarnRuntimeDegraded, WarnUnusableEntry,
		WarnVanished, WarnMemoryUnreadable, WarnBootLeftover, WarnDeclaredElsewhere, WarnBootOrder, WarnOtherSource, WarnUnconfirmed}
}
