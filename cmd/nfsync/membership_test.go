package main

import (
	"context"
	"testing"
	"time"

	"nfsync.dev/nfsync/internal/agent"
	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/state"
)

// shots is a fleet that counts the snapshots that are put.
type shots struct {
	agent.Fleet
	put int
}

func (s *shots) PutSnapshot(context.Context, []byte) (uint64, error) {
	s.put++
	return uint64(s.put), nil
}

// TestPutSnapshotOnce: agent --once puts a snapshot that has changed, or is a day old, and none within ten minutes.
func TestPutSnapshotOnce(t *testing.T) {
	t.Parallel()
	dir, err := state.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	fleet := &shots{}
	began := time.Now().Add(-48 * time.Hour)
	for _, c := range []struct {
		after time.Duration
		role  string
		want  int
	}{{0, "a", 1}, {time.Hour, "a", 1}, {2 * time.Hour, "b", 2}, {3 * time.Hour, "b", 2}, {27 * time.Hour, "b", 3}, {48*time.Hour - time.Minute, "c", 4}, {48 * time.Hour, "d", 4}} {
		m := &agent.Membership{Fleet: fleet, Channel: "main", CoordinatorKey: "U", Document: func(nf.Snapshot) ([]byte, error) { return nil, nil },
			Snapshot: func(context.Context, apply.LabelUse) (nf.Snapshot, error) {
				return nf.Snapshot{TakenAt: began.Add(c.after), Node: nf.NodeIdentity{Name: "hn-1", Labels: map[string]string{"role": c.role}}}, nil
			}}
		if err := putSnapshot(t.Context(), dir, m, nil); err != nil || fleet.put != c.want {
			t.Errorf("after %s: put %d times, want %d; %v", c.after, fleet.put, c.want, err)
		}
	}
}
