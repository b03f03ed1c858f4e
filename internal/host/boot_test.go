package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"nfsync.dev/nfsync/internal/host/hosttest"
	"nfsync.dev/nfsync/internal/kernel"
	"nfsync.dev/nfsync/internal/nf"
)

// withBootFiles returns this kernel with these boot files.
func withBootFiles(t *testing.T, files map[string]string) kernel.FS {
	t.Helper()
	fs := realFS
	fs.Root = t.TempDir()
	for name, text := range files {
		path := filepath.Join(fs.Root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	return fs
}

// The real machine in the initial namespace, with boot files elsewhere.
func TestConformanceBoot(t *testing.T) {
	hosttest.RunBoot(t, func(t *testing.T) hosttest.Stage {
		dir := t.TempDir()
		return hosttest.Stage{
			Machine: New(Config{FS: withBootFiles(t, nil), NetnsDir: dir}),
			Add:     func(name string, _ ...string) { addNamespace(t, dir, name) },
		}
	})
}

// Boot files apply only if the node's namespace is the initial one. That is proved
// from inside it, whatever file names it.
func TestNamedInitialNamespaceBoots(t *testing.T) {
	if !inProcess(t, syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNET}) {
		return
	}
	initial := fmt.Sprintf("/proc/%d/ns/net", os.Getppid())
	fs := withBootFiles(t, map[string]string{"etc/sysctl.d/90-nfsync.conf": "net.netfilter.nf_conntrack_max = 5\n"})
	for named, want := range map[string]bool{initial: true, "/proc/self/ns/net": false, "": false} {
		m := New(Config{FS: fs, NetnsDir: t.TempDir(), NodeNetns: named})
		s := observe(t, m, nf.Ask{})
		if s.Capabilities.BootFiles != want || (s.Host.Fact(nf.KeyMax).Boot != nil) != want {
			t.Errorf("%q: %v, %+v", named, s.Capabilities.BootFiles, s.Host.Fact(nf.KeyMax))
		}
		c := nf.Change{Target: nf.Node, Key: nf.KeyMax, Layer: nf.LayerBoot, To: nf.Number(5)}
		if err := m.Set(context.Background(), &s, c); (err == nil) != want {
			t.Errorf("%q: %v", named, err)
		}
	}
}

// The node's facts include what boot files say, even about values that the kernel
// does not have now.
func TestBootFacts(t *testing.T) {
	fs := withBootFiles(t, map[string]string{
		"etc/sysctl.d/90-nfsync.conf":    "net.netfilter.nf_conntrack_ours = 5\n",
		"etc/sysctl.d/99-other.conf":     "net.netfilter.nf_conntrack_max = 7\nnet.netfilter.nf_conntrack_theirs = 1\n",
		"etc/modules-load.d/nfsync.conf": "nf_conntrack\nno_such_module\n",
		"etc/modprobe.d/nfsync.conf":     "install kept_out /bin/false\n",
		"etc/modprobe.d/other.conf":      "blacklist nf-conntrack\ninstall nf_conn* /bin/false\n",
	})
	m := New(Config{FS: fs, NetnsDir: t.TempDir()})
	s := observe(t, m, nf.Ask{Declared: true})
	ours, theirs, limit := s.Host.Fact(nf.SysctlKey("nf_conntrack_ours")), s.Host.Fact(nf.SysctlKey("nf_conntrack_theirs")), s.Host.Fact(nf.KeyMax)
	if !ours.Live.IsAbsent() || ours.Boot == nil || *ours.Boot != nf.Number(5) || ours.Declared != nil {
		t.Errorf("a value that only nfsync's file has: %+v", ours)
	}
	if !theirs.Live.IsAbsent() || theirs.Boot != nil || len(theirs.Declared) != 1 {
		t.Errorf("a value that only another file has: %+v", theirs)
	}
	if want := []nf.Declaration{{File: "/etc/sysctl.d/99-other.conf", Line: 1, Value: nf.Number(7)}}; limit.Live.IsAbsent() || limit.Boot != nil || !slices.Equal(limit.Declared, want) {
		t.Errorf("a value that another file sets: %+v", limit)
	}
	ct, _ := s.Modules.Find("nf_conntrack")
	if ct.Boot == nil || *ct.Boot != nf.Module(nf.ModuleLoaded, nil) || len(ct.Declared) != 2 {
		t.Errorf("a module: %+v", ct)
	}
	keys := make([]nf.Key, 0, len(s.Host.Facts))
	for _, f := range s.Host.Facts {
		keys = append(keys, f.Key)
	}
	if _, ok := s.Modules.Find("no_such_module"); ok || !slices.IsSorted(keys) {
		t.Errorf("a boot file added a module, or the keys are not sorted: %v", keys)
	}
	if s.Modules.Complete != slices.ContainsFunc(s.Warnings, func(w nf.Warning) bool {
		return w.Code == nf.WarnBootLeftover && w.Key == nf.ModuleKey("no_such_module")
	}) || slices.ContainsFunc(s.Warnings, func(w nf.Warning) bool {
		return w.Key == nf.ModuleKey("nf_conntrack") || w.Key == nf.ModuleKey("kept_out")
	}) {
		t.Errorf("complete modules: %v, warnings %+v", s.Modules.Complete, s.Warnings)
	}
	if unasked := observe(t, m, nf.Ask{}); unasked.Host.Fact(nf.KeyMax).Declared != nil {
		t.Errorf("lines of other files that nobody asks for: %+v", unasked.Host.Fact(nf.KeyMax))
	}
	// A refresh of the live value leaves what boot files say as it is.
	for _, k := range []nf.Key{nf.KeyMax, nf.ModuleKey("nf_conntrack")} {
		if err := m.Refresh(context.Background(), &s, nf.Change{Target: nf.Node, Key: k, Layer: nf.LayerLive}); err != nil {
			t.Fatal(err)
		}
	}
	if ct, _ := s.Modules.Find("nf_conntrack"); ct.Boot == nil || len(ct.Declared) != 2 || len(s.Host.Fact(nf.KeyMax).Declared) != 1 {
		t.Errorf("after a refresh: %+v, %+v", ct, s.Host.Fact(nf.KeyMax))
	}
}

// If nfsync cannot parse its own boot file, the boot values are unknown and the
// file is not overwritten.
func TestUnparsableBootFile(t *testing.T) {
	fs := withBootFiles(t, map[string]string{"etc/sysctl.d/90-nfsync.conf": "net.netfilter.nf_conntrack_max = 5\nrubbish\n"})
	m := New(Config{FS: fs, NetnsDir: t.TempDir()})
	s := observe(t, m, nf.Ask{})
	why := s.Capabilities.BootUnknown
	if !s.Capabilities.BootFiles || why == "" || s.Host.Fact(nf.KeyMax).Boot != nil {
		t.Errorf("%+v, %+v", s.Capabilities, s.Host.Fact(nf.KeyMax))
	}
	c := nf.Change{Target: nf.Node, Key: nf.KeyMax, Layer: nf.LayerBoot, To: nf.Number(6)}
	if err := m.Set(context.Background(), &s, c); err == nil {
		t.Error("the file was overwritten")
	}
	path := filepath.Join(fs.Root, "etc/sysctl.d/90-nfsync.conf")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := m.Refresh(context.Background(), &s, c); err != nil || s.Capabilities.BootUnknown != "" {
		t.Errorf("after it was removed: %q, %v", s.Capabilities.BootUnknown, err)
	}
}
