package fleet

import "nfsync.dev/nfsync/internal/nf"

// The streams of a fleet. Each is a key-value bucket too: the stream KV_nfsync_status has the bucket
// nfsync_status, with one message for each key.
const (
	StreamStatus   = "KV_nfsync_status"   // what nodes say of themselves
	StreamSnapshot = "KV_nfsync_snapshot" // snapshots of nodes, compressed
	StreamRollout  = "KV_nfsync_rollout"  // roll-out documents, by channel
	StreamGrant    = "KV_nfsync_grant"    // restart grants, by node
	StreamLease    = "KV_nfsync_lease"    // which coordinator is at work, by channel
)

// The subjects that values are put to. A stream stores what is put to SubjectStatus+NODE as
// $KV.nfsync_status.NODE, and so on.
const (
	SubjectStatus   = "nfsync.v1.put.status."   // and the node
	SubjectSnapshot = "nfsync.v1.put.snapshot." // and the node
	SubjectRollout  = "nfsync.v1.set.rollout."  // and the channel
	SubjectGrant    = "nfsync.v1.set.grant."    // and the node
	SubjectLease    = "nfsync.v1.set.lease."    // and the channel
)

// The subjects that wake. They are hints: nobody reads what is in them.
const (
	SubjectWakeRollout = "nfsync.v1.wake.rollout." // and the channel
	SubjectWakeGrant   = "nfsync.v1.wake.grant."   // and the node
)

// The subjects that nodes and operators read single values by. They are direct gets under other names: those of JetStream do
// not cross a leaf node.
const (
	SubjectGetRollout = "nfsync.v1.get.rollout." // and the channel
	SubjectGetGrant   = "nfsync.v1.get.grant."   // and the node
)

// SubjectAsk is what operators ask the coordinator of a channel by: a request with a FleetAsk, answered by
// a FleetAnswer.
const SubjectAsk = "nfsync.v1.ask." // and the channel

// DefaultChannel is the channel of agents and coordinators that name none.
const DefaultChannel = nf.DefaultChannel

// Inboxes is where the answers to all members are.
const Inboxes = "_INBOX."

// Inbox returns the prefix of the subjects on which answers reach a node, a reader or an operator. No name has
// "=" in it, so that no one's prefix begins that of another: with "_INBOX.hn.>" the node "hn" could read
// the answers to a node "hn.example".
func Inbox(name string) string { return Inboxes + name + "=" }
