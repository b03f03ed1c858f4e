package main

import (
	"context"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/state"
)

// facts returns the facts of this node, with what nfsync remembers of it.
func (a *app) facts() apply.Facts {
	live := apply.Live(a.machine(a.host()), func() (nf.Memory, error) { return state.ReadMemory(a.stateDir) })
	return unconfirmedFacts{live, a.stateDir}
}

// unconfirmedFacts are the facts of a node, with a warning about changes that wait for a confirmation.
// The snapshot has it too, so that a plan from it is that of the node.
type unconfirmedFacts struct {
	apply.Facts
	stateDir string
}

// Observe also reads which run is open.
func (f unconfirmedFacts) Observe(ctx context.Context, listed nf.Snapshot, ask nf.Ask) (nf.Snapshot, error) {
	s, err := f.Facts.Observe(ctx, listed, ask)
	if err != nil {
		return s, err
	}
	run, _, err := state.ReadUnfinished(f.stateDir)
	if why := apply.OpenRun(run, s.BootID); err == nil && why != "" { // what cannot be read, apply reports
		s.Warnings = append(s.Warnings, nf.Warning{Code: nf.WarnUnconfirmed, Target: nf.Node, Message: why})
	}
	return s, nil
}
