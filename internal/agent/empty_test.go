package agent_test

import (
	"errors"
	"testing"

	"nfsync.dev/nfsync/internal/agent"
)

// TestEmptied: a revision without policies is invalid, and the last good one stays in force.
func TestEmptied(t *testing.T) {
	b := newBench(t)
	b.mustFollowTip()
	b.repo.commitText("c2", "c1", "# nothing\n")
	missed := b.mustFallBack().Missed
	var invalid *agent.InvalidError
	if !errors.As(missed, &invalid) || invalid.Diagnostics[0].String() != "policies:1:1: there is no policy here: 1 file was read" {
		t.Errorf("missed: %v", missed)
	}
	b.checkSaved("c1", "c1")
}

// TestAllowEmpty: where that is allowed, it becomes the last good one.
func TestAllowEmpty(t *testing.T) {
	b := newBench(t)
	b.mustFollowTip()
	b.in.AllowEmpty = true
	b.repo.commitText("c2", "c1", "")
	b.mustFollowTip()
	b.checkSaved("c2", "c2")
}
