package agent

import (
	"slices"

	"nfsync.dev/nfsync/internal/nf"
)

// ConditionText explains a condition of the status.
type ConditionText struct {
	Type                   nf.ConditionType
	Meaning, Cause, Remedy string
}

// Conditions lists the explanations of the conditions, in the order of the status.
func Conditions() []ConditionText {
	return []ConditionText{
		{nf.Ready, "The policies are in force, and the last lap had no error.",
			"It is false while no revision is in force, the last lap had an error, or changes could not be made.", "see the message; nfsync status shows what the last lap did"},
		{nf.Reconciling, "The last lap had an error, and the agent tries again by itself.",
			"No server answers, another nfsync is at work, or changes that were made by hand wait for nfsync confirm.", "none needed; nfsync sync tries again now, nfsync confirm keeps the changes that wait"},
		{nf.Stalled, "A person has to do something before the agent can go on.",
			"The policies or the configuration are invalid, a commit is not trusted, a branch was rewritten, a change is stuck, or the same changes have failed before.",
			"mend what the message names; nfsync recover shows what is stuck, nfsync sync --accept takes a rewritten branch"},
		{nf.Drifted, "Something else has changed a value, and it is not changed back.",
			"drift.heal is false, the mode is observe, the agent is suspended, or something else has changed the value back three times within an hour.",
			"find what else sets the value (nfsync status names a file or a process where one says so), or ask for that value in the policy; nfsync sync changes it back once more"},
		{nf.RestartPending, "A value waits for the restart of a container or of the node.",
			"It is saved, and what runs keeps the old one until then.", "restart what the message names when it suits, or allow nfsync to: restart: allow"},
		{nf.Suspended, "The agent plans and reports, and changes nothing.",
			"Somebody has run nfsync suspend.", "nfsync resume"},
		{nf.TableFilling, "A conntrack table is full, or will be within hours at this rate. Once it is full the kernel drops new connections.",
			"Connections come faster than their entries time out: more clients, an attack, long timeouts, or a limit that is too low.",
			"nfsync status names the tables; raise conntrack.max or shorten conntrack.timeouts in the policy, and look at the entries with conntrack -L in the namespace"},
		{nf.Published, "The snapshot and the status of the node are in the repository of publish.url. Without publish the condition is absent.",
			"It is false while the last publication has failed (PublishFailed: no server answers, it refuses the push, the disk is full) or the branch belongs to somebody else (NotOwner). Laps go on all the same.",
			"see the message; the agent tries again by itself, and at once after nfsync sync or when a file that the configuration names has changed"},
		{nf.FleetUnreachable, "The node cannot follow the roll-outs of its fleet: it keeps its last good revision, takes no other, and restarts no container. Without fleet the condition is absent.",
			"No server answers (Unreachable), the store has no roll-out yet (NoDocument), the roll-out or grant is not signed by the coordinator (Forged) or older than one that the node has had (Older), the credentials do not allow it (NotPermitted), or the node's name cannot be part of a fleet (BadName).",
			"nfsync doctor checks names, files and servers; the agent asks again by itself, and at once after nfsync sync. Older ends when the coordinator writes a newer document"},
	}
}

// ExplainCondition returns the explanation of a condition.
func ExplainCondition(word string) (ConditionText, bool) {
	list := Conditions()
	i := slices.IndexFunc(list, func(c ConditionText) bool { return string(c.Type) == word })
	if i < 0 {
		return ConditionText{}, false
	}
	return list[i], true
}
