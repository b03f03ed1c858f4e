// Package host is one machine: the kernel and the container runtimes of a node
// together. It lists, observes and changes, and decides nothing.
//
// What it tells is a snapshot; what it is told is a change. A target is
// identified by its instance, so a container that was made anew under the same
// name is never taken for the one that was observed: that one is nf.ErrGone.
package host

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync"
	"time"

	"nfsync.dev/nfsync/internal/kernel"
	"nfsync.dev/nfsync/internal/netns"
	"nfsync.dev/nfsync/internal/nf"
)

// Config says which machine it is. Only FS is required.
type Config struct {
	NodeName string            // empty: the kernel's node name
	Labels   map[string]string // of the node
	FS       kernel.FS
	Runtimes []string // the nf.Runtime constants; empty: all. One that this node lacks is no error.
	NetnsDir string   // empty: netns.DefaultDir
	// NodeNetns is the file of the node's network namespace. Empty, it is
	// nfsync's own, if that is the kernel's first.
	NodeNetns string
}

// Machine is the node that nfsync runs on.
type Machine struct {
	cfg Config

	mu    sync.Mutex
	known map[containerID]string // the instance of each container as last seen by the caller
}

// containerID is what stays of a target when it is renamed.
type containerID struct{ runtime, id string }

func idOf(t nf.Target) containerID { return containerID{t.Runtime, t.ID} }

// New is the machine of that configuration. Nothing is read yet.
func New(cfg Config) *Machine {
	if cfg.NetnsDir == "" {
		cfg.NetnsDir = netns.DefaultDir
	}
	return &Machine{cfg: cfg, known: map[containerID]string{}}
}

// List observes identities only: the node, and its containers without facts.
func (m *Machine) List(ctx context.Context) (nf.Snapshot, error) {
	s, _, err := m.list(ctx)
	return s, err
}

// list takes what it lists as what the caller speaks of from then on.
func (m *Machine) list(ctx context.Context) (s nf.Snapshot, denied string, err error) {
	s, denied, err = m.identify(ctx)
	if err == nil {
		m.remember(s.Containers)
	}
	return s, denied, err
}

// identify observes identities, and says why nfsync may change nothing where
// the namespace that it is in is not the node's.
func (m *Machine) identify(ctx context.Context) (s nf.Snapshot, denied string, err error) {
	if err := ctx.Err(); err != nil {
		return nf.Snapshot{}, "", err
	}
	bootID, release, name, err := m.cfg.FS.Identity()
	if err != nil {
		return nf.Snapshot{}, "", fmt.Errorf("cannot identify the node: %w", err)
	}
	if m.cfg.NodeName != "" {
		name = m.cfg.NodeName
	}
	s = nf.Snapshot{APIVersion: nf.APIVersion, Kind: nf.KindNodeSnapshot, TakenAt: time.Now().UTC().Truncate(time.Second),
		Node: nf.NodeIdentity{Name: name, Labels: maps.Clone(m.cfg.Labels)}, BootID: bootID, Kernel: release,
		Host: nf.Namespace{Facts: []nf.Fact{}}, Containers: []nf.Container{}, Warnings: []nf.Warning{}}
	s.Modules.List = []nf.ModuleFact{}
	own, denied, err := m.nodeNamespaces()
	if err != nil {
		return nf.Snapshot{}, "", err
	}
	if m.has(nf.RuntimeNetns) {
		if err := m.listNetns(ctx, &s, own); err != nil {
			return nf.Snapshot{}, "", err
		}
	}
	return s, denied, nil
}

func (m *Machine) listNetns(ctx context.Context, s *nf.Snapshot, own []netns.Identity) error {
	containers, warnings, err := m.netns(s.BootID).List(ctx, own)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		s.Warnings = append(s.Warnings, nf.Warning{Code: nf.WarnRuntimeBroken, Target: nf.Node, Message: err.Error()})
		return nil
	}
	s.Containers = append(s.Containers, containers...)
	s.Warnings = append(s.Warnings, warnings...)
	return nil
}

func (m *Machine) has(name string) bool {
	return len(m.cfg.Runtimes) == 0 || slices.Contains(m.cfg.Runtimes, name)
}

func (m *Machine) netns(bootID string) netns.Runtime {
	return netns.Runtime{Dir: m.cfg.NetnsDir, BootID: bootID}
}

// nodeNamespaces are the namespaces that are never a container: the one that
// is named as the node's, and nfsync's own if it is the kernel's first. With
// neither, nfsync does not know the node's, and denied says so.
func (m *Machine) nodeNamespaces() (own []netns.Identity, denied string, err error) {
	if m.initial() {
		id, err := netns.Own()
		if err != nil {
			return nil, "", fmt.Errorf("cannot identify nfsync's own network namespace: %w", err)
		}
		own = append(own, id)
	}
	if m.cfg.NodeNetns != "" {
		id, err := netns.Identify(m.cfg.NodeNetns)
		if err != nil {
			return nil, "", fmt.Errorf("cannot identify the node's network namespace %s: %w", m.cfg.NodeNetns, err)
		}
		own = append(own, id)
	}
	if len(own) == 0 {
		denied = "nfsync is not in the node's network namespace: its own is not the kernel's first, and no other is named as the node's"
	}
	return own, denied, nil
}

func (m *Machine) initial() bool {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	return netns.IsInitial(m.cfg.FS.Proc)
}

// inNode runs f in the node's network namespace, or, where that is not known,
// in nfsync's own, to read what there is.
func (m *Machine) inNode(f func() error) error {
	if m.cfg.NodeNetns == "" {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		return f()
	}
	if err := netns.Enter(m.cfg.NodeNetns, f); err != nil {
		return fmt.Errorf("in the node's network namespace %s: %w", m.cfg.NodeNetns, err)
	}
	return nil
}

// inContainer runs f in a container's network namespace; nf.ErrGone where the
// instance is not there any more.
func (m *Machine) inContainer(bootID string, id containerID, instance string, f func() error) error {
	if id.runtime != nf.RuntimeNetns {
		return fmt.Errorf("cannot enter %s/%s: no such runtime here: %w", id.runtime, id.id, nf.ErrGone)
	}
	return m.netns(bootID).Enter(id.id, instance, f)
}

// remember takes the containers that the caller was told of as those that it
// will speak of.
func (m *Machine) remember(containers []nf.Container) {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.known)
	for _, c := range containers {
		m.known[idOf(c.Target())] = c.Instance
	}
}

// confirm takes an instance as the one that the caller speaks of.
func (m *Machine) confirm(c *nf.Container) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.known[idOf(c.Target())] = c.Instance
}

func (m *Machine) instance(t nf.Target) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if instance, ok := m.known[idOf(t)]; ok {
		return instance, nil
	}
	return "", fmt.Errorf("cannot find %s: %w", t, nf.ErrGone)
}

// gone tells whether a target has vanished, as opposed to one that cannot be
// read.
func gone(err error) bool { return errors.Is(err, nf.ErrGone) }
