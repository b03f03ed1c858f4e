package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/host/hosttest"
	"nfsync.dev/nfsync/internal/nf"
)

// The real machine passes the suite, with a new namespace as the node's, whether it keeps files
// open or not.
func TestConformance(t *testing.T) {
	t.Run("closed", func(t *testing.T) { conformance(t, func() *Cache { return nil }) })
	t.Run("open", func(t *testing.T) { conformance(t, NewCache) })
}

func conformance(t *testing.T, open func() *Cache) {
	hosttest.Run(t, func(t *testing.T) hosttest.Stage {
		dir := t.TempDir()
		names := map[string][]string{}
		files := open()
		t.Cleanup(files.Close)
		return hosttest.Stage{
			Machine: New(Config{FS: realFS, NetnsDir: dir, NodeNetns: addNamespace(t, t.TempDir(), "node"), Cache: files}),
			Add: func(name string, aliases ...string) {
				path := addNamespace(t, dir, name)
				for _, alias := range aliases {
					if err := os.Symlink(path, filepath.Join(dir, alias)); err != nil {
						t.Fatal(err)
					}
				}
				names[name] = aliases
			},
			Remove: func(name string) {
				removeNamespace(t, filepath.Join(dir, name))
				for _, alias := range names[name] {
					if err := os.Remove(filepath.Join(dir, alias)); err != nil {
						t.Fatal(err)
					}
				}
			},
		}
	})
}

func TestIdentity(t *testing.T) {
	s := observe(t, New(Config{NodeName: "hn-1", Labels: map[string]string{"role": "edge"}, FS: realFS, NetnsDir: t.TempDir()}), nf.Ask{})
	if s.Node.Name != "hn-1" || s.Node.Labels["role"] != "edge" {
		t.Errorf("node %+v", s.Node)
	}
	name, err := os.Hostname()
	if s := observe(t, New(Config{FS: realFS, NetnsDir: t.TempDir()}), nf.Ask{}); err != nil || s.Node.Name != name {
		t.Errorf("the node is %q, want the kernel's name %q, %v", s.Node.Name, name, err)
	}
	if why, ok := s.Capabilities.Denied[nf.AbilityNode]; ok {
		t.Errorf("root in the initial namespace may not change the node: %s", why)
	}
}

// nfsync's own namespace, which is the initial one, and the namespace that is named
// as the node's are not containers, whatever file names them.
func TestNodeNamespacesAreNoContainers(t *testing.T) {
	dir := t.TempDir()
	addNamespace(t, dir, "web")
	node := addNamespace(t, dir, "node")
	mine := filepath.Join(dir, "mine")
	if err := os.Symlink("/proc/self/ns/net", mine); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		named string
		want  string
	}{
		{"", "node web / mine"},
		{node, "web / mine node"},
	} {
		s := observe(t, New(Config{FS: realFS, NetnsDir: dir, NodeNetns: test.named}), nf.Ask{})
		var got []string
		for _, c := range s.Containers {
			got = append(got, c.ID)
		}
		got = append(got, "/")
		for _, w := range s.Warnings {
			if w.Code != nf.WarnNodeNamespace {
				t.Errorf("warning %+v", w)
			}
			path, _, _ := strings.Cut(w.Message, " ")
			got = append(got, filepath.Base(path))
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("listed %v, want %s", got, test.want)
		}
	}
}

func TestRuntimes(t *testing.T) {
	dir := t.TempDir()
	addNamespace(t, dir, "web")
	for _, test := range []struct {
		runtimes []string
		want     int
	}{{nil, 1}, {[]string{nf.RuntimeNetns}, 1}, {[]string{nf.RuntimeVZ}, 0}, {[]string{nf.RuntimeVZ, nf.RuntimeNetns}, 1}} {
		s := observe(t, New(Config{FS: realFS, NetnsDir: dir, Runtimes: test.runtimes}), nf.Ask{})
		if len(s.Containers) != test.want || len(s.Warnings) != 0 {
			t.Errorf("%v: %d containers, %v", test.runtimes, len(s.Containers), s.Warnings)
		}
	}
	file := filepath.Join(dir, "web")
	s := observe(t, New(Config{FS: realFS, NetnsDir: file}), nf.Ask{})
	if len(s.Warnings) != 1 || s.Warnings[0].Code != nf.WarnRuntimeBroken {
		t.Errorf("a broken runtime: %v", s.Warnings)
	}
}

func TestInvalidNodeNamespace(t *testing.T) {
	for _, path := range []string{filepath.Join(t.TempDir(), "none"), os.Args[0]} {
		if _, err := New(Config{FS: realFS, NetnsDir: t.TempDir(), NodeNetns: path}).List(context.Background()); err == nil {
			t.Errorf("%s was accepted as the node's namespace", path)
		}
	}
}

// The rules of a namespace determine its level and its tracking, and those of no
// other.
func TestLevelOfRules(t *testing.T) {
	dir := t.TempDir()
	m := New(Config{FS: realFS, NetnsDir: dir, NodeNetns: addNamespace(t, t.TempDir(), "node")})
	addNamespace(t, dir, "quiet")
	web := addNamespace(t, dir, "web")
	run(t, web, "nft", "add table ip t; add chain ip t c { type filter hook input priority 0; }; add rule ip t c ct state established accept")
	s := observe(t, m, nf.Ask{Rules: true})
	for name, want := range map[string]nf.Level{"quiet": nf.LevelDisabled, "web": nf.LevelStateful} {
		ns, _, _ := s.Find(target(name))
		if level, _ := ns.Fact(nf.KeyLevel).Live.Level(); level != want {
			t.Errorf("%s: %v, want %s", name, ns.Fact(nf.KeyLevel), want)
		}
		if on := ns.Tracking.State == nf.TrackingOn; on != (want == nf.LevelStateful) {
			t.Errorf("%s: %+v", name, ns.Tracking)
		}
	}
	if level, _ := s.Host.Fact(nf.KeyLevel).Live.Level(); level != nf.LevelDisabled {
		t.Errorf("node: %v", s.Host.Fact(nf.KeyLevel))
	}
}

// A container whose rules take too long to read has an unknown level. Its other facts, and
// the node, are read.
func TestSlowRules(t *testing.T) {
	dir := t.TempDir()
	addNamespace(t, dir, "web")
	m := New(Config{FS: realFS, NetnsDir: dir, RulesTimeout: time.Nanosecond})
	s := observe(t, m, nf.Ask{All: true})
	c := &s.Containers[0]
	if level := c.Fact(nf.KeyLevel).Live; !strings.Contains(level.Why(), "takes longer than 1ns") || c.Unobservable != "" {
		t.Errorf("the level is %s (%s), the container %+v", level, level.Why(), c)
	}
	if c.Tracking.State != nf.TrackingUnknown || c.Fact(nf.TimeoutKey("udp")).Live.IsUnknown() || s.Host.Fact(nf.KeyLevel).Live.IsUnknown() {
		t.Errorf("tracking %+v, facts %+v, node %+v", c.Tracking, c.Facts, s.Host.Fact(nf.KeyLevel))
	}
	ctx, cancel := context.WithCancel(t.Context())
	listed, err := m.List(ctx)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := m.Observe(ctx, listed, nf.Ask{All: true}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// Each of many containers is read as completely as the first.
func TestManyContainers(t *testing.T) {
	dir := t.TempDir()
	m := New(Config{FS: realFS, NetnsDir: dir})
	for i := range 100 {
		path := addNamespace(t, dir, fmt.Sprintf("c%03d", i))
		run(t, path, "sh", "-c", fmt.Sprintf("echo %d >/proc/sys/net/netfilter/nf_conntrack_udp_timeout; iptables-legacy -t mangle -A INPUT -j ACCEPT", i+1))
	}
	s := observe(t, m, nf.Ask{All: true})
	for i, c := range s.Containers {
		if v := c.Fact(nf.TimeoutKey("udp")).Live; v != nf.Number(int64(i+1)) {
			t.Errorf("%s: udp is %v", c.ID, v)
		}
		c.SetFact(s.Containers[0].Fact(nf.TimeoutKey("udp")))
		if !reflect.DeepEqual(c.Namespace, s.Containers[0].Namespace) || c.MaxScope != nf.ScopeNode || len(c.Rules.Tables) != 1 {
			t.Errorf("%s: %+v", c.ID, c)
		}
	}
	if len(s.Containers) != 100 {
		t.Errorf("%d containers", len(s.Containers))
	}
}

// A container that has vanished is distinguished from one that was recreated, and
// the others are read.
func TestContainerVanishesWhileObserved(t *testing.T) {
	dir := t.TempDir()
	m := New(Config{FS: realFS, NetnsDir: dir})
	for _, name := range []string{"a", "b", "c", "d"} {
		addNamespace(t, dir, name)
	}
	s, err := m.List(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	removeNamespace(t, filepath.Join(dir, "b"))
	removeNamespace(t, filepath.Join(dir, "d"))
	addNamespace(t, dir, "d")
	expect := map[string]string{"b": vanished, "d": "it was recreated while it was observed"}
	var all []*nf.Container
	for i := range s.Containers {
		all = append(all, &s.Containers[i])
	}
	m.each(context.Background(), all, func(w worker, c *nf.Container) {
		_ = m.observeContainer(context.Background(), w, &s, c, nf.Need{Keys: []nf.Key{nf.KeyMax}})
	})
	for _, c := range s.Containers {
		if c.Unobservable != expect[c.ID] || (c.Unobservable == "") != (len(c.Facts) == 1) {
			t.Errorf("container %+v", c)
		}
	}
}

// If a runtime breaks after the observation, a refresh that needs every namespace
// fails.
func TestRefreshWithBrokenRuntime(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "netns")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	addNamespace(t, dir, "a")
	m := New(Config{FS: realFS, NetnsDir: dir})
	s := observe(t, m, nf.Ask{All: true})
	removeNamespace(t, filepath.Join(dir, "a"))
	if err := errors.Join(os.Remove(dir), os.WriteFile(dir, nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	lower := nf.Change{Target: nf.Node, Key: nf.KeyMax, From: nf.Number(1000), To: nf.Number(10)}
	if err := m.Refresh(context.Background(), &s, lower); err == nil || errors.Is(err, nf.ErrGone) {
		t.Errorf("Refresh: %v", err)
	}
}

// In a network namespace that is not the initial one, nfsync reads its own and may
// change nothing, unless that namespace is named as the node's.
func TestNotInTheNodesNamespace(t *testing.T) {
	if !inProcess(t, syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS}) {
		return
	}
	dir := t.TempDir()
	if err := os.Symlink("/proc/self/ns/net", filepath.Join(dir, "mine")); err != nil {
		t.Fatal(err)
	}
	s := observe(t, New(Config{FS: realFS, NetnsDir: dir}), nf.Ask{All: true})
	for _, ability := range []string{nf.AbilityModules, nf.AbilityNode, nf.AbilityContainers} {
		if why := s.Capabilities.Denied[ability]; !strings.Contains(why, "node's network namespace") {
			t.Errorf("%s: %q", ability, why)
		}
	}
	if !s.Host.Fact(nf.KeyMax).ReadOnly || len(s.Containers) != 1 {
		t.Errorf("its own namespace is not read: %+v, %+v", s.Host.Fact(nf.KeyMax), s.Containers)
	}
	s = observe(t, New(Config{FS: realFS, NetnsDir: dir, NodeNetns: "/proc/self/ns/net"}), nf.Ask{})
	if why, ok := s.Capabilities.Denied[nf.AbilityNode]; ok || len(s.Containers) != 0 {
		t.Errorf("named as the node's: denied %q, containers %+v", why, s.Containers)
	}
}

// Without privileges every kind of change is denied with a reason, and what cannot
// be read is unknown.
func TestUnprivileged(t *testing.T) {
	const dir = "/run/nfsync-unprivileged" // its own mount, which every user may search
	if os.Getenv(role) == "" {
		if err := errors.Join(os.MkdirAll(dir, 0o755), unix.Mount("nfsync", dir, "tmpfs", 0, "mode=0755")); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = errors.Join(unix.Unmount(dir, unix.MNT_DETACH), os.Remove(dir)) })
		addNamespace(t, dir, "web")
		addNamespace(t, dir, "node")
	}
	if !inProcess(t, syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}) {
		return
	}
	s := observe(t, New(Config{FS: realFS, NetnsDir: dir}), nf.Ask{All: true})
	for _, ability := range []string{nf.AbilityModules, nf.AbilityNode, nf.AbilityContainers} {
		if s.Capabilities.Denied[ability] == "" {
			t.Errorf("the user nobody may change %s", ability)
		}
	}
	if _, c, ok := s.Find(target("web")); !ok || c.Instance == "" || !strings.Contains(c.Unobservable, "not permitted") {
		t.Errorf("container %+v", c)
	}
	if _, ok := s.Host.Fact(nf.KeyMax).Live.Number(); !ok || s.Host.Rules.Unknown == "" || !s.Host.Fact(nf.KeyLevel).Live.IsUnknown() {
		t.Errorf("node %+v", s.Host)
	}
	s = observe(t, New(Config{FS: realFS, NetnsDir: dir, NodeNetns: filepath.Join(dir, "node")}), nf.Ask{All: true})
	if !s.Host.Fact(nf.KeyMax).Live.IsUnknown() || !s.Host.Count.IsUnknown() || s.Host.Rules.Unknown == "" || s.Capabilities.Denied[nf.AbilityNode] == "" {
		t.Errorf("a node namespace that cannot be entered: %+v, %+v", s.Host, s.Capabilities)
	}
}

// Observing changes neither the loaded modules nor the tables.
func TestObserveChangesNothing(t *testing.T) {
	dir := t.TempDir()
	m := New(Config{FS: realFS, NetnsDir: dir, NodeNetns: addNamespace(t, t.TempDir(), "node")})
	fresh, used := addNamespace(t, dir, "fresh"), addNamespace(t, dir, "used")
	run(t, used, "nft", "add table ip t; add chain ip t c { type nat hook output priority 0; }")
	run(t, used, "iptables-legacy", "-t", "mangle", "-A", "INPUT", "-j", "ACCEPT")
	modulesAndTables := func() string {
		var b strings.Builder
		modules, err := os.ReadDir("/sys/module")
		if err != nil {
			t.Fatal(err)
		}
		loaded, err := os.ReadFile("/proc/modules")
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		fmt.Fprintln(&b, modules, string(loaded))
		for _, path := range []string{fresh, used} {
			fmt.Fprintln(&b, run(t, path, "sh", "-c", "cat /proc/thread-self/net/ip*_tables_names; nft list ruleset; sysctl -a 2>/dev/null | grep -v count | grep netfilter"))
		}
		return b.String()
	}
	before := modulesAndTables()
	s := observe(t, m, nf.Ask{All: true})
	if after := modulesAndTables(); after != before {
		t.Errorf("before\n%s\nafter\n%s", before, after)
	}
	if ns, _, _ := s.Find(target("used")); len(ns.Rules.Tables) != 2 {
		t.Errorf("tables %+v", ns.Rules.Tables)
	}
}

func benchmarkObserve(b *testing.B, n int) {
	dir := b.TempDir()
	ask := nf.Ask{Keys: map[nf.Target][]nf.Key{}}
	for i := range n {
		name := fmt.Sprintf("c%04d", i)
		addNamespace(b, dir, name)
		ask.Keys[target(name)] = []nf.Key{nf.TimeoutKey("tcpEstablished")}
	}
	m := New(Config{FS: realFS, NetnsDir: dir})
	b.ResetTimer()
	for range b.N {
		if s := observe(b, m, ask); len(s.Containers) != n || len(s.Containers[0].Facts) != 1 {
			b.Fatalf("containers %+v", s.Containers)
		}
	}
}

func BenchmarkObserve100(b *testing.B)  { benchmarkObserve(b, 100) }
func BenchmarkObserve1000(b *testing.B) { benchmarkObserve(b, 1000) }
