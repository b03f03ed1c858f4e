package host

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"nfsync.dev/nfsync/internal/kernel"
	"nfsync.dev/nfsync/internal/nf"
)

// values holds the conntrack.max of one namespace. Two namespaces may share it.
type values struct {
	max     *int64        // nil: there is none
	err     error         // of a write
	onWrite func(n int64) // called after each write; may be nil
}

func (v values) Sysctls([]nf.Key, bool) []nf.Fact {
	if v.max == nil {
		return []nf.Fact{{Key: nf.KeyMax}}
	}
	return []nf.Fact{{Key: nf.KeyMax, Live: nf.Number(*v.max)}}
}

func (v values) SetSysctl(_ nf.Key, n int64) error {
	if v.err != nil {
		return v.err
	}
	*v.max = n
	if v.onWrite != nil {
		v.onWrite(n)
	}
	return nil
}

func TestSetLimit(t *testing.T) {
	direct := func(f func() error) error { return f() }
	broken := errors.New("broken")
	for _, test := range []struct {
		name            string
		wire            func(container, node *values)
		err             error
		container, node int64 // afterwards; 1000 and 1000 before
	}{
		{"its own (Virtuozzo 7)", func(_, _ *values) {}, nil, 500, 1000},
		// Before Linux 5.13.
		{"the node's", func(c, n *values) { c.max = n.max }, nf.ErrNodeScope, 1000, 1000},
		{"the node's, read from a copy", func(c, n *values) { c.onWrite = func(to int64) { *n.max = to } }, nf.ErrNodeScope, 1000, 1000},
		{"the node's, which cannot be put back", func(c, n *values) { c.max = n.max; n.err = broken }, broken, 500, 500},
		{"another writer changes the node's", func(c, n *values) { c.onWrite = func(int64) { *n.max = 7 } }, nil, 500, 7},
		{"refused", func(c, _ *values) { c.err = syscall.EINVAL }, syscall.EINVAL, 1000, 1000},
		{"without conntrack", func(c, _ *values) { c.max = nil }, nil, 0, 1000},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, n := int64(1000), int64(1000)
			container, node := values{max: &c}, values{max: &n}
			test.wire(&container, &node)
			err := setLimit(limit{container, direct}, limit{node, direct}, 500)
			if container.max == nil {
				if err == nil {
					t.Error("no error")
				}
				return
			}
			if !errors.Is(err, test.err) || (err == nil) != (test.err == nil) {
				t.Errorf("error %v, want %v", err, test.err)
			}
			if *container.max != test.container || *node.max != test.node {
				t.Errorf("container %d, node %d; want %d, %d", *container.max, *node.max, test.container, test.node)
			}
		})
	}
}

// Of a loaded module's parameters, only those that differ are written.
func TestSetParameters(t *testing.T) {
	dir := t.TempDir()
	files := map[string]string{
		"proc/modules":                          "ip_set 61440 0 - Live 0x0000000000000000\n",
		"sys/module/ip_set/initstate":           "live\n",
		"sys/module/ip_set/parameters/max_sets": "256\n",
		"sys/module/ip_set/parameters/other":    "1\n",
	}
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	old := filepath.Join(dir, "sys/module/ip_set/parameters/other")
	before, err := os.Stat(old)
	if err != nil {
		t.Fatal(err)
	}
	m := New(Config{FS: kernel.FS{Proc: filepath.Join(dir, "proc"), Sys: filepath.Join(dir, "sys"), Root: dir}})
	c := nf.Change{Target: nf.Node, Key: nf.ModuleKey("ip_set"), To: nf.Module(nf.ModuleLoaded, map[string]string{"max_sets": "512", "other": "1"})}
	s := nf.Snapshot{}
	s.Modules = m.cfg.FS.Modules([]string{"ip_set"}, false)
	if err := m.Set(context.Background(), &s, c); err != nil {
		t.Fatal(err)
	}
	if err := m.Refresh(context.Background(), &s, c); err != nil {
		t.Fatal(err)
	}
	if f, ok := s.Modules.Find("ip_set"); !ok || f.Parameters["max_sets"].Value != "512" {
		t.Errorf("module %+v", f)
	}
	if after, err := os.Stat(old); err != nil || !after.ModTime().Equal(before.ModTime()) {
		t.Errorf("an equal parameter was written, %v", err)
	}
}
