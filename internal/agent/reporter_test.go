package agent

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/rollout"
)

// recordingFleet is a fleet that keeps what nodes put.
type recordingFleet struct {
	mu        sync.Mutex
	nodes     []time.Time
	last      nf.FleetNode
	snapshots []time.Time
	sequence  uint64
	err       error
	refused   error // of snapshots
	link      FleetLink
	grant     nf.RestartGrant
	grantErr  error
}

func (f *recordingFleet) Rollout(context.Context) (nf.RolloutDocument, error) {
	return nf.RolloutDocument{}, errors.New("not asked")
}

func (f *recordingFleet) Grant(context.Context) (nf.RestartGrant, error) {
	return f.grant, f.grantErr
}

func (f *recordingFleet) PutNode(_ context.Context, n nf.FleetNode) (uint64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return 0, f.err
	}
	f.nodes, f.last = append(f.nodes, time.Now()), n
	f.sequence++
	return f.sequence, nil
}

func (f *recordingFleet) PutSnapshot(context.Context, []byte) (uint64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := cmp.Or(f.err, f.refused); err != nil {
		return 0, err
	}
	f.snapshots = append(f.snapshots, time.Now())
	f.sequence++
	return f.sequence, nil
}

func (f *recordingFleet) Link() FleetLink {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.link
}

func (f *recordingFleet) change(how func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	how()
}

func (f *recordingFleet) counts() (nodes, snapshots int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.nodes), len(f.snapshots)
}

// reporting is an agent that reports to a fleet, on a node that changes with each lap if moves is set.
type reporting struct {
	*Agent
	fleet *recordingFleet
	moves bool
	limit int64
}

func newReporting(t *testing.T) *reporting {
	t.Helper()
	r := &reporting{Agent: New(NewStatus("hn-1", "", "enforce", nf.AgentInfo{})), fleet: &recordingFleet{link: FleetLink{Connected: true, Since: time.Now()}}}
	r.reporter.use(&Membership{Fleet: r.fleet, Channel: "main", Node: nf.NodeIdentity{Name: "hn-1"},
		Snapshot: func(context.Context, apply.LabelUse) (nf.Snapshot, error) {
			return nf.Snapshot{TakenAt: time.Now(), Node: nf.NodeIdentity{Name: "hn-1", Labels: map[string]string{"limit": time.Duration(r.limit).String()}}}, nil
		},
		Document: func(nf.Snapshot) ([]byte, error) { return []byte("{}"), nil }})
	ctx, cancel := context.WithCancel(t.Context())
	began := make(chan struct{})
	close(began)
	var all sync.WaitGroup
	all.Go(func() { r.reporter.run(ctx, began) })
	t.Cleanup(func() {
		cancel()
		all.Wait()
	})
	return r
}

// laps makes a lap each minute.
func (r *reporting) laps(d time.Duration) {
	for range int(d / time.Minute) {
		if r.moves {
			r.limit++
		}
		r.reporter.lapEnded(true, nil, 3)
		<-time.After(time.Minute)
		synctest.Wait()
	}
}

// TestHeartbeat: a node that stays the same is put at every heartbeat, and its snapshot once a day.
func TestHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReporting(t)
		r.laps(24 * time.Hour)
		nodes, snapshots := r.fleet.counts()
		beats := int(24 * time.Hour / rollout.Heartbeat)
		if nodes < beats || nodes > beats*5/4 || snapshots < 1 || snapshots > 2 {
			t.Errorf("put %d times, the snapshot %d times; a day has %d heartbeats", nodes, snapshots, beats)
		}
		for i := 1; i < len(r.fleet.nodes); i++ {
			if pause := r.fleet.nodes[i].Sub(r.fleet.nodes[i-1]); pause > rollout.Heartbeat {
				t.Errorf("a pause of %s", pause)
			}
		}
		if r.fleet.last.Containers != 3 || r.fleet.last.SnapshotAt.IsZero() || r.fleet.last.Node != "hn-1" {
			t.Errorf("put %+v", r.fleet.last)
		}
	})
}

// TestSnapshotPause: the snapshot of a node that always changes is put at most every ten minutes.
func TestSnapshotPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReporting(t)
		r.moves = true
		r.laps(2 * time.Hour)
		if _, snapshots := r.fleet.counts(); snapshots < 11 || snapshots > 13 {
			t.Errorf("the snapshot was put %d times in two hours", snapshots)
		}
	})
}

// TestReportsAgain: what was put is put again after a connection has ended, and the snapshot too if the store was made anew.
func TestReportsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReporting(t)
		r.laps(15 * time.Minute)
		nodes, snapshots := r.fleet.counts()
		away := func(sequence uint64) {
			r.fleet.change(func() { r.fleet.link = FleetLink{Since: time.Now(), Err: errors.New("cut")} })
			<-time.After(2 * time.Minute)
			r.fleet.change(func() {
				r.fleet.link = FleetLink{Connected: true, Since: time.Now()}
				r.fleet.sequence = sequence
			})
			<-time.After(time.Minute)
			synctest.Wait()
		}
		away(r.fleet.sequence)
		if n, s := r.fleet.counts(); n != nodes+1 || s != snapshots {
			t.Errorf("after the connection was away: put %d more times, the snapshot %d", n-nodes, s-snapshots)
		}
		nodes, _ = r.fleet.counts()
		away(0)
		if n, s := r.fleet.counts(); n == nodes || s != snapshots+1 {
			t.Errorf("after the store was made anew: put %d more times, the snapshot %d", n-nodes, s-snapshots)
		}
	})
}

// TestReportFails: a report that fails is tried again with growing pauses, with the newest value, and the status says so.
func TestReportFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReporting(t)
		r.fleet.change(func() { r.fleet.err = errors.New("no answer") })
		r.laps(time.Hour)
		if s := r.Status().Fleet; s == nil || s.Error != "no answer" {
			t.Errorf("the status says %+v", s)
		}
		r.fleet.change(func() { r.fleet.err = nil })
		r.laps(2 * reportMost)
		if n, s := r.fleet.counts(); n == 0 || s != 1 || r.Status().Fleet.Error != "" {
			t.Errorf("put %d times, the snapshot %d times; the status says %+v", n, s, r.Status().Fleet)
		}
	})
}

// TestSnapshotFails: that a snapshot cannot be put makes nobody miss the node. The status says why.
func TestSnapshotFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReporting(t)
		r.fleet.change(func() { r.fleet.refused = errors.New("too large") })
		r.laps(time.Hour)
		began := time.Now()
		doc := nf.RolloutDocument{Generation: 6, Began: 5, Revision: "c2", State: nf.RolloutRolling}
		for _, state := range []nf.ProgressState{nf.ProgressBegun, nf.ProgressApplied} {
			r.reporter.Follower().change(func(is *Following) {
				is.Document, is.Since, is.Progress = doc, began, &nf.NodeProgress{Generation: 5, Revision: "c2", State: state}
			})
			r.laps(30 * time.Minute)
		}
		last := began
		for _, at := range r.fleet.nodes {
			if pause := at.Sub(last); at.After(began.Add(time.Minute)) && pause > rollout.WorkingHeartbeat {
				t.Errorf("a pause of %s at %s", pause, at.Sub(began))
			}
			last = at
		}
		if s := r.Status().Fleet; last.Before(began.Add(58*time.Minute)) || s.Error != "too large" {
			t.Errorf("the last was put at %s, and the status says %+v", last.Sub(began), s)
		}
		r.fleet.change(func() { r.fleet.refused = nil })
		r.laps(2 * snapshotMost)
		if _, s := r.fleet.counts(); s != 1 || r.Status().Fleet.Error != "" {
			t.Errorf("put %d snapshots, and the status says %+v", s, r.Status().Fleet)
		}
	})
}

// TestWorkingHeartbeat: a node that has begun in a roll-out which is judged is put every two minutes.
func TestWorkingHeartbeat(t *testing.T) {
	progress := func(state nf.ProgressState) *nf.NodeProgress {
		return &nf.NodeProgress{Generation: 5, Revision: "c2", State: state}
	}
	document := func(state nf.RolloutState) nf.RolloutDocument {
		return nf.RolloutDocument{Generation: 6, Began: 5, Revision: "c2", State: state, Plan: nf.RolloutPlan{Soak: 3600}}
	}
	for name, c := range map[string]struct {
		doc      nf.RolloutDocument
		progress *nf.NodeProgress
		watched  time.Duration // of two hours
	}{
		"begun":              {document(nf.RolloutRolling), progress(nf.ProgressBegun), 2 * time.Hour},
		"applied":            {document(nf.RolloutSoaking), progress(nf.ProgressApplied), 2 * time.Hour},
		"failed, and halted": {document(nf.RolloutHalted), progress(nf.ProgressFailed), 2 * time.Hour},
		"done":               {document(nf.RolloutDone), progress(nf.ProgressApplied), time.Hour},
		"aborted":            {document(nf.RolloutAborted), progress(nf.ProgressStuck), time.Hour},
		"waiting":            {document(nf.RolloutRolling), progress(nf.ProgressWaiting), 0},
		"unaffected":         {document(nf.RolloutRolling), progress(nf.ProgressUnaffected), 0},
		"of another one":     {document(nf.RolloutRolling), &nf.NodeProgress{Generation: 5, Revision: "c1", State: nf.ProgressApplied}, 0},
		"of an earlier one":  {document(nf.RolloutRolling), &nf.NodeProgress{Generation: 4, Revision: "c2", State: nf.ProgressApplied}, 0},
		"nothing":            {document(nf.RolloutRolling), nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newReporting(t)
				r.reporter.Follower().change(func(is *Following) { is.Document, is.Since, is.Progress = c.doc, time.Now(), c.progress })
				r.laps(2 * time.Hour)
				put, _ := r.fleet.counts()
				want := int(c.watched/rollout.WorkingHeartbeat + (2*time.Hour-c.watched)/rollout.Heartbeat)
				if put < want || put > want*5/4+3 {
					t.Errorf("put %d times in two hours, want some %d", put, want)
				}
				last := r.fleet.nodes[1:]
				for i := 1; i < len(last) && c.watched == 2*time.Hour; i++ {
					if pause := last[i].Sub(last[i-1]); pause > rollout.WorkingHeartbeat {
						t.Errorf("a pause of %s", pause)
					}
				}
			})
		})
	}
}
