package host

import (
	"context"
	"fmt"
	"slices"
	"time"

	"nfsync.dev/nfsync/internal/netns"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/vz"
)

func (m *Machine) vz(bootID string) vz.Runtime {
	m.mu.Lock()
	defer m.mu.Unlock()
	return vz.Runtime{Root: m.cfg.VZRoot, Proc: m.cfg.FS.Proc, BootID: bootID, Own: m.own, Timeouts: m.cfg.VZTimeouts}
}

// Virtuozzo looks what of Virtuozzo is on the machine, for doctor.
func (c Config) Virtuozzo() vz.Found { return vz.Runtime{Root: c.VZRoot, Proc: c.FS.Proc}.Found() }

// askVZ asks Virtuozzo's programs for its containers.
func (m *Machine) askVZ(ctx context.Context) vz.Answer {
	if !m.has(nf.RuntimeVZ) {
		return vz.Answer{}
	}
	return m.vz("").Ask(ctx)
}

// told is what Virtuozzo's programs have said, and when.
type told struct {
	answer vz.Answer
	at     time.Time
}

// justNow is how old the programs' answer to a List may be that an Observe right
// behind it takes too: they are slow, and files tell what has become of each
// container since.
const justNow = 5 * time.Second

// askVZOnce takes the answer to the List just before, if there was one.
func (m *Machine) askVZOnce(ctx context.Context) vz.Answer {
	m.mu.Lock()
	last := m.told
	m.told = told{}
	m.mu.Unlock()
	if !last.at.IsZero() && time.Since(last.at) < justNow {
		return last.answer
	}
	return m.askVZ(ctx)
}

// listVZ lists the containers of Virtuozzo, and returns what they have that the
// netns runtime may find too.
func (m *Machine) listVZ(ctx context.Context, s *nf.Snapshot, a vz.Answer) (claims, error) {
	if !m.has(nf.RuntimeVZ) {
		s.Capabilities.Latches = m.vz(s.BootID).Latches()
		return claims{}, nil
	}
	node, err := m.vz(s.BootID).List(ctx, a)
	switch {
	case ctx.Err() != nil:
		return claims{}, ctx.Err()
	case err != nil:
		s.Warnings = append(s.Warnings, nf.Warning{Code: nf.WarnRuntimeBroken, Target: nf.Node, Message: err.Error()})
	}
	s.Capabilities.Masks, s.Capabilities.Latches = node.Masks, node.Latches
	s.Containers = append(s.Containers, node.Containers...)
	s.Warnings = append(s.Warnings, node.Warnings...)
	c := claims{namespaces: node.Namespaces}
	for _, ct := range node.Containers {
		c.links = append(c.links, ct.ID)
	}
	return c, nil
}

// claims are the namespaces of a runtime, and the names of the links to them
// that it keeps in the directory of the named ones: those of Virtuozzo's
// containers are named by their CTID (lib/env_nsops.c of libvzctl).
type claims struct {
	namespaces []netns.Identity
	links      []string
}

// latched is what the tracking that was seen in a namespace means where the
// kernel latches: there net->ct.can_alloc of the Virtuozzo 7 kernel is never
// cleared, so that no rule needs conntrack now proves nothing. It is on where
// entries are live, and off only where conntrack is not there, or where the
// container's mask keeps it out; mask is nil for what has none. Where it is not
// known whether the kernel latches, off is unknown too.
func latched(s *nf.Snapshot, ns *nf.Namespace, mask *nf.Value) nf.Tracking {
	seen := *ns.Tracking
	latches := s.Capabilities.Latches
	if latches != nf.Yes && latches != nf.MaybeUnknown || seen.State == nf.TrackingOn || !mayTrack(&s.Modules) {
		return seen
	}
	n, _ := ns.Count.Number()
	switch {
	case latches == nf.Yes && n > 0:
		return nf.Tracking{State: nf.TrackingOn, Evidence: fmt.Sprintf("%d live entries", n)}
	case latches == nf.Yes && mask != nil && !mask.MaskTracks():
		return nf.Tracking{State: nf.TrackingOff, Evidence: fmt.Sprintf("the container's mask (%s) has no bits for conntrack", mask)}
	}
	return nf.Tracking{State: nf.TrackingUnknown,
		Evidence: "no rule needs it now, but one that is gone may have turned it on for good"}
}

// mayTrack tells whether the kernel may have conntrack.
func mayTrack(m *nf.Modules) bool {
	if f, ok := m.Find("nf_conntrack"); ok {
		return f.State != nf.ModuleUnloaded
	}
	return !m.Complete
}

// maskOf is the level that a mask keeps, of the containers that have one.
func maskOf(c *nf.Container) *nf.Value {
	if c.Runtime != nf.RuntimeVZ {
		return nil
	}
	v := c.Fact(nf.KeyLevel).Live
	return &v
}

// refreshVZ reads the instance, the state and the level of a container of
// Virtuozzo again. Another instance than before is taken for a restart of
// nfsync's own, if that is what the change is: nothing is known of its namespace
// yet.
func (m *Machine) refreshVZ(bootID string, at *nf.Container, k nf.Key) error {
	fresh := *at
	fresh.Facts = slices.Clone(at.Facts)
	// A failure to look into it may be over; what the list said holds.
	fresh.Unobservable = ""
	if known, err := m.spokenOf(at.Target()); err == nil && known.Instance == at.Instance {
		fresh.Unobservable = known.Unobservable
	}
	err := m.vz(bootID).Refresh(&fresh)
	switch {
	case gone(err):
		return err
	case err != nil:
		at.Unobservable = err.Error()
		return nil
	case fresh.Instance == at.Instance:
	case k == nf.KeyRestart:
		fresh.MaxScope, fresh.Namespace = "", nf.Namespace{Facts: []nf.Fact{fresh.Fact(nf.KeyLevel)}}
	default:
		return fmt.Errorf("cannot read %s, which is another instance now: %w", at.Target(), nf.ErrGone)
	}
	*at = fresh
	return nil
}

// sameVZ is the container that the caller speaks of, as it is now.
func (m *Machine) sameVZ(bootID string, t nf.Target) (*nf.Container, error) {
	c, err := m.spokenOf(t)
	if err != nil {
		return nil, err
	}
	instance := c.Instance
	if err := m.vz(bootID).Refresh(&c); err != nil {
		return nil, err
	}
	if c.Instance != instance {
		return nil, fmt.Errorf("cannot change %s, which is another instance now: %w", t, nf.ErrGone)
	}
	return &c, nil
}

// saveLevel saves the level that a container's next cold start brings.
func (m *Machine) saveLevel(ctx context.Context, c nf.Change) error {
	bootID, _, _, err := m.cfg.FS.Identity()
	if err != nil {
		return err
	}
	at, err := m.sameVZ(bootID, c.Target)
	if err != nil {
		return err
	}
	level, ok := c.To.Level()
	if !ok {
		return fmt.Errorf("cannot save the level of %s: %q is no level that can be saved by name", c.Target, c.To)
	}
	return m.vz(bootID).SaveLevel(ctx, at, level)
}

// restart restarts a container that runs, and no other.
func (m *Machine) restart(ctx context.Context, t nf.Target) error {
	bootID, _, _, err := m.cfg.FS.Identity()
	if err != nil {
		return err
	}
	at, err := m.sameVZ(bootID, t)
	switch {
	case err != nil:
		return err
	case at.State != nf.StateRunning:
		return fmt.Errorf("cannot restart %s, which is %s", t, at.State)
	}
	return m.vz(bootID).Restart(ctx, at)
}
