package agent

import (
	"cmp"
	"fmt"
	"time"

	"nfsync.dev/nfsync/internal/nf"
)

// FleetReport says how a node follows its fleet, for the status.
type FleetReport struct {
	Channel   string
	Following Following
	Link      FleetLink
	Failure   error // why the node could not put what it is; nil: it could
}

// status returns the report as the status has it; nil for a node of no fleet.
func (r *FleetReport) status() *nf.FleetPlace {
	if r == nil {
		return nil
	}
	is := r.Following
	s := &nf.FleetPlace{Channel: r.Channel, Server: r.Link.Server, Generation: is.Document.Generation, Revision: is.Document.Revision,
		State: is.Document.State, Group: is.Group, Progress: is.Progress, Grant: is.Grant, ConnectedSince: nil, HeardAt: timeOrNil(is.HeardAt), BeginsAt: timeOrNil(is.BeginsAt)}
	if r.Link.Connected {
		s.ConnectedSince = timeOrNil(r.Link.Since)
	}
	if r.Failure != nil {
		s.Error = r.Failure.Error()
	}
	return s
}

func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// unreachable judges whether the node can follow its fleet. It is unknown before the fleet was asked.
func unreachable(r FleetReport) judgement {
	is := r.Following
	switch p := is.Problem; {
	case p != nil:
		return judgement{true, p.Reason, p.Error() + "; the last good revision stays in force" + lastHeard(is.HeardAt)}
	case !is.Asked:
		return judgement{false, ReasonStarting, "the fleet was not asked yet"}
	case !r.Link.Connected:
		return judgement{true, ReasonUnreachable, "there is no connection" + why(r.Link.Err) + "; the last good revision stays in force" + lastHeard(is.HeardAt)}
	}
	return judgement{false, ReasonHeard, fmt.Sprintf("channel %s: roll-out document %d of %s", r.Channel, is.Document.Generation, since(is.HeardAt))}
}

// whyNone returns why no revision is in force although no lap has failed. The report is nil for a node of no fleet.
func (r *FleetReport) whyNone() string {
	switch {
	case r == nil || !r.Following.Asked:
		return "the first lap has not ended"
	case r.Following.Problem != nil:
		return r.Following.Problem.Error()
	case r.Following.Progress != nil:
		return "it waits: " + cmp.Or(r.Following.Progress.Reason, "the roll-out goes on")
	}
	return "it waits for a roll-out"
}

func why(err error) string {
	if err == nil {
		return ""
	}
	return ": " + err.Error()
}

// lastHeard returns when the fleet was heard last, in words that follow a statement.
func lastHeard(at time.Time) string {
	if at.IsZero() {
		return ", and the fleet was not heard since the agent started"
	}
	return ", and the fleet was heard last at " + since(at)
}

// withFleet returns a status with how the node follows its fleet; nil: it belongs to none.
func withFleet(was nf.NodeStatus, r *FleetReport, now time.Time) nf.NodeStatus {
	was.Fleet = r.status()
	if r == nil {
		was.Conditions = withoutCondition(was.Conditions, nf.FleetUnreachable)
		return was
	}
	return withCondition(was, nf.FleetUnreachable, unreachable(*r), now)
}
