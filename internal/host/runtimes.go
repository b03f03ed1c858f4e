package host

import (
	"context"

	"nfsync.dev/nfsync/internal/netns"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/runtimes"
)

// runtimes returns what lists and enters the containers of all runtimes but Virtuozzo's and the named
// namespaces. The namespaces are the node's own.
func (m *Machine) runtimes(bootID string, own []netns.Identity) runtimes.Node {
	n := runtimes.Node{Root: m.cfg.FS.Root, Proc: m.cfg.FS.Proc, BootID: bootID, Own: own}
	if m.cfg.Cache != nil {
		n.Alive, n.Files = m.cfg.Cache.alive, &m.cfg.Cache.files
	}
	return n
}

// listRuntimes lists the containers of these runtimes, and returns their namespaces with those that
// were claimed before.
func (m *Machine) listRuntimes(ctx context.Context, s *nf.Snapshot, own, claimed []netns.Identity) ([]netns.Identity, error) {
	listed, err := m.runtimes(s.BootID, own).List(ctx, m.enabledRuntimes(), claimed)
	if err != nil {
		return nil, err
	}
	s.Containers = append(s.Containers, listed.Containers...)
	s.Warnings = append(s.Warnings, listed.Warnings...)
	return append(claimed, listed.Namespaces...), nil
}

// enabledRuntimes returns the runtimes that the configuration asks for.
func (m *Machine) enabledRuntimes() []string {
	if len(m.cfg.Runtimes) == 0 {
		return nf.Runtimes()
	}
	return m.cfg.Runtimes
}

// check returns nf.ErrGone if a container that is not Virtuozzo's is not that of the instance any more.
func (m *Machine) check(bootID string, c *nf.Container) error {
	if c.Runtime == nf.RuntimeNetns {
		return m.netns(bootID).Check(c.ID, c.Instance)
	}
	return m.runtimes(bootID, nil).Check(c)
}
