package kernel

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/state/statetest"
)

var (
	bootLoaded   = nf.Module(nf.ModuleLoaded, nil)
	bootUnloaded = nf.Module(nf.ModuleUnloaded, nil)
	ipset        = nf.ModuleKey("ip_set")
)

func bootOf(t *testing.T, files map[string]string) (FS, string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		writeFile(t, filepath.Join(dir, name), []byte(text))
	}
	return FS{Proc: "/proc", Sys: "/sys", Root: dir}, dir
}

// confs are the files below etc, by path, without comments.
func confs(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		text, ours := strings.CutPrefix(string(data), bootHeader)
		info, _ := e.Info()
		if !ours || info.Mode().Perm() != 0o644 {
			t.Errorf("%s is %v, with the header %v", path, info.Mode(), ours)
		}
		name, _ := filepath.Rel(dir, path)
		found[name] = text
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestSetBoot follows one node's files (modules-load.d(5), modprobe.d(5),
// sysctl.d(5)): each value is read back, and nothing is left in the end.
func TestSetBoot(t *testing.T) {
	defer unix.Umask(unix.Umask(0o077))
	fs, dir := bootOf(t, nil)
	params := map[string]string{"max_sets": "512", "a-b": ""}
	for _, step := range []struct {
		key   nf.Key
		value nf.Value
		want  map[string]string
	}{
		{nf.KeyMax, nf.Number(300000), map[string]string{sysctlConf: "net.netfilter.nf_conntrack_max = 300000\n"}},
		{nf.KeyBuckets, nf.Number(1000), map[string]string{sysctlConf: "net.netfilter.nf_conntrack_buckets = 1000\nnet.netfilter.nf_conntrack_max = 300000\n"}},
		{nf.KeyMax, nf.Absent(), map[string]string{sysctlConf: "net.netfilter.nf_conntrack_buckets = 1000\n"}},
		{nf.SysctlKey("nf_conntrack_tcp_loose"), nf.Number(0), map[string]string{sysctlConf: "net.netfilter.nf_conntrack_buckets = 1000\nnet.netfilter.nf_conntrack_tcp_loose = 0\n"}},
		{nf.SysctlKey("nf_conntrack_tcp_loose"), nf.Absent(), map[string]string{sysctlConf: "net.netfilter.nf_conntrack_buckets = 1000\n"}},
		{nf.KeyBuckets, nf.Absent(), map[string]string{}},
		{nf.TimeoutKey("udp"), nf.Absent(), map[string]string{}},
		{ipset, bootLoaded, map[string]string{loadConf: "ip_set\n"}},
		{ipset, nf.Module(nf.ModuleLoaded, params), map[string]string{loadConf: "ip_set\n", modprobeConf: "options ip_set a-b= max_sets=512\n"}},
		{nf.ModuleKey("nf_nat"), bootLoaded, map[string]string{loadConf: "ip_set\nnf_nat\n", modprobeConf: "options ip_set a-b= max_sets=512\n"}},
		{nf.ModuleKey("nft_ct"), bootUnloaded, map[string]string{loadConf: "ip_set\nnf_nat\n", modprobeConf: "install nft_ct /bin/false\noptions ip_set a-b= max_sets=512\n"}},
		{ipset, bootUnloaded, map[string]string{loadConf: "nf_nat\n", modprobeConf: "install ip_set /bin/false\ninstall nft_ct /bin/false\n"}},
		{ipset, bootLoaded, map[string]string{loadConf: "ip_set\nnf_nat\n", modprobeConf: "install nft_ct /bin/false\n"}},
		{nf.ModuleKey("nft_ct"), nf.Absent(), map[string]string{loadConf: "ip_set\nnf_nat\n"}},
		{nf.ModuleKey("nf_nat"), nf.Absent(), map[string]string{loadConf: "ip_set\n"}},
		{ipset, nf.Absent(), map[string]string{}},
	} {
		if err := fs.SetBoot(step.key, step.value); err != nil {
			t.Fatal(err)
		}
		if got := confs(t, dir); !maps.Equal(got, step.want) {
			t.Errorf("after %s %s: %q, want %q", step.key, step.value, got, step.want)
		}
		if values, err := fs.BootValues(); err != nil || values[step.key] != step.value {
			t.Errorf("%s reads %v, %v; want %v", step.key, values[step.key], err, step.value)
		}
	}
	if info, err := os.Stat(filepath.Join(dir, "etc/sysctl.d")); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("the directory that was made: %v, %v", info, err)
	}
}

// A module that has become an alias since (modules.alias(5)) is what it is the
// alias of: it is listed, with options, under the new name from the next write
// on. A real module's name is none.
func TestBootOfAliases(t *testing.T) {
	files := map[string]string{
		loadConf:     "ip_conntrack\nip_set\nold_nat\nold_nat2\nold_gone\n",
		modprobeConf: "install old_ct /bin/false\noptions ip_conntrack hashsize=512\noptions ip_set max_sets=5\n",
	}
	const dep = "kernel/nf_conntrack.ko:\nkernel/ip_set.ko:\nkernel/nf_nat.ko:\n"
	modules := "lib/modules/" + live.release() + "/"
	for name, text := range map[string]string{
		"modules.dep": dep, "modules.builtin": "kernel/nft_ct.ko\n",
		"modules.alias": "alias ip_conntrack nf_conntrack\nalias ip_set nf_conntrack\nalias old_nat nf_nat\nalias old_nat2 nf_nat\nalias old_ct nft_ct\n",
	} {
		files[modules+name] = text
	}
	fs, _ := bootOf(t, files)
	values, err := fs.BootValues()
	want := map[nf.Key]nf.Value{
		nf.ModuleKey("nf_conntrack"): nf.Module(nf.ModuleLoaded, map[string]string{"hashsize": "512"}),
		ipset:                        nf.Module(nf.ModuleLoaded, map[string]string{"max_sets": "5"}),
		nf.ModuleKey("nf_nat"):       bootLoaded,
		nf.ModuleKey("old_gone"):     bootLoaded,
	}
	if err != nil || !maps.Equal(values, want) {
		t.Errorf("%v, %v, want %v", values, err, want)
	}
	if err := fs.SetBoot(nf.ModuleKey("nf_nat"), bootUnloaded); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		loadConf:     "ip_set\nnf_conntrack\nold_gone\n",
		modprobeConf: "install nf_nat /bin/false\noptions ip_set max_sets=5\noptions nf_conntrack hashsize=512\n",
	} {
		if data, err := os.ReadFile(fs.root(name)); err != nil || string(data) != bootHeader+want {
			t.Errorf("%s holds %q, %v, want %q", name, data, err, want)
		}
	}
}

func TestSetBootRefuses(t *testing.T) {
	fs, dir := bootOf(t, nil)
	for _, test := range []struct {
		key   nf.Key
		value nf.Value
	}{
		{nf.KeyLevel, nf.LevelFull.Value()}, {nf.KeyMax, nf.Number(-1)}, {nf.KeyMax, nf.Text("1")}, {nf.KeyMax, nf.Unknown("why")},
		{nf.SysctlKey("../x"), nf.Number(1)}, {nf.SysctlKey("nf_conntrack_a/b"), nf.Number(1)}, {nf.SysctlKey("nf_conntrack_a\nb"), nf.Number(1)},
		{ipset, nf.Module(nf.ModuleBuiltin, nil)}, {ipset, nf.Number(1)}, {nf.ModuleKey("a\nb"), bootLoaded}, {nf.ModuleKey(""), bootLoaded},
		{ipset, nf.Module(nf.ModuleLoaded, map[string]string{"p": `a\`})}, {ipset, nf.Module(nf.ModuleLoaded, map[string]string{"p": `"a"`})},
	} {
		if err := fs.SetBoot(test.key, test.value); err == nil {
			t.Errorf("%q was saved as %v", test.key, test.value)
		}
	}
	if got := confs(t, dir); len(got) != 0 {
		t.Errorf("files %q", got)
	}
	fs.Root = filepath.Join(dir, "none")
	if err := fs.SetBoot(nf.KeyMax, nf.Number(1)); err == nil {
		t.Error("a root that is not there was made")
	}
}

// What a write leaves as it is: a file that says so already, and those that
// are about something else.
func TestSetBootTouchesNoMore(t *testing.T) {
	const by = "# by hand\nnet.netfilter.nf_conntrack_max=5"
	fs, dir := bootOf(t, map[string]string{sysctlConf: by, "etc/sysctl.d/.90-nfsync.conf.tmp": "left by a crash"})
	if err := fs.SetBoot(ipset, bootLoaded); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, loadConf)
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := fs.SetBoot(ipset, bootLoaded); err != nil {
		t.Fatal(err)
	}
	if after, err := os.Stat(path); err != nil || !os.SameFile(before, after) {
		t.Errorf("an equal file was written: %v", err)
	}
	if data, err := os.ReadFile(filepath.Join(dir, sysctlConf)); err != nil || string(data) != by {
		t.Errorf("the other file: %q, %v", data, err)
	}
	if err := fs.SetBoot(nf.KeyMax, nf.Number(6)); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(filepath.Join(dir, "etc/sysctl.d")); err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
}

// Whenever the power is cut, a boot file holds what it held or what it should
// hold; once SetBoot has returned, the latter. One that is removed stays removed.
func TestBootOutlivesAPowerCut(t *testing.T) {
	statetest.PowerCuts(func(disk *statetest.Disk, cut func(string, func()) bool) {
		fs, dir := bootOf(t, nil)
		fs.Writer.Disk = disk
		set := func(n int64) {
			if err := fs.SetBoot(nf.KeyMax, nf.Number(n)); err != nil {
				t.Fatal(err)
			}
		}
		set(1)
		finished := cut(dir, func() { set(2) })
		values, err := fs.BootValues()
		if got := values[nf.KeyMax]; err != nil || got != nf.Number(2) && (finished || got != nf.Number(1)) {
			t.Fatalf("finished %v: %v, %v", finished, got, err)
		}
		removed := false
		disk.Before = func(call, path string) error {
			_, err := os.Stat(filepath.Join(dir, sysctlConf))
			removed = call == statetest.Sync && path == filepath.Join(dir, filepath.Dir(sysctlConf)) && err != nil
			return nil
		}
		if err := fs.SetBoot(nf.KeyMax, nf.Absent()); err != nil || !removed {
			t.Fatalf("its directory is not synced after the file was removed: %v", err)
		}
	})
}

// A crash between the two files of a module leaves what says nothing of it.
func TestBootOrder(t *testing.T) {
	params := nf.Module(nf.ModuleLoaded, map[string]string{"max_sets": "1"})
	for _, from := range []nf.Value{nf.Absent(), bootLoaded, params, bootUnloaded} {
		for _, to := range []nf.Value{nf.Absent(), bootLoaded, params, bootUnloaded} {
			fs, _ := bootOf(t, nil)
			if err := fs.SetBoot(ipset, from); err != nil {
				t.Fatal(err)
			}
			own, err := fs.readBoot()
			if err != nil {
				t.Fatal(err)
			}
			files, err := own.set(ipset, to)
			if err != nil {
				t.Fatal(err)
			}
			if err := fs.writeBoot(files[0], own.render(files[0])); err != nil {
				t.Fatal(err)
			}
			values, err := fs.BootValues()
			if v := values[ipset]; err != nil || !v.IsAbsent() && v != from && v != to {
				t.Errorf("%v to %v: %v in between, %v", from, to, v, err)
			}
		}
	}
}

func TestBootValues(t *testing.T) {
	for _, test := range []struct {
		name  string
		files map[string]string
		want  map[nf.Key]nf.Value
		err   string
	}{
		{"nothing", nil, nil, ""},
		{"comments", map[string]string{loadConf: "\n  # x\n", modprobeConf: "#", sysctlConf: "\n\n"}, nil, ""},
		{"by hand", map[string]string{loadConf: " nf-nat \r\nip_set", modprobeConf: "options\tip-set  max_sets=1 x=a=b\n", sysctlConf: "net.netfilter.nf_conntrack_udp_timeout=30"},
			map[nf.Key]nf.Value{nf.ModuleKey("nf_nat"): bootLoaded, ipset: nf.Module(nf.ModuleLoaded, map[string]string{"max_sets": "1", "x": "a=b"}), nf.TimeoutKey("udp"): nf.Number(30)}, ""},
		{"options alone", map[string]string{modprobeConf: "options ip_set max_sets=1\n"}, nil, ""},
		{"install wins", map[string]string{loadConf: "ip_set\n", modprobeConf: "install ip_set /bin/false\n"}, map[nf.Key]nf.Value{ipset: bootUnloaded}, ""},
		{"two names", map[string]string{loadConf: "# c\nip_set nf_nat\n"}, nil, "/etc/modules-load.d/nfsync.conf:2: "},
		{"twice", map[string]string{loadConf: "ip_set\nip-set\n"}, nil, "/etc/modules-load.d/nfsync.conf:2: "},
		{"another install", map[string]string{modprobeConf: "install ip_set /bin/true\n"}, nil, "/etc/modprobe.d/nfsync.conf:1: "},
		{"a blacklist", map[string]string{modprobeConf: "options a b=1\nblacklist ip_set\n"}, nil, "/etc/modprobe.d/nfsync.conf:2: "},
		{"options twice", map[string]string{modprobeConf: "options a b=1\noptions a c=1\n"}, nil, "/etc/modprobe.d/nfsync.conf:2: "},
		{"a line that goes on", map[string]string{modprobeConf: "options a b=1 \\\n c=1\n"}, nil, "/etc/modprobe.d/nfsync.conf:1: "},
		{"a parameter twice", map[string]string{modprobeConf: "options a b=1 b=2\n"}, nil, "/etc/modprobe.d/nfsync.conf:1: "},
		{"octal", map[string]string{sysctlConf: "net.netfilter.nf_conntrack_max = 010\n"}, nil, "/etc/sysctl.d/90-nfsync.conf:1: "},
		{"negative", map[string]string{sysctlConf: "net.netfilter.nf_conntrack_max = -1\n"}, nil, "/etc/sysctl.d/90-nfsync.conf:1: "},
		{"another sysctl", map[string]string{sysctlConf: "net.ipv4.ip_forward = 1\n"}, nil, "/etc/sysctl.d/90-nfsync.conf:1: "},
		{"a number twice", map[string]string{sysctlConf: "net.netfilter.nf_conntrack_max = 1\nnet.netfilter.nf_conntrack_max = 1\n"}, nil, "/etc/sysctl.d/90-nfsync.conf:2: "},
		{"bytes", map[string]string{sysctlConf: "\x00\xff=\n"}, nil, "/etc/sysctl.d/90-nfsync.conf:1: "},
		{"a directory", map[string]string{sysctlConf + "/x": ""}, nil, "/etc/sysctl.d/90-nfsync.conf is not a plain file"},
	} {
		t.Run(test.name, func(t *testing.T) {
			fs, _ := bootOf(t, test.files)
			values, err := fs.BootValues()
			if !maps.Equal(values, test.want) || (err == nil) != (test.err == "") || err != nil && !strings.HasPrefix(err.Error(), test.err) {
				t.Errorf("%v, %v", values, err)
			}
			if test.err != "" && fs.SetBoot(nf.KeyMax, nf.Number(1)) == nil {
				t.Error("what could not be read was written over")
			}
		})
	}
	fs, dir := bootOf(t, map[string]string{"etc/sysctl.d/x": ""})
	if err := os.Symlink("/dev/null", filepath.Join(dir, sysctlConf)); err != nil {
		t.Fatal(err)
	}
	if _, err := fs.BootValues(); err == nil {
		t.Error("a mask was taken for a file of nfsync's")
	}
}

// nfsync's own file is for the next start: it neither forbids nor changes what
// nfsync does now.
func TestOwnBootFilesDoNotBindNfsync(t *testing.T) {
	fs, _ := bootOf(t, map[string]string{modprobeConf: "install ip_set /bin/false\noptions ip_set max_sets=1\n", "usr/lib/modprobe.d/nfsync.conf": "blacklist ip_set\n"})
	fs.Proc = fs.Root
	if rules := fs.modprobeRules(); len(rules) != 0 {
		t.Errorf("%v", rules)
	}
}

// modprobe(8) ignores an install line of a module with soft dependencies (ignorecmd in
// libkmod-module.c): only an alias and a blacklist keep it out.
func TestBarsOfSoftDependencies(t *testing.T) {
	for where, files := range map[string]map[string]string{
		"modules.softdep": {"lib/modules/1.0/modules.softdep": "softdep xt_LOG pre: nf_log_syslog\n"},
		"modprobe.d":      {"usr/lib/modprobe.d/a.conf": "softdep xt-LOG post: x\n"},
	} {
		files["proc/sys/kernel/osrelease"] = "1.0\n"
		files[modprobeConf] = "install xt_LOG /bin/false\n"
		fs, dir := bootOf(t, files)
		fs.Proc = filepath.Join(dir, "proc")
		log, other := nf.ModuleKey("xt_LOG"), nf.ModuleKey("xt_TEE")
		if values, err := fs.BootValues(); err != nil || !values[log].IsAbsent() {
			t.Errorf("%s: a line that modprobe ignores keeps it out: %v, %v", where, values, err)
		}
		for _, k := range []nf.Key{log, other} {
			if err := fs.SetBoot(k, bootUnloaded); err != nil {
				t.Fatal(err)
			}
		}
		want := bootHeader + "install xt_LOG /bin/false\nalias xt_LOG off\nblacklist xt_LOG\ninstall xt_TEE /bin/false\n"
		if data, _ := os.ReadFile(filepath.Join(dir, modprobeConf)); string(data) != want {
			t.Errorf("%s: the file has %q, want %q", where, data, want)
		}
		if values, err := fs.BootValues(); err != nil || values[log] != bootUnloaded || values[other] != bootUnloaded {
			t.Errorf("%s: %v, %v", where, values, err)
		}
		if err := fs.SetBoot(log, bootLoaded); err != nil {
			t.Fatal(err)
		}
		if data, _ := os.ReadFile(filepath.Join(dir, modprobeConf)); string(data) != bootHeader+"install xt_TEE /bin/false\n" {
			t.Errorf("%s: the file has %q", where, data)
		}
	}
	for line, want := range map[string]bool{"softdep a pre: b": true, "softdep a post: b": true, "softdep a pre:": false, "softdep a b": false, "softdep a": false, "# softdep a pre: b": false} {
		names := map[string]bool{}
		if addSoft(names, []byte(line)); names["a"] != want {
			t.Errorf("%q: %v", line, !want)
		}
	}
}
