package apply

import (
	"context"
	"slices"

	"nfsync.dev/nfsync/internal/diff"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/state"
)

// endedByRestart is the reason for live values of an instance that a restart has
// ended.
const endedByRestart = "the restart of its container has ended it: nothing of it is left"

// setAgain makes the changes that a container needs after its restart: it has a new
// namespace, with the node's limit and the kernel's timeouts. They are planned as any
// others, from what the new namespace reads, and undone without the restart.
func (r *run) setAgain(ctx context.Context, restart *attempt) error {
	t := restart.Target
	for _, a := range restart.unit.attempts {
		if a.touched && r.node.endedWithInstance(a) && a != restart {
			a.result.Reason = endedByRestart + "; what its new instance needs is made after it"
		}
	}
	wants := r.conntrackWants(t)
	r.node.readAll(ctx, wants)
	plan := diff.Plan(nf.Wants{List: wants}, r.node.snap)
	r.refused, r.again = append(r.refused, plan.Refusals...), append(r.again, plan.InSync...)
	first := len(r.attempts)
	var intents []state.Intent
	for _, c := range r.leave(plan.Changes) {
		a := r.attempt(len(r.attempts), c)
		r.attempts, intents = append(r.attempts, a), append(intents, r.intent(a))
	}
	if len(intents) == 0 {
		return nil
	}
	r.units = append(r.units, unitsOf(r.attempts[first:])...)
	if err := r.in.State.Intend(intents); err != nil {
		return err
	}
	return r.stepAll(ctx, first, len(r.attempts))
}

// conntrackWants returns the wants for the limits and timeouts of a target.
func (r *run) conntrackWants(t nf.Target) []nf.Want {
	return slices.DeleteFunc(slices.Clone(r.wants.List), func(w nf.Want) bool {
		return w.Target.Nameless() != t.Nameless() || !w.Key.Conntrack()
	})
}

// readAll reads the values that are wanted. One that cannot be read stays unknown.
func (n *node) readAll(ctx context.Context, wants []nf.Want) {
	for _, w := range wants {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), n.timeout)
		_ = n.refresh(ctx, nf.Change{Target: w.Target, Key: w.Key, Layer: nf.LayerLive})
		cancel()
	}
}

// stillRefused returns the refusals of the plan without those about the limits and timeouts
// of instances that a restart has ended: they were judged again.
func (r *run) stillRefused() []nf.Refusal {
	return slices.DeleteFunc(slices.Clone(r.planned.Refusals), func(f nf.Refusal) bool {
		_, ended := r.node.ended[f.Target.Nameless()]
		return ended && f.Key.Conntrack() && f.Layer == nf.LayerLive
	})
}
