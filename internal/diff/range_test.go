package diff

import (
	"slices"
	"testing"

	"nfsync.dev/nfsync/internal/nf"
)

// A line is saved for a range only if the next start would bring a value outside it, as far as
// that is known: sysctl.d(5), and the kernel's own value (nf_conntrack_core.c,
// nf_conntrack_init_start), which depends on the node's memory.
func TestRangeAtTheNextStart(t *testing.T) {
	declared := func(n int64, overruled bool) edit {
		return func(s *nf.Snapshot) {
			setFact(&s.Host, nf.KeyMax, func(f *nf.Fact) {
				f.Declared = append(f.Declared, nf.Declaration{File: "/etc/sysctl.d/50-x.conf", Line: 1, Value: nf.Number(n), Overruled: overruled})
			})
		}
	}
	set := func(s *nf.Snapshot) {
		s.Memory.Keys = append(s.Memory.Keys, nf.MemoryKey{Target: nf.Node, Key: nf.KeyMax, Asked: nf.Wish{AtLeast: 1000}, Set: true})
	}
	saved := func(n int64) edit { return func(s *nf.Snapshot) { boot(&s.Host, nf.KeyMax, nf.Number(n)) } }
	loads := wantModule("nf_conntrack", nf.ModuleLoaded, nil)
	for name, test := range map[string]struct {
		edits []edit
		want  nf.Want
		saves nf.Value // absent: no boot change
		later bool     // it is decided later
	}{
		"the kernel's own":                 {[]edit{nodeMax(262144)}, wantRange(nf.Node, nf.KeyMax, 1000, 0), nf.Absent(), false},
		"raised now":                       {[]edit{nodeMax(262144)}, wantRange(nf.Node, nf.KeyMax, 300000, 0), nf.Number(300000), false},
		"lowered now":                      {[]edit{nodeMax(262144)}, wantRange(nf.Node, nf.KeyMax, 0, 1000), nf.Number(1000), false},
		"raised earlier, and not saved":    {[]edit{nodeMax(262144), set}, wantRange(nf.Node, nf.KeyMax, 1000, 0), nf.Number(262144), false},
		"saved in the range":               {[]edit{nodeMax(262144), saved(2000), set}, wantRange(nf.Node, nf.KeyMax, 1000, 0), nf.Absent(), false},
		"saved outside the range":          {[]edit{nodeMax(262144), saved(500), set}, wantRange(nf.Node, nf.KeyMax, 1000, 0), nf.Number(262144), false},
		"another file is outside":          {[]edit{nodeMax(262144), declared(500, false)}, wantRange(nf.Node, nf.KeyMax, 1000, 0), nf.Number(262144), false},
		"another file is inside":           {[]edit{nodeMax(262144), set, declared(500, true), declared(1500, false)}, wantRange(nf.Node, nf.KeyMax, 1000, 0), nf.Absent(), false},
		"an overruled line":                {[]edit{nodeMax(262144), declared(500, true)}, wantRange(nf.Node, nf.KeyMax, 1000, 0), nf.Absent(), false},
		"not loaded":                       {[]edit{noConntrack}, wantRange(nf.Node, nf.KeyMax, 1000, 0), nf.Number(1000), true},
		"not loaded, saved":                {[]edit{noConntrack, saved(2000)}, wantRange(nf.Node, nf.KeyMax, 1000, 0), nf.Absent(), false},
		"not loaded, a file is outside":    {[]edit{noConntrack, declared(500, false)}, wantRange(nf.Node, nf.KeyMax, 1000, 0), nf.Number(1000), false},
		"not loaded, a file is inside":     {[]edit{noConntrack, declared(1500, false)}, wantRange(nf.Node, nf.KeyMax, 1000, 0), nf.Absent(), false},
		"an exact value, whatever is live": {[]edit{nodeMax(262144)}, want(nf.Node, nf.KeyMax, nf.Number(262144)), nf.Number(262144), false},
	} {
		t.Run(name, func(t *testing.T) {
			p := Plan(wants(loads, test.want), mainline(append(test.edits, bootFiles)...))
			i := slices.IndexFunc(p.Changes, func(c nf.Change) bool { return c.Key == nf.KeyMax && c.Layer == nf.LayerBoot })
			switch {
			case i < 0 && test.saves.IsAbsent():
			case i < 0 || p.Changes[i].To != test.saves || p.Changes[i].Range.IsRange() != test.later:
				t.Errorf("%+v", p.Changes)
			}
		})
	}
}

// A range whose module nothing loads is refused, and nothing is saved for it.
func TestRangeOfAModuleThatNothingLoads(t *testing.T) {
	p := Plan(wants(wantRange(nf.Node, nf.KeyMax, 1000, 0)), mainline(noConntrack, bootFiles))
	if len(p.Changes) != 0 || len(p.Refusals) != 1 || p.Refusals[0].Code != nf.NotLoaded {
		t.Errorf("%v", answers(p))
	}
}

// What a range will be is not known: it neither allows nor forbids other changes. Apply tries
// the rules again when it is.
func TestRangeBesideOthers(t *testing.T) {
	web := virtuozzo().Containers[0].Target()
	p := Plan(wants(wantModule("nf_conntrack", nf.ModuleLoaded, nil), wantRange(nf.Node, nf.KeyMax, 1000, 0), want(web, nf.KeyMax, nf.Number(50000))),
		virtuozzo(noConntrack, func(s *nf.Snapshot) { dropConntrack(&s.Containers[0].Namespace) }))
	if len(p.Refusals) != 0 || !slices.ContainsFunc(p.Changes, func(c nf.Change) bool { return c.Target == web && c.Key == nf.KeyMax }) {
		t.Errorf("%v", answers(p))
	}
}
