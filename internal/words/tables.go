package words

import (
	"nfsync.dev/nfsync/internal/agent"
	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/view"
)

// text explains one word of a table.
type text struct {
	word, meaning, cause, remedy string
}

// noRemedy is the remedy where nothing has to be done.
const noRemedy = "none needed"

// tables lists the topics whose words are explained here.
func tables() []Topic {
	var list []Topic
	for topic, texts := range map[view.Topic][]text{
		view.TopicReason: reasons, view.TopicLapCause: lapCauses, view.TopicLapResult: lapResults, view.TopicCause: causes, view.TopicOutcome: outcomes,
		view.TopicVerdict: verdicts, view.TopicLayer: layers, view.TopicKeyState: keyStates, view.TopicModuleState: moduleStates, view.TopicSupport: supports,
		view.TopicState: states, view.TopicTracking: trackings, view.TopicScope: scopes, view.TopicKeeper: keepers, view.TopicRuntime: runtimes, view.TopicRestart: restarts,
		view.TopicRollout: rolloutStates, view.TopicProgress: progress,
	} {
		list = append(list, Topic{topic, each(texts, func(t text) view.Explanation {
			return view.Explanation{Word: t.word, Sense: view.Sense{Topic: topic, Meaning: t.meaning, Cause: t.cause, Remedy: t.remedy}}
		})})
	}
	return list
}

var lapCauses = []text{
	{string(agent.WakeStart), "The agent has started.", "", noRemedy},
	{string(agent.WakeInterval), "It is time to fetch.", "source.interval has passed since the last fetch.", noRemedy},
	{string(agent.WakeWebhook), "A server says that there is something new.", "A signed request has reached the webhook.", noRemedy},
	{string(agent.WakeSync), "A person asks for a lap.", "nfsync sync, or the signal SIGHUP.", noRemedy},
	{string(agent.WakeFiles), "The directory of the policies has changed.", "A file below the path that the agent was given was written, made or removed.", noRemedy},
	{string(agent.WakeConfig), "The configuration, or a file that it names, has changed.", "A file was written or replaced.", noRemedy},
	{string(agent.WakeContainer), "A container has come, gone or restarted.", "It was started, stopped, made, removed or restarted.", noRemedy},
	{string(agent.WakeModule), "A kernel module was loaded or unloaded.", "A person, a program, or a firewall rule that needs it.", noRemedy},
	{string(agent.WakeDrift), "It is time to observe the node.", "drift.interval has passed since the last observation.", noRemedy},
	{string(agent.WakeConfirm), "Changes begin to wait for a confirmation, or were confirmed or taken back.", "apply --confirm-within, nfsync confirm, or the end of the time.", noRemedy},
	{string(agent.WakeFleet), "The fleet's roll-out or the node's restart grant may have changed, or the fleet is reached again.", "The coordinator has written, or a connection has begun.", noRemedy},
	{string(agent.WakeWindow), "A time has come: the restart window begins, a suspension ends, the time for a confirmation is up, or the node's part of a time in a roll-out is over.", "restart.window, suspend --for, apply --confirm-within or the roll-out of a fleet.", noRemedy},
}

var lapResults = []text{
	{string(nf.LapInSync), "There was nothing to change.", "The node is as the policies want it.", noRemedy},
	{string(nf.LapApplied), "Something was changed, and all of it could be.", "The policies had changed, or a value had drifted.", noRemedy},
	{string(nf.LapRefused), "Something was refused; the rest is as wanted.", "A rule forbids a change on this node now.", "see the refusal's remedy in nfsync status, or nfsync explain CODE"},
	{string(nf.LapFailed), "A change failed, and its target was rolled back.", "The kernel or a program refused the change, or something else wrote the same value.", "nfsync receipts latest shows the error"},
	{string(nf.LapStuck), "A change could be neither made nor undone.", "Making it failed, and undoing it failed too.", "nfsync recover shows it; set it right by hand, then nfsync recover --accept"},
	{string(nf.LapObserved), "The lap only planned.", "The mode is observe, or the agent is suspended.", "mode: enforce in the configuration, or nfsync resume"},
	{string(nf.LapFallback), "The last good revision was applied instead of the new one.", "The new revision cannot be fetched, verified, followed or parsed.", "see the error of the lap in nfsync status"},
	{string(nf.LapError), "Nothing could be applied.", "No revision is in force, the node cannot be observed, or another nfsync is at work.", "see the error of the lap in nfsync status"},
	{string(nf.LapCancelled), "The lap did not come to its end.", "The agent was stopped.", noRemedy},
	{string(nf.LapUnchanged), "The revision is the one in force: the node was not looked at.", "The lap only fetched, and there was nothing new; or no revision is in force, and the node waits for its turn in a roll-out.", noRemedy},
}

var causes = []text{
	{string(nf.CauseNew), "nfsync sets the key for the first time.", "Its memory has nothing of the key of this target.", noRemedy},
	{string(nf.CausePolicy), "The policies want something else than at the last apply.", "A policy was changed, added or removed.", noRemedy},
	{string(nf.CauseRestart), "The target is another instance than at the last apply.", "The container was restarted or made anew, or the node was restarted: the value is the kernel's default again.", noRemedy},
	{string(nf.CauseDrift), "The value on the node moved, and the policies did not.", "A person or a program has set it.", "find what sets it, if nfsync changes it back again and again; nfsync status names a file or a process where one says so"},
}

var outcomes = []text{
	{string(apply.Applied), "The change was made and read back, or the value was so already.", "", noRemedy},
	{string(apply.Failed), "The change could not be made.", "The kernel or a program refused it, or the value read back is another one. The changes of its target were undone.", "see the error in the receipt; the next apply tries again"},
	{string(apply.Undone), "The change was made, and undone.", "Its target failed later, the run was stopped, or nobody has confirmed it in time.", "mend what failed, and apply again; nfsync confirm keeps changes that wait for it"},
	{string(apply.Kept), "The change was made, and not undone although its target failed or nobody has confirmed it.", "It is one-way or disruptive, a saved level that could not be taken back, or a rule forbids to undo it.", "see the reason in the receipt; the next apply plans from what is there now"},
	{string(apply.Gone), "The target vanished before the change.", "The container was stopped, removed or restarted during the apply.", noRemedy + ": the next apply looks again"},
	{string(apply.Refused), "A rule forbade the change just before it was made.", "The node has changed since the plan.", "see the reason in the receipt; the next plan shows the refusal with its code"},
	{string(apply.Skipped), "The change was not tried.", "Its target had failed before, or the run was stopped.", "mend what failed, and apply again"},
	{string(apply.Stuck), "The change could not be undone.", "Making it failed, and undoing it failed too.", "nfsync recover shows it; set it right by hand, then nfsync recover --accept"},
}

var verdicts = []text{
	{string(apply.Clean), "Nothing was refused, and nothing failed.", "", noRemedy},
	{string(apply.Incomplete), "Something was refused, and the rest was applied.", "A rule forbids a change on this node now.", "see the refusal's remedy"},
	{string(apply.RolledBack), "A target failed and was rolled back, as far as its changes can be.", "A change of it failed.", "see the error in the receipt"},
	{string(apply.Unsettled), "Something could not be rolled back.", "A change could be neither made nor undone.", "nfsync recover shows it; set it right by hand, then nfsync recover --accept"},
}

var layers = []text{
	{string(nf.LayerLive), "The kernel's value now.", "", ""},
	{string(nf.LayerBoot), "The value that the next start brings: of the node in nfsync's files below /etc, of a Virtuozzo container in its configuration.", "", ""},
}

var keyStates = []text{
	{string(nf.KeyInSync), "The value is as wanted.", "", noRemedy},
	{string(nf.KeyDiffers), "The value differs, and a plan would change it.", "The policies were changed and not applied yet, or the value drifted.", "nfsync apply changes it"},
	{string(nf.KeyRefused), "The value differs, and a rule forbids to change it now.", "See the code beside it.", "nfsync explain CODE"},
	{string(nf.KeyPending), "The value differs, and is saved for a restart or waits for its target to start.", "Only a restart or a start brings it.", "restart or start what it waits for, when that suits"},
}

var moduleStates = []text{
	{nf.ModuleLoaded, "The module is loaded.", "", ""},
	{nf.ModuleUnloaded, "The module is not loaded, and can be.", "", ""},
	{nf.ModuleBuiltin, "The module is part of the kernel: it is always there, and cannot be unloaded.", "", ""},
}

var supports = []text{
	{nf.SupportLoadable, "The kernel loads and unloads modules.", "", ""},
	{nf.SupportLocked, "The kernel has modules, and forbids to load or to unload them.", "kernel.modules_disabled is set, or the kernel is locked down.", "see modules-locked"},
	{nf.SupportNone, "The kernel was built without modules: only what is built in is there.", "", "leave spec.modules out of the policies for this node"},
}

var states = []text{
	{nf.StateRunning, "The container runs.", "", ""},
	{nf.StatePaused, "The container has processes that are held: its namespace is there, and nfsync observes and changes it.", "", ""},
	{nf.StateStopped, "The container does not run. What is wanted live of it waits for its start.", "", ""},
	{nf.StateMounted, "The container does not run, and its file system is mounted. What is wanted live of it waits for its start.", "", ""},
	{nf.StateSuspended, "The container was saved to disk, and goes on from there when it is resumed, with the level and the rules that it had.", "", ""},
}

var trackings = []text{
	{nf.TrackingOn, "Connections are tracked in the namespace.", "A rule tracks, or the kernel latches and tracking was on in this instance.", ""},
	{nf.TrackingOff, "Connections are not tracked in the namespace.", "", ""},
	{nf.TrackingUnknown, "Whether connections are tracked could not be found out. It never counts as off.", "Something could not be read, or the kernel latches and nobody knows what was before.", ""},
}

var scopes = []text{
	{nf.ScopeOwn, "The limit is the container's own.", "The kernel keeps one for each namespace (Virtuozzo 7).", ""},
	{nf.ScopeNode, "The limit is the node's: the container shows it, and cannot set it.", "Linux 5.13 and later.", "set conntrack.max in a NodePolicy"},
	{nf.ScopeUnknown, "Whose the limit is could not be found out.", "The value could not be read.", ""},
}

var keepers = []text{
	{nf.KeeperMask, "The Virtuozzo 7 kernel keeps the namespace to its level, by ve.iptables_mask.", "", ""},
	{nf.KeeperKernel, "The kernel keeps the namespace to a limit of its own.", "", ""},
	{nf.KeeperNobody, "Nothing in the kernel keeps the namespace: to a level, its rules use what they use; to a limit, only the node's holds.", "", "see level-not-enforced"},
	{nf.KeeperUnknown, "A mask may keep the level: no container runs that would show whether this kernel has masks.", "", ""},
}

var runtimes = []text{
	{nf.RuntimeVZ, "The containers of Virtuozzo 7, VHS 7 and OpenVZ 7, whose levels the kernel enforces. The id is the CTID, and policies may give the UUID too; the name is that of vzlist. They have no labels.", "", ""},
	{nf.RuntimeCRI, "The pods of Kubernetes, of containerd and CRI-O. A pod is one container: all of it shares a network namespace. The id is the pod's uid, the name NAMESPACE/POD, the labels are the pod's.", "", ""},
	{nf.RuntimeDocker, "The containers of Docker Engine. The id has 64 hexadecimal digits, the name is Docker's, and so are the labels.", "", ""},
	{nf.RuntimePodman, "The containers of Podman, of root and of other users. The id has 64 hexadecimal digits, the name is Podman's, and so are the labels. A pod is one container, with the id of its infra container and the name of the pod.", "", ""},
	{nf.RuntimeIncus, "The containers of Incus and LXD. The id and the name are NAME in the default project, PROJECT/NAME in another one. The labels are what the configuration has below user.", "", ""},
	{nf.RuntimeLXC, "The containers of LXC. The id and the name are the container's name. They have no labels.", "", ""},
	{nf.RuntimeNspawn, "The machines of systemd-nspawn. The id and the name are the machine's name. They have no labels.", "", ""},
	{nf.RuntimeNetns, "Named network namespaces, as ip-netns(8) makes them, that no other runtime has. The id and the name are the name of the file. They have no labels.", "", ""},
}

var restarts = []text{
	{string(nf.RestartRefuse), "A level that only a restart brings is refused, with restart-required.", "", ""},
	{string(nf.RestartStage), "A level that only a restart brings is saved for the container's next start, and is pending until then.", "", ""},
	{string(nf.RestartAllow), "nfsync restarts the container if only that brings its level, within the limits of the agent's configuration.", "", ""},
}

var rolloutStates = []text{
	{string(nf.RolloutRolling), "The nodes of a step take the revision, or the next step waits for its window or for nodes.", "The roll-out has begun, or the step before it has soaked.", noRemedy},
	{string(nf.RolloutSoaking), "The nodes of a step have ended, and are watched before the next step begins.", "spec.soak of the plan has not passed.", noRemedy},
	{string(nf.RolloutPaused), "No node begins until a person decides.", "A person has paused the roll-out, or its next step waits for approval (pauseBefore).", "nfsync fleet rollout resume; for a step that waits, nfsync fleet rollout approve"},
	{string(nf.RolloutHalted), "No node begins: something is wrong with the revision or with the fleet.", "Too many nodes have failed, a person has halted it, or the generation of the roll-out document is lower than one that a node has had.", "nfsync fleet rollout shows who failed and why; push a commit that mends it, whose roll-out withdraws this one, or go on with nfsync fleet rollout resume"},
	{string(nf.RolloutAborted), "No node begins, and the roll-out cannot be resumed.", "A person has ended it.", "a new commit begins a new roll-out"},
	{string(nf.RolloutDone), "Every node may take the revision.", "All steps have ended.", noRemedy},
}

var progress = []text{
	{string(nf.ProgressWaiting), "The node has not begun.", "Its turn has not come, it cannot fetch or verify the revision yet, or the roll-out is paused, halted or aborted.", "nfsync fleet show NODE shows what it waits for"},
	{string(nf.ProgressUnaffected), "The revision changes nothing for the node: it has taken it at once.", "Its policies ask for the same as before.", noRemedy},
	{string(nf.ProgressBegun), "The node is at work on the revision.", "", noRemedy},
	{string(nf.ProgressApplied), "The node has the revision, and all changes were made.", "", noRemedy},
	{string(nf.ProgressRefused), "The node has the revision, but for what was refused.", "A rule forbids a change on this node now.", "nfsync fleet show NODE; nfsync status there shows each refusal with its remedy"},
	{string(nf.ProgressFailed), "The node could not take the revision.", "A change failed and was undone, or the revision is invalid there.", "nfsync fleet show NODE; nfsync receipts latest there shows the error"},
	{string(nf.ProgressStuck), "The node holds a change that could be neither made nor undone.", "Making it failed, and undoing it failed too.", "nfsync recover there shows it; set it right by hand, then nfsync recover --accept"},
}
