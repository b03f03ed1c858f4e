package diff

import (
	"cmp"
	"slices"

	"nfsync.dev/nfsync/internal/nf"
)

// Effective returns what is wanted of each key, and what a plan makes of it, with the warnings of
// the plan.
func Effective(wants nf.Wants, s *nf.Snapshot) ([]nf.EffectiveKey, []nf.Warning) {
	p, all := plan(wants, s)
	type place struct {
		target nf.Target // nameless
		key    nf.Key
	}
	now := NewWorld(s) // that of the plan holds what it brings
	at := map[place]int{}
	list := []nf.EffectiveKey{}
	for _, want := range all {
		live := nf.Change{Target: want.Target, Key: want.Key, Layer: nf.LayerLive, To: want.Wish.Value}
		saved := live
		saved.Layer = nf.LayerBoot
		at[place{want.Target.Nameless(), want.Key}] = len(list)
		list = append(list, nf.EffectiveKey{Target: want.Target, Key: want.Key, Live: now.Value(live), Saved: now.Value(saved), Wanted: want.Wish,
			Source: want.Source, Lost: append([]nf.Rival{}, want.Lost...), State: nf.KeyInSync})
	}
	find := func(t nf.Target, k nf.Key) *nf.EffectiveKey {
		if k == nf.KeyRestart {
			k = nf.KeyLevel
		}
		if i, ok := at[place{t.Nameless(), k}]; ok {
			return &list[i]
		}
		return &nf.EffectiveKey{} // no policy wants it
	}
	for _, c := range p.plan.Changes {
		find(c.Target, c.Key).State = nf.KeyDiffers
	}
	for _, d := range p.plan.Pending {
		e := find(d.Target, d.Key)
		e.State, e.Reason, e.Until = nf.KeyPending, d.Reason, d.Until
	}
	for _, r := range p.plan.Refusals {
		e := find(r.Target, r.Key)
		e.State, e.Code, e.Reason, e.Until = nf.KeyRefused, r.Code, r.Reason, r.Until
	}
	slices.SortStableFunc(list, func(a, b nf.EffectiveKey) int {
		return cmp.Or(a.Target.Compare(b.Target), cmp.Compare(a.Key, b.Key))
	})
	return list, p.plan.Warnings
}
