package apply_test

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"testing"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/nf"
)

func (b *bench) question(memory func() (nf.Memory, error)) apply.Question {
	return apply.Question{Facts: apply.Live(b.machine, memory), Wants: b.input().Wants, Revision: "rev"}
}

// The plan of the live node, the plan from its snapshot and the plan of a run are
// the same.
func TestOnePlan(t *testing.T) {
	ctx := context.Background()
	b := newBench(t)
	b.wantNumber(nf.Node, udp, 30)
	b.mustRun(0)
	b.wantNumber(nf.Node, icmp, 20)
	live, err := apply.Plan(ctx, b.question(apply.MemoryOf(b.state)))
	if err != nil {
		t.Fatal(err)
	}
	s, err := apply.Observe(ctx, apply.Live(b.machine, apply.MemoryOf(b.state)), func(*nf.Snapshot) nf.Ask { return nf.Ask{All: true} })
	if err != nil {
		t.Fatal(err)
	}
	q := b.question(nil)
	q.Facts = apply.Recorded(s)
	recorded, err := apply.Plan(ctx, q)
	if err != nil {
		t.Fatal(err)
	}
	run := b.mustRun(0)
	if live.ID != recorded.ID || live.ID != run.Plan || live.Revision != "rev" || recorded.Revision != "rev" {
		t.Errorf("plans %s, %s and %s of the revisions %q and %q", live.ID, recorded.ID, run.Plan, live.Revision, recorded.Revision)
	}
	if len(live.Changes) != 1 || live.Changes[0].Key != icmp || live.Changes[0].Cause != nf.CauseNew || live.Summary != recorded.Summary {
		t.Errorf("%+v, %+v", live.Changes, recorded.Summary)
	}
}

// Memory that this user may not read is a warning for each caller. Any other error
// of memory is an error.
func TestMemoryUnreadable(t *testing.T) {
	ctx := context.Background()
	b := newBench(t)
	b.wantNumber(nf.Node, udp, 30) // in sync
	plan, err := apply.Plan(ctx, b.question(apply.MemoryOf(nil)))
	if err != nil {
		t.Fatal(err)
	}
	in := b.input()
	in.State, in.NoState = nil, errors.New("EACCES")
	receipt, err := apply.Run(ctx, in)
	if err != nil {
		t.Fatal(err)
	}
	for caller, warnings := range map[string][]nf.Warning{"plan": plan.Warnings, "run": receipt.Warnings} {
		if !slices.ContainsFunc(warnings, func(w nf.Warning) bool { return w.Code == nf.WarnMemoryUnreadable && w.Message != "" }) {
			t.Errorf("%s: warnings %+v", caller, warnings)
		}
	}
	damaged := errors.New("damaged")
	if _, err := apply.Plan(ctx, b.question(func() (nf.Memory, error) { return nf.Memory{}, damaged })); !errors.Is(err, damaged) {
		t.Errorf("error %v", err)
	}
	wrapped := &fs.PathError{Op: "open", Path: "memory", Err: fs.ErrPermission}
	if plan, err = apply.Plan(ctx, b.question(func() (nf.Memory, error) { return nf.Memory{}, wrapped })); err != nil || len(plan.Warnings) == 0 {
		t.Errorf("%+v, %v", plan.Warnings, err)
	}
}
