package apply

import (
	"cmp"
	"slices"

	"nfsync.dev/nfsync/internal/nf"
)

// failurePlace is what one failure is remembered for.
type failurePlace struct {
	memoryPlace
	layer nf.Layer
	to    nf.Value
}

// failures returns the changes that could not be made when they were last tried: those of this
// run, and those of earlier runs that are still to be made and were not tried now.
func (r *run) failures(now existing) []nf.Failure {
	var list []nf.Failure
	left := r.leftToDo()
	for _, f := range r.memory.Failures {
		unseen := now.instances[f.Target.Nameless()] == "" && !now.vanished(f.Target) || f.Target.IsNode() && r.in.Only != nil || !r.in.Filter.Match(f.Target, f.Key)
		if unseen || left[failurePlace{placeOf(f.Target, f.Key), f.Layer, f.To}] && !now.ended(f.Target, f.Instance) {
			list = append(list, f)
		}
	}
	for _, a := range r.attempts {
		if a.failure != "" && a.result.Outcome != Applied {
			list = append(list, nf.Failure{Target: a.Target, Key: a.Key, Layer: a.Layer, To: a.To,
				Instance: r.node.instances[a.Target.Nameless()], At: r.started.UTC().Round(0), Why: a.failure, Receipt: r.id})
		}
	}
	slices.SortFunc(list, func(a, b nf.Failure) int {
		return cmp.Or(a.Target.Compare(b.Target), cmp.Compare(a.Key, b.Key), cmp.Compare(a.Layer, b.Layer))
	})
	return list
}

// leftToDo are the differences of the plan that this run did not try to close, or undid.
func (r *run) leftToDo() map[failurePlace]bool {
	left := map[failurePlace]bool{}
	add := func(t nf.Target, k nf.Key, l nf.Layer, to nf.Value) { left[failurePlace{placeOf(t, k), l, to}] = true }
	for _, a := range r.attempts {
		if a.failure == "" && a.result.Outcome != Applied && a.result.Outcome != Kept {
			add(a.Target, a.Key, a.Layer, a.To)
		}
	}
	for _, l := range r.left {
		add(l.Target, l.Key, l.Layer, l.To)
	}
	for _, d := range r.planned.Refusals {
		add(d.Target, d.Key, d.Layer, d.To)
	}
	for _, d := range r.planned.Pending {
		add(d.Target, d.Key, nf.LayerLive, d.To)
		if d.Key == nf.KeyLevel { // a restart that is another one's turn
			add(d.Target, nf.KeyRestart, nf.LayerLive, d.To)
		}
	}
	return left
}
