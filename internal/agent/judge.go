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

// LeaveDrift returns why a change is left where drift is only reported.
func LeaveDrift(c nf.Change) string {
	if c.Cause == nf.CauseDrift {
		return "drift is only reported (drift.heal: false)"
	}
	return ""
}

// ErrFailedBefore is the error for changes that have failed before, with nothing changed since.
var ErrFailedBefore = errors.New("the same changes have failed before")

// judge decides what an agent does not try again: what it fights over, and what has failed.
type judge struct {
	dir      *state.Dir // nil: nothing is stored
	now      time.Time
	writers  func(nf.Key) []nf.Writer // what else sets a value of the node; may be nil
	fights   []state.Fight
	failures []state.Failure
	partial  bool                   // the run is for some targets only
	plan     *nf.Plan               // that the run makes; nil: it has made none
	seen     []nf.Change            // the changes of the run, as they were planned
	skipped  []nf.Change            // those of them that are not made
	held     []nf.Change            // those of these that have failed before
	named    map[nf.Key][]nf.Writer // what writers has returned
}

// newJudge reads what earlier laps have found. A lap that a person asked for forgets it.
func newJudge(in apply.Input, asked bool) (*judge, error) {
	j := &judge{dir: in.State, now: in.Now(), named: map[nf.Key][]nf.Writer{}}
	if j.dir == nil {
		return j, nil
	}
	var err error
	if j.fights, err = j.dir.Fights(); err != nil {
		return j, err
	}
	if j.failures, err = j.dir.Failures(); err != nil {
		return j, err
	}
	if asked && len(j.fights)+len(j.failures) > 0 {
		j.fights, j.failures = nil, nil
		err = errors.Join(j.dir.SaveFights(nil), j.dir.SaveFailures(nil))
	}
	return j, err
}

// input returns the input of a run that obeys the judge.
func (j *judge) input(in apply.Input) apply.Input {
	others := in.Leave
	in.Leave = func(c nf.Change) string {
		j.seen = append(j.seen, c)
		why := ""
		if others != nil {
			why = others(c)
		}
		if why == "" {
			why = j.leave(c)
		}
		if why != "" {
			j.skipped = append(j.skipped, c)
		}
		return why
	}
	in.Reviewed = func(p nf.Plan) error {
		j.plan = &p
		return j.forgetEnded(p)
	}
	return in
}

// leave returns why a change is left: it is fought over, or it has failed before.
func (j *judge) leave(c nf.Change) string {
	if why := j.whyFought(c); why != "" {
		return why
	}
	if f, at := j.failed(c); f != nil {
		j.held = append(j.held, c)
		return f.whyLeft(at)
	}
	return ""
}

// forgetEnded forgets the fights and failures that are over, now that the plan is known. That of some
// targets says nothing of the others.
func (j *judge) forgetEnded(p nf.Plan) error {
	if j.dir == nil || j.partial {
		return nil
	}
	return errors.Join(j.forgetFights(p), j.forgetFailures(p))
}

// record stores what a run has shown.
func (j *judge) record(r apply.Receipt) error {
	if j.dir == nil || r.Kind == "" {
		return nil
	}
	return errors.Join(j.recordFlips(r), j.recordFailures(r))
}

// place is the value that a change is about.
type place struct {
	target nf.Target // nameless
	key    nf.Key
	layer  nf.Layer
}

func placeOf(c nf.Change) place { return place{c.Target.Nameless(), c.Key, c.Layer} }

// wasLeft reports whether a change of that place was left.
func (j *judge) wasLeft(at place) bool {
	return slices.ContainsFunc(j.skipped, func(c nf.Change) bool { return placeOf(c) == at })
}

// since returns a time for messages.
func since(t time.Time) string { return t.UTC().Format(time.DateTime) + " UTC" }

// planned returns the plan that a lap has made; nil if it has not looked at the node.
func (j *judge) planned(res Result) *nf.Plan {
	if res.Plan != nil {
		return res.Plan
	}
	return j.plan
}

// writersOf returns what else sets a value, what sets the one that is there first. It is known of
// the live values of the node only.
func (j *judge) writersOf(at place, now nf.Value) []nf.Writer {
	if j.writers == nil || !at.target.IsNode() || at.layer != nf.LayerLive {
		return []nf.Writer{}
	}
	list, known := j.named[at.key]
	if !known {
		list = j.writers(at.key)
		j.named[at.key] = list
	}
	list = append([]nf.Writer{}, list...)
	slices.SortStableFunc(list, func(a, b nf.Writer) int { return rank(a.Value == now) - rank(b.Value == now) })
	return list
}

// rank orders what holds before what does not.
func rank(holds bool) int {
	if holds {
		return 0
	}
	return 1
}

// probably returns who may set a value, in words that follow a statement; empty if nothing is known.
func probably(list []nf.Writer, k nf.Key, now nf.Value) string {
	switch {
	case len(list) == 0:
		return ""
	case list[0].Value == now:
		return "probably set by " + list[0].Where
	case list[0].Value.IsUnknown():
		return "perhaps set by " + list[0].Where
	}
	return fmt.Sprintf("perhaps set by %s, which says %s", list[0].Where, k.Text(list[0].Value))
}
