package agent

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/source"
	"nfsync.dev/nfsync/internal/spec"
)

// Report is what a lap has done, for the status.
type Report struct {
	Trip              Trip
	Started, Finished time.Time
	Result            Result
	Err               error
	// Before is ErrFailedBefore if changes were left because they have failed before.
	Before error
	// Config is why the changed configuration is not in force; nil if it is.
	Config error
	// Suspension held the lap; SuspensionNow holds after it.
	Suspension, SuspensionNow *nf.Suspension
	Tables                    TableReport    // of the conntrack tables
	Publication               *PublishReport // nil: nothing is published
	Fleet                     *FleetReport   // nil: the node belongs to none
	Fights                    []nf.Fight     // that were left; nil if the lap has not looked at the node
	Stopped                   bool           // the agent stops
}

// NewStatus returns the status of an agent that has just started.
func NewStatus(node, source, mode string, agent nf.AgentInfo) nf.NodeStatus {
	s := nf.NodeStatus{APIVersion: nf.APIVersion, Kind: nf.KindNodeStatus, Node: node, UpdatedAt: agent.StartedAt, Agent: agent, Source: source, URLs: []nf.SourceURL{}, Mode: mode,
		Changes: []nf.Change{}, Refusals: []nf.Refusal{}, Pending: []nf.Pending{}, Stuck: []nf.StuckChange{}, Fights: []nf.Fight{}, Warnings: []nf.Warning{}, Tables: []nf.FillingTable{}, Errors: []string{}, Next: []nf.NextLap{}}
	for _, t := range lapConditions() {
		s.Conditions = append(s.Conditions, nf.Condition{Type: t, Status: nf.ConditionUnknown, Reason: string(ReasonStarting), Message: "the first lap has not ended", LastTransitionTime: agent.StartedAt})
	}
	return s
}

// Status returns the status after a lap, given the one before it.
func Status(was nf.NodeStatus, r Report) nf.NodeStatus {
	s := was
	s.UpdatedAt = r.Finished
	s.Suspension, s.CurrentLap = r.SuspensionNow, nil
	s.Tables = append([]nf.FillingTable{}, r.Tables.Filling...)
	s.Errors = append(errorLines(r.Config), errorLines(cmp.Or(r.Err, r.Result.Missed))...)
	r.revision(&s)
	r.found(&s)
	s.LastLap = r.lap()
	if s.LastLap.Error == "" && !r.Stopped {
		s.LastSuccess = &r.Finished
	}
	s.Fleet = r.Fleet.status()
	s.Conditions = conditions(&s, r)
	transitions(was.Conditions, s.Conditions, r.Finished)
	return s
}

// lap returns what the lap was.
func (r Report) lap() *nf.LapStatus {
	lap := &nf.LapStatus{StartedAt: r.Started, FinishedAt: r.Finished, Fetched: r.Trip.Fetch, Causes: r.Trip.words(), Result: r.result(),
		Applied: r.Result.Receipt.Summary.Applied}
	if receipt := r.Result.Receipt; len(receipt.Recovered) > 0 || slices.ContainsFunc(receipt.Results, func(r apply.Result) bool { return r.Outcome != apply.Skipped }) {
		lap.Receipt = receipt.ID
	}
	if err := r.failure(); err != nil {
		lap.Error = err.Error()
	}
	return lap
}

// failure returns why the lap, or what it should have fetched, has failed.
func (r Report) failure() error { return cmp.Or(r.Err, r.Result.Missed, r.Config, r.Before) }

// revision sets the revision that is in force.
func (r Report) revision(s *nf.NodeStatus) {
	rev := r.Result.Revision
	switch {
	case r.Suspension != nil && r.Result.Held.Commit == "", r.Result.Receipt.Kind == "" && r.Result.Plan == nil:
		return // the lap has applied nothing: what was in force still is
	case r.Suspension != nil:
		rev = r.Result.Held
	}
	since := r.Finished
	if s.Revision != nil && s.Revision.Commit == rev.Commit && s.Revision.URL == rev.URL {
		since = s.Revision.Since
	}
	s.Revision = &nf.InForce{Commit: rev.Commit, URL: rev.URL, Branch: rev.Branch, Tag: rev.Tag, Signer: rev.Signer, Since: since}
}

// found sets what the lap has found, if it looked at the node.
func (r Report) found(s *nf.NodeStatus) {
	switch p, receipt := r.Result.Plan, r.Result.Receipt; {
	case p != nil:
		s.Changes, s.Refusals, s.Pending, s.Warnings, s.Stuck = p.Changes, p.Refusals, p.Pending, p.Warnings, p.Stuck
		s.Summary = &p.Summary
	case receipt.Kind != "":
		s.Refusals, s.Pending, s.Warnings, s.Stuck = receipt.Refusals, receipt.Pending, receipt.Warnings, receipt.Stuck
		s.Changes = []nf.Change{}
		for _, result := range receipt.Results {
			if result.Outcome != apply.Applied && result.Outcome != apply.Gone {
				s.Changes = append(s.Changes, result.Change)
			}
		}
		s.Summary = &nf.Summary{Changes: len(s.Changes), Refusals: receipt.Summary.Refusals, Pending: receipt.Summary.Pending, InSync: receipt.Summary.InSync + receipt.Summary.Applied}
	}
	s.Stuck = append([]nf.StuckChange{}, s.Stuck...)
	if r.Fights != nil {
		s.Fights = r.Fights
	}
}

// result returns how the lap ended.
func (r Report) result() nf.LapResult {
	receipt := r.Result.Receipt
	switch verdict := receipt.Verdict(); {
	case r.Stopped:
		return nf.LapCancelled
	case r.Result.Unchanged && r.Err == nil:
		return nf.LapUnchanged
	case r.Err != nil, receipt.Kind == "" && r.Result.Plan == nil:
		return nf.LapError
	case r.Result.Plan != nil:
		return nf.LapObserved
	case verdict == apply.Unsettled:
		return nf.LapStuck
	case verdict == apply.RolledBack, r.Before != nil:
		return nf.LapFailed
	case r.Result.Missed != nil:
		return nf.LapFallback
	case verdict == apply.Incomplete:
		return nf.LapRefused
	case receipt.Summary.Applied > 0:
		return nf.LapApplied
	}
	return nf.LapInSync
}

// judgement is a condition before it is compared with the last one.
type judgement struct {
	holds   bool
	reason  Reason
	message string
}

// conditions judges a status and the lap that led to it.
func conditions(s *nf.NodeStatus, r Report) []nf.Condition {
	judged := map[nf.ConditionType]judgement{
		nf.Ready:          r.ready(s),
		nf.Stalled:        r.stalled(s),
		nf.Reconciling:    r.reconciling(s),
		nf.Drifted:        r.drifted(s),
		nf.RestartPending: restartPending(s.Pending),
		nf.Suspended:      suspended(s.Suspension),
		nf.TableFilling:   tableFilling(r.Tables),
	}
	commit := ""
	if s.Revision != nil {
		commit = s.Revision.Commit
	}
	var list []nf.Condition
	for _, t := range lapConditions() {
		list = append(list, judged[t].condition(t, commit))
	}
	if r.Publication != nil {
		list = append(list, published(*r.Publication).condition(nf.Published, commit))
	}
	if r.Fleet != nil {
		list = append(list, unreachable(*r.Fleet).condition(nf.FleetUnreachable, commit))
	}
	return list
}

// lapConditions are the conditions that each status has.
func lapConditions() []nf.ConditionType {
	return slices.DeleteFunc(nf.ConditionTypes(), func(t nf.ConditionType) bool { return t == nf.Published || t == nf.FleetUnreachable })
}

// withCondition returns a status with a condition that is judged between laps, at its place.
func withCondition(was nf.NodeStatus, t nf.ConditionType, j judgement, now time.Time) nf.NodeStatus {
	s := was
	s.Conditions = withoutCondition(was.Conditions, t)
	commit := ""
	if s.Revision != nil {
		commit = s.Revision.Commit
	}
	order := nf.ConditionTypes()
	at := slices.IndexFunc(s.Conditions, func(c nf.Condition) bool { return slices.Index(order, c.Type) > slices.Index(order, t) })
	if at < 0 {
		at = len(s.Conditions)
	}
	s.Conditions = slices.Insert(s.Conditions, at, j.condition(t, commit))
	transitions(was.Conditions, s.Conditions, now)
	return s
}

// withoutCondition returns conditions without those of a type.
func withoutCondition(list []nf.Condition, t nf.ConditionType) []nf.Condition {
	return slices.DeleteFunc(slices.Clone(list), func(c nf.Condition) bool { return c.Type == t })
}

// condition returns the condition of a judgement. One about something that was not looked at is unknown.
func (j judgement) condition(t nf.ConditionType, commit string) nf.Condition {
	c := nf.Condition{Type: t, Status: nf.ConditionFalse, Reason: string(j.reason), Message: j.message, ObservedRevision: commit}
	switch {
	case j.holds:
		c.Status = nf.ConditionTrue
	case j.reason == ReasonNotRead, j.reason == ReasonStarting:
		c.Status = nf.ConditionUnknown
	}
	return c
}

func (r Report) ready(s *nf.NodeStatus) judgement {
	switch result := r.result(); {
	case s.Revision == nil:
		return judgement{false, ReasonNoRevision, "no revision is in force: " + text(r.failure(), r.Fleet.whyNone())}
	case r.failure() != nil:
		return judgement{false, failureReason(r.failure()), r.failure().Error()}
	case result == nf.LapStuck, result == nf.LapFailed:
		return judgement{false, ReasonChangesFailed, counted(len(s.Changes)+len(s.Stuck), "change") + " could not be made"}
	case len(s.Refusals) > 0:
		return judgement{true, ReasonRefused, "the policies are in force, but for " + counted(len(s.Refusals), "refusal")}
	}
	return judgement{true, ReasonInForce, "the policies are in force"}
}

// counted returns a number of things in words.
func counted(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// stalled reports whether a person has to act before the agent can go on.
func (r Report) stalled(s *nf.NodeStatus) judgement {
	failure := r.failure()
	switch reason := failureReason(failure); {
	case len(s.Stuck) > 0:
		return judgement{true, ReasonStuck, counted(len(s.Stuck), "change") + " could be neither made nor undone: see nfsync recover"}
	case failure != nil && !slices.Contains([]Reason{ReasonFetchFailed, ReasonLocked, ReasonUnconfirmed}, reason):
		return judgement{true, reason, failure.Error()}
	case r.Before != nil:
		return judgement{true, failureReason(r.Before), r.Before.Error()}
	}
	return judgement{false, ReasonProgressing, "nobody has to do anything for the agent to go on"}
}

func (r Report) reconciling(s *nf.NodeStatus) judgement {
	if failure := r.failure(); failure != nil && !r.stalled(s).holds && !r.Stopped {
		return judgement{true, failureReason(failure), failure.Error()}
	}
	return judgement{false, ReasonUpToDate, "the last lap has ended"}
}

func (r Report) drifted(s *nf.NodeStatus) judgement {
	var keys []string
	for _, c := range s.Changes {
		f := foughtOver(s.Fights, c)
		if f != nil || c.Cause == nf.CauseDrift {
			keys = append(keys, c.Target.String()+" "+string(c.Key)+setBy(f))
		}
	}
	if len(keys) == 0 {
		return judgement{false, ReasonAsWanted, "nothing that nfsync keeps was changed by something else, or it was changed back"}
	}
	return judgement{true, ReasonChangedByOthers, "changed by something else: " + nf.FirstFew(keys, maxNamed)}
}

// foughtOver returns the fight that a change was left to; nil if there is none.
func foughtOver(list []nf.Fight, c nf.Change) *nf.Fight {
	for i := range list {
		if f := &list[i]; f.Target.Nameless() == c.Target.Nameless() && f.Key == c.Key && f.Layer == c.Layer {
			return f
		}
	}
	return nil
}

// setBy returns who may have set a value that is fought over; empty if nothing is known.
func setBy(f *nf.Fight) string {
	if f == nil || len(f.SetBy) == 0 {
		return ""
	}
	return " (" + f.Key.Text(f.From) + ", " + probably(f.SetBy, f.Key, f.From) + ")"
}

func restartPending(list []nf.Pending) judgement {
	var waiting []string
	for _, p := range list {
		if p.Until == nf.UntilContainerRestart || p.Until == nf.UntilNodeRestart {
			waiting = append(waiting, p.Target.String()+" "+string(p.Key))
		}
	}
	if len(waiting) == 0 {
		return judgement{false, ReasonNothingPending, "nothing waits for a restart"}
	}
	return judgement{true, ReasonWaitsForRestart, nf.FirstFew(waiting, maxNamed)}
}

// setSuspension sets the suspension of a status between laps.
func setSuspension(s *nf.NodeStatus, now *nf.Suspension, at time.Time) {
	s.Suspension, s.UpdatedAt = now, at
	was := s.Conditions
	s.Conditions = slices.Clone(was) // others read those of before
	for i := range s.Conditions {
		if c := &s.Conditions[i]; c.Type == nf.Suspended {
			*c = suspended(now).condition(nf.Suspended, c.ObservedRevision)
		}
	}
	transitions(was, s.Conditions, at)
}

func suspended(s *nf.Suspension) judgement {
	if s == nil {
		return judgement{false, ReasonRunning, "nobody has suspended the agent"}
	}
	until := "until nfsync resume"
	if s.Until != nil {
		until = "until " + s.Until.Format(time.RFC3339)
	}
	return judgement{true, ReasonSuspended, fmt.Sprintf("%s, by %s: %s", until, s.By, s.Reason)}
}

// failureReason returns the reason for an error of a lap.
func failureReason(err error) Reason {
	var config *ConfigError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &config):
		return ReasonInvalidConfiguration
	case isType[*InvalidError](err):
		return ReasonInvalidPolicies
	case isType[*source.VerifyError](err):
		return ReasonNotTrusted
	case isType[*source.RewrittenError](err):
		return ReasonRewritten
	case isType[*source.FetchError](err):
		return ReasonFetchFailed
	case errors.Is(err, ErrFailedBefore):
		return ReasonFailedBefore
	case errors.Is(err, apply.ErrUnconfirmed):
		return ReasonUnconfirmed
	case errors.Is(err, apply.ErrLocked), errors.Is(err, ErrOvertaken):
		return ReasonLocked
	}
	return ReasonError
}

func isType[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// ConfigError is the error for a configuration that is not in force.
type ConfigError struct {
	Err         error // it cannot be read; nil if it is invalid
	Diagnostics []spec.Diagnostic
}

func (e *ConfigError) Error() string {
	if e.Err != nil {
		return "the changed configuration is not in force: " + e.Err.Error()
	}
	return fmt.Sprintf("the changed configuration is not in force: it is invalid: %s", e.Diagnostics[0])
}

// Unwrap returns why the configuration cannot be read.
func (e *ConfigError) Unwrap() error { return e.Err }

// errorLines returns the errors in files.
func errorLines(err error) []string {
	lines := []string{}
	var config *ConfigError
	var invalid *InvalidError
	var found []spec.Diagnostic
	switch {
	case errors.As(err, &config):
		found = config.Diagnostics
	case errors.As(err, &invalid):
		found = invalid.Diagnostics
	}
	for _, d := range found {
		lines = append(lines, d.String())
	}
	return lines
}

// transitions sets when each condition has taken its status.
func transitions(was, is []nf.Condition, now time.Time) {
	for i := range is {
		is[i].LastTransitionTime = now
		at := slices.IndexFunc(was, func(c nf.Condition) bool { return c.Type == is[i].Type && c.Status == is[i].Status })
		if at >= 0 {
			is[i].LastTransitionTime = was[at].LastTransitionTime
		}
	}
}

// maxNamed is how many keys a message names.
const maxNamed = 5

func text(err error, otherwise string) string {
	if err == nil {
		return otherwise
	}
	return err.Error()
}
