package agent

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/rollout"
)

// SnapshotPause is the least time between two snapshots that a node puts into the fleet's store.
const SnapshotPause = 10 * time.Minute

// The times of a reporter.
const (
	reportMost      = rollout.WorkingHeartbeat // the most between two reports that fail: a node is not to be missed when the store is back
	reportPause     = 2 * time.Second          // the least
	reconnectTime   = 10 * time.Second         // over which the nodes of a fleet report after a server was away
	lookAtLink      = 15 * time.Second         // how often the connection is looked at
	snapshotTimeout = time.Minute
	snapshotMost    = 5 * time.Minute // the most between two snapshots that fail
)

// reporter tells the fleet, beside the laps, what the node is. It puts the newest value only.
type reporter struct {
	agent *Agent
	bell

	putting sync.Mutex // of the calls of PutNode, so that an older value never comes after a newer one
	last    putValue   // of PutNode; putting is held

	// What the goroutine of run alone uses.
	snapshot  putValue
	failures  int       // of snapshots, in turn
	notBefore time.Time // the next snapshot is put, after one that failed
	connected time.Time // since when, of the connection that was reported to last

	mu         sync.Mutex // of what follows
	member     *Membership
	follower   *Follower
	looked     bool // a lap has looked at the node since the last snapshot
	labels     apply.LabelUse
	containers int
	snapshotAt time.Time
	failure    error // of the last put; nil: it went well
	noSnapshot error // why the last snapshot could not be put; nil: it was
	again      bool  // the store may have lost what was put
}

// putValue is what was put last.
type putValue struct {
	digest   string
	at       time.Time
	sequence uint64
	early    float64 // the part of its heartbeat that the next value is put early
}

func newReporter(a *Agent) *reporter {
	return &reporter{agent: a, bell: newBell()}
}

// use makes the node a member of another fleet; nil: of none.
func (r *reporter) use(m *Membership) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case m == r.member && r.follower != nil:
		r.follower.forget()
	case m == nil:
		r.member, r.follower = nil, nil
	default:
		r.member, r.again = m, true
		r.follower = NewFollower(*m, func(ctx context.Context) error { return r.putNode(ctx, m) })
	}
	r.wake()
}

// Follower returns the follower of the present membership; nil: there is none.
func (r *reporter) Follower() *Follower {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.follower
}

// lapEnded says that a lap has ended: whether it has looked at the node, which use the policies in force make of labels,
// and how many containers there are.
func (r *reporter) lapEnded(looked bool, labels apply.LabelUse, containers int) {
	r.mu.Lock()
	r.looked, r.labels, r.containers = r.looked || looked, labels, containers
	r.mu.Unlock()
	r.wake()
}

// run reports until ctx ends. began is closed after the first lap.
func (r *reporter) run(ctx context.Context, began <-chan struct{}) {
	select {
	case <-ctx.Done():
		return
	case <-began:
	}
	failures := 0
	var allowed time.Time // the next report, at the earliest
	for ctx.Err() == nil {
		now := time.Now()
		m := r.membership()
		if m == nil || m.Fleet == nil {
			r.wait(ctx, time.Time{})
			continue
		}
		link := m.Fleet.Link()
		r.agent.fleetLooked()
		switch {
		case !link.Connected:
			r.wait(ctx, now.Add(lookAtLink))
			continue
		case link.Since.After(r.connected):
			allowed, failures = r.reconnected(link, now), 0
		}
		if now.Before(allowed) {
			r.wait(ctx, minTime(allowed, now.Add(lookAtLink)))
			continue
		}
		next, err := r.report(ctx, m, now)
		if ctx.Err() != nil {
			return
		}
		if failures++; err == nil {
			failures = 0
			allowed = time.Now().Add(reportPause)
		} else {
			allowed = time.Now().Add(jitter(min(backoff(reportPause, failures), reportMost)))
			next = allowed
		}
		r.agent.fleetLooked()
		r.wait(ctx, minTime(next, time.Now().Add(lookAtLink)))
	}
}

func minTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func (r *reporter) membership() *Membership {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.member
}

// reconnected returns when the node reports after a connection has begun: all nodes of a fleet lose a server at the same
// time.
func (r *reporter) reconnected(link FleetLink, now time.Time) time.Time {
	first := r.connected.IsZero()
	r.connected, r.notBefore = link.Since, time.Time{}
	r.mu.Lock()
	r.again = true
	r.mu.Unlock()
	if first {
		return now
	}
	return now.Add(rand.N(reconnectTime))
}

// report puts what has changed, and returns when something is due whatever happens. That a snapshot cannot be put does not keep
// the node from saying that it is there.
func (r *reporter) report(ctx context.Context, m *Membership, now time.Time) (next time.Time, err error) {
	if next, err = r.reportNode(ctx, m, now); err != nil {
		return next, err
	}
	if now.Before(r.notBefore) {
		return minTime(next, r.notBefore), nil
	}
	due, put, err := r.reportSnapshot(ctx, m, now)
	r.mu.Lock()
	r.noSnapshot = err
	r.mu.Unlock()
	if err != nil {
		r.failures++
		r.notBefore = time.Now().Add(jitter(min(backoff(reportPause, r.failures), snapshotMost)))
		return minTime(next, r.notBefore), nil
	}
	if r.failures = 0; put {
		_, err = r.reportNode(ctx, m, now)
	}
	return minTime(next, due), err
}

// reportNode puts what the node says of itself if that has changed, or if it was put long ago.
func (r *reporter) reportNode(ctx context.Context, m *Membership, now time.Time) (next time.Time, err error) {
	r.putting.Lock()
	last := r.last
	r.putting.Unlock()
	r.mu.Lock()
	again := r.again
	r.mu.Unlock()
	next = r.beat(last)
	if !again && last.digest == nodeDigest(r.node(m)) && now.Before(next) {
		return next, nil
	}
	putting, cancel := context.WithTimeout(ctx, fleetTimeout)
	defer cancel()
	if err := r.putNode(putting, m); err != nil {
		return now, err
	}
	r.mu.Lock()
	r.again = false
	r.mu.Unlock()
	r.putting.Lock()
	defer r.putting.Unlock()
	return r.beat(r.last), nil
}

// beat returns when the node is put next if nothing changes. A node that is watched is put more often, so that one that has gone
// is soon missed.
func (r *reporter) beat(last putValue) time.Time {
	every := rollout.Heartbeat
	if f := r.Follower(); f != nil {
		if is := f.Following(); is.isWatched(time.Now()) {
			every = rollout.WorkingHeartbeat
		}
	}
	return last.at.Add(every - time.Duration(last.early*float64(every)))
}

// early returns the part of a heartbeat that a node is early: never 0, as reports have a pause between them, and each time another
// one, so that nodes that were put together do not stay so.
func early() float64 { return 0.05 + 0.1*rand.Float64() }

// putNode puts what the node says of itself now.
func (r *reporter) putNode(ctx context.Context, m *Membership) error {
	r.putting.Lock()
	defer r.putting.Unlock()
	n := r.node(m)
	sequence, err := m.Fleet.PutNode(ctx, n)
	r.failed(err)
	if err != nil {
		return err
	}
	if sequence < r.last.sequence {
		r.made()
	}
	r.last = putValue{nodeDigest(n), time.Now(), sequence, early()}
	return nil
}

// made says that the store was made anew, and has lost what was put.
func (r *reporter) made() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.again, r.snapshotAt = true, time.Time{}
}

func (r *reporter) failed(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failure = err
}

// reportSnapshot puts the snapshot if it has changed, at most every SnapshotPause, and once a day in any case.
func (r *reporter) reportSnapshot(ctx context.Context, m *Membership, now time.Time) (next time.Time, put bool, err error) {
	r.mu.Lock()
	labels, looked, at := r.labels, r.looked, r.snapshotAt
	lost := at.IsZero()
	r.mu.Unlock()
	daily, soonest := dueAgain(r.snapshot.at), r.snapshot.at.Add(SnapshotPause)
	if !lost && (now.Before(soonest) || !looked && now.Before(daily)) {
		if looked {
			return soonest, false, nil
		}
		return daily, false, nil
	}
	r.mu.Lock()
	r.looked = false
	r.mu.Unlock()
	observing, cancel := context.WithTimeout(ctx, snapshotTimeout)
	defer cancel()
	s, err := m.Snapshot(observing, labels)
	if err != nil {
		return now, false, err
	}
	sum, err := SnapshotDigest(s)
	if err != nil || !lost && sum == r.snapshot.digest && now.Before(daily) {
		return daily, false, err
	}
	document, err := m.Document(s)
	if err != nil {
		return now, false, err
	}
	sequence, err := m.Fleet.PutSnapshot(observing, document)
	if err != nil {
		r.mu.Lock()
		r.looked = true
		r.mu.Unlock()
		return now, false, err
	}
	if sequence < r.snapshot.sequence {
		r.made()
	}
	r.snapshot = putValue{digest: sum, at: now, sequence: sequence}
	r.mu.Lock()
	r.snapshotAt = s.TakenAt
	r.mu.Unlock()
	return now.Add(SnapshotPause), true, nil
}

// SnapshotDigest returns a digest of a snapshot, without what changes while the node stays the same.
func SnapshotDigest(s nf.Snapshot) (string, error) { return digest("", s, nf.NodeStatus{}) }

// node returns what the node says of itself now.
func (r *reporter) node(m *Membership) nf.FleetNode {
	r.mu.Lock()
	containers, at, f := r.containers, r.snapshotAt, r.follower
	r.mu.Unlock()
	n := FleetNode(*m, r.agent.Status(), f.Following(), containers)
	n.SnapshotAt = at
	return n
}

// FleetNode returns what a node says of itself to its fleet.
func FleetNode(m Membership, s nf.NodeStatus, f Following, containers int) nf.FleetNode {
	n := nf.FleetNode{Node: m.Node.Name, Channel: m.Channel, Labels: m.Node.Labels, Version: m.Version, BootID: m.BootID,
		Generation: f.Document.Generation, Proof: f.Proof, Progress: f.Progress, Conditions: map[nf.ConditionType]nf.ConditionStatus{},
		Containers: containers, Refusals: len(s.Refusals), Pending: len(s.Pending), Stuck: len(s.Stuck)}
	if s.Revision != nil {
		n.Revision = s.Revision.Commit
	}
	for _, c := range s.Conditions {
		n.Conditions[c.Type] = c.Status
		if isBad := (c.Status == nf.ConditionTrue) != c.Type.IsGood(); isBad && n.Message == "" && c.Type != nf.FleetUnreachable {
			n.Message = shortened(string(c.Type) + ": " + c.Message)
		}
	}
	if f.Grant != nil && f.Grant.Revision == n.Revision {
		n.Grant = f.Grant.Generation
	}
	if f.Wants || f.Grant != nil {
		for _, p := range s.Pending {
			if p.MayRestart {
				n.Restarts++
			}
		}
	}
	return n
}

// nodeDigest returns a digest of what a node says of itself, without what changes while it stays the same.
func nodeDigest(n nf.FleetNode) string {
	n.Generation, n.Proof, n.Message = 0, "", steadyText(n.Message)
	if n.Progress != nil {
		p := *n.Progress
		p.At, p.Reason = time.Time{}, steadyText(p.Reason)
		n.Progress = &p
	}
	h := sha256.New()
	if err := addTo(h, n); err != nil {
		return err.Error() // no node is like that
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Report returns how the node follows its fleet, for the status; nil: it belongs to none.
func (r *reporter) Report() *FleetReport {
	r.mu.Lock()
	m, f, failure := r.member, r.follower, cmp.Or(r.failure, r.noSnapshot)
	r.mu.Unlock()
	if m == nil {
		return nil
	}
	report := &FleetReport{Channel: m.Channel, Following: f.Following(), Failure: failure}
	if m.Fleet != nil {
		report.Link = m.Fleet.Link()
	}
	return report
}

// fleetLooked puts how the connection is into the status, if that is news.
func (a *Agent) fleetLooked() {
	a.reporting.Lock()
	defer a.reporting.Unlock()
	r := a.reporter.Report()
	a.publish(func(s *nf.NodeStatus) bool {
		was := *s
		*s = withFleet(*s, r, time.Now())
		return !slices.EqualFunc(was.Conditions, s.Conditions, func(a, b nf.Condition) bool { return a.Type == b.Type && a.Status == b.Status && a.Reason == b.Reason }) ||
			isConnected(was.Fleet) != isConnected(s.Fleet)
	})
}

func isConnected(f *nf.FleetPlace) bool { return f != nil && f.ConnectedSince != nil }
