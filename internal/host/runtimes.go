package host

import (
	"context"
	"errors"
	"fmt"
	"regexp"

	"nfsync.dev/nfsync/internal/netns"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/runtimes"
)

// runtimes returns what lists and enters the containers of all runtimes but Virtuozzo's and the named
// namespaces. The namespaces are the node's own.
func (m *Machine) runtimes(bootID string, own []netns.Identity) runtimes.Node {
	n := runtimes.Node{Root: m.cfg.FS.Root, Proc: m.cfg.FS.Proc, BootID: bootID, Own: own, NodeNetns: m.cfg.NodeNetns}
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

// Unowned describes the network namespaces that are neither the node's nor that of a container of a
// snapshot. See runtimes.Node.
func (m *Machine) Unowned(ctx context.Context, s *nf.Snapshot) ([]string, error) {
	own, err := m.nodeNamespaces()
	if err != nil {
		return nil, err
	}
	return m.runtimes(s.BootID, own).Unowned(ctx, s.Containers)
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

// Given returns the container that a hook gives, as runtimes.Node.Given does. A container of a runtime that
// the configuration does not ask for is none.
func (m *Machine) Given(g nf.Given) (c nf.Container, nothing string, err error) {
	n, err := m.Runtimes()
	if err == nil && len(n.Own) == 0 {
		err = errors.New("nfsync is not in the node's network namespace, and --node-netns names no other")
	}
	if err != nil {
		return c, "", err
	}
	c, nothing, err = n.Given(g)
	if err == nil && nothing == "" && !m.enabled(c.Runtime) {
		nothing = "the runtime " + c.Runtime + " is not one of those that are configured"
	}
	return c, nothing, err
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

// namespaceFiles are the names of the files that runtimes mount the network namespaces of their containers
// on: Podman (NewNS in libnetwork/netns of containers/common), CNI for containerd (NewNetNS in pkg/netns)
// and CRI-O (pinns).
var namespaceFiles = map[string]*regexp.Regexp{
	nf.RuntimePodman: regexp.MustCompile(`^netns-` + uuid + `$`),
	nf.RuntimeCRI:    regexp.MustCompile(`^(?:cni-)?` + uuid + `$`),
}

const uuid = `[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}`

// isOfOtherRuntime reports whether a runtime that the configuration asks for makes files with that name
// in the directory of named namespaces.
func (m *Machine) isOfOtherRuntime(name string) bool {
	for runtime, files := range namespaceFiles {
		if m.enabled(runtime) && files.MatchString(name) {
			return true
		}
	}
	return false
}

// mayBeClaimed reports whether a container that was born may be that of a runtime that has not listed it
// yet.
func (m *Machine) mayBeClaimed(born nf.Container) bool {
	return born.Runtime == nf.RuntimeNetns && m.isOfOtherRuntime(born.ID)
}

// check returns nf.ErrGone if a container that is not Virtuozzo's is not that of the instance any more.
func (m *Machine) check(bootID string, c *nf.Container) error {
	if c.Runtime == nf.RuntimeNetns {
		return m.netns(bootID).Check(c.ID, c.Instance)
	}
	return m.runtimes(bootID, nil).Check(c)
}
