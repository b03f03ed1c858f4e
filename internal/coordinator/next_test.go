package coordinator

import (
	"strings"
	"testing"
	"time"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/rollout"
)

// TestWhatBegins decides which newest commits begin a roll-out.
func TestWhatBegins(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)
	node := func(generation uint64) []nf.HeardNode {
		return []nf.HeardNode{{Heard: now, FleetNode: nf.FleetNode{Node: "hn-1", Channel: "main", Generation: generation}}}
	}
	first, _ := situation{head: &head{commit: commit(1), plan: nf.DefaultRolloutPlan()}, channel: "main", coordinator: "a", seed: "one", nodes: node(0), now: now}.next()
	first.State = nf.RolloutDone
	aborted, withdrawn := first, first
	aborted.State, aborted.Reason = nf.RolloutAborted, "aborted by ann"
	withdrawn.Withdrawn = []string{commit(2)}
	for what, c := range map[string]struct {
		doc     *nf.RolloutDocument
		head    *head
		known   uint64
		want    string // the revision; empty: nothing is written
		began   uint64
		state   nf.RolloutState
		recover bool
	}{
		"the first commit":                         {nil, &head{commit: commit(1)}, 0, commit(1), 1, nf.RolloutRolling, false},
		"no commit":                                {nil, nil, 0, "", 0, "", false},
		"a lost document, and no commit":           {nil, nil, 7, "", 0, "", false},
		"a lost document":                          {nil, &head{commit: commit(1)}, 7, commit(1), 7 + rollout.Unheard, nf.RolloutHalted, true},
		"a commit that was fetched for a lost one": {nil, &head{commit: commit(2), after: commit(1)}, 0, "", 0, "", false},
		"the same commit":                          {&first, &head{commit: commit(1), after: commit(1)}, 1, "", 0, "", false},
		"a new commit":                             {&first, &head{commit: commit(2), after: commit(1)}, 1, commit(2), 2, nf.RolloutRolling, false},
		"a commit that descends from another one":  {&first, &head{commit: commit(2), after: commit(3)}, 1, "", 0, "", false},
		"a commit of before there was a document":  {&first, &head{commit: commit(2)}, 1, "", 0, "", false},
		"a withdrawn commit":                       {&withdrawn, &head{commit: commit(2), after: commit(1)}, 1, "", 0, "", false},
		"an older document":                        {&first, &head{commit: commit(1), after: commit(1)}, 9, commit(1), 1, nf.RolloutHalted, true},
		"an older document, and a new commit":      {&first, &head{commit: commit(2), after: commit(1)}, 9, commit(2), 10 + rollout.Unheard, nf.RolloutHalted, true},
		"an older one that is aborted, no commit":  {&aborted, &head{commit: commit(1), after: commit(1)}, 9, commit(1), 1, nf.RolloutHalted, true},
		"an older one that is aborted":             {&aborted, &head{commit: commit(2), after: commit(1)}, 9, commit(2), 10 + rollout.Unheard, nf.RolloutHalted, true},
	} {
		s := situation{doc: c.doc, nodes: node(c.known), head: c.head, channel: "main", coordinator: "a", seed: "two", now: now}
		if s.head != nil {
			s.head.plan = nf.DefaultRolloutPlan()
		}
		next, changed := s.next()
		switch {
		case changed != (c.want != ""):
			t.Errorf("%s: changed is %v: %+v", what, changed, next)
		case !changed:
		case next.Revision != c.want || next.Began != c.began || next.State != c.state || next.Recovered != c.recover || len(next.Withdrawn) > 0:
			t.Errorf("%s: %+v", what, next)
		case c.recover && !strings.Contains(next.Reason, "hn-1 has had generation"):
			t.Errorf("%s: the reason is %q", what, next.Reason)
		case next.Generation < max(c.known, next.Began) || c.doc != nil && next.Generation <= c.doc.Generation:
			t.Errorf("%s: generation %d, began %d, known %d", what, next.Generation, next.Began, c.known)
		case next.Coordinator != "a" || next.Term != 1 || next.Channel != "main" || !next.UpdatedAt.Equal(now):
			t.Errorf("%s: who wrote it: %+v", what, next)
		}
	}
	taken, changed := situation{doc: &first, nodes: node(1), channel: "main", coordinator: "b", now: now}.next()
	if !changed || taken.Term != 2 || taken.Coordinator != "b" || taken.Generation != 2 || taken.Began != 1 || taken.State != nf.RolloutDone {
		t.Errorf("taken over: %+v", taken)
	}
}
