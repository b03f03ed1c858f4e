package agent

import (
	"fmt"
	"slices"
	"time"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/nf"
)

// brake bounds the restarts of a lap by those of the laps before it: events wake laps in quick
// succession, a restart is one, and Max bounds what the laps of one interval of drift restart together.
func (a *Agent) brake(bounds apply.Restarts) apply.Restarts {
	a.forgetRestarts()
	most, made := max(bounds.Max, 1), len(a.restarted)
	if made < most {
		bounds.Max = most - made
		return bounds
	}
	next := a.restarted[made-most].Add(a.setup.Drift)
	bounds.Held = func(time.Duration) string {
		return fmt.Sprintf("restart.maxRestarts allows %d within %s: the next one may begin at %s", most, a.setup.Drift, next.UTC().Format(time.DateTime))
	}
	return bounds
}

// forgetRestarts forgets the restarts that do not count any more.
func (a *Agent) forgetRestarts() {
	a.restarted = slices.DeleteFunc(a.restarted, func(at time.Time) bool { return time.Since(at) >= a.setup.Drift })
}

// countRestarts records the restarts that a run has made.
func (a *Agent) countRestarts(r apply.Receipt) {
	for _, result := range r.Results {
		if result.Key == nf.KeyRestart && slices.Contains([]apply.Outcome{apply.Applied, apply.Kept, apply.Stuck}, result.Outcome) {
			a.restarted = append(a.restarted, time.Now())
		}
	}
}
