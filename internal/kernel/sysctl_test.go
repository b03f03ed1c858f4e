package kernel

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/nf"
)

const established = nf.Key("conntrack.timeouts.tcpEstablished")

// The kernel looks /proc/sys/net up in the namespace of the thread that opens
// it: a timeout set on one thread is not seen on another.
func TestSysctlIsTheThreadsOwn(t *testing.T) {
	host := live.Sysctls([]nf.Key{established}, false)[0]
	inNetns(t, func() {
		if err := live.SetSysctl(established, 7207); err != nil {
			t.Fatal(err)
		}
		if f := live.Sysctls([]nf.Key{established}, false); len(f) != 1 || f[0].Live != nf.Number(7207) || f[0].ReadOnly {
			t.Errorf("read back %+v", f)
		}
		inNetns(t, func() { // a second namespace beside it
			if f := live.Sysctls([]nf.Key{established}, false)[0]; f.Live != nf.Number(432000) {
				t.Errorf("a new namespace has %+v, not the kernel's default", f)
			}
		})
	})
	if f := live.Sysctls([]nf.Key{established}, false)[0]; !reflect.DeepEqual(f, host) {
		t.Errorf("the host's value moved from %+v to %+v", host, f)
	}
}

func TestSysctlsOfANamespace(t *testing.T) {
	inNetns(t, func() {
		facts := live.Sysctls([]nf.Key{nf.KeyMax, nf.KeyLevel, nf.ModuleKey("nf_conntrack"), nf.SysctlKey("nf_conntrack_no_such_thing"),
			nf.TimeoutKey("noSuchTimeout"), nf.SysctlKey("nf_conntrack_/../../../kernel/hostname")}, true)
		if !slices.IsSortedFunc(facts, func(a, b nf.Fact) int { return strings.Compare(string(a.Key), string(b.Key)) }) {
			t.Error("the facts are not sorted")
		}
		byKey := map[nf.Key]nf.Fact{}
		for _, f := range facts {
			byKey[f.Key] = f
			if f.Live.IsUnknown() {
				t.Errorf("%s is unknown: %s", f.Key, f.Live.Why())
			}
		}
		if len(byKey) != len(facts) {
			t.Error("a key is there twice")
		}
		// 0444 outside of the first namespace since Linux 5.13,
		// nf_conntrack_standalone_init_sysctl.
		for _, k := range []nf.Key{nf.KeyMax, nf.KeyBuckets, nf.KeyExpectMax} {
			if n, ok := byKey[k].Live.Number(); !ok || n <= 0 || !byKey[k].ReadOnly {
				t.Errorf("%s is %+v, want a positive number, read-only", k, byKey[k])
			}
		}
		for _, k := range []nf.Key{established, nf.SysctlKey("nf_conntrack_tcp_loose"), nf.SysctlKey("nf_conntrack_frag6_high_thresh")} {
			if _, ok := byKey[k].Live.Number(); !ok || byKey[k].ReadOnly {
				t.Errorf("%s is %+v, want a writable number", k, byKey[k])
			}
		}
		for _, k := range []nf.Key{nf.SysctlKey("nf_conntrack_no_such_thing"), nf.TimeoutKey("noSuchTimeout"), nf.SysctlKey("nf_conntrack_/../../../kernel/hostname")} {
			if f, ok := byKey[k]; !ok || !f.Live.IsAbsent() {
				t.Errorf("%s is %+v, want an absent fact", k, f)
			}
		}
		for _, k := range []nf.Key{nf.KeyLevel, nf.ModuleKey("nf_conntrack"), nf.SysctlKey(countFile)} {
			if f, ok := byKey[k]; ok {
				t.Errorf("%+v is no sysctl to be reported", f)
			}
		}
		files, err := filepath.Glob("/proc/thread-self/root/proc/sys/net/netfilter/nf_conntrack_*")
		if err != nil || len(files)-1+3 != len(facts) {
			t.Errorf("%d facts for %d files (%v), one of them the counter, and 3 absent keys", len(facts), len(files), err)
		}
	})
}

func TestSetSysctlErrors(t *testing.T) {
	inNetns(t, func() {
		for _, c := range []struct {
			key  nf.Key
			n    int64
			want error
			why  string
		}{
			{nf.KeyMax, 1000, unix.EACCES, "0444 outside of the first namespace, Linux 5.13"},
			{nf.KeyBuckets, 1024, unix.EOPNOTSUPP, "hashsize outside of the first namespace"},
			{established, 1 << 40, unix.EINVAL, "above INT_MAX / HZ seconds"},
			{nf.SysctlKey("nf_conntrack_acct"), 7, unix.EINVAL, "a switch takes 0 and 1"},
			{nf.SysctlKey("nf_conntrack_no_such_thing"), 1, unix.ENOENT, "no such file"},
			{nf.TimeoutKey("noSuchTimeout"), 1, os.ErrNotExist, "no such timeout"},
			{nf.KeyLevel, 1, os.ErrNotExist, "no sysctl"},
		} {
			if err := live.SetSysctl(c.key, c.n); !errors.Is(err, c.want) {
				t.Errorf("SetSysctl(%s, %d) is %v, want %v: %s", c.key, c.n, err, c.want, c.why)
			}
		}
	})
}

// A key that holds a path leads nowhere.
func TestSetSysctlTakesNoPath(t *testing.T) {
	root := t.TempDir()
	write(t, root+"/sys/net/netfilter/nf_conntrack_/x", "", 0o644)
	write(t, root+"/sys/kernel/panic", "0\n", 0o644)
	err := FS{Proc: root}.SetSysctl(nf.SysctlKey("nf_conntrack_/../../../kernel/panic"), 1)
	if got := mustRead(t, root+"/sys/kernel/panic"); !errors.Is(err, os.ErrNotExist) || got != "0\n" {
		t.Errorf("%v, and the file holds %q", err, got)
	}
}

// The first namespace has all three limits writable. The value that is there is
// written back: the host must not change.
func TestSetSysctlOfTheNode(t *testing.T) {
	if _, err := os.Stat("/proc/sys/net/core/netdev_max_backlog"); err != nil {
		t.Fatalf("the tests must run in the first network namespace: %v", err)
	}
	for _, f := range live.Sysctls([]nf.Key{nf.KeyMax, nf.KeyBuckets, nf.KeyExpectMax}, false) {
		n, ok := f.Live.Number()
		if !ok || f.ReadOnly {
			t.Fatalf("%+v, want a writable number", f)
		}
		if err := live.SetSysctl(f.Key, n); err != nil {
			t.Error(err)
		}
		if again := live.Sysctls([]nf.Key{f.Key}, false)[0]; !reflect.DeepEqual(again, f) {
			t.Errorf("%+v became %+v", f, again)
		}
	}
}

// A kernel as Virtuozzo 7's: nf_conntrack_buckets is 0444 on the node too, and
// hashsize sets it there (vzkernel net/netfilter/nf_conntrack_standalone.c).
func TestBucketsThroughHashsize(t *testing.T) {
	root := t.TempDir()
	fake := FS{Proc: root + "/proc", Sys: root + "/sys"}
	buckets, hashsize := root+"/proc/sys/net/netfilter/nf_conntrack_buckets", root+"/sys/module/nf_conntrack/parameters/hashsize"
	write(t, buckets, "65536\n", 0o444)
	write(t, hashsize, "65536\n", 0o600)
	read := func() nf.Fact { return fake.Sysctls([]nf.Key{nf.KeyBuckets}, false)[0] }
	if f := read(); f.Live != nf.Number(65536) || !f.ReadOnly {
		t.Errorf("outside of the first namespace: %+v", f)
	}
	write(t, root+"/proc/sys/net/core/netdev_max_backlog", "1000\n", 0o644)
	if f := read(); f.Live != nf.Number(65536) || f.ReadOnly || f.Parameter != "nf_conntrack.hashsize" {
		t.Errorf("in the first namespace: %+v", f)
	}
	if err := os.Remove(buckets); err != nil {
		t.Fatal(err)
	}
	if f := read(); f.Live != nf.Number(65536) || f.ReadOnly {
		t.Errorf("without the sysctl: %+v", f)
	}
	if err := fake.SetSysctl(nf.KeyBuckets, 131072); err != nil {
		t.Error(err)
	}
	if got := mustRead(t, hashsize); got != "131072\n" {
		t.Errorf("hashsize is %q", got)
	}
	if err := os.Remove(hashsize); err != nil {
		t.Fatal(err)
	}
	if err := fake.SetSysctl(nf.KeyBuckets, 131072); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "nf_conntrack_buckets") {
		t.Errorf("without both: %v", err)
	}
}

func TestSysctlsUnreadable(t *testing.T) {
	root := t.TempDir()
	fake := FS{Proc: root}
	if f := fake.Sysctls([]nf.Key{nf.KeyMax}, false)[0]; !f.Live.IsUnknown() {
		t.Errorf("without procfs: %+v, want unknown", f)
	}
	if f := fake.Sysctls(nil, true); len(f) != 3+len(nf.TimeoutNames()) || !f[0].Live.IsUnknown() {
		t.Errorf("without procfs, all: %+v", f)
	}
	if v := fake.Count(); !v.IsUnknown() {
		t.Errorf("without procfs the count is %v", v)
	}
	if err := os.MkdirAll(root+"/sys/net", 0o755); err != nil {
		t.Fatal(err)
	}
	if f := fake.Sysctls([]nf.Key{nf.KeyMax}, true); len(f) != 1 || !f[0].Live.IsAbsent() {
		t.Errorf("without conntrack: %+v, want one absent fact", f)
	}
	if v := fake.Count(); !v.IsAbsent() {
		t.Errorf("without conntrack the count is %v", v)
	}
	for text, want := range map[string]nf.Value{
		"262144\n": nf.Number(262144), "-1\n": nf.Number(-1), "0": nf.Number(0), " 5 \n": nf.Number(5),
		"":               nf.Unknown(`nf_conntrack_max holds "", which is not one integer`),
		"32768\t60999\n": nf.Unknown(`nf_conntrack_max holds "32768\t60999", which is not one integer`),
		"none\n":         nf.Unknown(`nf_conntrack_max holds "none", which is not one integer`),
		"0x10\n":         nf.Unknown(`nf_conntrack_max holds "0x10", which is not one integer`),
	} {
		write(t, root+"/sys/net/netfilter/nf_conntrack_max", text, 0o644)
		if f := fake.Sysctls([]nf.Key{nf.KeyMax}, false)[0]; f.Live != want {
			t.Errorf("%q reads as %v %s, want %v %s", text, f.Live, f.Live.Why(), want, want.Why())
		}
	}
	secret := root + "/sys/net/netfilter/nf_conntrack_max"
	if err := os.Chmod(secret, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(root), 0o755); err != nil { // testing makes it 0700
		t.Fatal(err)
	}
	onThread(t, func() {
		withoutPrivileges(t)
		if f := fake.Sysctls([]nf.Key{nf.KeyMax}, false)[0]; !strings.Contains(f.Live.Why(), "permission denied") {
			t.Errorf("unreadable: %+v", f)
		}
		if err := live.SetSysctl(nf.KeyMax, 1); !errors.Is(err, os.ErrPermission) {
			t.Errorf("SetSysctl without privileges: %v", err)
		}
	})
}

func TestCount(t *testing.T) {
	inNetns(t, func() {
		if v := live.Count(); v != nf.Number(0) {
			t.Errorf("a new namespace has %v entries", v)
		}
		makeEntry(t)
		if v := live.Count(); v != nf.Number(1) {
			t.Errorf("%v entries, want 1", v)
		}
	})
}

// makeEntry makes one conntrack entry by hand.
func makeEntry(t testing.TB) {
	t.Helper()
	run(t, "conntrack -I -s 192.0.2.1 -d 192.0.2.2 -p udp --sport 1 --dport 2 --timeout 600")
}

// write makes a file and the directories above it.
func write(t testing.TB, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkSysctlOneKey(b *testing.B) {
	inNetns(b, func() {
		keys := []nf.Key{established}
		for b.Loop() {
			live.Sysctls(keys, false)
		}
	})
}
