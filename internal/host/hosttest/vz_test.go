package hosttest_test

import (
	"testing"

	"nfsync.dev/nfsync/internal/diff"
	"nfsync.dev/nfsync/internal/host/hosttest"
	"nfsync.dev/nfsync/internal/nf"
)

func vzTarget(id string) nf.Target {
	return nf.Target{Kind: nf.TargetContainer, Runtime: nf.RuntimeVZ, ID: id}
}

func TestConformanceVZ(t *testing.T) {
	hosttest.RunVZ(t, func(*testing.T) hosttest.VZStage {
		m := hosttest.NewVirtuozzo()
		by := func(act func(nf.Target)) func(string) { return func(id string) { act(vzTarget(id)) } }
		return hosttest.VZStage{
			Machine: m,
			Add:     func(c hosttest.VZ) { m.AddVZ(c) },
			Start:   by(m.Start), Stop: by(m.Stop), Suspend: by(m.Suspend), Remove: by(m.Remove),
			Claim: func(string, string) {}, // the machine has no directory of named namespaces
			Judge: func(s *nf.Snapshot) { diff.JudgeTracking(s, nf.Node) },
		}
	})
}

// A restart that fails leaves the container as the fault describes.
func TestRestartFaults(t *testing.T) {
	stateless, full := nf.LevelStateless.Value(), nf.LevelFull.Value()
	for _, test := range []struct {
		name  string
		wire  func(*hosttest.Machine, nf.Target)
		fails bool
		state string
		same  bool // the instance
		live  nf.Value
	}{
		{"none", func(*hosttest.Machine, nf.Target) {}, false, nf.StateRunning, false, stateless},
		{"it fails", func(m *hosttest.Machine, _ nf.Target) { m.Inject(hosttest.Fault{Op: hosttest.OpSet}) },
			true, nf.StateRunning, true, full},
		{"it fails half-way", func(m *hosttest.Machine, _ nf.Target) {
			m.Inject(hosttest.Fault{Op: hosttest.OpSet, Kind: hosttest.Halt})
		},
			true, nf.StateStopped, false, nf.Absent()},
		{"it fails after its effect", func(m *hosttest.Machine, _ nf.Target) {
			m.Inject(hosttest.Fault{Op: hosttest.OpSet, Kind: hosttest.FailAfter})
		}, true, nf.StateRunning, false, stateless},
		{"it has no effect", func(m *hosttest.Machine, _ nf.Target) {
			m.Inject(hosttest.Fault{Op: hosttest.OpSet, Kind: hosttest.Swallow})
		}, false, nf.StateRunning, true, full},
		{"the mask is not written", func(m *hosttest.Machine, web nf.Target) { m.SetStartLevel(web, nf.LevelStateful.Value()) },
			false, nf.StateRunning, false, nf.LevelStateful.Value()},
		{"not permitted", func(m *hosttest.Machine, _ nf.Target) { m.Deny(nf.AbilityContainers, "no") },
			true, nf.StateRunning, true, full},
	} {
		m := hosttest.NewVirtuozzo()
		web := m.AddVZ(hosttest.VZ{ID: "101", Name: "web-1", Saved: stateless, Live: full})
		test.wire(m, web)
		_, before := m.State(web)
		if err := set(t, m, web, nf.KeyRestart, stateless); (err != nil) != test.fails {
			t.Errorf("%s: %v", test.name, err)
		}
		state, after := m.State(web)
		if state != test.state || (before == after) != test.same || m.Level(web, nf.LayerLive) != test.live || m.Level(web, nf.LayerBoot) != stateless {
			t.Errorf("%s: %s, %s to %s, %v", test.name, state, before, after, m.Level(web, nf.LayerLive))
		}
	}
}

// After a cold start a container has the kernel's default values and the node's
// limit. A restart of the node gives every running container a cold start.
func TestColdStarts(t *testing.T) {
	for name, start := range map[string]func(*hosttest.Machine, nf.Target){
		"restart":  (*hosttest.Machine).Recreate,
		"the node": func(m *hosttest.Machine, _ nf.Target) { m.Reboot() },
	} {
		m := hosttest.NewVirtuozzo()
		web := m.AddVZ(hosttest.VZ{ID: "101", Saved: nf.LevelStateful.Value(), Live: nf.LevelFull.Value()})
		off := m.AddVZ(hosttest.VZ{ID: "102", State: nf.StateStopped})
		m.Put(web, nf.KeyMax, 5)
		m.SetCount(web, 7)
		m.SetRules(web, nf.Table{Backend: nf.BackendNft, Rules: 1})
		m.SetTracking(web, nf.Tracking{State: nf.TrackingOn})
		start(m, web)
		s := observe(t, m, nf.Ask{All: true})
		_, c, _ := s.Find(web)
		if m.Value(web, nf.KeyMax) != m.Value(nf.Node, nf.KeyMax) || c.Count != nf.Number(0) || len(c.Rules.Tables) != 0 ||
			c.Tracking.State != nf.TrackingUnknown || c.Fact(nf.KeyLevel).Live != nf.LevelStateful.Value() {
			t.Errorf("%s: %+v", name, c)
		}
		if state, _ := m.State(off); state != nf.StateStopped {
			t.Errorf("%s: a stopped container is %s", name, state)
		}
	}
}

// The capabilities of the kernel decide which levels and which tracking are
// observed.
func TestCapabilities(t *testing.T) {
	for _, test := range []struct {
		name          string
		masks         bool
		latches       string
		live          nf.Value
		node, tracked string // entries, and no rule
	}{
		{"Virtuozzo 7", true, nf.Yes, nf.LevelFull.Value(), nf.TrackingUnknown, nf.TrackingOn},
		{"VHS 9", false, nf.No, nf.Absent(), nf.TrackingOff, nf.TrackingOff},
		{"unknown", false, nf.MaybeUnknown, nf.LevelFull.Value(), nf.TrackingUnknown, nf.TrackingUnknown},
	} {
		m := hosttest.New()
		m.SetCapabilities(test.masks, test.latches)
		web := m.AddVZ(hosttest.VZ{ID: "101", Saved: nf.LevelFull.Value()})
		m.SetCount(web, 3)
		m.SetState(m.AddVZ(hosttest.VZ{ID: "102"}), "starting")
		s := observe(t, m, nf.Ask{Rules: true})
		_, c, _ := s.Find(web)
		if s.Capabilities.Masks != test.masks || s.Capabilities.Latches != test.latches || c.Fact(nf.KeyLevel).Live != test.live ||
			s.Host.Tracking.State != test.node || c.Tracking.State != test.tracked {
			t.Errorf("%s: %+v, %+v, %+v", test.name, s.Capabilities, s.Host.Tracking, c)
		}
		if _, c, _ := s.Find(vzTarget("102")); c.State != "starting" || c.Unobservable == "" || c.Rules != nil {
			t.Errorf("in transition: %+v", c)
		}
	}
}
