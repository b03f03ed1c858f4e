package apply_test

import (
	"context"
	"strings"
	"testing"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/host/hosttest"
	"nfsync.dev/nfsync/internal/nf"
)

// lastResult returns the last result of a target's key.
func lastResult(r apply.Receipt, t nf.Target, k nf.Key) (last apply.Result) {
	for _, result := range r.Results {
		if result.Target == t && result.Key == k {
			last = result
		}
	}
	return last
}

// What is set in a container ends with its instance. A run that restarts it sets all of it
// in the new one, also what was in sync before.
func TestRestartSetsLimitsAgain(t *testing.T) {
	b := newVirtuozzo(t)
	web := b.addRunning("101")
	b.machine.Put(web, icmp, 60)
	b.wantLevel(web, stateful, nf.RestartAllow)
	b.wantNumber(web, nf.KeyMax, 50000)
	b.wantNumber(web, icmp, 60) // in sync
	b.wantNumber(web, udp, 30)  // the kernel's default: in sync before and after
	b.wantNumber(web, generic, 0x7fffffff)
	b.wants[len(b.wants)-1].Rivals = []nf.Rival{{Wish: nf.Exactly(nf.Number(1))}}
	r := b.mustRun(3)
	b.checkValue(web, nf.KeyMax, 50000)
	b.checkValue(web, icmp, 60)
	b.checkCalls("101 conntrack.max live 50000", "101 level boot stateful", "101 restart live stateful",
		"101 conntrack.max live 50000", "101 conntrack.timeouts.icmp live 60")
	if got := b.checkOutcome(r, web, nf.KeyMax, apply.Applied); !strings.Contains(got.Reason, "the restart of its container has ended it") {
		t.Errorf("%+v", got)
	}
	if last := lastResult(r, web, nf.KeyMax); last.Outcome != apply.Applied || last.From != nf.Number(262144) || last.Reason != "" {
		t.Errorf("%+v", last)
	}
	if len(r.Refusals) != 1 || r.Summary.Applied != 5 {
		t.Errorf("refused %+v, %+v", r.Refusals, r.Summary)
	}
	for _, k := range b.memory().Keys {
		if k.Instance != b.instance(web) {
			t.Errorf("%+v", k)
		}
	}
	made := len(b.calls())
	if r := b.mustRun(3); len(r.Results) != 0 || len(b.calls()) != made {
		t.Errorf("the second run: %+v", r.Results)
	}
}

// A value that cannot be set after the restart fails as any other: the exit code says so,
// and the restart and the level stay.
func TestRestartThenFailure(t *testing.T) {
	b := newVirtuozzo(t)
	web := b.addRunning("101")
	b.wantLevel(web, stateful, nf.RestartAllow)
	b.wantNumber(web, nf.KeyMax, 50000)
	b.wantNumber(web, udp, 60)
	b.machine.Inject(hosttest.Fault{Op: hosttest.OpSet, Key: udp, Skip: 1})
	r := b.mustRun(5)
	b.checkOutcome(r, web, nf.KeyRestart, apply.Applied)
	if last := lastResult(r, web, nf.KeyMax); last.Outcome != apply.Undone {
		t.Errorf("%+v", last)
	}
	b.checkLevels(web, stateful, stateful)
	b.checkValue(web, nf.KeyMax, 262144)
	b.machine.Heal()
	r = b.mustRun(0)
	if got := b.checkOutcome(r, web, nf.KeyMax, apply.Applied); got.Cause != nf.CauseRestart {
		t.Errorf("the cause is %s", got.Cause)
	}
	b.checkValue(web, udp, 60)
	if b.restarts(web) != 1 {
		t.Error("restarted again")
	}
}

// A run that is stopped during a restart finishes that; the values are for the next run.
func TestStoppedDuringRestartWithLimits(t *testing.T) {
	b := newVirtuozzo(t)
	web := b.addRunning("101")
	b.wantLevel(web, stateful, nf.RestartAllow)
	b.wantNumber(web, udp, 60)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	b.wrapped = beforeRestart{b.machine, cancel}
	r, err := apply.Run(ctx, b.input())
	if err == nil || !r.Interrupted {
		t.Fatalf("%v, %+v", err, r)
	}
	if last := lastResult(r, web, udp); last.Outcome != apply.Skipped {
		t.Errorf("%+v", last)
	}
	b.wrapped = nil
	b.mustRun(0)
	b.checkValue(web, udp, 60)
}
