package diff

import "nfsync.dev/nfsync/internal/nf"

// lastFailure returns what is remembered of the same change, if it could not be made in this
// instance of its target.
func (w *World) lastFailure(d *difference) *nf.LastFailure {
	f, ok := w.failures[failureRef{memoryRef(d.want.Target, d.want.Key), d.layer}]
	if !ok || f.To != d.to || f.Instance != w.instance(d.want.Target) {
		return nil
	}
	return f.Last()
}

// cause returns why a change is needed: the first cause that fits.
func (w *World) cause(want *nf.Want) nf.Cause {
	key := want.Key
	if key == nf.KeyRestart { // made for the level
		key = nf.KeyLevel
	}
	m, known := w.at(want.Target).remembered(key)
	switch {
	case !known:
		return nf.CauseNew
	case m.Asked != want.Wish:
		return nf.CausePolicy
	case m.Instance != w.instance(want.Target):
		return nf.CauseRestart
	case want.Key == nf.KeyRestart && w.isSaved(want):
		return nf.CausePolicy // it has waited: the live level of an instance does not move
	}
	return nf.CauseDrift
}

// isSaved reports whether the level that a container is to have was saved before this plan.
func (w *World) isSaved(want *nf.Want) bool {
	_, c, _ := w.snap.Find(want.Target)
	saved := c.Fact(nf.KeyLevel).Boot
	return saved != nil && *saved == want.Wish.Value
}
