package apply_test

import (
	"strings"
	"testing"
	"time"

	"nfsync.dev/nfsync/internal/nf"
)

// closed holds every restart.
func closed(time.Duration) string { return "outside the restart window" }

// What allowed a restart when it was planned is asked again before it, with the time
// that a restart of this run took. A window that ends in seven seconds has room for two
// restarts of three seconds.
func TestRestartWindowEnds(t *testing.T) {
	b := newVirtuozzo(t)
	b.restartBounds.Max = 4
	var all []nf.Target
	for _, id := range []string{"101", "102", "103", "104"} {
		c := b.addRunning(id)
		b.wantLevel(c, stateful, nf.RestartAllow)
		all = append(all, c)
	}
	b.tick = 0
	end := b.now.Add(7 * time.Second)
	b.restartBounds.Held = func(takes time.Duration) string {
		if b.now.Add(takes).After(end) {
			return "the window ends"
		}
		return ""
	}
	b.wrapped = beforeRestart{b.machine, func() {
		b.now = b.now.Add(3 * time.Second)
		if b.now.After(end) {
			t.Errorf("a restart ended %s late", b.now.Sub(end))
		}
	}}
	r := b.mustRun(0)
	if r.Summary.Skipped != 2 || r.Summary.Pending != 2 || len(r.Pending) != 2 || !strings.Contains(r.Pending[0].Reason, "the window ends") {
		t.Errorf("summary %+v, pending %+v", r.Summary, r.Pending)
	}
	b.checkLevels(all[1], stateful, stateful)
	b.checkLevels(all[2], full, stateful)
	if m := b.memory(); len(m.Restarts) != 2 {
		t.Errorf("remembered %+v", m.Restarts)
	}
	end = end.Add(time.Hour)
	b.mustRun(0)
	for _, c := range all {
		b.checkLevels(c, stateful, stateful)
		if b.restarts(c) != 1 {
			t.Errorf("%s was restarted %d times", c, b.restarts(c))
		}
	}
}
