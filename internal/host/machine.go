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
	"nfsync.dev/nfsync/internal/vz"
)

// Config says which machine it is. Only FS is required.
type Config struct {
	NodeName string            // empty: the kernel's node name
	Labels   map[string]string // of the node
	FS       kernel.FS
	Runtimes []string // the nf.Runtime constants; empty: all. One that this node lacks is no error.
	NetnsDir string   // empty: netns.DefaultDir
	VZRoot   string   // below which Virtuozzo is; empty: /
	// VZTimeouts bound the runs of Virtuozzo's programs; zero: as package vz has it.
	VZTimeouts vz.Timeouts
	// NodeNetns is the file of the node's network namespace. Empty, it is
	// nfsync's own, if that is the kernel's first.
	NodeNetns string
}

// Machine is the node that nfsync runs on.
type Machine struct {
	cfg Config

	mu    sync.Mutex
	known map[nf.Target]nf.Container // by nameless target: as last seen by the caller, without facts
	own   []netns.Identity           // the node's namespaces, as last seen
	told  told                       // at the last List, for the Observe behind it
}

// New is the machine of that configuration. Nothing is read yet.
func New(cfg Config) *Machine {
	if cfg.NetnsDir == "" {
		cfg.NetnsDir = netns.DefaultDir
	}
	return &Machine{cfg: cfg, known: map[nf.Target]nf.Container{}}
}

// List observes identities only: the node, and its containers without facts.
func (m *Machine) List(ctx context.Context) (nf.Snapshot, error) {
	answer := m.askVZ(ctx)
	at := time.Now() // a program that hangs is waited for once
	s, _, err := m.list(ctx, answer)
	if err == nil {
		m.mu.Lock()
		m.told = told{answer, at}
		m.mu.Unlock()
	}
	return s, err
}

// list takes what it lists as what the caller speaks of from then on.
func (m *Machine) list(ctx context.Context, answer vz.Answer) (s nf.Snapshot, denied string, err error) {
	s, denied, err = m.identify(ctx, answer)
	if err == nil {
		m.remember(s.Containers)
	}
	return s, denied, err
}

// identify observes identities, and says why nfsync may change nothing where
// the namespace that it is in is not the node's.
func (m *Machine) identify(ctx context.Context, answer vz.Answer) (s nf.Snapshot, denied string, err error) {
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
	m.setOwn(own)
	s.Capabilities.Latches = nf.No
	claimed, err := m.listVZ(ctx, &s, answer)
	if err != nil {
		return nf.Snapshot{}, "", err
	}
	if err := m.listNetns(ctx, &s, own, claimed); err != nil {
		return nf.Snapshot{}, "", err
	}
	return s, denied, nil
}

// listNetns lists the named namespaces that no other runtime has. They are the
// first, as the containers are sorted by runtime.
func (m *Machine) listNetns(ctx context.Context, s *nf.Snapshot, own []netns.Identity, claimed claims) error {
	if !m.has(nf.RuntimeNetns) {
		return nil
	}
	runtime := m.netns(s.BootID)
	runtime.Claimed, runtime.ClaimedLinks = claimed.namespaces, claimed.links
	containers, warnings, err := runtime.List(ctx, own)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		s.Warnings = append(s.Warnings, nf.Warning{Code: nf.WarnRuntimeBroken, Target: nf.Node, Message: err.Error()})
		return nil
	}
	s.Containers = append(containers, s.Containers...)
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

func (m *Machine) setOwn(own []netns.Identity) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.own = own
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
func (m *Machine) inContainer(bootID string, t nf.Target, instance string, f func() error) error {
	switch t.Runtime {
	case nf.RuntimeNetns:
		return m.netns(bootID).Enter(t.ID, instance, f)
	case nf.RuntimeVZ:
		return m.vz(bootID).Enter(t.ID, instance, f)
	}
	return fmt.Errorf("cannot enter %s: no such runtime here: %w", t, nf.ErrGone)
}

// remember takes the containers that the caller was told of as those that it
// will speak of.
func (m *Machine) remember(containers []nf.Container) {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.known)
	for _, c := range containers {
		m.know(c)
	}
}

// know takes a container without its facts; m.mu is held.
func (m *Machine) know(c nf.Container) {
	c.Namespace = nf.Namespace{}
	m.known[c.Target().Nameless()] = c
}

// confirm takes an instance as the one that the caller speaks of.
func (m *Machine) confirm(c *nf.Container) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.know(*c)
}

// spokenOf is the container that the caller means by a target.
func (m *Machine) spokenOf(t nf.Target) (nf.Container, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c, ok := m.known[t.Nameless()]; ok {
		return c, nil
	}
	return nf.Container{}, fmt.Errorf("cannot find %s: %w", t, nf.ErrGone)
}

// gone tells whether a target has vanished, as opposed to one that cannot be
// read.
func gone(err error) bool { return errors.Is(err, nf.ErrGone) }
