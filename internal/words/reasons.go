package words

import "nfsync.dev/nfsync/internal/agent"

// reasons explain why a condition of the agent's status is as it is.
var reasons = []text{
	{string(agent.ReasonInForce), "Ready: the policies are in force.", "", noRemedy},
	{string(agent.ReasonRefused), "Ready, but for refusals: the rest of the policies is in force.", "A rule forbids a change on this node now.", "see the refusals in nfsync status, each with its remedy"},
	{string(agent.ReasonStarting), "Unknown: the first lap, or the first publication, has not ended.", "The agent has started a short time ago.", noRemedy},
	{string(agent.ReasonNoRevision), "Not Ready: no revision is in force.", "Nothing was ever applied here by the agent, and the first lap had an error.", "see the message; nfsync doctor checks the repository and the node"},
	{string(agent.ReasonChangesFailed), "Not Ready: changes could not be made.", "The kernel or a program refused them, or something else wrote the same value. Their targets were rolled back.", "nfsync receipts latest shows the errors"},
	{string(agent.ReasonError), "The last lap had an error that has no reason of its own.", "See the message.", "mend what the message names; nfsync doctor checks what nfsync needs"},
	{string(agent.ReasonFetchFailed), "Reconciling: the repository could not be fetched. The last good revision stays in force.", "No server answers, a credential is refused, or the branch does not exist.", noRemedy + " if the network comes back; nfsync doctor tries each URL"},
	{string(agent.ReasonLocked), "Reconciling: another nfsync was at work.", "An apply by hand holds the lock, or was made while the lap planned.", noRemedy + ": the agent tries again; nfsync doctor shows who holds the lock"},
	{string(agent.ReasonUnconfirmed), "Reconciling: changes that were made by hand wait for a confirmation. Nothing else is changed before.", "They were made with apply --confirm-within.", "nfsync confirm keeps them; without it they are taken back when the time is up"},
	{string(agent.ReasonUpToDate), "Not Reconciling: the last lap has ended, and there is nothing to try again.", "", noRemedy},
	{string(agent.ReasonProgressing), "Not Stalled: nobody has to do anything for the agent to go on.", "", noRemedy},
	{string(agent.ReasonStuck), "Stalled: a change could be neither made nor undone.", "Making it failed, and undoing it failed too.", "nfsync recover shows it; set it right by hand, then nfsync recover --accept"},
	{string(agent.ReasonInvalidConfiguration), "Stalled: the changed configuration is invalid, and the one before it stays in force.", "The file cannot be read, or has errors.", "mend the file; nfsync validate FILE shows its errors"},
	{string(agent.ReasonInvalidPolicies), "Stalled: the policies of the new revision are invalid. The last good revision stays in force.", "An error in one of the files.", "mend the policies; nfsync status lists the errors"},
	{string(agent.ReasonNotTrusted), "Stalled: the commit is not verified. The last good revision stays in force.", "It, or a commit before it, has no signature of a trusted key.", "have it signed, or add its key to the configuration; see docs/verification.md"},
	{string(agent.ReasonRewritten), "Stalled: the branch was rewritten. The last good revision stays in force.", "The new commit does not descend from the one that was applied last.", "nfsync sync --accept SHA takes it, if that is meant"},
	{string(agent.ReasonFailedBefore), "Stalled: the same changes have failed before, and are not tried again.", "Nothing has changed since that would let them succeed.", "mend what failed (nfsync receipts), or change the policies; nfsync sync tries again"},
	{string(agent.ReasonAsWanted), "Not Drifted: nothing that nfsync keeps was changed by something else, or it was changed back.", "", noRemedy},
	{string(agent.ReasonChangedByOthers), "Drifted: something else has changed a value, and it is not changed back.", "drift.heal is false, the mode is observe, the agent is suspended, or the value was left after it was changed back three times within an hour.", "find what sets it; nfsync sync changes it back once more"},
	{string(agent.ReasonNothingPending), "Not RestartPending: nothing waits for a restart.", "", noRemedy},
	{string(agent.ReasonWaitsForRestart), "RestartPending: a value waits for the restart of a container or of the node.", "Only a restart brings it.", "restart what the message names when it suits, or allow nfsync to: restart: allow"},
	{string(agent.ReasonRunning), "Not Suspended: nobody has suspended the agent.", "", noRemedy},
	{string(agent.ReasonSuspended), "Suspended: the agent plans and reports, and changes nothing.", "Somebody has run nfsync suspend.", "nfsync resume"},
	{string(agent.ReasonNotRead), "Unknown: no conntrack table was read.", "The kernel has none, or the first reading has not ended.", noRemedy},
	{string(agent.ReasonNotFilling), "Not TableFilling: no conntrack table is full or nearly full, or will be within hours.", "", noRemedy},
	{string(agent.ReasonFilling), "TableFilling: a conntrack table will be full within hours, at this rate.", "Connections come faster than their entries time out.", "raise conntrack.max or shorten conntrack.timeouts in the policy"},
	{string(agent.ReasonFull), "TableFilling: a conntrack table is full, and new connections are dropped.", "Connections come faster than their entries time out.", "raise conntrack.max or shorten conntrack.timeouts in the policy; conntrack -L in the namespace shows the entries"},
	{string(agent.ReasonPublished), "Published: the snapshot and the status are in the repository.", "", noRemedy},
	{string(agent.ReasonPublishFailed), "Not Published: the last publication failed.", "No server answers, it refuses the push, or the disk is full.", "see the message; the agent tries again by itself, nfsync sync tries now"},
	{string(agent.ReasonNotOwner), "Not Published: the branch belongs to somebody else.", "Another node has the same name, or somebody has pushed to the branch.", "give each node a name of its own, or remove the branch"},
}
