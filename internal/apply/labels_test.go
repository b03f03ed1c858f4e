package apply_test

import (
	"context"
	"strings"
	"testing"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/nf"
)

// byLabel wants a value of each container that has the label app=web, as a policy does.
func byLabel(listed *nf.Snapshot) (w nf.Wants) {
	for i := range listed.Containers {
		if c := &listed.Containers[i]; c.Labels["app"] == "web" {
			w.List = append(w.List, nf.Want{Target: c.Target(), Key: udp, Wish: nf.Exactly(nf.Number(42)), Source: nf.Source{Name: "p", File: "p.yaml", Line: 1, Column: 1}})
		}
	}
	return w
}

func labelled(t *testing.T) (b *bench, web, db nf.Target) {
	b = newBench(t)
	web, db = b.machine.AddContainerOf(nf.RuntimeDocker, "web"), b.machine.AddContainerOf(nf.RuntimePodman, "db")
	b.machine.AddContainer("netns")
	b.machine.SetLabels(web, map[string]string{"app": "web"})
	b.machine.SetLabelsUnknown(db, "no socket")
	return b, web, db
}

func none(nf.NodeIdentity) bool { return false }

// TestLabelsOnlyIfNeeded: the machine is asked for labels between its listing and the policies, once for
// a plan, and only if they need it.
func TestLabelsOnlyIfNeeded(t *testing.T) {
	for name, test := range map[string]struct {
		use   apply.LabelUse
		asked int
	}{"no policies": {nil, 0}, "policies without labels": {none, 0}, "policies with labels": {apply.AllLabels, 1}} {
		t.Run(name, func(t *testing.T) {
			b, web, db := labelled(t)
			q := b.question(apply.MemoryOf(b.state))
			q.Wants, q.Labels = byLabel, test.use
			plan, err := apply.Plan(context.Background(), q)
			if err != nil || len(plan.Changes) != test.asked || b.machine.Labelled() != test.asked {
				t.Errorf("%d changes, asked %d times, %v", len(plan.Changes), b.machine.Labelled(), err)
			}
			in := b.input()
			in.Wants, in.Labels = byLabel, test.use
			if _, err := apply.Run(context.Background(), in); err != nil {
				t.Fatal(err)
			}
			if b.machine.Labelled() != 2*test.asked {
				t.Errorf("asked %d times", b.machine.Labelled())
			}
			if set := b.machine.Value(web, udp) == nf.Number(42); set != (test.asked == 1) || b.machine.Value(db, udp) == nf.Number(42) {
				t.Errorf("web has %s, db %s", b.machine.Value(web, udp), b.machine.Value(db, udp))
			}
		})
	}
}

// TestLabelsOfOnly: a run for some containers asks for the labels of these.
func TestLabelsOfOnly(t *testing.T) {
	b, web, _ := labelled(t)
	in := b.input()
	in.Wants, in.Labels = func(listed *nf.Snapshot) nf.Wants {
		if len(listed.Containers) != 1 || listed.Containers[0].Labels["app"] != "web" {
			t.Errorf("%+v", listed.Containers)
		}
		return byLabel(listed)
	}, apply.AllLabels
	in.Only = func(c *nf.Container) bool { return c.Target() == web }
	if _, err := apply.Run(context.Background(), in); err != nil || b.machine.Value(web, udp) != nf.Number(42) {
		t.Errorf("%s, %v", b.machine.Value(web, udp), err)
	}
}

// TestSnapshotLabels: a snapshot has the labels, and the plan from it is that of the node. One that was
// taken without them says so of each container that may have labels.
func TestSnapshotLabels(t *testing.T) {
	ctx := context.Background()
	b, _, _ := labelled(t)
	facts := apply.Live(b.machine, apply.MemoryOf(b.state))
	q := b.question(apply.MemoryOf(b.state))
	q.Wants, q.Labels = byLabel, apply.AllLabels
	live, err := apply.Plan(ctx, q)
	if err != nil {
		t.Fatal(err)
	}
	s, err := apply.Snapshot(ctx, facts, apply.AllLabels)
	if err != nil {
		t.Fatal(err)
	}
	q.Facts = apply.Recorded(s)
	if recorded, err := apply.Plan(ctx, q); err != nil || recorded.ID != live.ID || len(recorded.Changes) != 1 {
		t.Errorf("plans %s and %s, %v", live.ID, recorded.ID, err)
	}
	asked := b.machine.Labelled()
	for name, use := range map[string]apply.LabelUse{"no policies": nil, "policies without labels": none} {
		s, err := apply.Snapshot(ctx, facts, use)
		if err != nil || b.machine.Labelled() != asked {
			t.Fatalf("%s: asked %d times, %v", name, b.machine.Labelled(), err)
		}
		for _, c := range s.Containers {
			if unknown := strings.Contains(c.LabelsUnknown, "without labels"); unknown != nf.HasLabels(c.Runtime) || len(c.Labels) > 0 {
				t.Errorf("%s: %s has %v, unknown: %q", name, c.Target(), c.Labels, c.LabelsUnknown)
			}
		}
	}
	listed, err := apply.List(ctx, b.machine, none)
	if err != nil || listed.Containers[0].Labels != nil {
		t.Errorf("%+v, %v", listed.Containers, err)
	}
	if listed, err = apply.List(ctx, b.machine, apply.AllLabels); err != nil || listed.Containers[0].Labels["app"] != "web" {
		t.Errorf("%+v, %v", listed.Containers, err)
	}
}

// TestMachineWithoutLabels: labels are asked of a machine that has them.
func TestMachineWithoutLabels(t *testing.T) {
	b, _, _ := labelled(t)
	q := b.question(apply.MemoryOf(b.state))
	q.Facts = apply.Live(struct{ apply.Observer }{b.machine}, apply.MemoryOf(b.state))
	q.Wants, q.Labels = byLabel, apply.AllLabels
	if plan, err := apply.Plan(context.Background(), q); err != nil || len(plan.Changes) != 0 || b.machine.Labelled() != 0 {
		t.Errorf("%+v, %v", plan.Changes, err)
	}
}
