package diff

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"nfsync.dev/nfsync/internal/nf"
)

// Ten times the containers must not take anything like a hundred times the
// time; only the ratio is looked at, of the best of some runs.
func TestPlanIsNearLinear(t *testing.T) {
	cost := func(n int) time.Duration {
		s, list := fleet(n)
		best := time.Hour
		for range 7 {
			start := time.Now()
			Plan(nf.Wants{List: list}, s)
			best = min(best, time.Since(start))
		}
		return best
	}
	if small, large := cost(300), cost(3000); large > 40*small {
		t.Errorf("300 containers take %s, 3000 take %s", small, large)
	}
}

// fleet is a Virtuozzo node whose containers are all to be lowered before it.
func fleet(n int) (*nf.Snapshot, []nf.Want) {
	s := virtuozzo()
	base := s.Containers[0]
	s.Containers = nil
	list := []nf.Want{want(nf.Node, nf.KeyMax, nf.Number(1000))}
	for i := range n {
		c := base
		c.ID = fmt.Sprintf("%06d", i)
		c.Facts = slices.Clone(base.Facts)
		s.Containers = append(s.Containers, c)
		s.Memory.Keys = append(s.Memory.Keys, nf.MemoryKey{Target: c.Target(), Key: nf.TimeoutKey("udp"), Set: true})
		s.Memory.Latches = append(s.Memory.Latches, nf.Latch{Target: c.Target(), Instance: c.Instance})
		list = append(list, want(c.Target(), nf.KeyMax, nf.Number(500)), want(c.Target(), nf.TimeoutKey("udp"), nf.Number(60)))
	}
	return s, list
}
