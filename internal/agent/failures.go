package agent

import (
	"cmp"
	"fmt"
	"slices"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/state"
)

// failed returns the failure that a change was part of, as it is planned now, and its place there;
// nil if there is none.
func (j *judge) failed(c nf.Change) (*failure, int) {
	for i := range j.failures {
		f := (*failure)(&j.failures[i])
		if at := f.find(c); at >= 0 && (j.plan == nil || f.Revision == j.plan.Revision) {
			return f, at
		}
	}
	return nil, 0
}

// failure is a state.Failure that is judged.
type failure state.Failure

// find returns the place of a planned change in a failure; -1 if it is not there as it is planned.
func (f *failure) find(c nf.Change) int {
	if f.Target.Nameless() != c.Target.Nameless() || f.Instance != c.Instance {
		return -1
	}
	return slices.IndexFunc(f.Changes, func(was state.FailedChange) bool {
		return was.Key == c.Key && was.Layer == c.Layer && was.From == c.From && was.To == c.To
	})
}

// whyLeft returns why the change at that place of a failure is left.
func (f *failure) whyLeft(at int) string {
	why := f.Changes[at].Why
	if why == "" {
		first := f.first()
		why = fmt.Sprintf("%s of the same target failed: %s", first.Key, first.Why)
	}
	return fmt.Sprintf("it failed at %s (receipt %s): %s; it is not tried again until the policies or the target change, or nfsync sync", since(f.At), f.Receipt, why)
}

// first returns the first change that failed.
func (f *failure) first() state.FailedChange {
	return f.Changes[slices.IndexFunc(f.Changes, func(c state.FailedChange) bool { return c.Why != "" })]
}

// forgetFailures forgets the failures that are over: of another revision, or such that a plan has
// none of the changes that failed as it was. They are read again: the run may have added some before
// it planned.
func (j *judge) forgetFailures(p nf.Plan) (err error) {
	if j.failures, err = j.dir.Failures(); err != nil {
		return err
	}
	before := len(j.failures)
	j.failures = slices.DeleteFunc(j.failures, func(f state.Failure) bool {
		again := func(c nf.Change) bool {
			at := (*failure)(&f).find(c)
			return at >= 0 && f.Changes[at].Why != ""
		}
		if f.Revision != p.Revision {
			return !f.Unconfirmed
		}
		return !slices.ContainsFunc(p.Changes, again)
	})
	if len(j.failures) == before {
		return nil
	}
	return j.dir.SaveFailures(j.failures)
}

// failedBefore returns ErrFailedBefore if changes were left because they have failed before.
func (j *judge) failedBefore() error {
	var list []string
	for i := range j.failures {
		f := (*failure)(&j.failures[i])
		if first := f.first(); slices.ContainsFunc(j.held, func(c nf.Change) bool { return f.find(c) >= 0 }) {
			list = append(list, fmt.Sprintf("%s %s, at %s (receipt %s): %s", f.Target, first.Key, since(f.At), f.Receipt, first.Why))
		}
	}
	if list == nil {
		return nil
	}
	return fmt.Errorf("%w: %s; they are not tried again until the policies or the target change, or nfsync sync", ErrFailedBefore, nf.FirstFew(list, maxNamed))
}

// recordFailures stores what has failed. What has failed because another program holds the target
// is tried again: that ends without a change of the plan.
func (j *judge) recordFailures(r apply.Receipt) error {
	before := len(j.failures)
	for _, result := range r.Results {
		if result.Outcome != apply.Failed || result.Busy {
			continue
		}
		f := j.failureOf(result, r)
		for _, other := range r.Results {
			if at := placeOf(other.Change); at.target == result.Target.Nameless() && other.Instance == result.Instance && !j.wasLeft(at) {
				f.add(other, j.asPlanned(other.Change))
			}
		}
	}
	if len(j.failures) == before {
		return nil
	}
	return j.dir.SaveFailures(j.failures)
}

// failureOf returns the failure of a run that a result belongs to: one for each instance.
func (j *judge) failureOf(result apply.Result, r apply.Receipt) *failure {
	i := slices.IndexFunc(j.failures, func(f state.Failure) bool {
		return f.Receipt == r.ID && f.Target.Nameless() == result.Target.Nameless() && f.Instance == result.Instance
	})
	if i < 0 {
		i = len(j.failures)
		j.failures = append(j.failures, state.Failure{Target: result.Target, Instance: result.Instance, Revision: r.Revision, Receipt: r.ID, At: j.now})
	}
	return (*failure)(&j.failures[i])
}

// asPlanned returns a change as it was planned: what it has become may be decided by its run.
func (j *judge) asPlanned(c nf.Change) nf.Change {
	i := slices.IndexFunc(j.seen, func(s nf.Change) bool {
		return placeOf(s) == placeOf(c) && s.Instance == c.Instance && s.Intermediate == c.Intermediate
	})
	if i < 0 {
		return c
	}
	return j.seen[i]
}

// add adds a change that failed, or that was undone or not tried, once.
func (f *failure) add(r apply.Result, planned nf.Change) {
	c := state.FailedChange{Key: planned.Key, Layer: planned.Layer, From: planned.From, To: planned.To}
	switch r.Outcome {
	case apply.Failed:
		c.Why = cmp.Or(r.Error, "it failed")
	case apply.Undone, apply.Skipped:
	default:
		return
	}
	if !slices.Contains(f.Changes, c) {
		f.Changes = append(f.Changes, c)
	}
}
