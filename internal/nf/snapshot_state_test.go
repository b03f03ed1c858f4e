package nf

import (
	"testing"
)

// The states of prlctl(8) and vzlist(8). One that is none of the five is on its
// way, as what a later version may name.
func TestStates(t *testing.T) {
	for state, want := range map[string]struct{ runs, rests bool }{
		StateRunning: {runs: true}, StatePaused: {runs: true},
		StateStopped: {rests: true}, StateMounted: {rests: true}, StateSuspended: {rests: true},
		"starting": {}, "migrating": {}, "invalid": {}, "Running": {}, "": {},
	} {
		if runs, rests := Runs(state), Rests(state); runs != want.runs || rests != want.rests {
			t.Errorf("%q: runs %v, rests %v", state, runs, rests)
		}
	}
}
