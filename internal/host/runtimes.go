package host

import (
	"context"
	"fmt"

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

// Label adds labels to the containers of a listing, of the runtimes whose files do not have them.
func (m *Machine) Label(ctx context.Context, listed *nf.Snapshot) {
	_ = m.runtimes(listed.BootID, nil).Label(ctx, listed.Containers) // the error is that of ctx, which the caller sees too
}

// addBorn adds containers that were born, and returns the names of those that are named namespaces.
func (m *Machine) addBorn(s *nf.Snapshot, born []nf.Container) (names []string) {
	names = []string{}
	for _, c := range born {
		if c.Runtime == nf.RuntimeNetns && c.Entry == (nf.Entry{}) {
			names = append(names, c.ID)
		} else {
			s.Containers = append(s.Containers, c)
		}
	}
	return names
}

// Runtimes returns what watches and describes the containers of all runtimes but Virtuozzo's and the
// named namespaces.
func (m *Machine) Runtimes() (runtimes.Node, error) {
	bootID, _, _, err := m.cfg.FS.Identity()
	if err != nil {
		return runtimes.Node{}, fmt.Errorf("cannot identify the node: %w", err)
	}
	own, err := m.nodeNamespaces()
	n := m.runtimes(bootID, own)
	n.Alive, n.Files = nil, nil
	return n, err
}

// HasBegun reports whether a container runs its program, as runtimes.Node.HasBegun does.
func (m *Machine) HasBegun(c *nf.Container) bool { return m.runtimes("", nil).HasBegun(c) }

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
