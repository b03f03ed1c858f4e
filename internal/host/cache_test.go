package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/netns"
	"nfsync.dev/nfsync/internal/nf"
)

var udp = nf.TimeoutKey("udp")

// value returns the value of the node's container with that name.
func liveValue(t *testing.T, s *nf.Snapshot, name string, k nf.Key) nf.Value {
	t.Helper()
	ns, c, ok := s.Find(target(name))
	if !ok || c.Unobservable != "" {
		t.Fatalf("%s: %+v", name, c)
	}
	return ns.Fact(k).Live
}

func askFor(names []string, keys ...nf.Key) nf.Ask {
	ask := nf.Ask{Keys: map[nf.Target][]nf.Key{}}
	for _, name := range names {
		ask.Keys[target(name)] = keys
	}
	return ask
}

func setUDP(name string, n int64) nf.Change {
	return nf.Change{Target: target(name), Key: udp, Layer: nf.LayerLive, To: nf.Number(n)}
}

// setInside sets a value as a program in the namespace does.
func setInside(t *testing.T, path string, k nf.Key, n int64) {
	t.Helper()
	if err := netns.Enter(path, func() error { return realFS.SetSysctl(k, n) }); err != nil {
		t.Fatal(err)
	}
}

// What open files answer is what the namespace has: also after something else has set it, and
// after nfsync has set it through them.
func TestCacheAnswer(t *testing.T) {
	dir := t.TempDir()
	path := addNamespace(t, dir, "a")
	open := NewCache()
	defer open.Close()
	m := New(Config{FS: realFS, NetnsDir: dir, Cache: open})
	checksum, loose := nf.SysctlKey("nf_conntrack_checksum"), nf.SysctlKey("nf_conntrack_tcp_loose")
	ask := askFor([]string{"a"}, udp, nf.KeyMax, loose)
	s := observe(t, m, ask)
	at, _, _ := s.Find(target("a"))
	closed := observe(t, New(Config{FS: realFS, NetnsDir: dir}), ask)
	if other, _, _ := closed.Find(target("a")); fmt.Sprint(at.Facts) != fmt.Sprint(other.Facts) || at.Count != other.Count {
		t.Errorf("open: %v %v\nclosed: %v %v", at.Facts, at.Count, other.Facts, other.Count)
	}
	if !open.has(instanceOf(t, &s, "a")) {
		t.Fatal("no file is open")
	}
	setInside(t, path, udp, 41)
	s = observe(t, m, ask)
	if v := liveValue(t, &s, "a", udp); v != nf.Number(41) {
		t.Errorf("something else has set 41: %v", v)
	}
	c := setUDP("a", 42)
	if err := errors.Join(m.Set(context.Background(), &s, c), m.Refresh(context.Background(), &s, c)); err != nil {
		t.Fatal(err)
	}
	s2 := observe(t, New(Config{FS: realFS, NetnsDir: dir}), ask)
	if a, b := liveValue(t, &s, "a", udp), liveValue(t, &s2, "a", udp); a != nf.Number(42) || b != nf.Number(42) {
		t.Errorf("nfsync has set 42: %v, and in the namespace %v", a, b)
	}
	c.Key, c.To = loose, nf.Number(300)
	if err := m.Set(context.Background(), &s, c); !errors.Is(err, unix.EINVAL) {
		t.Errorf("a value that the kernel refuses: %v", err)
	}
	c.Key, c.To = checksum, nf.Number(0) // its file is not open
	if err := errors.Join(m.Set(context.Background(), &s, c), m.Refresh(context.Background(), &s, c)); err != nil || liveValue(t, &s, "a", c.Key) != nf.Number(0) {
		t.Errorf("another key: %v, %v", liveValue(t, &s, "a", c.Key), err)
	}
}

func instanceOf(t *testing.T, s *nf.Snapshot, name string) string {
	t.Helper()
	instance, ok := s.Instance(target(name))
	if !ok || instance == "" {
		t.Fatalf("%s is not listed", name)
	}
	return instance
}

// Open files of a container that was removed, or made anew under its name, are neither read nor
// written, and are closed.
func TestCacheOfEndedContainers(t *testing.T) {
	dir := t.TempDir()
	names := []string{"gone", "anew", "stays"}
	for _, name := range names {
		addNamespace(t, dir, name)
	}
	open := NewCache()
	m := New(Config{FS: realFS, NetnsDir: dir, Cache: open})
	before := openFDs(t)
	s := observe(t, m, askFor(names, udp))
	for _, name := range names[:2] {
		removeNamespace(t, filepath.Join(dir, name))
	}
	anew := addNamespace(t, dir, "anew")
	setInside(t, anew, udp, 77)
	for _, name := range names[:2] {
		c := setUDP(name, 50)
		if err := m.Set(context.Background(), &s, c); !errors.Is(err, nf.ErrGone) {
			t.Errorf("%s was set: %v", name, err)
		}
		if err := m.Refresh(context.Background(), &s, c); !errors.Is(err, nf.ErrGone) {
			t.Errorf("%s was read: %v", name, err)
		}
	}
	s = observe(t, m, askFor(names, udp))
	if len(s.Containers) != 2 || liveValue(t, &s, "anew", udp) != nf.Number(77) {
		t.Errorf("%+v", s.Containers)
	}
	if len(open.of) != 2 || len(open.inode) != 2 {
		t.Errorf("files of %d instances are open, %d inodes", len(open.of), len(open.inode))
	}
	open.Close()
	if now := openFDs(t); now != before {
		t.Errorf("%d files were open, now %d", before, now)
	}
}

func openFDs(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// A container is read in its namespace where its files may not be open: too many are, or the
// kernel does not answer from outside.
func TestCacheLimit(t *testing.T) {
	dir := t.TempDir()
	names := []string{"a", "b", "c"}
	for _, name := range names {
		addNamespace(t, dir, name)
	}
	for _, test := range []struct {
		limit, open int
	}{{spareFiles + 3, 2}, {spareFiles, 0}, {10, 0}} {
		open := NewCache()
		open.limit = func() int { return test.limit }
		m := New(Config{FS: realFS, NetnsDir: dir, Cache: open})
		for range 2 {
			s := observe(t, m, askFor(names, udp))
			for _, name := range names {
				if v := liveValue(t, &s, name, udp); v != nf.Number(30) {
					t.Errorf("limit %d: %s reads %v", test.limit, name, v)
				}
			}
		}
		if len(open.of) != test.open {
			t.Errorf("limit %d: files of %d containers are open, want %d", test.limit, len(open.of), test.open)
		}
		open.Close()
	}
}

// The rules of the node and of a container are kept from one listing to the next, and those of an
// instance without a cookie are not: another namespace may have it.
func TestCacheOfRules(t *testing.T) {
	dir := t.TempDir()
	path := addNamespace(t, dir, "a")
	node := addNamespace(t, t.TempDir(), "node")
	for _, at := range []string{path, node} {
		run(t, at, "nft", "add table inet web")
	}
	cache := NewCache()
	defer cache.Close()
	m := New(Config{FS: realFS, NetnsDir: dir, NodeNetns: node, Cache: cache})
	level := askFor([]string{"a"}, nf.KeyLevel)
	s := observe(t, m, level)
	if n := len(cache.rules); n != 2 {
		t.Errorf("the rules of %d namespaces are kept, want 2", n)
	}
	if _, err := m.List(context.Background()); err != nil || len(cache.rules) != 2 {
		t.Errorf("after a listing those of %d are kept, %v", len(cache.rules), err)
	}
	run(t, path, "nft", "add chain inet web in { type filter hook input priority 0; }; add rule inet web in ct state new accept")
	s = observe(t, m, level)
	if ns, _, _ := s.Find(target("a")); len(ns.Rules.Tables) != 1 || ns.Rules.Tables[0].Rules != 1 {
		t.Errorf("after a change: %+v", ns.Rules)
	}
	err := netns.Enter(path, func() error {
		cache.readRules(context.Background(), realFS, &s.Modules, "boot/4:4026531840:0")
		return nil
	})
	if _, kept := cache.rules["boot/4:4026531840:0"]; kept || err != nil {
		t.Errorf("an instance without a cookie: kept %t, %v", kept, err)
	}
	removeNamespace(t, path)
	if _, err := m.List(context.Background()); err != nil || len(cache.rules) != 1 {
		t.Errorf("without the container those of %d are kept, %v", len(cache.rules), err)
	}
}
