package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"nfsync.dev/nfsync/internal/diff"
	"nfsync.dev/nfsync/internal/host/hosttest"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/vz/vztest"
)

// virtuozzo returns a machine on a node of Virtuozzo 7. Its named namespaces are in
// the directory in which Virtuozzo has its links.
func virtuozzo(n *vztest.Node) *Machine {
	return New(Config{FS: realFS, VZRoot: n.Root(), NetnsDir: filepath.Join(n.Root(), "var/run/netns")})
}

// nodeContainer converts a container of the in-memory machine to one of the node.
func nodeContainer(t *testing.T, c hosttest.VZ) vztest.Container {
	t.Helper()
	if c.State == "" {
		c.State = nf.StateRunning
	}
	out := vztest.Container{ID: c.ID, UUID: c.UUID, Name: c.Name, State: c.State}
	if level, ok := c.Saved.Level(); ok {
		out.Saved = level.String()
	}
	if mask, ok := c.Live.Mask(); ok {
		out.Mask = &mask
	} else if !c.Live.IsAbsent() {
		t.Fatalf("%v is not a mask", c.Live)
	}
	return out
}

func TestConformanceVZ(t *testing.T) {
	hosttest.RunVZ(t, func(t *testing.T) hosttest.VZStage {
		n := vztest.New(t)
		m := virtuozzo(n)
		return hosttest.VZStage{
			Machine: m,
			Add:     func(c hosttest.VZ) { n.Add(nodeContainer(t, c)) },
			Start:   n.Start, Stop: n.Stop, Suspend: n.Suspend, Remove: n.Remove,
			Claim: func(id, name string) { link(t, m, n.Pid(id), name) },
			Judge: func(s *nf.Snapshot) { diff.JudgeTracking(s, nf.Node) },
		}
	})
}

// link names the namespace of a process, as ln -s does. An existing name stays.
func link(t *testing.T, m *Machine, pid int, name string) {
	t.Helper()
	err := os.Symlink(fmt.Sprintf("/proc/%d/ns/net", pid), filepath.Join(m.cfg.NetnsDir, name))
	if err != nil && !os.IsExist(err) {
		t.Fatal(err)
	}
}

func vzTarget(id string) nf.Target {
	return nf.Target{Kind: nf.TargetContainer, Runtime: nf.RuntimeVZ, ID: id, Name: id}
}

func vzContainer(t *testing.T, s *nf.Snapshot, id string) *nf.Container {
	t.Helper()
	_, c, ok := s.Find(vzTarget(id))
	if !ok {
		t.Fatalf("no container %s", id)
	}
	return c
}

// A container that shares the node's namespace is unobservable and is not changed:
// a change in it would change the node.
func TestVZSharesNodeNamespace(t *testing.T) {
	n := vztest.New(t)
	n.Add(vztest.Container{ID: "101", Saved: "full", State: nf.StateRunning, SharedNet: true},
		vztest.Container{ID: "102", Saved: "full", State: nf.StateRunning})
	m := virtuozzo(n)
	s := observe(t, m, nf.Ask{All: true})
	if len(s.Containers) != 2 || len(s.Warnings) != 0 {
		t.Fatalf("%+v, %v", s.Containers, s.Warnings)
	}
	c := vzContainer(t, &s, "101")
	if c.Unobservable == "" || len(c.Facts) != 1 || c.Rules != nil || vzContainer(t, &s, "102").Unobservable != "" {
		t.Errorf("%+v", c)
	}
	udp := nf.TimeoutKey("udp")
	same, _ := s.Host.Fact(udp).Live.Number()
	change := nf.Change{Target: c.Target(), Key: udp, Layer: nf.LayerLive, To: nf.Number(same)}
	if err := m.Set(context.Background(), &s, change); err == nil {
		t.Error("the node's value was written")
	}
	if err := m.Refresh(context.Background(), &s, change); err != nil || c.Unobservable == "" || len(c.Facts) != 1 {
		t.Errorf("%v, %+v", err, c)
	}
}

// Two containers that share a namespace are unobservable, and stay so after a
// refresh: a change in one would change the other.
func TestVZShareNamespace(t *testing.T) {
	n := vztest.New(t)
	n.Add(vztest.Container{ID: "101", Saved: "full", State: nf.StateRunning}, vztest.Container{ID: "102", Saved: "full", State: nf.StateRunning})
	m := virtuozzo(n)
	pidFile, nsLink := filepath.Join(n.Root(), "var/run/ve/102.init.pid"), filepath.Join(m.cfg.NetnsDir, "102")
	if err := errors.Join(os.WriteFile(pidFile, []byte(fmt.Sprint(n.Pid("101"))), 0o644), os.Remove(nsLink)); err != nil {
		t.Fatal(err)
	}
	link(t, m, n.Pid("101"), "102")
	s := observe(t, m, nf.Ask{All: true})
	for _, id := range []string{"101", "102"} {
		c := vzContainer(t, &s, id)
		for range 2 {
			if c.Unobservable == "" || len(c.Facts) != 1 || c.Rules != nil {
				t.Errorf("%+v", c)
			}
			if err := m.Refresh(context.Background(), &s, nf.Change{Target: c.Target(), Key: nf.TimeoutKey("udp"), Layer: nf.LayerLive}); err != nil {
				t.Error(err)
			}
		}
	}
}

// A runtime that exists and cannot be read is broken. Its containers are then
// unobservable, and their namespaces are not listed as named ones. Other containers
// are read. A refresh that needs every namespace fails.
func TestVZBroken(t *testing.T) {
	n := vztest.New(t)
	n.Add(vztest.Container{ID: "101", Saved: "full", State: nf.StateRunning})
	m := virtuozzo(n)
	addNamespace(t, m.cfg.NetnsDir, "web")
	before := observe(t, m, nf.Ask{Rules: true})
	n.StopDispatcher()
	n.Misbehave(vztest.Fault{Program: "vzlist", Exit: 3, Skip: true})
	unload := nf.Change{Target: nf.Node, Key: nf.ModuleKey("nf_conntrack"), To: nf.Module(nf.ModuleUnloaded, nil)}
	if err := m.Refresh(context.Background(), &before, unload); err == nil || !strings.Contains(err.Error(), "every namespace") {
		t.Errorf("error %v", err)
	}
	s := observe(t, m, nf.Ask{Rules: true})
	if len(s.Warnings) != 1 || s.Warnings[0].Code != nf.WarnRuntimeBroken {
		t.Errorf("warnings %v", s.Warnings)
	}
	if len(s.Containers) != 2 || s.Containers[1].Unobservable == "" || s.Containers[0].Runtime != nf.RuntimeNetns || s.Containers[0].ID != "web" || s.Containers[0].Rules == nil {
		t.Errorf("containers %+v", s.Containers)
	}
	if s.Capabilities.Latches != nf.MaybeUnknown || s.Host.Tracking.State == nf.TrackingOff {
		t.Errorf("%+v, %+v", s.Capabilities, s.Host.Tracking)
	}
}

// Listing runs each listing program once, however many containers there are. A
// refresh of one container runs none, and a change runs one.
func TestVZRunsFewPrograms(t *testing.T) {
	ctx := context.Background()
	n := vztest.New(t)
	const many = 12
	for i := range many {
		n.Add(vztest.Container{ID: fmt.Sprint(101 + i), Saved: "full", State: nf.StateRunning})
	}
	m := virtuozzo(n)
	level := nf.Change{Target: vzTarget("101"), Key: nf.KeyLevel, Layer: nf.LayerBoot, To: nf.LevelStateless.Value()}
	restart := nf.Change{Target: vzTarget("101"), Key: nf.KeyRestart, Layer: nf.LayerLive, To: nf.LevelStateless.Value()}
	unload := nf.Change{Target: nf.Node, Key: nf.ModuleKey("nf_conntrack"), To: nf.Module(nf.ModuleUnloaded, nil)}
	var listed, s nf.Snapshot
	for _, test := range []struct {
		name string
		act  func() error
		want []string
	}{
		{"list", func() (err error) { listed, err = m.List(ctx); return err }, []string{"prlctl", "vzlist"}},
		{"observe what was listed", func() (err error) { s, err = m.Observe(ctx, listed, nf.Ask{All: true}); return err }, nil},
		{"refresh one", func() error { return m.Refresh(ctx, &s, level) }, nil},
		{"refresh all", func() error { return m.Refresh(ctx, &s, unload) }, []string{"prlctl", "vzlist"}},
		{"save", func() error { return m.Set(ctx, &s, level) }, []string{"vzctl"}},
		{"save again", func() error { return m.Set(ctx, &s, level) }, nil},
		{"restart", func() error { return m.Set(ctx, &s, restart) }, []string{"vzctl"}},
		{"read back", func() error { return m.Refresh(ctx, &s, restart) }, nil},
	} {
		n.ForgetCalls()
		if err := test.act(); err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		var got []string
		for _, call := range n.Calls() {
			got = append(got, call[0])
		}
		slices.Sort(got)
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: ran %v, want %v", test.name, got, test.want)
		}
	}
	if len(s.Containers) != many {
		t.Errorf("%d containers", len(s.Containers))
	}
}

// If a container's init was killed, its pid file and its link remain. The container
// is nf.ErrGone all the same.
func TestVZInitKilled(t *testing.T) {
	ctx := context.Background()
	n := vztest.New(t)
	n.Add(vztest.Container{ID: "101", Saved: "full", State: nf.StateRunning})
	m := virtuozzo(n)
	udp := nf.TimeoutKey("udp")
	s := observe(t, m, nf.Ask{All: true})
	n.Crash("101")
	for _, c := range []nf.Change{{Target: vzTarget("101"), Key: udp, Layer: nf.LayerLive, To: nf.Number(5)},
		{Target: vzTarget("101"), Key: nf.KeyLevel, Layer: nf.LayerBoot, To: nf.LevelStateless.Value()}} {
		if err := m.Set(ctx, &s, c); !errors.Is(err, nf.ErrGone) {
			t.Errorf("%s was set: %v", c.Key, err)
		}
		if err := m.Refresh(ctx, &s, c); !errors.Is(err, nf.ErrGone) {
			t.Errorf("%s was read: %v", c.Key, err)
		}
	}
	if n.Saved("101") != "full" {
		t.Errorf("saved %s", n.Saved("101"))
	}
	s = observe(t, m, nf.Ask{All: true})
	if c := vzContainer(t, &s, "101"); c.Unobservable == "" || len(s.Containers) != 1 || len(s.Warnings) != 0 {
		t.Errorf("%+v, %v", s.Containers, s.Warnings)
	}
}

// A container that ends while it is observed is unobservable. The others are read.
func TestVZEndsWhileObserved(t *testing.T) {
	n := vztest.New(t)
	n.Add(vztest.Container{ID: "101", Saved: "full", State: nf.StateRunning}, vztest.Container{ID: "102", Saved: "full", State: nf.StateRunning})
	m := virtuozzo(n)
	s, err := m.List(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	n.Stop("101")
	for _, id := range []string{"101", "102"} {
		_ = m.observeContainer(context.Background(), worker{}, &s, vzContainer(t, &s, id), nf.Need{All: true})
	}
	a, b := vzContainer(t, &s, "101"), vzContainer(t, &s, "102")
	if a.Unobservable == "" || a.Unobservable == vanished || b.Unobservable != "" || len(b.Facts) < 2 {
		t.Errorf("%+v\n%+v", a, b)
	}
}

// A container in transition is not entered, and is unobservable.
func TestVZInTransition(t *testing.T) {
	n := vztest.New(t)
	n.Add(vztest.Container{ID: "101", Saved: "full", State: nf.StateRunning})
	m := virtuozzo(n)
	s := observe(t, m, nf.Ask{Rules: true})
	n.SetTransition("101", "migrating")
	unload := nf.Change{Target: nf.Node, Key: nf.ModuleKey("nf_conntrack"), To: nf.Module(nf.ModuleUnloaded, nil)}
	if err := m.Refresh(context.Background(), &s, unload); err != nil {
		t.Fatal(err)
	}
	now := observe(t, m, nf.Ask{All: true})
	for _, c := range []*nf.Container{vzContainer(t, &s, "101"), vzContainer(t, &now, "101")} {
		if c.State != "migrating" || c.Unobservable == "" {
			t.Errorf("%+v", c)
		}
	}
	if c := vzContainer(t, &now, "101"); len(c.Facts) != 1 || c.Rules != nil {
		t.Errorf("%+v", c)
	}
}

// VHS 9 has no masks and does not latch. The other facts are read as on Virtuozzo 7.
func TestVZWithoutMasks(t *testing.T) {
	n := vztest.New(t)
	n.Add(vztest.Container{ID: "101", Saved: "stateful", State: nf.StateRunning})
	n.RemoveMasks()
	m := virtuozzo(n)
	s := observe(t, m, nf.Ask{All: true})
	c := vzContainer(t, &s, "101")
	if s.Capabilities.Masks || s.Capabilities.Latches != nf.No || !c.Fact(nf.KeyLevel).Live.IsAbsent() {
		t.Errorf("%+v, %+v", s.Capabilities, c.Fact(nf.KeyLevel))
	}
	if _, ok := c.Fact(nf.KeyMax).Live.Number(); !ok || c.Tracking == nil || c.Tracking.State != nf.TrackingOff {
		t.Errorf("%+v, %+v", c.Fact(nf.KeyMax), c.Tracking)
	}
}

// Whether the kernel latches is determined even if the vz runtime is disabled, and
// no program runs for that.
func TestLatchesWithoutTheRuntime(t *testing.T) {
	for want, test := range map[string]func(*vztest.Node){
		nf.Yes:          func(*vztest.Node) {},
		nf.No:           (*vztest.Node).RemoveMasks,
		nf.MaybeUnknown: func(n *vztest.Node) { n.Stop("101") },
	} {
		n := vztest.New(t)
		n.Add(vztest.Container{ID: "101", Saved: "full", State: nf.StateRunning})
		test(n)
		m := virtuozzo(n)
		m.cfg.Runtimes = []string{nf.RuntimeNetns}
		s := observe(t, m, nf.Ask{All: true})
		if s.Capabilities.Latches != want || len(n.Calls()) != 0 {
			t.Errorf("latches %s, want %s; %q", s.Capabilities.Latches, want, n.Calls())
		}
	}
}

// Rules prove that a container tracks, but its level is that of the mask.
func TestVZRules(t *testing.T) {
	n := vztest.New(t)
	n.Add(vztest.Container{ID: "101", Saved: "full", State: nf.StateRunning})
	m := virtuozzo(n)
	ns := fmt.Sprintf("/proc/%d/ns/net", n.Pid("101"))
	run(t, ns, "nft", "add table ip t; add chain ip t c { type filter hook input priority 0; }; add rule ip t c ct state new accept")
	s := observe(t, m, nf.Ask{Rules: true})
	c := vzContainer(t, &s, "101")
	if c.Rules.Level() != nf.LevelStateful || c.Tracking.State != nf.TrackingOn || c.Fact(nf.KeyLevel).Live != nf.LevelFull.Value() {
		t.Errorf("%+v, %+v, %+v", c.Rules, c.Tracking, c.Fact(nf.KeyLevel))
	}
	run(t, ns, "nft", "flush ruleset")
	s = observe(t, m, nf.Ask{Rules: true})
	if c := vzContainer(t, &s, "101"); c.Tracking.State != nf.TrackingUnknown {
		t.Errorf("without the rule nothing is proved: %+v", c.Tracking)
	}
}

// After a restart that fails half-way the container is stopped. If the mask is not
// written, the container runs with another level than the saved one, and the
// restart returns no error.
func TestVZFailedRestarts(t *testing.T) {
	ctx := context.Background()
	n := vztest.New(t)
	n.Add(vztest.Container{ID: "101", Saved: "disabled", State: nf.StateRunning}, vztest.Container{ID: "102", Saved: "disabled", State: nf.StateRunning})
	m := virtuozzo(n)
	s := observe(t, m, nf.Ask{})
	n.FailStart("101", true)
	n.RefuseMask("102", true)
	for _, test := range []struct {
		id, state string
		fails     bool
		live      nf.Value
	}{{"101", nf.StateStopped, true, nf.Absent()}, {"102", nf.StateRunning, false, nf.LevelStateless.Value()}} {
		c := nf.Change{Target: vzTarget(test.id), Key: nf.KeyRestart, Layer: nf.LayerLive, To: nf.LevelDisabled.Value()}
		if err := m.Set(ctx, &s, c); (err != nil) != test.fails {
			t.Errorf("%s: %v", test.id, err)
		}
		if err := m.Refresh(ctx, &s, c); err != nil {
			t.Errorf("%s: %v", test.id, err)
		}
		if c := vzContainer(t, &s, test.id); c.State != test.state || c.Fact(nf.KeyLevel).Live != test.live {
			t.Errorf("%+v", c)
		}
	}
}

// A runtime that is disabled is not asked. Its links are then listed as any other
// named namespace.
func TestVZDisabled(t *testing.T) {
	n := vztest.New(t)
	n.Add(vztest.Container{ID: "101", Saved: "full", State: nf.StateRunning})
	m := virtuozzo(n)
	m.cfg.Runtimes = []string{nf.RuntimeNetns}
	s := observe(t, m, nf.Ask{})
	if len(s.Containers) != 1 || s.Containers[0].Runtime != nf.RuntimeNetns || len(n.Calls()) != 0 {
		t.Errorf("%+v, %v", s.Containers, n.Calls())
	}
}
