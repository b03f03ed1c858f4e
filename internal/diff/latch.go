package diff

import (
	"fmt"

	"nfsync.dev/nfsync/internal/nf"
)

// JudgeTracking replaces what was seen of tracking by what that proves: in a
// container or, for the node, in every namespace of the snapshot.
func JudgeTracking(s *nf.Snapshot, t nf.Target) {
	judge := func(ns *nf.Namespace) {
		if ns.Tracking != nil {
			proved := provedTracking(s, ns)
			ns.Tracking = &proved
		}
	}
	if ns, c, _ := s.Find(t); c != nil {
		judge(ns)
		return
	}
	judge(&s.Host)
	for i := range s.Containers {
		judge(&s.Containers[i].Namespace)
	}
}

// provedTracking returns what it proves that tracking was, or was not, seen in a
// namespace. Where the kernel latches, net->ct.can_alloc of the Virtuozzo 7
// kernel is never cleared, so that no rule needs conntrack now proves nothing:
//
//   - Tracking is on where it was seen, and where entries are live.
//   - It is off only where the kernel has no conntrack, or the container's mask
//     has no bits for it.
//   - Anything else is unknown, and so is off where it is unknown whether the
//     kernel latches.
//
// An earlier run may have seen more in the same instance: see World.tracking.
func provedTracking(s *nf.Snapshot, ns *nf.Namespace) nf.Tracking {
	latches, seen := s.Capabilities.Latches, *ns.Tracking
	if latches != nf.Yes && latches != nf.MaybeUnknown || seen.State == nf.TrackingOn || !mayTrack(&s.Modules) {
		return seen
	}
	n, _ := ns.Count.Number()
	mask := ns.Fact(nf.KeyLevel).Live
	switch {
	case latches == nf.Yes && n > 0:
		return nf.Tracking{State: nf.TrackingOn, Evidence: fmt.Sprintf("%d live entries", n)}
	case latches == nf.Yes && ns.Keepers.Level == nf.KeeperMask && !mask.MaskTracks():
		return nf.Tracking{State: nf.TrackingOff, Evidence: fmt.Sprintf("the container's mask (%s) has no bits for conntrack", mask)}
	}
	return nf.Tracking{State: nf.TrackingUnknown,
		Evidence: "no rule needs it now, but one that was removed may have turned it on for good"}
}

// mayTrack reports whether the kernel may have conntrack.
func mayTrack(m *nf.Modules) bool {
	if f, ok := m.Find("nf_conntrack"); ok {
		return f.State != nf.ModuleUnloaded
	}
	return !m.Complete
}

// Latches returns the instances in which the snapshot shows tracking on, where
// the kernel latches: it stays on until they end, whatever is observed later.
func Latches(s *nf.Snapshot) []nf.Latch {
	if s.Capabilities.Latches != nf.Yes {
		return nil
	}
	var list []nf.Latch
	add := func(t nf.Target, instance string, ns *nf.Namespace) {
		if seen := ns.Tracking; seen != nil && seen.State == nf.TrackingOn {
			list = append(list, nf.Latch{Target: t, Instance: instance, Evidence: seen.Evidence})
		}
	}
	add(nf.Node, s.BootID, &s.Host)
	for i := range s.Containers {
		c := &s.Containers[i]
		add(c.Target(), c.Instance, &c.Namespace)
	}
	return list
}

func (w *World) latching() bool { return w.snap.Capabilities.Latches == nf.Yes }

// tracking reports whether a target tracks connections: as observed or, on a
// kernel that latches, as an earlier run saw it in the same instance.
func (w *World) tracking(t nf.Target) string {
	p := w.at(t)
	if w.latching() && w.latches[nf.Latch{Target: t.Nameless(), Instance: w.instance(t)}] {
		return nf.TrackingOn
	}
	if p.Namespace != nil && p.Tracking != nil {
		return p.Tracking.State
	}
	return nf.TrackingUnknown
}
