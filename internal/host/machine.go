// Package host joins the kernel and the container runtimes of a node into one
// machine. It lists, observes and changes, and decides nothing.
//
// An observation returns a snapshot, and a change applies to a container of a
// snapshot. The instance identifies the container: if it was recreated under the
// same name since the snapshot, the change fails with nf.ErrGone.
package host

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"time"

	"nfsync.dev/nfsync/internal/kernel"
	"nfsync.dev/nfsync/internal/netns"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/vz"
)

// Config configures a Machine. Only FS is required.
type Config struct {
	NodeName string            // empty: the kernel's node name
	Labels   map[string]string // of the node
	FS       kernel.FS
	Runtimes []string // nf.Runtime constants; empty: all. One that this node lacks is no error.
	NetnsDir string   // empty: netns.DefaultDir
	VZRoot   string   // the root of Virtuozzo's files; empty: /
	// VZTimeouts bound the runs of Virtuozzo's programs; zero: the defaults of package vz.
	VZTimeouts vz.Timeouts
	// Inherit returns files that the programs which change a container inherit, such as
	// those of the lock; nil: none.
	Inherit func() []*os.File
	// NodeNetns is the file of the node's network namespace. If it is empty, the
	// node's namespace is nfsync's own, provided that this is the initial one.
	NodeNetns string
	// Cache keeps what was observed from one call to the next; nil: nothing is kept.
	Cache *Cache
	// RulesTimeout bounds the reading of one container's rules; 0 is five seconds.
	RulesTimeout time.Duration
}

// Machine is the node that nfsync runs on. It has no state between calls, so that
// many goroutines can use it: what a caller has observed is in the caller's
// snapshot.
type Machine struct{ cfg Config }

// New returns the machine of a configuration. It reads nothing yet.
func New(cfg Config) *Machine { return &Machine{cfg} }

// List identifies the node and its containers, and reads no facts but the levels
// that a runtime knows. If nfsync does not know the node's network namespace, the
// capabilities deny every change.
func (m *Machine) List(ctx context.Context) (nf.Snapshot, error) { return m.list(ctx, nil) }

// ListBorn is List for containers that were born: the snapshot has no others. Named namespaces are
// listed by their ids. Others are as they were found when they were born: see runtimes.Node.Born. It is
// false where Virtuozzo or another runtime may claim them, so that all have to be listed. Whether a
// container has another name besides is not known.
func (m *Machine) ListBorn(ctx context.Context, born []nf.Container) (s nf.Snapshot, ok bool, err error) {
	if m.enabled(nf.RuntimeVZ) && m.cfg.Virtuozzo().Any || slices.ContainsFunc(born, m.mayBeClaimed) {
		return s, false, nil
	}
	s, err = m.list(ctx, born)
	return s, true, err
}

// list lists all containers, or only those that were born.
func (m *Machine) list(ctx context.Context, born []nf.Container) (nf.Snapshot, error) {
	if err := ctx.Err(); err != nil {
		return nf.Snapshot{}, err
	}
	bootID, release, name, err := m.cfg.FS.Identity()
	if err != nil {
		return nf.Snapshot{}, fmt.Errorf("cannot identify the node: %w", err)
	}
	s := nf.Snapshot{APIVersion: nf.APIVersion, Kind: nf.KindNodeSnapshot, TakenAt: time.Now().UTC().Truncate(time.Second),
		Node: nf.NodeIdentity{Name: cmp.Or(m.cfg.NodeName, name), Labels: maps.Clone(m.cfg.Labels)}, BootID: bootID, Kernel: release,
		Modules: nf.Modules{List: []nf.ModuleFact{}}, Host: nf.Namespace{Facts: []nf.Fact{}},
		Containers: []nf.Container{}, Warnings: []nf.Warning{}}
	vz, err := m.vz(bootID)
	if err != nil {
		return nf.Snapshot{}, err
	}
	if len(vz.NodeNamespaces) == 0 {
		deny(&s.Capabilities, "nfsync is not in the node's network namespace: it is not in the initial one, and --node-netns names no other")
	}
	claimed, err := m.listVZ(ctx, &s, vz)
	if err != nil {
		return nf.Snapshot{}, err
	}
	links := vzLinks(s.Containers)
	var names []string // of namespaces; nil: all
	if born == nil {
		claimed, err = m.listRuntimes(ctx, &s, vz.NodeNamespaces, claimed)
	} else {
		names = m.addBorn(&s, born)
	}
	if err != nil {
		return nf.Snapshot{}, err
	}
	if err := m.listNetns(ctx, &s, vz.NodeNamespaces, claimed, links, names); err != nil {
		return nf.Snapshot{}, err
	}
	nf.SortContainers(s.Containers)
	s.AddKeepers()
	for i := range s.Containers {
		s.Containers[i].Excluded = s.Containers[i].Unobservable
	}
	if born == nil && s.Broken() == "" {
		m.cfg.Cache.keepOnly(s.BootID, s.Containers)
	}
	return s, nil
}

// listNetns lists the named namespaces that are not claimed for the containers of s. The links are
// those of Virtuozzo's containers.
func (m *Machine) listNetns(ctx context.Context, s *nf.Snapshot, own, claimed []netns.Identity, links, names []string) error {
	if !m.enabled(nf.RuntimeNetns) {
		return nil
	}
	runtime := m.netns(s.BootID)
	runtime.Claimed, runtime.ClaimedLinks, runtime.Names = claimed, links, names
	containers, warnings, err := runtime.List(ctx, own)
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

// enabled reports whether the configuration asks for the runtime.
func (m *Machine) enabled(runtime string) bool {
	return slices.Contains(m.enabledRuntimes(), runtime)
}

func (m *Machine) netns(bootID string) netns.Runtime {
	r := netns.Runtime{Dir: cmp.Or(m.cfg.NetnsDir, netns.DefaultDir), BootID: bootID, Others: m.isOfOtherRuntime}
	if m.cfg.Cache != nil {
		r.Alive = m.cfg.Cache.alive
	}
	return r
}

// nodeNamespaces returns the network namespaces that are never a container's: the
// one that is named as the node's, and nfsync's own if it is the initial one. If
// there is neither, nfsync does not know the node's namespace.
func (m *Machine) nodeNamespaces() (own []netns.Identity, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if netns.IsInitial(m.cfg.FS.Proc) {
		id, err := netns.Own()
		if err != nil {
			return nil, fmt.Errorf("cannot identify nfsync's own network namespace: %w", err)
		}
		own = append(own, id)
	}
	if m.cfg.NodeNetns != "" {
		id, err := netns.Identify(m.cfg.NodeNetns)
		if err != nil {
			return nil, fmt.Errorf("cannot identify the node's network namespace %s: %w", m.cfg.NodeNetns, err)
		}
		own = append(own, id)
	}
	return own, nil
}

// inNode runs f in the node's network namespace. If that is not known, f runs in
// nfsync's own: List has denied every change, and f only reads.
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

// inContainer runs f in the network namespace of a container, on the thread t or a new one. It returns
// nf.ErrGone if that instance no longer exists.
func (m *Machine) inContainer(t *netns.Thread, bootID string, c *nf.Container, f func() error) error {
	switch c.Runtime {
	case nf.RuntimeNetns:
		runtime := m.netns(bootID)
		runtime.Thread = t
		return runtime.Enter(c.ID, c.Instance, f)
	case nf.RuntimeVZ:
		vz, err := m.vz(bootID)
		if err != nil {
			return err
		}
		vz.Thread = t
		return vz.Enter(c.ID, c.Instance, f)
	}
	runtime := m.runtimes(bootID, nil)
	runtime.Thread = t
	return runtime.Enter(c, f)
}

// containerOf returns the snapshot's container for a target, or nf.ErrGone.
func containerOf(s *nf.Snapshot, t nf.Target) (*nf.Container, error) {
	if _, c, ok := s.Find(t); ok && c != nil {
		return c, nil
	}
	return nil, fmt.Errorf("cannot find %s: %w", t, nf.ErrGone)
}

// isGone reports whether the error means that a target has vanished. A target that
// cannot be read has not.
func isGone(err error) bool { return errors.Is(err, nf.ErrGone) }
