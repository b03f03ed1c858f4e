package nf_test

import (
	"testing"

	"nfsync.dev/nfsync/internal/nf"
)

// The states of prlctl(8) and vzlist(8). One that is none of the five is on its
// way, as what a later version may name.
func TestStates(t *testing.T) {
	for state, want := range map[string]struct{ runs, rests bool }{
		nf.StateRunning: {runs: true}, nf.StatePaused: {runs: true},
		nf.StateStopped: {rests: true}, nf.StateMounted: {rests: true}, nf.StateSuspended: {rests: true},
		"starting": {}, "migrating": {}, "invalid": {}, "Running": {}, "": {},
	} {
		if runs, rests := nf.Runs(state), nf.Rests(state); runs != want.runs || rests != want.rests {
			t.Errorf("%q: runs %v, rests %v", state, runs, rests)
		}
	}
}
