package hosttest

import (
	"context"
	"errors"
	"slices"
	"testing"

	"nfsync.dev/nfsync/internal/nf"
)

// VZStage is the input of a conformance test of the vz runtime: a machine without
// containers, on a kernel that has nf_conntrack and masks, and latches. Its
// functions change the containers as an admin would. An id is a CTID.
type VZStage struct {
	Machine              Subject
	Add                  func(VZ)
	Start, Stop, Suspend func(id string)
	Remove               func(id string)
	Claim                func(id, name string) // gives a running container's namespace a name in the directory of named namespaces
	Judge                func(*nf.Snapshot)    // replaces the observed tracking by what it proves
}

// RunVZ runs the tests that every machine with the vz runtime must pass. open
// returns a new machine for each test.
func RunVZ(t *testing.T, open func(t *testing.T) VZStage) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, VZStage)
	}{
		{"list", testVZList},
		{"levels are those of the masks", testVZLevels},
		{"what does not run", testVZNotRunning},
		{"tracking where the kernel latches", testVZTracking},
		{"the limit", testVZLimit},
		{"set and read back", testVZSet},
		{"save a level", testVZSave},
		{"save what cannot be saved", testVZSaveNothing},
		{"restart", testVZRestart},
		{"restart what does not run", testVZRestartNothing},
		{"another instance", testVZGone},
		{"suspend and resume", testVZResume},
		{"read every namespace", testVZEveryNamespace},
		{"a namespace is one container", testVZClaim},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

func vzTarget(id string) nf.Target {
	return nf.Target{Kind: nf.TargetContainer, Runtime: nf.RuntimeVZ, ID: id, Name: id}
}

// vzChange returns a change of a container of the vz runtime.
func vzChange(id string, k nf.Key, layer nf.Layer, to nf.Value) nf.Change {
	return nf.Change{Target: vzTarget(id), Key: k, Layer: layer, To: to}
}

// vzContainer returns a container, which must exist and be observable.
func vzContainer(t *testing.T, s *nf.Snapshot, id string) *nf.Container {
	t.Helper()
	_, c, ok := s.Find(vzTarget(id))
	if !ok || c.Unobservable != "" {
		t.Fatalf("container %s: found %v, %+v", id, ok, c)
	}
	return c
}

// askVZ returns an ask for the level, the limit and a timeout of the containers.
func askVZ(ids ...string) nf.Ask {
	ask := nf.Ask{Keys: map[nf.Target][]nf.Key{}}
	for _, id := range ids {
		ask.Keys[vzTarget(id)] = []nf.Key{nf.KeyLevel, nf.KeyMax, udp}
	}
	return ask
}

var (
	disabled, stateless, stateful, full = nf.LevelDisabled.Value(), nf.LevelStateless.Value(), nf.LevelStateful.Value(), nf.LevelFull.Value()
	odd                                 = nf.MaskValue(0x4c004003) // what IPTABLES="iptable_filter ipt_state" gives
)

// checkLevel checks the observed level, live and saved.
func checkLevel(t *testing.T, c *nf.Container, live, saved nf.Value) {
	t.Helper()
	f := c.Fact(nf.KeyLevel)
	if f.Live != live || f.Boot == nil || *f.Boot != saved {
		t.Errorf("%s: %+v, saved %v, want %v, saved %v", c.ID, f, f.Boot, live, saved)
	}
}

func testVZList(t *testing.T, st VZStage) {
	if s := listed(t, st.Machine); len(s.Containers) != 0 {
		t.Fatalf("containers %+v", s.Containers)
	}
	st.Add(VZ{ID: "105", State: nf.StateSuspended, Saved: full, Live: stateful})
	st.Add(VZ{ID: "101", Name: "web-1", UUID: "c0ffee00-0000-4000-8000-00000000aaaa", Saved: stateful})
	st.Add(VZ{ID: "102", Saved: stateless, State: nf.StateStopped})
	st.Add(VZ{ID: "103", Saved: stateless, State: nf.StateMounted})
	st.Add(VZ{ID: "104", Saved: disabled, Live: full, State: nf.StatePaused})
	s := listed(t, st.Machine)
	var got [][3]string
	for _, c := range s.Containers {
		if c.Runtime != nf.RuntimeVZ || len(c.Facts) != 1 || c.Rules != nil || c.Tracking != nil || !c.Count.IsAbsent() || c.Unobservable != "" {
			t.Errorf("a listed container: %+v", c)
		}
		instance := ""
		if c.Instance == nf.InstanceStopped || c.Instance == nf.InstanceSuspended {
			instance = c.Instance
		} else if c.Instance == "" {
			t.Errorf("no instance: %+v", c)
		}
		got = append(got, [3]string{c.ID, c.State, instance})
	}
	want := [][3]string{{"101", "running", ""}, {"102", "stopped", "stopped"}, {"103", "mounted", "stopped"}, {"104", "paused", ""}, {"105", "suspended", "suspended"}}
	if !slices.Equal(got, want) {
		t.Fatalf("got %v", got)
	}
	if c := s.Containers[0]; c.Name != "web-1" || c.UUID != "c0ffee00-0000-4000-8000-00000000aaaa" {
		t.Errorf("%+v", c)
	}
	if s.Containers[0].Instance == s.Containers[3].Instance {
		t.Errorf("two containers are one instance: %s", s.Containers[0].Instance)
	}
	if again := listed(t, st.Machine); again.Containers[0].Instance != s.Containers[0].Instance {
		t.Errorf("instance %q, then %q", s.Containers[0].Instance, again.Containers[0].Instance)
	}
	checkLevel(t, &s.Containers[0], stateful, stateful)
	checkLevel(t, &s.Containers[1], nf.Absent(), stateless)
	checkLevel(t, &s.Containers[2], nf.Absent(), stateless)
	checkLevel(t, &s.Containers[3], full, disabled)
	checkLevel(t, &s.Containers[4], stateful, full)
}

// The level of a container is that of its mask, not that of its rules: the
// containers of this test have none. Whatever else is read, the level stays.
func testVZLevels(t *testing.T, st VZStage) {
	st.Add(VZ{ID: "101", Saved: stateful, Live: full})
	st.Add(VZ{ID: "102", Live: odd})
	st.Add(VZ{ID: "103"})
	for _, ask := range []nf.Ask{{}, askVZ("101", "102", "103"), {Rules: true}, {All: true}} {
		s := observed(t, st.Machine, ask)
		if !s.Capabilities.Masks || s.Capabilities.Latches != nf.Yes {
			t.Fatalf("%+v", s.Capabilities)
		}
		checkLevel(t, vzContainer(t, &s, "101"), full, stateful)
		checkLevel(t, vzContainer(t, &s, "102"), odd, stateless)
		checkLevel(t, vzContainer(t, &s, "103"), stateless, stateless)
		for _, k := range []nf.Key{nf.KeyLevel, udp} {
			if err := st.Machine.Refresh(context.Background(), &s, vzChange("101", k, nf.LayerLive, full)); err != nil {
				t.Fatal(err)
			}
			checkLevel(t, vzContainer(t, &s, "101"), full, stateful)
		}
	}
}

// A container that does not run has no namespace, and so no rules.
func testVZNotRunning(t *testing.T, st VZStage) {
	ids := map[string]string{"101": nf.StateStopped, "102": nf.StateMounted, "103": nf.StateSuspended}
	for id, state := range ids {
		st.Add(VZ{ID: id, State: state, Saved: stateful})
	}
	s := observed(t, st.Machine, nf.Ask{All: true})
	for id, state := range ids {
		c := vzContainer(t, &s, id)
		if c.State != state || len(c.Facts) != 1 || c.Rules == nil || len(c.Rules.Tables) != 0 || c.Rules.Unknown != "" || c.Tracking != nil || !c.Count.IsAbsent() || c.MaxScope != "" {
			t.Errorf("%s: %+v", state, c)
		}
		if err := st.Machine.Refresh(context.Background(), &s, vzChange(id, udp, nf.LayerLive, nf.Number(9))); err != nil || len(c.Facts) != 1 {
			t.Errorf("%s: %v, %+v", state, err, c.Facts)
		}
		if err := st.Machine.Set(context.Background(), &s, vzChange(id, udp, nf.LayerLive, nf.Number(9))); !errors.Is(err, nf.ErrGone) {
			t.Errorf("%s: a value was set: %v", state, err)
		}
	}
}

// Without rules and entries, tracking is off only if the mask has no bits for it.
// Otherwise it is unknown, because the kernel latches.
func testVZTracking(t *testing.T, st VZStage) {
	for id, live := range map[string]nf.Value{"101": disabled, "102": stateless, "103": stateful, "104": full, "105": odd} {
		st.Add(VZ{ID: id, Live: live})
	}
	s := observed(t, st.Machine, nf.Ask{Rules: true})
	st.Judge(&s)
	for id, want := range map[string]string{"101": nf.TrackingOff, "102": nf.TrackingOff, "103": nf.TrackingUnknown, "104": nf.TrackingUnknown, "105": nf.TrackingUnknown} {
		c := vzContainer(t, &s, id)
		if c.Tracking == nil || c.Tracking.State != want || c.Tracking.Evidence == "" {
			t.Errorf("%s: %+v, want %s", id, c.Tracking, want)
		}
	}
	if s.Host.Tracking == nil || s.Host.Tracking.State == nf.TrackingOff {
		t.Errorf("the node: %+v", s.Host.Tracking)
	}
}

func testVZLimit(t *testing.T, st VZStage) {
	st.Add(VZ{ID: "101", Saved: full})
	s := observed(t, st.Machine, nf.Ask{Limits: true})
	c := vzContainer(t, &s, "101")
	if n := number(t, &c.Namespace, nf.KeyMax); n != number(t, &s.Host, nf.KeyMax) {
		t.Errorf("a new namespace's limit: %d", n)
	}
	if _, ok := c.Count.Number(); !ok || c.MaxScope == "" || c.Rules != nil {
		t.Errorf("container %+v", c)
	}
}

func testVZSet(t *testing.T, st VZStage) {
	ctx, m := context.Background(), st.Machine
	st.Add(VZ{ID: "101", Saved: full})
	st.Add(VZ{ID: "102", Saved: full, State: nf.StatePaused})
	s := observed(t, m, askVZ("101", "102"))
	for _, id := range []string{"101", "102"} {
		c := vzContainer(t, &s, id)
		from, node := number(t, &c.Namespace, udp), number(t, &s.Host, udp)
		change := vzChange(id, udp, nf.LayerLive, nf.Number(from+17))
		if err := m.Set(ctx, &s, change); err != nil {
			t.Fatal(err)
		}
		if err := m.Refresh(ctx, &s, change); err != nil || number(t, &c.Namespace, udp) != from+17 {
			t.Errorf("%s: read back %v, %v", id, c.Fact(udp), err)
		}
		if err := m.Refresh(ctx, &s, nf.Change{Target: nf.Node, Key: udp}); err != nil || number(t, &s.Host, udp) != node {
			t.Errorf("the change reached the node: %v, %v", s.Host.Fact(udp), err)
		}
	}
	for _, c := range []nf.Change{vzChange("101", nf.KeyLevel, nf.LayerLive, stateless), vzChange("101", udp, nf.LayerBoot, nf.Number(5)),
		vzChange("101", nf.ModuleKey("nf_nat"), nf.LayerLive, nf.Module(nf.ModuleLoaded, nil))} {
		if err := m.Set(ctx, &s, c); err == nil {
			t.Errorf("%s %s was set", c.Layer, c.Key)
		}
	}
}

// A level can be saved in every state. It is the level of the next cold start;
// neither the live level nor the instance changes.
func testVZSave(t *testing.T, st VZStage) {
	ctx, m := context.Background(), st.Machine
	for id, state := range map[string]string{"101": nf.StateRunning, "102": nf.StatePaused, "103": nf.StateStopped, "104": nf.StateMounted, "105": nf.StateSuspended} {
		st.Add(VZ{ID: id, State: state, Saved: stateful})
		s := observed(t, m, askVZ(id))
		c := vzContainer(t, &s, id)
		live, instance := c.Fact(nf.KeyLevel).Live, c.Instance
		save := vzChange(id, nf.KeyLevel, nf.LayerBoot, stateless)
		if err := m.Set(ctx, &s, save); err != nil {
			t.Errorf("%s: %v", state, err)
			continue
		}
		checkLevel(t, c, live, stateful) // the snapshot does not follow
		if err := m.Refresh(ctx, &s, save); err != nil {
			t.Errorf("%s: %v", state, err)
		}
		checkLevel(t, c, live, stateless)
		if c.Instance != instance || c.State != state {
			t.Errorf("%s became %s, %s", state, c.State, c.Instance)
		}
		save.To = stateful // the undo
		if err := errors.Join(m.Set(ctx, &s, save), m.Refresh(ctx, &s, save)); err != nil {
			t.Errorf("%s: %v", state, err)
		}
		checkLevel(t, c, live, stateful)
	}
}

func testVZSaveNothing(t *testing.T, st VZStage) {
	st.Add(VZ{ID: "101", State: nf.StateStopped, Saved: stateful})
	s := observed(t, st.Machine, nf.Ask{})
	for _, v := range []nf.Value{odd, nf.Absent(), nf.Unknown("unreadable"), nf.Number(1), nf.Text("Full")} {
		if err := st.Machine.Set(context.Background(), &s, vzChange("101", nf.KeyLevel, nf.LayerBoot, v)); err == nil {
			t.Errorf("%v was saved", v)
		}
	}
	st.Remove("101")
	if err := st.Machine.Set(context.Background(), &s, vzChange("101", nf.KeyLevel, nf.LayerBoot, full)); !errors.Is(err, nf.ErrGone) {
		t.Errorf("a container that was removed: %v", err)
	}
}

// A restart ends an instance. The next instance has the saved level and the values
// of a new namespace. Only a refresh of the restart accepts it: for every other
// change the container is nf.ErrGone.
func testVZRestart(t *testing.T, st VZStage) {
	ctx, m := context.Background(), st.Machine
	st.Add(VZ{ID: "101", Saved: stateless, Live: full})
	s := observed(t, m, askVZ("101"))
	c := vzContainer(t, &s, "101")
	first, from := c.Instance, number(t, &c.Namespace, udp)
	if err := m.Set(ctx, &s, vzChange("101", udp, nf.LayerLive, nf.Number(from+17))); err != nil {
		t.Fatal(err)
	}
	restart := vzChange("101", nf.KeyRestart, nf.LayerLive, stateless)
	if err := m.Refresh(ctx, &s, restart); err != nil || c.Instance != first || c.Rules == nil || len(c.Facts) != 3 {
		t.Errorf("before the restart: %v, %+v", err, c)
	}
	if err := m.Set(ctx, &s, restart); err != nil {
		t.Fatal(err)
	}
	for _, k := range []nf.Key{udp, nf.KeyLevel} {
		if err := m.Refresh(ctx, &s, vzChange("101", k, nf.LayerLive, stateless)); !errors.Is(err, nf.ErrGone) {
			t.Errorf("%s of another instance: %v", k, err)
		}
	}
	if err := m.Set(ctx, &s, vzChange("101", udp, nf.LayerLive, nf.Number(5))); !errors.Is(err, nf.ErrGone) {
		t.Errorf("another instance was changed: %v", err)
	}
	if c.Instance != first {
		t.Errorf("a refresh that failed changed the snapshot: %+v", c)
	}
	checkLevel(t, c, full, stateless)
	if err := m.Refresh(ctx, &s, restart); err != nil {
		t.Fatal(err)
	}
	if c.Instance == first || c.State != nf.StateRunning || len(c.Facts) != 1 || c.Rules != nil || c.Tracking != nil || !c.Count.IsAbsent() || c.MaxScope != "" {
		t.Errorf("the new instance: %+v", c)
	}
	checkLevel(t, c, stateless, stateless)
	change := vzChange("101", udp, nf.LayerLive, nf.Number(from+5))
	if err := m.Refresh(ctx, &s, change); err != nil || number(t, &c.Namespace, udp) != from {
		t.Errorf("a value of the new namespace: %+v, %v", c.Fact(udp), err)
	}
	if err := errors.Join(m.Set(ctx, &s, change), m.Refresh(ctx, &s, change)); err != nil || number(t, &c.Namespace, udp) != from+5 {
		t.Errorf("a change of the new instance: %+v, %v", c.Fact(udp), err)
	}
}

func testVZRestartNothing(t *testing.T, st VZStage) {
	ctx := context.Background()
	states := map[string]string{"101": nf.StateStopped, "102": nf.StateMounted, "103": nf.StateSuspended, "104": nf.StatePaused}
	for id, state := range states {
		st.Add(VZ{ID: id, State: state})
	}
	s := observed(t, st.Machine, nf.Ask{})
	for id, state := range states {
		if err := st.Machine.Set(ctx, &s, vzChange(id, nf.KeyRestart, nf.LayerLive, full)); err == nil {
			t.Errorf("%s: restarted", state)
		}
		if err := st.Machine.Refresh(ctx, &s, vzChange(id, nf.KeyRestart, nf.LayerLive, full)); err != nil || vzContainer(t, &s, id).State != state {
			t.Errorf("%s: %v, %+v", state, err, vzContainer(t, &s, id))
		}
	}
	if err := st.Machine.Set(ctx, &s, nf.Change{Target: nf.Node, Key: nf.KeyRestart, Layer: nf.LayerLive, To: full}); err == nil {
		t.Error("the node was restarted")
	}
}

// Whatever ends or begins an instance, the container that was observed is
// nf.ErrGone.
func testVZGone(t *testing.T, st VZStage) {
	ctx, m := context.Background(), st.Machine
	for name, test := range map[string]struct {
		state string
		act   func(id string)
	}{
		"stopped":           {nf.StateRunning, st.Stop},
		"suspended":         {nf.StateRunning, st.Suspend},
		"removed":           {nf.StateStopped, st.Remove},
		"started":           {nf.StateStopped, st.Start},
		"resumed":           {nf.StateSuspended, st.Start},
		"restarted":         {nf.StateRunning, func(id string) { st.Stop(id); st.Start(id) }},
		"removed, it ran":   {nf.StateRunning, st.Remove},
		"resumed meanwhile": {nf.StateRunning, func(id string) { st.Suspend(id); st.Start(id) }},
	} {
		st.Add(VZ{ID: "101", State: test.state, Saved: full})
		s := observed(t, m, askVZ("101"))
		test.act("101")
		changes := []nf.Change{vzChange("101", udp, nf.LayerLive, nf.Number(5)), vzChange("101", nf.KeyLevel, nf.LayerBoot, stateless),
			vzChange("101", nf.KeyRestart, nf.LayerLive, stateless)}
		for _, c := range changes {
			if err := m.Set(ctx, &s, c); !errors.Is(err, nf.ErrGone) && !(c.Key == nf.KeyRestart && err != nil) {
				t.Errorf("%s: %s was set: %v", name, c.Key, err)
			}
		}
		for _, c := range changes[:2] {
			if err := m.Refresh(ctx, &s, c); !errors.Is(err, nf.ErrGone) {
				t.Errorf("%s: %s was read: %v", name, c.Key, err)
			}
		}
		s = listed(t, m)
		if _, c, ok := s.Find(vzTarget("101")); ok {
			if *c.Fact(nf.KeyLevel).Boot != full {
				t.Errorf("%s: a level was saved", name)
			}
			st.Remove("101")
		}
	}
}

// A resumed container has the level of its dump, in a new namespace.
func testVZResume(t *testing.T, st VZStage) {
	st.Add(VZ{ID: "101", Saved: stateless, Live: full})
	before := observed(t, st.Machine, nf.Ask{All: true})
	st.Suspend("101")
	during := observed(t, st.Machine, nf.Ask{All: true})
	checkLevel(t, vzContainer(t, &during, "101"), full, stateless)
	st.Start("101")
	after := observed(t, st.Machine, nf.Ask{All: true})
	c := vzContainer(t, &after, "101")
	checkLevel(t, c, full, stateless)
	if c.State != nf.StateRunning || c.Instance == vzContainer(t, &before, "101").Instance {
		t.Errorf("%+v", c)
	}
}

// A container that was stopped since, or never ran, has no rules and no entries. A
// container that was started since is an error: nothing is known of it.
func testVZEveryNamespace(t *testing.T, st VZStage) {
	ctx, m := context.Background(), st.Machine
	for id, state := range map[string]string{"101": nf.StateRunning, "102": nf.StateRunning, "103": nf.StateStopped} {
		st.Add(VZ{ID: id, State: state, Saved: full})
	}
	s := observed(t, m, nf.Ask{Rules: true, Limits: true})
	st.Stop("102")
	st.Add(VZ{ID: "104", State: nf.StateSuspended})
	unload := nf.Change{Target: nf.Node, Key: nf.ModuleKey("nf_conntrack"), To: nf.Module(nf.ModuleUnloaded, nil)}
	lower := nf.Change{Target: nf.Node, Key: nf.KeyMax, From: nf.Number(1000), To: nf.Number(10)}
	for _, c := range []nf.Change{unload, lower} {
		if err := m.Refresh(ctx, &s, c); err != nil {
			t.Fatalf("%s: %v", c.Key, err)
		}
		for _, id := range []string{"101", "102", "103"} {
			if c := vzContainer(t, &s, id); c.Rules == nil || len(c.Rules.Tables) != 0 || c.Count.IsAbsent() != (id != "101") {
				t.Errorf("%s: %+v", id, c)
			}
		}
		checkLevel(t, vzContainer(t, &s, "101"), full, full)
		for _, id := range []string{"102", "103"} {
			checkLevel(t, vzContainer(t, &s, id), nf.Absent(), full)
		}
	}
	st.Start("103")
	for _, c := range []nf.Change{unload, lower} {
		if err := m.Refresh(ctx, &s, c); err == nil || errors.Is(err, nf.ErrGone) {
			t.Errorf("%s: a container that was started: %v", c.Key, err)
		}
	}
}

// The namespace of a container of the vz runtime is not listed as a named one too,
// whatever its names are.
func testVZClaim(t *testing.T, st VZStage) {
	st.Add(VZ{ID: "101", Saved: full})
	for _, name := range []string{"101", "0-first", "zz-last"} {
		st.Claim("101", name)
	}
	for _, s := range []nf.Snapshot{listed(t, st.Machine), observed(t, st.Machine, nf.Ask{All: true})} {
		if len(s.Containers) != 1 || s.Containers[0].Runtime != nf.RuntimeVZ || len(s.Containers[0].Aliases) != 0 || len(s.Warnings) != 0 {
			t.Errorf("containers %+v, warnings %v", s.Containers, s.Warnings)
		}
	}
}
