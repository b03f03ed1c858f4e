package diff

import (
	"testing"
	"time"

	"nfsync.dev/nfsync/internal/nf"
)

// TestLastFailure: a change says that it failed when it was last tried, if it is the same change
// of the same instance. The id does not depend on it.
func TestLastFailure(t *testing.T) {
	udp := nf.TimeoutKey("udp")
	failure := nf.Failure{Target: nf.Node, Key: udp, Layer: nf.LayerLive, To: nf.Number(45), Instance: "boot-1",
		At: time.Date(2026, 3, 1, 11, 0, 0, 0, time.UTC), Why: "input/output error", Receipt: "1"}
	plan := func(change func(f *nf.Failure)) nf.Plan {
		f := failure
		s := &nf.Snapshot{BootID: "boot-1", Host: nf.Namespace{Facts: []nf.Fact{{Key: udp, Live: nf.Number(30)}}}}
		if change != nil {
			change(&f)
			s.Memory.Failures = []nf.Failure{f}
		}
		return Plan(nf.Wants{List: []nf.Want{{Target: nf.Node, Key: udp, Wish: nf.Exactly(nf.Number(45))}}}, s)
	}
	without := plan(nil)
	for name, c := range map[string]struct {
		change func(f *nf.Failure)
		want   bool
	}{
		"the same":         {func(*nf.Failure) {}, true},
		"another value":    {func(f *nf.Failure) { f.To = nf.Number(60) }, false},
		"another layer":    {func(f *nf.Failure) { f.Layer = nf.LayerBoot }, false},
		"another instance": {func(f *nf.Failure) { f.Instance = "boot-0" }, false},
		"another key":      {func(f *nf.Failure) { f.Key = nf.TimeoutKey("icmp") }, false},
	} {
		p := plan(c.change)
		if len(p.Changes) != 1 || p.ID != without.ID {
			t.Fatalf("%s: %d changes, id %s, want %s", name, len(p.Changes), p.ID, without.ID)
		}
		switch last := p.Changes[0].LastFailure; {
		case (last != nil) != c.want:
			t.Errorf("%s: %+v", name, last)
		case c.want && *last != (nf.LastFailure{At: failure.At, Why: failure.Why, Receipt: failure.Receipt}):
			t.Errorf("%s: %+v", name, last)
		}
	}
}
