package apply

import (
	"context"
	"errors"
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
	// List observes identities only: the node and its containers.
	List(ctx context.Context) (nf.Snapshot, error)
	// Observe observes the facts that are asked.
	Observe(ctx context.Context, ask nf.Ask) (nf.Snapshot, error)
	// Refresh re-reads in place what the rules need about the change's target
	// and key. It returns nf.ErrGone where the target has vanished.
	Refresh(ctx context.Context, s *nf.Snapshot, c nf.Change) error
	// Set makes the change's key have the value To. It returns nf.ErrGone where
	// the target has vanished.
	Set(ctx context.Context, c nf.Change) error
}

// Input is what one run works with.
type Input struct {
	Machine Machine
	// State is where memory, journal and receipts are; nil where this user may
	// not open it, and then nothing can be changed.
	State  *state.Dir
	RunDir string // where the lock is
	// Wants resolves the policies for the node that was listed.
	Wants    func(*nf.Snapshot) nf.Wants
	Revision string // the policies' commit, or empty
	// PlanID, where set, is the id of the saved plan: any other is ErrStale.
	PlanID   string
	Progress func(Event)      // nil: nobody listens
	Now      func() time.Time // the clock, for the receipt only
}

// The kinds of events.
const (
	EventPlanned = "planned" // Total changes will be tried
	EventStarted = "started" // change Index is under way
	EventDone    = "done"    // change Index has an outcome, for the time being: a later failure may undo it
)

// Event is a step of a run, for the command line.
type Event struct {
	Kind    string
	Index   int // of the change, from 0
	Total   int
	Change  nf.Change
	Outcome Outcome
}

// Run brings the node to what is wanted.
func Run(ctx context.Context, in Input) (Receipt, error) {
	return Receipt{}, errors.New("cannot apply: not built yet")
}

// RecoverInput is what a recovery works with.
type RecoverInput struct {
	Machine Machine
	State   *state.Dir
	RunDir  string // where the lock is
	Accept  bool   // take the present state as it is
}

// Report is what earlier runs have left.
type Report struct {
	// Run is the id of the run that left it; empty where nothing is left.
	Run      string     `json:"run"`
	Left     []Leftover `json:"left"` // never nil
	Accepted bool       `json:"accepted"`
}

// Leftover is a change that was neither made nor undone, as far as is known.
type Leftover struct {
	Target nf.Target `json:"target"`
	Key    nf.Key    `json:"key"`
	Layer  nf.Layer  `json:"layer"`
	From   nf.Value  `json:"from"`
	To     nf.Value  `json:"to"`
	Reads  nf.Value  `json:"reads"` // now
	// Stuck tells that undoing it failed. Otherwise the run was interrupted,
	// and the next apply will look after it.
	Stuck bool   `json:"stuck"`
	Why   string `json:"why"`
}

// ExitCode is 6 where something is stuck and not accepted, else 0.
func (r Report) ExitCode() int {
	for _, l := range r.Left {
		if l.Stuck && !r.Accepted {
			return exitStuck
		}
	}
	return exitOK
}

// Recover reports what is left of earlier runs and, where accepted, takes the
// present state as it is.
func Recover(ctx context.Context, in RecoverInput) (Report, error) {
	return Report{Left: []Leftover{}}, errors.New("cannot recover: not built yet")
}
