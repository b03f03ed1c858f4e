package fleet

import (
	"context"
	"errors"
	"time"

	"nfsync.dev/nfsync/internal/nf"
)

// Config says how a fleet is reached.
type Config struct {
	Servers         []string // nats://, tls://, ws:// or wss://, tried in any order
	CredentialsFile string   // as nsc writes it: a JWT and a seed, or a seed alone
	CAFile          string   // PEM, instead of the system's
	Channel         string
	CoordinatorKey  string // public nkey that the coordinator signs with
	// Name is the node's name in the fleet, or the name of a reader or operator.
	Name string
}

// Member is a node's place in a fleet. Its methods may be called at the same time.
type Member struct{}

// Join joins a fleet. It does not wait for a connection, and connects again whenever one ends. wake is called when the
// roll-out document or the grant may have changed, and when a connection begins. The errors are mistakes in the
// configuration: a name that IsFleetName refuses, a key or file that cannot be used.
func Join(cfg Config, wake func()) (*Member, error) { panic("not written") }

// Close leaves the fleet.
func (m *Member) Close() { panic("not written") }

// Link says how the connection of a member is.
type Link struct {
	Connected bool
	Since     time.Time // since when it is as it is
	Server    string    // without credentials
	Err       error     // why it is not connected, or what was not permitted; nil: nothing is known
}

// Link returns how the connection is.
func (m *Member) Link() Link { panic("not written") }

// ErrNone means that the store has no such document. It never means that a node may go on.
var ErrNone = errors.New("the fleet's store has none")

// Rollout asks for the roll-out document, and verifies it. The errors are ErrNone, *UnreachableError and *ForgedError.
func (m *Member) Rollout(ctx context.Context) (nf.RolloutDocument, error) { panic("not written") }

// Grant asks for the restart grant of the node, and verifies it, as Rollout.
func (m *Member) Grant(ctx context.Context) (nf.RestartGrant, error) { panic("not written") }

// PutNode puts what the node says of itself, and returns when the store has it. The errors are *UnreachableError and
// *RefusedError.
func (m *Member) PutNode(ctx context.Context, n nf.FleetNode) (sequence uint64, err error) {
	panic("not written")
}

// PutSnapshot puts the node's snapshot, a NodeSnapshot document in JSON, as PutNode.
func (m *Member) PutSnapshot(ctx context.Context, document []byte) (sequence uint64, err error) {
	panic("not written")
}

// UnreachableError means that the store did not answer.
type UnreachableError struct{ Err error }

func (e *UnreachableError) Error() string { return "the fleet cannot be reached: " + e.Err.Error() }

// Unwrap returns why.
func (e *UnreachableError) Unwrap() error { return e.Err }

// ForgedError means that a document is not the coordinator's: its signature, its channel or its form is wrong.
type ForgedError struct{ Err error }

func (e *ForgedError) Error() string { return "not the coordinator's: " + e.Err.Error() }

// Unwrap returns why.
func (e *ForgedError) Unwrap() error { return e.Err }

// RefusedError means that the store has refused a value.
type RefusedError struct{ Err error }

func (e *RefusedError) Error() string { return "the fleet's store refuses it: " + e.Err.Error() }

// Unwrap returns why.
func (e *RefusedError) Unwrap() error { return e.Err }

// Reader reads what the nodes of a fleet have put. With the credentials of an operator it reads the roll-out and asks the
// coordinator too.
type Reader struct{}

// OpenReader connects to a fleet. It fails if no server answers until ctx ends.
func OpenReader(ctx context.Context, cfg Config) (*Reader, error) { panic("not written") }

// Close ends the connection.
func (r *Reader) Close() { panic("not written") }

// Nodes returns what all nodes say of themselves, by name. Values that cannot be read are in unread, by the name of the node.
func (r *Reader) Nodes(ctx context.Context) (nodes []nf.HeardNode, unread map[string]error, err error) {
	panic("not written")
}

// Snapshots calls each with the snapshot of each node, a NodeSnapshot document in JSON, or with the reason why it cannot be
// read. only, if not empty, is the one node that is asked for.
func (r *Reader) Snapshots(ctx context.Context, only string, each func(node string, put time.Time, document []byte, err error) error) error {
	panic("not written")
}

// Rollout returns the roll-out document. It is verified if Config has a CoordinatorKey. ErrNone: there is none.
func (r *Reader) Rollout(ctx context.Context) (nf.RolloutDocument, error) { panic("not written") }

// Ask asks the coordinator. The error is ErrNoCoordinator if none answers.
func (r *Reader) Ask(ctx context.Context, ask nf.FleetAsk) (nf.FleetAnswer, error) {
	panic("not written")
}

// ErrNoCoordinator means that no coordinator answers.
var ErrNoCoordinator = errors.New("no coordinator answers")

// Changed returns a channel that receives when a node has put something, or the roll-out document has changed, at most once a
// second.
func (r *Reader) Changed(ctx context.Context) <-chan struct{} { panic("not written") }
