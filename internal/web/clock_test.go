package web

import (
	"strings"
	"testing"
)

// TestAliveWhateverTheClockSays: the time since the loop came round is that of the monotonic clock,
// which nobody sets.
func TestAliveWhateverTheClockSays(t *testing.T) {
	var p Public
	p.Alive()
	if at := p.beat.Load().String(); !strings.Contains(at, " m=") {
		t.Errorf("%s has no reading of the monotonic clock", at)
	}
}
