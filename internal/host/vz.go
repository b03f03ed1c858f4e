package host

import (
	"context"
	"fmt"
	"slices"

	"nfsync.dev/nfsync/internal/netns"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/vz"
)

// vz returns the runtime of Virtuozzo's containers.
func (m *Machine) vz(bootID string) (vz.Runtime, error) {
	own, err := m.nodeNamespaces()
	return vz.Runtime{Root: m.cfg.VZRoot, Proc: m.cfg.FS.Proc, BootID: bootID, NodeNamespaces: own, Timeouts: m.cfg.VZTimeouts, Inherit: m.cfg.Inherit}, err
}

// Virtuozzo returns what was found of Virtuozzo on the node. It runs nothing.
func (c Config) Virtuozzo() vz.Found { return vz.Runtime{Root: c.VZRoot, Proc: c.FS.Proc}.Found() }

// listVZ lists the containers of Virtuozzo, and returns their namespaces, which the netns
// runtime must not list again.
func (m *Machine) listVZ(ctx context.Context, s *nf.Snapshot, runtime vz.Runtime) ([]netns.Identity, error) {
	if !m.enabled(nf.RuntimeVZ) {
		s.Capabilities.Latches = runtime.Latches()
		return nil, nil
	}
	node, err := runtime.List(ctx)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		s.Warnings = append(s.Warnings, nf.Warning{Code: nf.WarnRuntimeBroken, Target: nf.Node, Message: err.Error()})
	}
	s.Capabilities.Masks, s.Capabilities.Latches = node.Latches == nf.Yes, node.Latches
	s.Containers = append(s.Containers, node.Containers...)
	s.Warnings = append(s.Warnings, node.Warnings...)
	return node.Namespaces, nil
}

// refreshVZ re-reads the instance, the state and the level of a container of
// Virtuozzo. If the key is a restart, another instance than before is accepted:
// nothing is known of its namespace yet. Otherwise it is nf.ErrGone.
func (m *Machine) refreshVZ(bootID string, at *nf.Container, k nf.Key) error {
	fresh, _, err := m.currentVZ(bootID, at)
	switch {
	case isGone(err):
		return err
	case err != nil:
		at.Unobservable = err.Error()
		return nil
	case fresh.Instance == at.Instance:
	case k == nf.KeyRestart:
		fresh.MaxScope, fresh.Namespace = "", nf.Namespace{Keepers: at.Keepers, Facts: []nf.Fact{fresh.Fact(nf.KeyLevel)}}
	default:
		return fmt.Errorf("cannot read %s, which is another instance now: %w", at.Target(), nf.ErrGone)
	}
	fresh.Excluded = fresh.Unobservable
	*at = fresh
	return nil
}

// currentVZ returns a container of Virtuozzo as it is now, and its runtime.
func (m *Machine) currentVZ(bootID string, was *nf.Container) (nf.Container, vz.Runtime, error) {
	now := *was
	now.Facts = slices.Clone(was.Facts)
	now.Unobservable = was.Excluded // an earlier failure to read a fact may be over
	runtime, err := m.vz(bootID)
	if err == nil {
		err = runtime.Refresh(&now)
	}
	return now, runtime, err
}

// changeVZ calls change with a container of Virtuozzo as it is now. It returns nf.ErrGone
// if the instance is another than that of the snapshot.
func (m *Machine) changeVZ(s *nf.Snapshot, t nf.Target, change func(vz.Runtime, *nf.Container) error) error {
	was, err := containerOf(s, t)
	if err != nil {
		return err
	}
	now, runtime, err := m.currentVZ(s.BootID, was)
	switch {
	case err != nil:
		return err
	case now.Instance != was.Instance:
		return fmt.Errorf("cannot change %s, which is another instance now: %w", t, nf.ErrGone)
	}
	return change(runtime, &now)
}

// saveLevel saves the level of a container's next cold start.
func (m *Machine) saveLevel(ctx context.Context, s *nf.Snapshot, c nf.Change) error {
	return m.changeVZ(s, c.Target, func(runtime vz.Runtime, now *nf.Container) error {
		level, ok := c.To.Level()
		if !ok {
			return fmt.Errorf("cannot save the level of %s: %q is no level that can be saved by name", c.Target, c.To)
		}
		return runtime.SaveLevel(ctx, now, level)
	})
}

// restart restarts a container, which must be running.
func (m *Machine) restart(ctx context.Context, s *nf.Snapshot, t nf.Target) error {
	return m.changeVZ(s, t, func(runtime vz.Runtime, now *nf.Container) error {
		if now.State != nf.StateRunning {
			return fmt.Errorf("cannot restart %s, which is %s", t, now.State)
		}
		return runtime.Restart(ctx, now)
	})
}

// vzLinks returns the names of the links to the network namespaces of Virtuozzo's containers: their
// CTIDs (lib/env_nsops.c of libvzctl).
func vzLinks(containers []nf.Container) []string {
	var links []string
	for i := range containers {
		links = append(links, containers[i].ID)
	}
	return links
}
