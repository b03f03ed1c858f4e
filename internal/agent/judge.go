package agent

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/state"
)

// A value that something else has changed back maxFlips times within flipWindow is left.
const (
	maxFlips   = 3
	flipWindow = time.Hour
)

// LeaveDrift returns why a change is left where drift is only reported.
func LeaveDrift(c nf.Change) string {
	if c.Cause == nf.CauseDrift {
		return "drift is only reported (drift.heal: false)"
	}
	return ""
}

// ErrFailedBefore is the error for a plan that has failed before, with nothing changed since.
var ErrFailedBefore = errors.New("the same changes have failed before")

// judge decides what an agent does not try again: what it fights over, and what has failed.
type judge struct {
	dir    *state.Dir // nil: nothing is stored
	now    time.Time
	fights []state.Fight
	failed state.Failed
}

// newJudge reads what earlier laps have found. A lap that a person asked for forgets it.
func newJudge(in apply.Input, asked bool) (*judge, error) {
	j := &judge{dir: in.State, now: in.Now()}
	if j.dir == nil {
		return j, nil
	}
	var err error
	if j.fights, err = j.dir.Fights(); err != nil {
		return j, err
	}
	if j.failed, err = j.dir.Failed(); err != nil {
		return j, err
	}
	if asked && (len(j.fights) > 0 || j.failed.Plan != "") {
		j.fights, j.failed = nil, state.Failed{}
		err = errors.Join(j.dir.SaveFights(nil), j.dir.SaveFailed(j.failed))
	}
	return j, err
}

// input returns the input of a run that obeys the judge.
func (j *judge) input(in apply.Input) apply.Input {
	others := in.Leave
	in.Leave = func(c nf.Change) string {
		if others != nil {
			if why := others(c); why != "" {
				return why
			}
		}
		return j.leave(c)
	}
	in.Reviewed = func(p nf.Plan) error {
		if j.failed.Plan == p.ID && len(p.Changes) > 0 {
			return fmt.Errorf("%w, at %s (receipt %s): %s; they are not tried again until the policies or the node change, or nfsync sync",
				ErrFailedBefore, j.failed.At.UTC().Format(time.DateTime), j.failed.Receipt, j.failed.Why)
		}
		return nil
	}
	return in
}

// leave returns why a change is left to whom it is fought with.
func (j *judge) leave(c nf.Change) string {
	f := j.fight(c)
	if f == nil || f.Left == nil {
		return ""
	}
	return fmt.Sprintf("something else has changed it back %d times within an hour: it is left since %s, until the policy changes or nfsync sync",
		len(f.Flips), f.Left.UTC().Format(time.DateTime))
}

// left returns how many values are left to whom they are fought with.
func (j *judge) left() int {
	n := 0
	for _, f := range j.fights {
		if f.Left != nil {
			n++
		}
	}
	return n
}

// fight returns the fight over a change; nil if there is none.
func (j *judge) fight(c nf.Change) *state.Fight {
	for i := range j.fights {
		if f := &j.fights[i]; f.Target.Nameless() == c.Target.Nameless() && f.Key == c.Key && f.Layer == c.Layer && f.To == c.To {
			return f
		}
	}
	return nil
}

// record stores what a run has shown.
func (j *judge) record(r apply.Receipt) error {
	if j.dir == nil || r.Kind == "" {
		return nil
	}
	return errors.Join(j.recordFlips(r), j.recordFailure(r))
}

// recordFlips counts the drift that was undone.
func (j *judge) recordFlips(r apply.Receipt) error {
	changed := false
	for _, result := range r.Results {
		if result.Cause != nf.CauseDrift || result.Outcome != apply.Applied {
			continue
		}
		f := j.fight(result.Change)
		if f == nil {
			j.fights = append(j.fights, state.Fight{Target: result.Target, Key: result.Key, Layer: result.Layer, To: result.To})
			f = &j.fights[len(j.fights)-1]
		}
		f.Flips = append(slices.DeleteFunc(f.Flips, func(at time.Time) bool { return j.now.Sub(at) > flipWindow }), j.now)
		changed = true
	}
	before := len(j.fights)
	j.fights = slices.DeleteFunc(j.fights, j.isOver)
	for i := range j.fights {
		f := &j.fights[i]
		if f.Left == nil && len(f.Flips) >= maxFlips {
			f.Left, changed = &j.now, true
		}
	}
	if !changed && len(j.fights) == before {
		return nil
	}
	return j.dir.SaveFights(j.fights)
}

// isOver reports whether a value was not changed back for a while. A fight that nfsync has left is over with its want, or when a person asks.
func (j *judge) isOver(f state.Fight) bool {
	return f.Left == nil && len(f.Flips) > 0 && j.now.Sub(f.Flips[len(f.Flips)-1]) > flipWindow
}

// onlyBusy reports whether all that failed in a run did so because other programs hold the
// targets. That ends without a change of the plan.
func onlyBusy(r apply.Receipt) bool {
	return !slices.ContainsFunc(r.Results, func(result apply.Result) bool { return result.Outcome == apply.Failed && !result.Busy })
}

// recordFailure stores the plan of a run that failed, and forgets it after one that did not.
func (j *judge) recordFailure(r apply.Receipt) error {
	if r.Verdict() != apply.RolledBack || onlyBusy(r) {
		if j.failed.Plan == "" {
			return nil
		}
		j.failed = state.Failed{}
		return j.dir.SaveFailed(j.failed)
	}
	j.failed = state.Failed{Plan: r.Plan, Revision: r.Revision, Receipt: r.ID, At: j.now}
	for _, result := range r.Results {
		if result.Error != "" {
			j.failed.Why = fmt.Sprintf("%s %s: %s", result.Target, result.Key, result.Error)
			break
		}
	}
	return j.dir.SaveFailed(j.failed)
}
