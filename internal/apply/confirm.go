package apply

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/go-multierror"
	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/state"
)

// Confirm makes a run wait for a confirmation. Its changes are taken back unless that comes in
// time. Those that could not be taken back are not made.
type Confirm struct {
	Within time.Duration
	// Guard is called before the first change. It starts a process that calls AwaitDecision when
	// this one has ended.
	Guard func() error
	// LastGood and Position are saved by the confirmation; nil: they stay as they are.
	LastGood *state.LastGood
	Position *state.Position
}

// ErrUnconfirmed means that no run may change anything, because the changes of an earlier one
// wait for a confirmation. The error is an *UnconfirmedError.
var ErrUnconfirmed = errors.New("changes wait for a confirmation")

// UnconfirmedError names the run that waits for its confirmation.
type UnconfirmedError struct {
	Run   string
	Until time.Time
	Left  time.Duration // until then
}

func (e *UnconfirmedError) Error() string {
	return fmt.Sprintf("run %s waits for nfsync confirm until %s; then its changes are taken back", e.Run, e.Until.UTC().Format(time.RFC3339))
}

// Is reports whether target is ErrUnconfirmed.
func (*UnconfirmedError) Is(target error) bool { return target == ErrUnconfirmed }

// notConfirmed is why changes are taken back.
const notConfirmed = "it was not confirmed"

// uptime is the time since the node has started, with the time that it slept (clock_gettime(2),
// CLOCK_BOOTTIME).
func uptime() time.Duration {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &t) != nil {
		return 0 // no kernel that nfsync knows refuses it
	}
	return time.Duration(t.Nano())
}

func (in *Input) uptime() time.Duration {
	if in.Uptime == nil {
		return uptime()
	}
	return in.Uptime()
}

// waiting returns that a run waits for its confirmation; nil if it does not, or its time is up.
// After a restart of the node it is up: the live values have ended.
func waiting(run state.Run, bootID string, now time.Duration) *UnconfirmedError {
	if run.Made == nil || run.Decision != "" || run.BootID != bootID {
		return nil
	}
	left := min(run.Made.Uptime-now, run.ConfirmWithin)
	if left <= 0 {
		return nil
	}
	return &UnconfirmedError{run.ID, run.Made.Until, left}
}

// OpenRun says what keeps other runs from their changes, or what they do first; empty if the
// run was not to be confirmed. bootID is that of the node now.
func OpenRun(run state.Run, bootID string) string {
	waits := waiting(run, bootID, uptime())
	switch {
	case run.ConfirmWithin == 0, run.Decision == state.Confirmed:
		return ""
	case waits != nil:
		return waits.Error()
	case run.Made == nil:
		return "run " + run.ID + " was to be confirmed and has not come to its end: unless it is still at work, the next apply takes its changes back"
	}
	return "run " + run.ID + " was not confirmed in time: the next apply takes its changes back"
}

// whyLeft returns why a change is not to be made; "" if it is.
func (r *run) whyLeft(c nf.Change) string {
	if r.in.Confirm != nil && (c.OneWay || c.Disruptive) {
		return "it could not be taken back: an apply without --confirm-within makes it"
	}
	if r.in.Leave == nil {
		return ""
	}
	return r.in.Leave(c)
}

// guard starts what takes the changes back if this process ends.
func (r *run) guard() error {
	if r.in.Confirm == nil || len(r.attempts) == 0 || r.in.Confirm.Guard == nil {
		return nil
	}
	return r.in.Confirm.Guard()
}

// waits reports whether the run has made changes that are to be confirmed.
func (r *run) waits() bool {
	return r.in.Confirm != nil && slices.ContainsFunc(r.attempts, func(a *attempt) bool {
		return a.result.Outcome == Applied || a.result.Outcome == Kept
	})
}

// finishUnconfirmed saves what the run did and what its confirmation brings, and begins to wait.
// Where that cannot be saved, nobody can confirm the run, and its changes are taken back.
func (r *run) finishUnconfirmed(stopped error) (Receipt, error) {
	c := r.in.Confirm
	receipt := r.receipt()
	made := state.Made{Until: r.in.Now().Add(c.Within).UTC().Truncate(time.Second), Uptime: r.in.uptime() + c.Within}
	receipt.ConfirmUntil = &made.Until
	memory := r.remember()
	kept := state.Confirmation{Run: r.id, Changes: receipt.Summary.Applied + receipt.Summary.Kept, Memory: &memory, LastGood: c.LastGood, Position: c.Position}
	if r.stopped {
		kept.Position = nil
	}
	var errs *multierror.Error
	errs = multierror.Append(errs, r.in.State.Finishing(), r.in.State.SaveConfirmation(kept), r.in.State.SaveReceipt(r.id, receipt))
	if errs.ErrorOrNil() == nil && !r.unsaved {
		errs = multierror.Append(errs, r.in.State.WaitUntil(made))
	}
	if errs.ErrorOrNil() != nil || r.unsaved {
		receipt.ConfirmUntil = nil
	}
	if stopped != nil {
		errs = multierror.Append(errs, stopped)
	}
	return receipt, flat(errs)
}

// ErrNothingWaits is the error of a confirmation for which no run waits.
var ErrNothingWaits = errors.New("nothing waits for a confirmation")

// ConfirmInput is the input of ConfirmRun.
type ConfirmInput struct {
	State  *state.Dir
	Lock   *Lock
	BootID string // of the node
	Now    func() time.Time
	Uptime func() time.Duration // as in Input
}

// ConfirmRun confirms the run that waits for it. It does not wait for another process: where one
// holds the lock, the next run saves what the confirmation brings. The error is ErrNothingWaits
// if no run waits, or its changes are taken back.
func ConfirmRun(in ConfirmInput) (nf.Confirmation, error) {
	run, open, err := in.State.Unfinished()
	if err != nil {
		return nf.Confirmation{}, err
	}
	if !open || run.ConfirmWithin == 0 {
		return nf.Confirmation{}, lastDecision(in.State)
	}
	if err := confirmable(run, in); err != nil {
		return nf.Confirmation{}, err
	}
	decided, err := in.State.Decide(run.ID, state.Confirmed)
	switch {
	case errors.Is(err, state.ErrNotOpen):
		return nf.Confirmation{}, lastDecision(in.State)
	case err != nil:
		return nf.Confirmation{}, err
	case decided != state.Confirmed:
		return nf.Confirmation{}, takenBackNow(run)
	}
	kept, err := in.State.Confirmation()
	if err != nil {
		return nf.Confirmation{}, err
	}
	return nf.Confirmation{Run: run.ID, Changes: kept.Changes}, promote(in, run.ID)
}

// confirmable returns an error unless a run can be confirmed now.
func confirmable(run state.Run, in ConfirmInput) error {
	now := Input{Uptime: in.Uptime}
	switch {
	case run.Decision == state.TakenBack:
		return takenBackNow(run)
	case run.Decision == state.Confirmed:
		return fmt.Errorf("%w: run %s is confirmed already", ErrNothingWaits, run.ID)
	case run.Made == nil:
		return fmt.Errorf("%w: run %s has not made all its changes; unless it is still at work they are taken back", ErrNothingWaits, run.ID)
	case run.BootID != in.BootID:
		return fmt.Errorf("%w: the node was restarted since run %s, whose changes the next apply takes back", ErrNothingWaits, run.ID)
	case waiting(run, in.BootID, now.uptime()) == nil:
		return fmt.Errorf("%w: the time of run %s was up at %s, and the next apply takes its changes back", ErrNothingWaits, run.ID, run.Made.Until.UTC().Format(time.RFC3339))
	}
	return nil
}

func takenBackNow(run state.Run) error {
	return fmt.Errorf("%w: the changes of run %s are being taken back", ErrNothingWaits, run.ID)
}

// lastDecision returns ErrNothingWaits with what became of the last run that was to be confirmed.
func lastDecision(d *state.Dir) error {
	last, err := d.Confirmation()
	at := last.At.UTC().Format(time.RFC3339)
	switch {
	case err != nil:
		return err
	case last.Decision == state.Confirmed:
		return fmt.Errorf("%w: run %s was confirmed at %s", ErrNothingWaits, last.Run, at)
	case last.Decision == state.TakenBack:
		return fmt.Errorf("%w: the changes of run %s were taken back at %s (receipt %s)", ErrNothingWaits, last.Run, at, last.Receipt)
	}
	return ErrNothingWaits
}

// promoteFor is how long a confirmation tries to take the lock.
const promoteFor = 2 * time.Second

// promote saves what the confirmation brings, unless another process holds the lock: that, or
// the next run, saves it.
func promote(in ConfirmInput, run string) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	unlock, err := in.Lock.Take()
	for end := time.Now().Add(promoteFor); errors.Is(err, ErrLocked) && time.Now().Before(end); {
		<-tick.C
		unlock, err = in.Lock.Take()
	}
	if errors.Is(err, ErrLocked) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unlock()
	if now, open, err := in.State.Unfinished(); err != nil || !open || now.ID != run {
		return err
	}
	return in.State.Promote(run, in.Now())
}
