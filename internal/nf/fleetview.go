package nf

import "time"

// The kinds of the documents that nfsync fleet prints.
const (
	KindFleetStatus     = "FleetStatus"
	KindFleetNodes      = "FleetNodes"
	KindFleetNodeStatus = "FleetNodeStatus"
	KindFleetRollout    = "FleetRollout"
)

// FleetStatus counts the nodes of a fleet: the FleetStatus document. Its slices are never nil.
type FleetStatus struct {
	APIVersion string    `json:"apiVersion"`
	Kind       string    `json:"kind"`
	Channel    string    `json:"channel"`
	At         time.Time `json:"at"` // when the store was read
	// Rollout is the present roll-out; null: there is none, or it was not read.
	Rollout *RolloutBrief `json:"rollout"`
	// RolloutError is why the roll-out was not read; empty: it was.
	RolloutError string           `json:"rolloutError,omitempty"`
	Nodes        int              `json:"nodes"`      // all, those below Silent and Unread among them
	Revisions    []RevisionCount  `json:"revisions"`  // that are in force, the one of the most nodes first
	Conditions   []ConditionCount `json:"conditions"` // of the nodes that are not silent
	Groups       []GroupCounts    `json:"groups"`     // of the roll-out
	Totals       FleetTotals      `json:"totals"`     // of the nodes that are not silent
	Silent       []SilentNode     `json:"silent"`     // by name
	Unread       []NodeReason     `json:"unread"`     // nodes whose values cannot be read, by name
}

// RolloutBrief is a roll-out in a few words.
type RolloutBrief struct {
	Revision string       `json:"revision"`
	State    RolloutState `json:"state"`
	Reason   string       `json:"reason,omitempty"`
	Step     string       `json:"step"`            // its name; "none": none has begun
	Waits    string       `json:"waits,omitempty"` // why it waits; empty: it does not
	Next     string       `json:"next,omitempty"`  // what comes next
}

// RevisionCount counts the nodes with a revision in force.
type RevisionCount struct {
	Revision string `json:"revision"` // empty: none is in force
	Nodes    int    `json:"nodes"`
	Silent   int    `json:"silent"` // of them
}

// ConditionCount counts the nodes by the status of a condition.
type ConditionCount struct {
	Type    ConditionType `json:"type"`
	True    int           `json:"true"`
	False   int           `json:"false"`
	Unknown int           `json:"unknown"`
}

// GroupCounts counts the nodes of a group in a roll-out.
type GroupCounts struct {
	Name     string        `json:"name"`
	Fraction float64       `json:"fraction"` // of its nodes whose turn has come
	Step     int           `json:"step"`     // -1: it has not begun
	Counts   RolloutCounts `json:"counts"`
}

// FleetTotals are sums over nodes.
type FleetTotals struct {
	Containers int `json:"containers"`
	Refusals   int `json:"refusals"`
	Pending    int `json:"pending"`
	Stuck      int `json:"stuck"`
	Restarts   int `json:"restarts"` // containers that wait for a grant
}

// SilentNode is a node that was not heard of lately.
type SilentNode struct {
	Node  string    `json:"node"`
	Heard time.Time `json:"heard"`
}

// NodeReason is a node with a reason.
type NodeReason struct {
	Node   string `json:"node"`
	Reason string `json:"reason"`
}

// FleetNodes is a list of nodes of a fleet: the FleetNodes document. Its slices are never nil.
type FleetNodes struct {
	APIVersion string        `json:"apiVersion"`
	Kind       string        `json:"kind"`
	Channel    string        `json:"channel"`
	At         time.Time     `json:"at"`
	Nodes      []NodeInFleet `json:"nodes"` // by name
	Unread     []NodeReason  `json:"unread"`
}

// NodeInFleet is what a node of a fleet says of itself, and what follows from it.
type NodeInFleet struct {
	HeardNode
	Silent bool   `json:"silent"`          // it was not heard of lately
	Group  string `json:"group,omitempty"` // in the roll-out; empty: there is none, or it was not read
}

// FleetNodeStatus is what is known of one node of a fleet: the FleetNodeStatus document.
type FleetNodeStatus struct {
	APIVersion string      `json:"apiVersion"`
	Kind       string      `json:"kind"`
	Channel    string      `json:"channel"`
	At         time.Time   `json:"at"`
	Node       NodeInFleet `json:"node"`
	// Turn is what the roll-out lets the node do; null: there is none, or it was not read.
	Turn *NodeTurn `json:"turn"`
	// Snapshot is the one that the node has put last; null: it has put none.
	Snapshot *PutSnapshot `json:"snapshot"`
}

// NodeTurn is what a roll-out lets a node do.
type NodeTurn struct {
	Position float64 `json:"position"` // of the node in the order of the roll-out, from 0 to below 1
	Fraction float64 `json:"fraction"` // of its group: its turn has come if its position is below it
	// Commit is the revision that it may have in force; empty: the one that it has.
	Commit string `json:"commit"`
	// OnlyUnaffected is set if the node takes Commit only where that changes nothing for it.
	OnlyUnaffected bool `json:"onlyUnaffected"`
	// Meanwhile is what it takes until its turn comes if it has no revision in force, or an older one.
	Meanwhile string `json:"meanwhile,omitempty"`
	Rescue    bool   `json:"rescue"`           // it has a withdrawn revision in force, and goes first
	Reason    string `json:"reason,omitempty"` // why it takes nothing, or why it waits
}

// PutSnapshot is the snapshot of a node in the store of a fleet.
type PutSnapshot struct {
	Put   time.Time `json:"put"`             // by the store's clock
	Bytes int       `json:"bytes"`           // of the document
	Error string    `json:"error,omitempty"` // why it cannot be read; empty: it can
}

// FleetRollout says how far a roll-out is and what comes next: the FleetRollout document. Its slices are
// never nil.
type FleetRollout struct {
	APIVersion string    `json:"apiVersion"`
	Kind       string    `json:"kind"`
	Channel    string    `json:"channel"`
	At         time.Time `json:"at"`
	// Document is the coordinator's; null: there is none, since nothing was rolled out so far.
	Document *RolloutDocument `json:"document"`
	Waits    string           `json:"waits,omitempty"` // why it waits; empty: it does not
	Next     string           `json:"next,omitempty"`  // what comes next
	Counts   RolloutCounts    `json:"counts"`          // of all nodes
	Groups   []GroupCounts    `json:"groups"`
	Begun    []BegunNode      `json:"begun"`  // nodes at work, by name
	Failed   []NodeReason     `json:"failed"` // by name
	Silent   []SilentNode     `json:"silent"` // by name
	Unread   []NodeReason     `json:"unread"` // nodes whose values cannot be read, by name
}

// BegunNode is a node that is at work.
type BegunNode struct {
	Node  string    `json:"node"`
	Group string    `json:"group"`
	Since time.Time `json:"since"` // by the node's clock
}

// StepName names the step that the roll-out is in; "none": none has begun.
func (d *RolloutDocument) StepName() string {
	if names := d.Plan.StepNames(); d.Step >= 0 && d.Step < len(names) {
		return names[d.Step]
	}
	return "none"
}
