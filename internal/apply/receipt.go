package apply

import (
	"time"

	"nfsync.dev/nfsync/internal/nf"
)

// Outcome says how an attempt at one change ended.
type Outcome string

// The outcomes.
const (
	Applied Outcome = "applied" // made and read back, or found made already
	Failed  Outcome = "failed"  // could not be made; its target was rolled back
	Undone  Outcome = "undone"  // made, and undone because its target failed, the run was stopped, or nobody has confirmed it
	Kept    Outcome = "kept"    // made, and not undone although its target failed: one-way or disruptive, or a saved level that could not be taken back; or not confirmed, and a rule forbids to undo it
	Gone    Outcome = "gone"    // the target vanished on the way
	Refused Outcome = "refused" // a rule forbade it at the last moment
	Skipped Outcome = "skipped" // not tried: its target had failed, or the run was stopped
	Stuck   Outcome = "stuck"   // could not be undone: a person has to settle it
)

// Outcomes lists the outcomes.
func Outcomes() []Outcome {
	return []Outcome{Applied, Failed, Undone, Kept, Gone, Refused, Skipped, Stuck}
}

// Receipt says what an apply did: the Receipt document. Its slices are never nil.
type Receipt struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	ID         string `json:"id"`
	Node       string `json:"node"`
	Revision   string `json:"revision"`
	Plan       string `json:"plan"` // the plan's id
	// StartedAt and FinishedAt are times of the clock: FinishedAt is the earlier
	// one if the clock was set back between them.
	StartedAt  time.Time `json:"startedAt"`
	FinishedAt time.Time `json:"finishedAt"`
	// Interrupted reports whether the run was stopped before its last change.
	Interrupted bool `json:"interrupted"`
	// ConfirmUntil is when the changes are taken back unless they are confirmed before; null: they
	// wait for no confirmation.
	ConfirmUntil *time.Time `json:"confirmUntil,omitempty"`
	// Decided says of a stored receipt what became of changes that were to be confirmed; empty while
	// they wait.
	Decided string `json:"-"`
	// TakenBack is the id of an earlier run whose changes were taken back, because it was not
	// confirmed; empty if there is none.
	TakenBack string `json:"takenBack,omitempty"`
	// Recovered are the results of settling an interrupted run.
	Recovered []Result `json:"recovered"`
	// Results are one for each change of the plan, in its order, and then one for each
	// change that a container needed after its restart.
	Results  []Result     `json:"results"`
	Refusals []nf.Refusal `json:"refusals"`
	Pending  []nf.Pending `json:"pending"`
	Warnings []nf.Warning `json:"warnings"`
	// Stuck are the changes, of this run and earlier ones, that hold back their targets.
	Stuck   []nf.StuckChange `json:"stuck,omitempty"`
	Summary Summary          `json:"summary"`
}

// Result is one change with its outcome.
type Result struct {
	nf.Change
	Outcome Outcome `json:"outcome"`
	// Error says why the change failed; Reason why it was refused, skipped, undone
	// or kept.
	Error  string `json:"error,omitempty"`
	Reason string `json:"reason,omitempty"`
	// Late reports whether the container had begun to run its program when the change was made, of
	// one that the agent had not seen before.
	Late bool `json:"late,omitempty"`
	// Busy reports whether the change failed because another program holds the target: then
	// it is worth another try with nothing changed.
	Busy bool `json:"-"`
	// Moved reports whether the change failed because something else has changed the value, or the
	// kernel has ignored the write.
	Moved bool `json:"-"`
}

// Summary counts the results by their outcome, and the plan's other entries.
type Summary struct {
	Applied  int `json:"applied"`
	Undone   int `json:"undone"`
	Failed   int `json:"failed"`
	Gone     int `json:"gone"`
	Kept     int `json:"kept"`
	Refused  int `json:"refused"`
	Skipped  int `json:"skipped"`
	Stuck    int `json:"stuck"`
	Refusals int `json:"refusals"`
	Pending  int `json:"pending"`
	InSync   int `json:"inSync"`
}

// Verdict sums up a receipt or a recovery report: the worst of what happened.
type Verdict string

// The verdicts, the best first.
const (
	Clean      Verdict = "clean"       // nothing was refused, nothing failed
	Incomplete Verdict = "incomplete"  // something was refused, the rest was applied
	RolledBack Verdict = "rolled back" // a target failed and was rolled back, as far as its changes can be
	Unsettled  Verdict = "unsettled"   // something could not be rolled back: a person has to settle it
)

// Verdict returns the verdict on a run. A run that was stopped returns an error
// beside its receipt.
func (r Receipt) Verdict() Verdict {
	s := r.Summary
	switch {
	case s.Stuck > 0, len(r.Stuck) > 0:
		return Unsettled
	case s.Failed > 0, s.Kept > 0, s.Undone > 0 && !r.Interrupted:
		return RolledBack
	case s.Refusals > 0, s.Refused > 0:
		return Incomplete
	}
	return Clean
}

func (s *Summary) count(o Outcome) {
	switch o {
	case Applied:
		s.Applied++
	case Failed:
		s.Failed++
	case Undone:
		s.Undone++
	case Kept:
		s.Kept++
	case Gone:
		s.Gone++
	case Refused:
		s.Refused++
	case Skipped:
		s.Skipped++
	case Stuck:
		s.Stuck++
	}
}
