package hosttest

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"

	"nfsync.dev/nfsync/internal/nf"
)

// Subject is the machine under test.
type Subject interface {
	List(ctx context.Context) (nf.Snapshot, error)
	Observe(ctx context.Context, listed nf.Snapshot, ask nf.Ask) (nf.Snapshot, error)
	Refresh(ctx context.Context, s *nf.Snapshot, c nf.Change) error
	Set(ctx context.Context, s *nf.Snapshot, c nf.Change) error
}

// Stage is the input of a conformance test: a machine without containers, on a
// kernel with nf_conntrack. Add and Remove add and remove containers of one runtime.
type Stage struct {
	Machine Subject
	Add     func(name string, aliases ...string)
	Remove  func(name string)
	// Target returns the target of a container; nil: a container of the netns runtime.
	Target func(name string) nf.Target
}

func (st Stage) target(name string) nf.Target {
	if st.Target != nil {
		return st.Target(name)
	}
	return target(name)
}

// Run runs the tests that every machine must pass. open returns a new machine for
// each test. The tests change values of containers only.
func Run(t *testing.T, open func(t *testing.T) Stage) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, Stage)
	}{
		{"list", testList},
		{"observe nothing of containers", testObserveNothing},
		{"observe the keys asked", testObserveKeys},
		{"observe levels", testObserveLevels},
		{"observe limits", testObserveLimits},
		{"observe all", testObserveAll},
		{"set and read back", testSet},
		{"a value the kernel refuses", testInvalid},
		{"a read-only value", testReadOnly},
		{"a value the kernel lacks", testAbsent},
		{"changes that do not exist", testNoSuchChange},
		{"a container that has vanished", testGone},
		{"a container that was recreated", testRecreated},
		{"read every namespace", testEveryNamespace},
		{"a context that is done", testContext},
		{"lists in JSON", testJSON},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

// RunBoot runs the tests that every machine with a boot layer must pass. open
// returns a new machine for each test; its boot files must be empty. The tests
// change no live value.
func RunBoot(t *testing.T, open func(t *testing.T) Stage) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, Stage)
	}{
		{"save a value", testBootValue},
		{"save a module", testBootModule},
		{"save what cannot be saved", testBootNoSuchChange},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

func target(name string) nf.Target {
	return nf.Target{Kind: nf.TargetContainer, Runtime: nf.RuntimeNetns, ID: name, Name: name}
}

var (
	udp  = nf.TimeoutKey("udp")
	icmp = nf.TimeoutKey("icmp")
	none = nf.SysctlKey("nf_conntrack_no_such_value")
)

// change returns a change of a container's key.
func (st Stage) change(name string, k nf.Key, from, to int64) nf.Change {
	return nf.Change{Target: st.target(name), Key: k, Layer: nf.LayerLive, From: nf.Number(from), To: nf.Number(to)}
}

func listed(t *testing.T, m Subject) nf.Snapshot {
	t.Helper()
	s, err := m.List(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func observed(t *testing.T, m Subject, ask nf.Ask) nf.Snapshot {
	t.Helper()
	s, err := m.Observe(context.Background(), listed(t, m), ask)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// container returns a container, which must exist and be observable.
func (st Stage) container(t *testing.T, s *nf.Snapshot, name string) *nf.Container {
	t.Helper()
	_, c, ok := s.Find(st.target(name))
	if !ok || c.Unobservable != "" {
		t.Fatalf("container %s: found %v, %+v", name, ok, c)
	}
	return c
}

// number returns the live value of a key, which must be a number.
func number(t *testing.T, ns *nf.Namespace, k nf.Key) int64 {
	t.Helper()
	n, ok := ns.Fact(k).Live.Number()
	if !ok {
		t.Fatalf("%s is %v", k, ns.Fact(k))
	}
	return n
}

func keysOf(ns *nf.Namespace) []nf.Key {
	keys := []nf.Key{}
	for _, f := range ns.Facts {
		keys = append(keys, f.Key)
	}
	return keys
}

func testList(t *testing.T, st Stage) {
	if s := listed(t, st.Machine); len(s.Containers) != 0 {
		t.Fatalf("containers %+v", s.Containers)
	}
	st.Add("b", "z", "y")
	st.Add("a")
	s := listed(t, st.Machine)
	if s.APIVersion != nf.APIVersion || s.Kind != nf.KindNodeSnapshot || s.Node.Name == "" || s.BootID == "" || s.Kernel.Release == "" || s.TakenAt.IsZero() {
		t.Errorf("identity %+v", s)
	}
	if len(s.Containers) != 2 {
		t.Fatalf("containers %+v", s.Containers)
	}
	a, b := *st.container(t, &s, "a"), *st.container(t, &s, "b")
	if a.Target() != st.target("a") || b.Target() != st.target("b") || !slices.Equal(slices.Sorted(slices.Values(b.Aliases)), []string{"y", "z"}) || len(a.Aliases) != 0 {
		t.Errorf("containers %+v", s.Containers)
	}
	for _, c := range s.Containers {
		if c.State != nf.StateRunning || c.Instance == "" || len(c.Facts) != 0 || c.Rules != nil || c.Tracking != nil || !c.Count.IsAbsent() {
			t.Errorf("a listed container: %+v", c)
		}
	}
	if a.Instance == b.Instance {
		t.Errorf("two containers are one instance: %s", a.Instance)
	}
	again := listed(t, st.Machine)
	if c := st.container(t, &again, "a"); c.Instance != a.Instance {
		t.Errorf("instance %q, then %q", a.Instance, c.Instance)
	}
}

func testObserveNothing(t *testing.T, st Stage) {
	st.Add("a")
	s := observed(t, st.Machine, nf.Ask{})
	if c := st.container(t, &s, "a"); len(c.Facts) != 0 || c.Rules != nil || c.Tracking != nil || !c.Count.IsAbsent() {
		t.Errorf("container %+v", c)
	}
	// The node's own facts are always complete.
	for _, k := range []nf.Key{nf.KeyMax, nf.KeyBuckets, nf.KeyExpectMax, udp} {
		number(t, &s.Host, k)
	}
	if _, ok := s.Host.Fact(nf.KeyLevel).Live.Level(); !ok || s.Host.Rules == nil || s.Host.Tracking == nil || s.Host.Count.IsAbsent() {
		t.Errorf("node %+v", s.Host)
	}
	if !slices.IsSortedFunc(s.Modules.List, func(a, b nf.ModuleFact) int { return strings.Compare(a.Name, b.Name) }) {
		t.Error("the modules are not sorted")
	}
	if m, ok := s.Modules.Find("nf-conntrack"); !ok || m.State == nf.ModuleUnloaded {
		t.Errorf("nf_conntrack: %+v", m)
	}
	if s.Capabilities.BootFiles {
		t.Error("boot files, although the node has none")
	}
	if s.Capabilities.Latches == "" || s.Capabilities.BucketStep <= 0 {
		t.Errorf("capabilities %+v", s.Capabilities)
	}
}

func testObserveKeys(t *testing.T, st Stage) {
	st.Add("a")
	st.Add("b")
	s := observed(t, st.Machine, nf.Ask{Keys: map[nf.Target][]nf.Key{st.target("b"): {udp, none, icmp}}})
	if c := st.container(t, &s, "a"); len(c.Facts) != 0 {
		t.Errorf("not asked: %+v", c)
	}
	b := st.container(t, &s, "b")
	if want := slices.Sorted(slices.Values([]nf.Key{udp, none, icmp})); !slices.Equal(keysOf(&b.Namespace), want) {
		t.Errorf("facts %+v", b.Facts)
	}
	number(t, &b.Namespace, udp)
	if !b.Fact(none).Live.IsAbsent() {
		t.Errorf("%+v", b.Fact(none))
	}
	if b.Rules != nil || b.Tracking != nil || !b.Count.IsAbsent() || b.MaxScope != "" {
		t.Errorf("more than was asked: %+v", b)
	}
}

func testObserveLevels(t *testing.T, st Stage) {
	st.Add("a")
	st.Add("b")
	asked := observed(t, st.Machine, nf.Ask{Keys: map[nf.Target][]nf.Key{st.target("a"): {nf.KeyLevel}}})
	all := observed(t, st.Machine, nf.Ask{Rules: true})
	if c := st.container(t, &asked, "b"); c.Rules != nil {
		t.Errorf("not asked: %+v", c)
	}
	for _, c := range []*nf.Container{st.container(t, &asked, "a"), st.container(t, &all, "a"), st.container(t, &all, "b")} {
		if l, ok := c.Fact(nf.KeyLevel).Live.Level(); !ok || l != nf.LevelDisabled {
			t.Errorf("the level of a new namespace: %+v", c.Fact(nf.KeyLevel))
		}
		if c.Rules == nil || c.Rules.Level() != nf.LevelDisabled || c.Tracking == nil || c.Tracking.State != nf.TrackingOff {
			t.Errorf("a new namespace: %+v, %+v", c.Rules, c.Tracking)
		}
		if n, ok := c.Count.Number(); !ok || n != 0 {
			t.Errorf("entries %v", c.Count)
		}
	}
}

func testObserveLimits(t *testing.T, st Stage) {
	st.Add("a")
	st.Add("b")
	limits := observed(t, st.Machine, nf.Ask{Limits: true})
	asked := observed(t, st.Machine, nf.Ask{Keys: map[nf.Target][]nf.Key{st.target("a"): {nf.KeyMax}}})
	if c := st.container(t, &asked, "b"); len(c.Facts) != 0 || c.MaxScope != "" {
		t.Errorf("not asked: %+v", c)
	}
	for _, c := range []*nf.Container{st.container(t, &limits, "a"), st.container(t, &limits, "b"), st.container(t, &asked, "a")} {
		if n := number(t, &c.Namespace, nf.KeyMax); n != number(t, &limits.Host, nf.KeyMax) {
			t.Errorf("a new namespace's limit: %d", n)
		}
		if _, ok := c.Count.Number(); !ok || c.MaxScope == "" || c.Rules != nil {
			t.Errorf("container %+v", c)
		}
	}
}

func testObserveAll(t *testing.T, st Stage) {
	st.Add("a")
	s := observed(t, st.Machine, nf.Ask{All: true})
	c := st.container(t, &s, "a")
	for _, ns := range []*nf.Namespace{&s.Host, &c.Namespace} {
		keys := keysOf(ns)
		if !slices.IsSorted(keys) || len(slices.Compact(slices.Clone(keys))) != len(keys) {
			t.Errorf("keys %v", keys)
		}
		for _, k := range []nf.Key{nf.KeyLevel, nf.KeyMax, nf.KeyBuckets, nf.KeyExpectMax, udp, nf.SysctlKey("nf_conntrack_tcp_loose")} {
			if !slices.Contains(keys, k) {
				t.Errorf("no %s in %v", k, keys)
			}
		}
		if ns.Rules == nil || ns.Tracking == nil || ns.Count.IsAbsent() {
			t.Errorf("namespace %+v", ns)
		}
	}
}

func testSet(t *testing.T, st Stage) {
	ctx, m := context.Background(), st.Machine
	st.Add("a")
	st.Add("b")
	ask := nf.Ask{Keys: map[nf.Target][]nf.Key{st.target("a"): {udp, icmp}, st.target("b"): {udp}}}
	s := observed(t, m, ask)
	a, b := st.container(t, &s, "a"), st.container(t, &s, "b")
	from, node, neighbour := number(t, &a.Namespace, udp), number(t, &s.Host, udp), number(t, &b.Namespace, udp)
	to := from + 17
	c := st.change("a", udp, from, to)
	refresh := func(c nf.Change) {
		t.Helper()
		if err := m.Refresh(ctx, &s, c); err != nil {
			t.Fatal(err)
		}
	}
	refresh(c)
	if n := number(t, &a.Namespace, udp); n != from {
		t.Errorf("Refresh changed %d to %d", from, n)
	}
	if err := m.Set(ctx, &s, c); err != nil {
		t.Fatal(err)
	}
	if n := number(t, &a.Namespace, udp); n != from {
		t.Errorf("the snapshot changed without Refresh: %d", n)
	}
	refresh(c)
	refresh(st.change("b", udp, 0, 0))
	refresh(nf.Change{Target: nf.Node, Key: udp})
	if n := number(t, &a.Namespace, udp); n != to {
		t.Errorf("read back %d, want %d", n, to)
	}
	if number(t, &b.Namespace, udp) != neighbour || number(t, &s.Host, udp) != node {
		t.Error("the change reached another namespace")
	}
	if keys := keysOf(&a.Namespace); len(keys) != 2 {
		t.Errorf("after a refresh of one key the keys are %v", keys)
	}
	c.From, c.To = c.To, c.From
	if err := m.Set(ctx, &s, c); err != nil {
		t.Fatal(err)
	}
	refresh(c)
	if n := number(t, &a.Namespace, udp); n != from {
		t.Errorf("undone to %d, want %d", n, from)
	}
}

func testInvalid(t *testing.T, st Stage) {
	st.Add("a")
	s := observed(t, st.Machine, nf.Ask{All: true})
	c := st.container(t, &s, "a")
	before := number(t, &c.Namespace, udp)
	ch := st.change("a", udp, before, 1<<31) // more than the kernel's int holds
	if err := st.Machine.Set(context.Background(), &s, ch); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("error %v", err)
	}
	if err := st.Machine.Refresh(context.Background(), &s, ch); err != nil || number(t, &c.Namespace, udp) != before {
		t.Errorf("%v, %v", c.Fact(udp), err)
	}
}

func testReadOnly(t *testing.T, st Stage) {
	st.Add("a")
	s := observed(t, st.Machine, nf.Ask{All: true})
	c := st.container(t, &s, "a")
	if !c.Fact(nf.KeyBuckets).ReadOnly || c.Fact(udp).ReadOnly {
		t.Errorf("%+v, %+v", c.Fact(nf.KeyBuckets), c.Fact(udp))
	}
	n := number(t, &c.Namespace, nf.KeyBuckets)
	err := st.Machine.Set(context.Background(), &s, st.change("a", nf.KeyBuckets, n, 2*n))
	if err == nil || errors.Is(err, nf.ErrGone) {
		t.Errorf("error %v", err)
	}
	limit := c.Fact(nf.KeyMax)
	if !limit.ReadOnly {
		return
	}
	if c.MaxScope != nf.ScopeNode {
		t.Errorf("the scope of a read-only limit: %s", c.MaxScope)
	}
	n = number(t, &c.Namespace, nf.KeyMax)
	if err := st.Machine.Set(context.Background(), &s, st.change("a", nf.KeyMax, n, n-1)); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("error %v", err)
	}
}

func testAbsent(t *testing.T, st Stage) {
	st.Add("a")
	s := observed(t, st.Machine, nf.Ask{})
	c := st.change("a", none, 0, 1)
	if err := st.Machine.Set(context.Background(), &s, c); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v", err)
	}
	if err := st.Machine.Refresh(context.Background(), &s, c); err != nil || !st.container(t, &s, "a").Fact(none).Live.IsAbsent() {
		t.Error(err)
	}
	s.Modules.Set(nf.ModuleFact{Name: "no_such_module", State: nf.ModuleLoaded})
	c = nf.Change{Target: nf.Node, Key: nf.ModuleKey("no_such_module"), To: nf.Module(nf.ModuleLoaded, nil)}
	if err := st.Machine.Set(context.Background(), &s, c); err == nil {
		t.Error("a module that does not exist was loaded")
	}
	if err := st.Machine.Refresh(context.Background(), &s, c); err != nil {
		t.Error(err)
	}
	if m, ok := s.Modules.Find("no_such_module"); ok {
		t.Errorf("%+v", m)
	}
}

func testNoSuchChange(t *testing.T, st Stage) {
	st.Add("a")
	s := listed(t, st.Machine)
	boot := st.change("a", udp, 1, 2)
	boot.Layer = nf.LayerBoot
	node := boot // the node has no boot files
	node.Target = nf.Node
	module := st.change("a", nf.ModuleKey("nf_conntrack"), 0, 0)
	module.To = nf.Module(nf.ModuleUnloaded, nil)
	level := st.change("a", nf.KeyLevel, 0, 0)
	level.To = nf.LevelDisabled.Value()
	word := st.change("a", udp, 1, 2)
	word.To = nf.Unknown("unreadable")
	for _, c := range []nf.Change{boot, node, module, level, word} {
		if err := st.Machine.Set(context.Background(), &s, c); err == nil || errors.Is(err, nf.ErrGone) {
			t.Errorf("%s %s: %v", c.Layer, c.Key, err)
		}
	}
}

func testGone(t *testing.T, st Stage) {
	ctx, m := context.Background(), st.Machine
	st.Add("a")
	st.Add("b")
	ask := nf.Ask{Keys: map[nf.Target][]nf.Key{st.target("a"): {udp}, st.target("b"): {udp}}}
	s := observed(t, m, ask)
	st.Remove("a")
	if err := m.Refresh(ctx, &s, st.change("a", udp, 30, 31)); !errors.Is(err, nf.ErrGone) {
		t.Errorf("Refresh: %v", err)
	}
	if err := m.Set(ctx, &s, st.change("a", udp, 30, 31)); !errors.Is(err, nf.ErrGone) {
		t.Errorf("Set: %v", err)
	}
	if err := m.Set(ctx, &s, st.change("never", udp, 30, 31)); !errors.Is(err, nf.ErrGone) {
		t.Errorf("Set of a container that never existed: %v", err)
	}
	b := st.container(t, &s, "b")
	c := st.change("b", udp, number(t, &b.Namespace, udp), 77)
	if err := errors.Join(m.Set(ctx, &s, c), m.Refresh(ctx, &s, c)); err != nil || number(t, &b.Namespace, udp) != 77 {
		t.Errorf("the other container: %v, %v", b.Fact(udp), err)
	}
	now := observed(t, m, ask)
	if _, _, ok := now.Find(st.target("a")); ok || len(now.Containers) != 1 {
		t.Errorf("containers %+v", now.Containers)
	}
}

func testRecreated(t *testing.T, st Stage) {
	ctx, m := context.Background(), st.Machine
	st.Add("a")
	s := observed(t, m, nf.Ask{Keys: map[nf.Target][]nf.Key{st.target("a"): {udp}}})
	old := st.container(t, &s, "a").Instance
	st.Remove("a")
	st.Add("a")
	c := st.change("a", udp, 30, 31)
	if err := m.Refresh(ctx, &s, c); !errors.Is(err, nf.ErrGone) {
		t.Errorf("Refresh: %v", err)
	}
	if err := m.Set(ctx, &s, c); !errors.Is(err, nf.ErrGone) {
		t.Errorf("Set: %v", err)
	}
	now := listed(t, m)
	if st.container(t, &now, "a").Instance == old {
		t.Errorf("the same instance: %s", old)
	}
	if err := m.Refresh(ctx, &s, c); !errors.Is(err, nf.ErrGone) {
		t.Errorf("Refresh of the old snapshot: %v", err)
	}
	if err := errors.Join(m.Set(ctx, &now, c), m.Refresh(ctx, &now, c)); err != nil {
		t.Error(err)
	}
}

// testEveryNamespace refreshes what the rules need to unload a module and to lower
// the node's conntrack.max.
func testEveryNamespace(t *testing.T, st Stage) {
	ctx, m := context.Background(), st.Machine
	st.Add("a")
	st.Add("b")
	s := observed(t, m, nf.Ask{})
	unload := nf.Change{Target: nf.Node, Key: nf.ModuleKey("nf_tables"), To: nf.Module(nf.ModuleUnloaded, nil)}
	load := unload
	load.To = nf.Module(nf.ModuleLoaded, nil)
	if err := m.Refresh(ctx, &s, load); err != nil || st.container(t, &s, "a").Rules != nil {
		t.Errorf("a load read the namespaces: %v", err)
	}
	if err := m.Refresh(ctx, &s, unload); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b"} {
		if c := st.container(t, &s, name); c.Rules == nil || c.Count.IsAbsent() {
			t.Errorf("%s: %+v", name, c)
		}
	}
	st.Remove("a")
	if err := m.Refresh(ctx, &s, unload); err != nil {
		t.Error(err)
	}
	if c := st.container(t, &s, "a"); c.Rules == nil || len(c.Rules.Tables) != 0 || !c.Count.IsAbsent() || len(c.Facts) != 0 {
		t.Errorf("a container that has vanished: %+v", c)
	}
	lower := nf.Change{Target: nf.Node, Key: nf.KeyMax, From: nf.Number(1000), To: nf.Number(10)}
	if err := m.Refresh(ctx, &s, lower); err != nil {
		t.Error(err)
	}
	b := st.container(t, &s, "b")
	number(t, &b.Namespace, nf.KeyMax)
	if b.Count.IsAbsent() {
		t.Errorf("count %v", b.Count)
	}
	st.Add("c")
	for _, c := range []nf.Change{unload, lower} {
		if err := m.Refresh(ctx, &s, c); err == nil || errors.Is(err, nf.ErrGone) {
			t.Errorf("%s: a container that appeared since: %v", c.Key, err)
		}
	}
	st.Remove("c")
	if err := m.Refresh(ctx, &s, unload); err != nil {
		t.Error(err)
	}
	st.Remove("b")
	st.Add("b")
	if err := m.Refresh(ctx, &s, unload); err == nil || errors.Is(err, nf.ErrGone) {
		t.Errorf("a container that was recreated: %v", err)
	}
	lower.From, lower.To = lower.To, lower.From
	if err := m.Refresh(ctx, &s, lower); err != nil {
		t.Errorf("to raise the limit: %v", err)
	}
}

func testContext(t *testing.T, st Stage) {
	st.Add("a")
	s := observed(t, st.Machine, nf.Ask{All: true})
	before := st.container(t, &s, "a").Fact(udp)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	c := st.change("a", udp, 30, 31)
	_, list := st.Machine.List(ctx)
	_, observe := st.Machine.Observe(ctx, s, nf.Ask{})
	for _, err := range []error{list, observe, st.Machine.Refresh(ctx, &s, c), st.Machine.Set(ctx, &s, c)} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	}
	s = observed(t, st.Machine, nf.Ask{All: true})
	if after := st.container(t, &s, "a").Fact(udp); !reflect.DeepEqual(before, after) {
		t.Errorf("%+v became %+v", before, after)
	}
}

// testJSON checks that an empty list is [] in the snapshot's JSON, never null.
func testJSON(t *testing.T, st Stage) {
	st.Add("a")
	for _, s := range []nf.Snapshot{listed(t, st.Machine), observed(t, st.Machine, nf.Ask{}), observed(t, st.Machine, nf.Ask{All: true})} {
		data, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"facts", "containers", "warnings", "list", "tables"} {
			if strings.Contains(string(data), `"`+name+`":null`) {
				t.Errorf("%s is null in %s", name, data)
			}
		}
	}
}
