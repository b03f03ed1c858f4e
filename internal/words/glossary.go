package words

import "nfsync.dev/nfsync/internal/view"

// glossary explains the words of the table in ARCHITECTURE.md, which has the same texts.
func glossary() []view.Explanation {
	return each(terms, func(t text) view.Explanation {
		return view.Explanation{Word: t.word, Sense: view.Sense{Topic: view.TopicTerm, Meaning: t.meaning}}
	})
}

var terms = []text{
	{word: "policy", meaning: "a YAML document that says what is wanted of nodes or of containers; see docs/policies.md"},
	{word: "revision", meaning: "one commit of the policy repository. That whose policies the node keeps is in force"},
	{word: "target", meaning: "the node itself (its own network namespace and its modules), or one container on it"},
	{word: "key", meaning: "one setting of a target: level, conntrack.max, module/ip_set"},
	{word: "level", meaning: "the most that the rules of a namespace may use: disabled, stateless, stateful or full"},
	{word: "want", meaning: "the value or range that the policies ask for one key of one target (its wish), with the line that asks"},
	{word: "fact", meaning: "the observed value of one key of one target, and what prevents changing it. A value that could not be read is unknown, which never counts as off"},
	{word: "snapshot", meaning: "all facts of a node at one time, with nfsync's memory"},
	{word: "plan", meaning: "the result of comparing wants with facts: changes, refusals, pending entries, warnings"},
	{word: "change", meaning: "one step of a plan: one key of one target gets another value in one layer. Before it is made it is an intent in the journal"},
	{word: "layer", meaning: "live: the kernel's value now. boot: the value that the next start brings"},
	{word: "refusal", meaning: "a difference that cannot be closed now: a code, the reason, the remedy, and the event that ends it"},
	{word: "pending", meaning: "a difference that is saved for a restart, or waits for its target to start"},
	{word: "receipt", meaning: "the result of an apply: the outcome of each change"},
	{word: "memory", meaning: "what nfsync has saved of earlier runs: the last wish and value of each key, latches, restarts, failures"},
	{word: "instance", meaning: "one run of a target, from start to end. A container that was restarted or recreated is another instance"},
	{word: "confirmation", meaning: "what a run with a time limit waits for: nfsync confirm. Without it its changes are taken back"},
	{word: "test", meaning: "a PolicyTest document: what the policies must bring for the node of a snapshot, as lists of expectations"},
	{word: "keeper", meaning: "what holds a namespace to its level (mask, or nobody) or to its limit (kernel: the namespace has its own limit; nobody: only the node's)"},
	{word: "mask", meaning: "ve.iptables_mask, in which the Virtuozzo 7 kernel stores the level of a container"},
	{word: "latch", meaning: "an entry of memory: tracking was on in this instance. A kernel that latches (Virtuozzo 7) leaves it on until the instance ends"},
	{word: "lap", meaning: "one pass of the agent: fetch, verify, parse, apply"},
	{word: "cause", meaning: "what wakes a lap: the interval, a file, a container, a person. Of a change: why it is needed"},
	{word: "condition", meaning: "what the status says of the agent: Ready, Reconciling, Stalled, Drifted, RestartPending, Suspended, TableFilling, Published, FleetUnreachable"},
	{word: "publication", meaning: "the snapshot and the status of a node as its agent pushes them, to a branch of the node's own"},
	{word: "drift", meaning: "a difference that appeared on the node while the policies stayed the same"},
	{word: "fight", meaning: "a value that something else changes back again and again; after three times within an hour nfsync leaves it"},
	{word: "fleet", meaning: "the nodes that one coordinator leads, with the servers that they talk by"},
	{word: "store", meaning: "what these servers keep: what nodes say of themselves, their snapshots, roll-out documents, grants. It is never the truth: that is git and the disk of each node"},
	{word: "coordinator", meaning: "the program that follows the branch of a fleet and decides which nodes may take a new commit: nfsync-coordinator"},
	{word: "lease", meaning: "which of several coordinators of a channel is at work. It ends 30 seconds after it was last renewed, and only saves double work"},
	{word: "term", meaning: "a number of the roll-out document, higher each time that another coordinator has taken over"},
	{word: "channel", meaning: "a roll-out document by its name: agents obey that of their channel, and a coordinator writes it"},
	{word: "roll-out", meaning: "the way of one commit to the nodes of a fleet, in steps, by the roll-out plan"},
	{word: "roll-out plan", meaning: "the Rollout among the policies: groups, canaries, steps, and when to halt; see docs/rollout.md"},
	{word: "roll-out document", meaning: "what the coordinator writes into the store, signed: which commit is rolled out, and whose turn it is"},
	{word: "generation", meaning: "the number of a roll-out document or a grant, higher with each that is written. A node takes none that is lower than one that it has had"},
	{word: "group", meaning: "nodes of a fleet with the same labels, whose steps and failures are counted by themselves"},
	{word: "step", meaning: "one part of a roll-out: the canaries, or a fraction of each group"},
	{word: "canary", meaning: "one of the few nodes of each group that take a commit before all others"},
	{word: "turn", meaning: "what lets a node take the commit of a roll-out: its place in its group is among those that the step lets begin"},
	{word: "soak", meaning: "the time for which a step is watched when its nodes have ended, before the next one begins"},
	{word: "unaffected", meaning: "of a node: the commit of the roll-out changes nothing on it, so that it takes it outside of its turn"},
	{word: "silent", meaning: "of a node: nothing was heard of it for 25 minutes. It counts in no step until it is back"},
	{word: "withdrawn", meaning: "of a commit: no node of the fleet may begin it, and nodes that have it take the next one first"},
	{word: "rescue", meaning: "the turn of a node whose commit is withdrawn: before all others"},
	{word: "grant", meaning: "what lets a node of a fleet restart containers, until a time. The coordinator gives it"},
}
