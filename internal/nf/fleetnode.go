package nf

import (
	"regexp"
	"time"
)

// FleetNode is what a node of a fleet says of itself: the value of its key in the fleet's store. It
// takes some 1 KB.
type FleetNode struct {
	Node    string            `json:"node"`    // its name in the fleet: see IsFleetName
	Channel string            `json:"channel"` // whose roll-outs it follows
	Labels  map[string]string `json:"labels,omitempty"`
	Version string            `json:"version"` // of nfsync
	BootID  string            `json:"bootID"`
	// Generation is the highest of a roll-out document that the node has had; 0: it has had none. Proof shows that the
	// coordinator has signed a document with it: without it the coordinator does not believe the generation.
	Generation uint64 `json:"generation"`
	Proof      string `json:"proof,omitempty"`
	Revision   string `json:"revision"` // in force; empty: none
	// Progress is how far the node is with the revision of the roll-out; null: it knows of none.
	Progress *NodeProgress `json:"progress"`
	// Conditions are those of the node's status.
	Conditions map[ConditionType]ConditionStatus `json:"conditions"`
	// Message is that of the first condition that is not as it should be, shortened; else empty.
	Message    string `json:"message,omitempty"`
	Containers int    `json:"containers"`
	Refusals   int    `json:"refusals"`
	Pending    int    `json:"pending"`
	Stuck      int    `json:"stuck"`
	// Restarts counts the containers whose restart the policies allow and that wait for a grant. Grant is
	// the generation of the grant that the node acts on; 0: none.
	Restarts int    `json:"restarts"`
	Grant    uint64 `json:"grant,omitempty"`
	// SnapshotAt is when the snapshot was taken that the node has put last; the zero time: it has put none.
	SnapshotAt time.Time `json:"snapshotAt"`
}

// NodeProgress is how far a node is with the revision of a roll-out.
type NodeProgress struct {
	// Generation and Revision are those of the document that the node has followed.
	Generation uint64        `json:"generation"`
	Revision   string        `json:"revision"`
	State      ProgressState `json:"state"`
	Reason     string        `json:"reason,omitempty"` // why it waits or has failed, shortened
	At         time.Time     `json:"at"`               // since when, by the node's clock
}

// ProgressState says how far a node is with the revision of a roll-out.
type ProgressState string

// The states of nodes in a roll-out.
const (
	ProgressWaiting    ProgressState = "waiting"    // its turn has not come, or the roll-out is held
	ProgressUnaffected ProgressState = "unaffected" // the revision changes nothing for it: it has taken it
	ProgressBegun      ProgressState = "begun"      // it is at work
	ProgressApplied    ProgressState = "applied"
	ProgressRefused    ProgressState = "refused" // applied, but for what was refused
	ProgressFailed     ProgressState = "failed"  // a change failed and was undone, or the revision could not be taken
	ProgressStuck      ProgressState = "stuck"   // a change could be neither made nor undone
)

// ProgressStates lists the states of nodes in a roll-out.
func ProgressStates() []ProgressState {
	return []ProgressState{ProgressWaiting, ProgressUnaffected, ProgressBegun, ProgressApplied, ProgressRefused, ProgressFailed, ProgressStuck}
}

// HasEnded reports whether the node has ended its work on the revision.
func (s ProgressState) HasEnded() bool { return s != ProgressWaiting && s != ProgressBegun }

// fleetName matches the names that nodes of a fleet may have: each is part of the subject of a message,
// where other characters have a meaning of their own.
var fleetName = regexp.MustCompile(`^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$`)

// MaxFleetName is the most bytes that the name of a node in a fleet has.
const MaxFleetName = 128

// IsFleetName reports whether a node of this name may join a fleet. Channels have the same names.
func IsFleetName(name string) bool { return len(name) <= MaxFleetName && fleetName.MatchString(name) }

// DefaultChannel is the channel of agents and coordinators that name none.
const DefaultChannel = "main"

// HeardNode is a node of a fleet, with the time at which the store has last heard of it.
type HeardNode struct {
	FleetNode
	Heard time.Time `json:"heard"` // by the store's clock
}
