package apply

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/state"
)

// The errors that keep a run from starting.
var (
	ErrStale  = errors.New("the saved plan is stale")
	ErrLocked = errors.New("cannot take the lock of this node")
)

// Machine is a node that apply observes and changes. Package host has the real one.
type Machine interface {
	Observer
	// Refresh re-reads in place what the rules need about the change's target
	// and key. It returns nf.ErrGone where the target has vanished.
	Refresh(ctx context.Context, s *nf.Snapshot, c nf.Change) error
	// Set makes the change's key have the value To on the target that the
	// snapshot has. It returns nf.ErrGone where that has vanished.
	Set(ctx context.Context, s *nf.Snapshot, c nf.Change) error
}

// Input is the input of Run.
type Input struct {
	Machine Machine
	// State holds memory, journal and receipts. It is nil if this user may not
	// open it, for the reason NoState; then nothing can be changed.
	State   *state.Dir
	NoState error
	Lock    *Lock // Run takes it, unless the caller holds it
	// Wants resolves the policies for the node that was listed.
	Wants func(*nf.Snapshot) nf.Wants
	// Labels says whether Wants needs the labels of containers.
	Labels   LabelUse
	Revision string // the policies' commit, or empty
	// Only, if set, reports whether a container is one that the run is for. It observes no
	// other, and makes no change of another or of the node. What is remembered of them stays.
	Only func(*nf.Container) bool
	// Filter selects the wants. What is remembered of others stays, and so does the revision.
	Filter nf.Filter
	// Reviewed, if set, returns an error if a plan is not the one that a person has
	// reviewed; then nothing is changed.
	Reviewed func(nf.Plan) error
	Progress func(Event) // may be nil
	// Seen, if set, receives what the run has seen, after its changes.
	Seen func(Overview)
	// Routine is set for a lap of an agent that runs on: a run that tries no change leaves no
	// receipt, and one that is stopped undoes nothing, because the next one goes on.
	Routine bool
	// Leave, if set, returns why a change is not to be made; "" if it is. It is skipped.
	Leave func(nf.Change) string
	// Late, if set, reports whether a container was made since the last lap and runs its program
	// already: what is set from now on is late for it.
	Late func(*nf.Container) bool
	// Confirm, if set, makes the run wait for a confirmation of its changes.
	Confirm *Confirm
	// Settled, if set, is called when what earlier runs have left is settled, before the plan. An
	// error of it ends the run.
	Settled func() error
	// Restarts bounds the restarts of containers that the run may make.
	Restarts Restarts
	// Runtimes are those whose containers the machine lists; empty: all. The
	// memory of the containers of others stays.
	Runtimes []string
	// Parallel is the most containers that are changed at once; 0 is one.
	Parallel int
	// Timeout bounds one change with the reads before it, and the reads after it, so
	// that a kernel file that blocks is an error; 0 is a minute.
	Timeout time.Duration
	// RestartTimeout bounds the restart of one container; 0 is eleven minutes.
	RestartTimeout time.Duration
	Now            func() time.Time // the clock, for the receipt only
	// Uptime is the time since the node has started, for the time that a confirmation has left;
	// nil: as the kernel counts it.
	Uptime func() time.Duration
}

// Restarts bounds the restarts of containers that one run may make.
type Restarts struct {
	Max int // 0 is one
	// Held says why no restart may begin now that takes that long, such as being
	// outside the restart window; empty if it may. The plan asks it, and the run
	// asks it again just before each restart. It may be nil: at any time.
	Held func(takes time.Duration) string
}

// held calls Held.
func (r Restarts) held(takes time.Duration) string {
	if r.Held == nil {
		return ""
	}
	return r.Held(takes)
}

// now returns the bounds of a plan that is made now.
func (r Restarts) now() nf.Restarts { return nf.Restarts{Max: r.Max, Held: r.held(0)} }

// The kinds of events.
const (
	EventPlanned = "planned" // Total changes will be tried
	EventStarted = "started" // change Index has begun
	EventDone    = "done"    // change Index has an outcome; another one follows if it is undone later
)

// Event is a step of a run.
type Event struct {
	Kind    string
	Index   int // of the change, from 0
	Total   int
	Change  nf.Change
	Outcome Outcome
}

// Run makes the node equal to what is wanted, and returns the outcome of each
// change.
//
// An error without a receipt (its ID is empty) means that nothing was changed, or
// that an interrupted run must be settled first. An error with a receipt means that
// the run was stopped before its last change, or that what it did could not be
// saved. A change that fails is not an error: see Receipt.Verdict. The error is
// ErrUnconfirmed as long as the changes of an earlier run wait for a confirmation.
func Run(ctx context.Context, in Input) (Receipt, error) {
	if in.State == nil {
		return planOnly(ctx, in, in.NoState)
	}
	if in.Lock.Files() == nil {
		unlock, err := in.Lock.Take()
		if errors.Is(err, fs.ErrPermission) {
			return planOnly(ctx, in, err)
		}
		if err != nil {
			return Receipt{}, err
		}
		defer unlock()
	}
	r := &run{in: in, started: in.Now()}
	if err := r.prepare(ctx); err != nil {
		return Receipt{}, err
	}
	if err := r.guard(); err != nil {
		return Receipt{}, err
	}
	if err := r.begin(); err != nil {
		return Receipt{}, err
	}
	return r.finish(r.execute(ctx))
}

// planOnly runs for a user who may not change anything. If there is nothing to
// change it returns a receipt, else an error.
func planOnly(ctx context.Context, in Input, why error) (Receipt, error) {
	r := &run{in: in, started: in.Now()}
	if err := r.plan(ctx, MemoryOf(in.State)); err != nil {
		return Receipt{}, err
	}
	if len(r.planned.Changes) > 0 {
		return Receipt{}, fmt.Errorf("cannot make %d changes as this user: %w", len(r.planned.Changes), why)
	}
	r.show()
	return r.receipt(), nil
}
