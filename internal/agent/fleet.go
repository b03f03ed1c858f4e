package agent

import (
	"context"
	"time"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/nf"
)

// Fleet is the place of a node in its fleet. Its methods may be called at the same time. The errors are
// *FleetError.
type Fleet interface {
	// Rollout asks for the roll-out document, and verifies it.
	Rollout(ctx context.Context) (nf.RolloutDocument, error)
	// Grant asks for the restart grant of the node, and verifies it.
	Grant(ctx context.Context) (nf.RestartGrant, error)
	// PutNode puts what the node says of itself, and returns when the store has it.
	PutNode(ctx context.Context, n nf.FleetNode) (sequence uint64, err error)
	// PutSnapshot puts the snapshot of the node, as PutNode.
	PutSnapshot(ctx context.Context, document []byte) (sequence uint64, err error)
	// Link returns how the connection is.
	Link() FleetLink
}

// FleetLink says how the connection to a fleet is.
type FleetLink struct {
	Connected bool
	Since     time.Time // since when it is as it is
	Server    string
	Err       error // why it is not connected; nil: nothing is known
}

// FleetError is why a node cannot follow its fleet.
type FleetError struct {
	// Reason is one of ReasonUnreachable, ReasonNoDocument, ReasonForged, ReasonOlder, ReasonNotPermitted
	// and ReasonBadName.
	Reason Reason
	Err    error
}

func (e *FleetError) Error() string { return e.Err.Error() }

// Unwrap returns the error.
func (e *FleetError) Unwrap() error { return e.Err }

// Membership says which fleet a node belongs to, and what it tells the fleet of itself.
type Membership struct {
	// Fleet is nil if the node does not join, for the reason Err.
	Fleet                   Fleet
	Err                     *FleetError
	Channel, CoordinatorKey string
	Node                    nf.NodeIdentity
	Version                 string // of nfsync
	BootID                  string
	// Fetch fetches a commit of the branch within bounds.
	Fetch func(Bounds) Fetcher
	// Snapshot observes the whole node, with the labels of containers if they are needed. Document returns it as
	// it is put.
	Snapshot func(context.Context, apply.LabelUse) (nf.Snapshot, error)
	Document func(nf.Snapshot) ([]byte, error)
}

// Bounds are a commit of the branch that a roll-out names, and what the branch must show of it: see UpTo, After and Before of
// source.Config.
type Bounds struct {
	UpTo, Before string
	After        []string
}

// The most that asking the fleet, or telling it something, may take.
const fleetTimeout = 10 * time.Second
