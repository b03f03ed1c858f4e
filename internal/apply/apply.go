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

// What keeps a run from starting.
var (
	ErrStale  = errors.New("the saved plan is stale")               // exit 7
	ErrLocked = errors.New("another nfsync is at work")             // exit 1
	ErrStuck  = errors.New("an earlier change could not be undone") // exit 6
)

// Machine is what apply reads and changes: package host has the real one.
type Machine interface {
	Observer
	// Refresh re-reads in place what the rules need about the change's target
	// and key. It returns nf.ErrGone where the target has vanished.
	Refresh(ctx context.Context, s *nf.Snapshot, c nf.Change) error
	// Set makes the change's key have the value To on the target that the
	// snapshot has. It returns nf.ErrGone where that has vanished.
	Set(ctx context.Context, s *nf.Snapshot, c nf.Change) error
}

// Input is what one run works with.
type Input struct {
	Machine Machine
	// State is where memory, journal and receipts are; nil where this user may
	// not open it, and then nothing can be changed.
	State  *state.Dir
	RunDir string // where the lock is
	// Locked tells that the caller holds the lock, and keeps it.
	Locked bool
	// Wants resolves the policies for the node that was listed.
	Wants    func(*nf.Snapshot) nf.Wants
	Revision string // the policies' commit, or empty
	// PlanID, where set, is the id of the saved plan: any other is ErrStale.
	PlanID   string
	Progress func(Event) // nil: nobody listens
	// Restarts bounds the restarts of containers that the run may make.
	Restarts nf.Restarts
	// Runtimes are those whose containers the machine looks for; empty: all.
	// What is remembered of the others' is kept.
	Runtimes []string
	// Timeout bounds one change with the looks before and after it, so that a
	// kernel file which never answers ends in an error; 0 is a minute.
	Timeout time.Duration
	// RestartTimeout bounds the restart of one container; 0 is eleven minutes.
	RestartTimeout time.Duration
	Now            func() time.Time // the clock, for the receipt only
}

// The kinds of events.
const (
	EventPlanned = "planned" // Total changes will be tried
	EventStarted = "started" // change Index is under way
	EventDone    = "done"    // change Index has an outcome; another one follows if it is undone later
)

// Event is a step of a run, for the command line.
type Event struct {
	Kind    string
	Index   int // of the change, from 0
	Total   int
	Change  nf.Change
	Outcome Outcome
}

// Run brings the node to what is wanted, and says what became of each change.
//
// An error without a receipt (its ID is empty) means that nothing was changed,
// or that an earlier run has left what must be settled first. With a receipt it
// means that the run was stopped before its last change, or that what it did
// could not be written down. Changes that fail are no error: Receipt.ExitCode
// tells of them.
func Run(ctx context.Context, in Input) (Receipt, error) {
	if in.State == nil {
		return planOnly(ctx, in, errors.New("cannot open the state directory"))
	}
	if !in.Locked {
		unlock, err := Lock(in.RunDir)
		if errors.Is(err, fs.ErrPermission) {
			return planOnly(ctx, in, err)
		}
		if err != nil {
			return Receipt{}, err
		}
		defer unlock()
	}
	if err := refuseStuck(in.State); err != nil {
		return Receipt{}, err
	}
	r := &run{in: in, started: in.Now()}
	if err := r.prepare(ctx); err != nil {
		return Receipt{}, err
	}
	if err := r.begin(); err != nil {
		return Receipt{}, err
	}
	return r.finish(r.execute(ctx))
}

// planOnly is for a user who may not change anything: nothing to be changed is a
// receipt, anything else an error.
func planOnly(ctx context.Context, in Input, why error) (Receipt, error) {
	r := &run{in: in, started: in.Now()}
	if err := r.plan(ctx, MemoryOf(in.State)); err != nil {
		return Receipt{}, err
	}
	if len(r.planned.Changes) > 0 {
		return Receipt{}, fmt.Errorf("cannot make %d changes as this user: %w", len(r.planned.Changes), why)
	}
	return r.receipt(), nil
}
