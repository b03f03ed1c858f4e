package main

import (
	"context"
	"errors"
	"io/fs"

	"nfsync.dev/nfsync/internal/diff"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/spec"
	"nfsync.dev/nfsync/internal/state"
)

// planLive plans the policies on this node, which it only looks at.
func (a *app) planLive(ctx context.Context, p spec.Policies, restarts nf.Restarts) (nf.Plan, error) {
	m := a.machine(a.host())
	listed, err := m.List(ctx)
	if err != nil {
		return nf.Plan{}, err
	}
	wants := p.Resolve(&listed)
	wants.Restarts = restarts
	s, err := m.Observe(ctx, diff.Ask(wants))
	if err != nil {
		return nf.Plan{}, err
	}
	if err := a.remember(&s); err != nil {
		return nf.Plan{}, err
	}
	return diff.Plan(wants, &s), nil
}

// planSnapshot plans the policies on the node that a snapshot describes.
func planSnapshot(p spec.Policies, s *nf.Snapshot) nf.Plan { return diff.Plan(p.Resolve(s), s) }

// remember puts into s what nfsync remembers of earlier runs. Memory that this
// user may not read is a warning: without it every difference is new.
func (a *app) remember(s *nf.Snapshot) error {
	memory, err := state.ReadMemory(a.stateDir)
	if errors.Is(err, fs.ErrPermission) {
		s.Warnings = append(s.Warnings, nf.Warning{
			Code: nf.WarnMemoryUnreadable, Target: nf.Node,
			Message: "what nfsync remembers of earlier runs cannot be read, so every difference looks new: " + err.Error(),
		})
		return nil
	}
	s.Memory = memory
	return err
}
