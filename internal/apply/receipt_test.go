package apply_test

import (
	"testing"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/host/hosttest"
	"nfsync.dev/nfsync/internal/nf"
)

// A level that could not be saved waits for no cold start: none would bring it. The
// receipt has its failure, and the levels of other containers that were saved.
func TestPendingIsWhatWasSaved(t *testing.T) {
	for name, restart := range map[string]nf.Restart{"stage": nf.RestartStage, "allow": nf.RestartAllow} {
		t.Run(name, func(t *testing.T) {
			b := newVirtuozzo(t)
			web, mail := b.addRunning("101"), b.addRunning("102")
			b.wantLevel(web, stateful, restart)
			b.wantLevel(mail, stateful, restart)
			b.restartBounds.Held = closed
			b.machine.Inject(hosttest.Fault{Op: hosttest.OpSet, Target: web, Layer: nf.LayerBoot, Times: 1})
			r := b.mustRun(5)
			b.checkOutcome(r, web, nf.KeyLevel, apply.Failed)
			if len(r.Pending) != 1 || r.Pending[0].Target != mail || r.Summary.Pending != 1 {
				t.Errorf("pending %+v, summary %+v", r.Pending, r.Summary)
			}
			if r := b.mustRun(0); len(r.Pending) != 2 {
				t.Errorf("pending %+v", r.Pending)
			}
		})
	}
}
