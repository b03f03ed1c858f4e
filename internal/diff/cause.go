package diff

import "nfsync.dev/nfsync/internal/nf"

// cause returns why a change is needed: the first cause that fits.
func (w *World) cause(want nf.Want) nf.Cause {
	key := want.Key
	if key == nf.KeyRestart { // made for the level
		key = nf.KeyLevel
	}
	m, known := w.mem[memoryRef(want.Target, key)]
	switch {
	case !known:
		return nf.CauseNew
	case m.Asked != want.Wish:
		return nf.CausePolicy
	case m.Instance != w.instance(want.Target):
		return nf.CauseRestart
	}
	return nf.CauseDrift
}
