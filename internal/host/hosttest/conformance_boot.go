package hosttest

import (
	"context"
	"testing"

	"nfsync.dev/nfsync/internal/nf"
)

// save returns a change of the node's boot layer.
func save(k nf.Key, to nf.Value) nf.Change {
	return nf.Change{Target: nf.Node, Key: k, Layer: nf.LayerBoot, To: to}
}

// saved returns the boot value of a key of the node.
func saved(s *nf.Snapshot, k nf.Key) nf.Value {
	boot := s.Host.Fact(k).Boot
	if name, ok := k.Module(); ok {
		boot = nil
		if f, ok := s.Modules.Find(name); ok {
			boot = f.Boot
		}
	}
	if boot == nil {
		return nf.Absent()
	}
	return *boot
}

// testSaving saves each value of a key in turn. Only a refresh or a new observation
// updates the snapshot, and a refresh of the live value does not change the saved
// one.
func testSaving(t *testing.T, m Subject, k nf.Key, values ...nf.Value) {
	t.Helper()
	ctx := context.Background()
	s := observed(t, m, nf.Ask{})
	if !s.Capabilities.BootFiles || s.Capabilities.BootUnknown != "" || !saved(&s, k).IsAbsent() {
		t.Fatalf("%+v, %s is saved as %v", s.Capabilities, k, saved(&s, k))
	}
	was := nf.Absent()
	for _, v := range append(values, nf.Absent()) {
		if err := m.Set(ctx, &s, save(k, v)); err != nil {
			t.Fatal(err)
		}
		if got := saved(&s, k); got != was {
			t.Errorf("the snapshot changed without Refresh: %v", got)
		}
		live := save(k, v)
		live.Layer = nf.LayerLive
		for _, c := range []nf.Change{save(k, v), live} {
			if err := m.Refresh(ctx, &s, c); err != nil {
				t.Fatal(err)
			}
			if got := saved(&s, k); got != v {
				t.Errorf("%s: saved as %v, want %v", c.Layer, got, v)
			}
		}
		if now := observed(t, m, nf.Ask{}); saved(&now, k) != v {
			t.Errorf("observed %v, want %v", saved(&now, k), v)
		}
		was = v
	}
}

func testBootValue(t *testing.T, st Stage) {
	s := observed(t, st.Machine, nf.Ask{})
	testSaving(t, st.Machine, nf.KeyMax, nf.Number(300000), nf.Number(200000))
	testSaving(t, st.Machine, none, nf.Number(1)) // a value that the kernel lacks
	now := observed(t, st.Machine, nf.Ask{})
	if now.Host.Fact(nf.KeyMax).Live != s.Host.Fact(nf.KeyMax).Live || !now.Host.Fact(none).Live.IsAbsent() {
		t.Errorf("the live values became %+v, %+v", now.Host.Fact(nf.KeyMax), now.Host.Fact(none))
	}
}

func testBootModule(t *testing.T, st Stage) {
	parameters := nf.Module(nf.ModuleLoaded, map[string]string{"acct": "1"})
	testSaving(t, st.Machine, nf.ModuleKey("nf_conntrack"),
		nf.Module(nf.ModuleLoaded, nil), parameters, nf.Module(nf.ModuleUnloaded, nil), parameters)
}

func testBootNoSuchChange(t *testing.T, st Stage) {
	st.Add("a")
	s := observed(t, st.Machine, nf.Ask{})
	inContainer := save(udp, nf.Number(30))
	inContainer.Target = target("a")
	for _, c := range []nf.Change{inContainer, save(nf.KeyLevel, nf.LevelFull.Value()), save(udp, nf.Unknown("unreadable")), save(udp, nf.Number(-1)),
		save(nf.ModuleKey("nf_conntrack"), nf.Module(nf.ModuleBuiltin, nil)), save(nf.ModuleKey("nf_conntrack"), nf.Number(1))} {
		if err := st.Machine.Set(context.Background(), &s, c); err == nil {
			t.Errorf("%s of %s was saved as %v", c.Key, c.Target, c.To)
		}
	}
}
