package diff

import (
	"testing"

	"nfsync.dev/nfsync/internal/nf"
)

// net->ct.can_alloc of the Virtuozzo 7 kernel, once set, is never cleared.
func TestProvedTracking(t *testing.T) {
	loaded := nf.Modules{List: []nf.ModuleFact{{Name: "nf_conntrack", State: nf.ModuleLoaded}}}
	unloaded := nf.Modules{List: []nf.ModuleFact{{Name: "nf_conntrack", State: nf.ModuleUnloaded}}}
	keepsOut, lets := nf.LevelStateless.Value(), nf.LevelStateful.Value()
	for _, test := range []struct {
		name    string
		latches string
		modules nf.Modules
		seen    string
		count   nf.Value
		mask    *nf.Value
		want    string
	}{
		{"a rule that tracks", nf.Yes, loaded, nf.TrackingOn, nf.Number(0), &lets, nf.TrackingOn},
		{"a rule that tracks, whatever the mask says", nf.Yes, loaded, nf.TrackingOn, nf.Number(0), &keepsOut, nf.TrackingOn},
		{"no rule that tracks", nf.Yes, loaded, nf.TrackingOff, nf.Number(0), &lets, nf.TrackingUnknown},
		{"no rule that tracks, in the node", nf.Yes, loaded, nf.TrackingOff, nf.Number(0), nil, nf.TrackingUnknown},
		{"entries", nf.Yes, loaded, nf.TrackingOff, nf.Number(1), &lets, nf.TrackingOn},
		{"entries, rules unread", nf.Yes, loaded, nf.TrackingUnknown, nf.Number(1), nil, nf.TrackingOn},
		{"a mask that keeps it out", nf.Yes, loaded, nf.TrackingUnknown, nf.Number(0), &keepsOut, nf.TrackingOff},
		{"not loaded", nf.Yes, unloaded, nf.TrackingOff, nf.Absent(), &lets, nf.TrackingOff},
		{"no such module", nf.Yes, nf.Modules{Complete: true}, nf.TrackingOff, nf.Absent(), nil, nf.TrackingOff},
		{"modules unread", nf.Yes, nf.Modules{}, nf.TrackingOff, nf.Absent(), nil, nf.TrackingUnknown},
		{"it may latch", nf.MaybeUnknown, loaded, nf.TrackingOff, nf.Number(0), nil, nf.TrackingUnknown},
		{"it may latch, entries", nf.MaybeUnknown, loaded, nf.TrackingOff, nf.Number(1), nil, nf.TrackingUnknown},
		{"it does not latch", nf.No, loaded, nf.TrackingOff, nf.Number(1), nil, nf.TrackingOff},
	} {
		s := nf.Snapshot{Modules: test.modules, Capabilities: nf.Capabilities{Latches: test.latches}}
		ns := nf.Namespace{Tracking: &nf.Tracking{State: test.seen, Evidence: "seen"}, Count: test.count}
		if test.mask != nil {
			ns.Keepers.Level, ns.Facts = nf.KeeperMask, []nf.Fact{{Key: nf.KeyLevel, Live: *test.mask}}
		}
		if got := provedTracking(&s, &ns); got.State != test.want || got.Evidence == "" {
			t.Errorf("%s: %+v, want %s", test.name, got, test.want)
		}
	}
}
