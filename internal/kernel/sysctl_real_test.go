package kernel

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/nf"
)

const systemdSysctl = "/lib/systemd/systemd-sysctl"

// sysctlWords are what the lines of a generated file are made of.
var sysctlWords = []string{"net.netfilter.nf_conntrack_udp_timeout", "net/netfilter/nf_conntrack_udp_timeout", "/net//netfilter/nf_conntrack_udp_timeout",
	"net.netfilter.nf_conntrack_udp_*", "net.netfilter.nf_conntrack_{udp,icmp}_time[!x-]ut*", "net.netfilter.*_timeout", "net.netfilter.nf_conntrack_icmp_timeout",
	"=", "=", "=", " = ", "=11", "=12", "=0x11", "=017", "=13 # c", "=", "-", "# ", ";", "\\", "\r", "\n", "\n", "\n"}

// What is said of generated files is what the real systemd-sysctl(8) does with them: the
// line that has the last word has set the value, in a namespace of the test's own.
func TestSysctlLikeSystemd(t *testing.T) {
	if _, err := os.Stat(systemdSysctl); err != nil || os.Getuid() != 0 {
		t.Fatalf("the test needs root and systemd-sysctl: %v", err)
	}
	keys := []nf.Key{nf.TimeoutKey("udp"), nf.TimeoutKey("icmp"), nf.TimeoutKey("udpStream")}
	inOwnNamespaces(t, func() {
		if _, err := os.Stat("/proc/sys/net/netfilter/nf_conntrack_udp_timeout"); err != nil {
			t.Error("the kernel has no conntrack")
			return
		}
		for seed := range uint64(25) {
			compareSysctls(t, keys, rand.New(rand.NewPCG(2, seed)))
		}
	})
}

// compareSysctls generates files, and compares the values of keys after systemd-sysctl has
// read them.
func compareSysctls(t *testing.T, keys []nf.Key, r *rand.Rand) {
	t.Helper()
	root := t.TempDir()
	fs := FS{Proc: "/proc", Root: root}
	text := ""
	for _, dir := range []string{"etc", "run", "usr/lib"} {
		if _, err := os.Stat("/" + dir + "/sysctl.d"); err != nil {
			continue
		}
		if err := os.MkdirAll(filepath.Join(root, dir, "sysctl.d"), 0o755); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"a.conf", "b.conf", ".h.conf", "z.conf", "z.conf~"} {
			if r.IntN(3) == 0 {
				data := generated(sysctlWords, r)
				text += fmt.Sprintf("-- %s/%s --\n%q\n", dir, name, data)
				writeFile(t, filepath.Join(root, dir, "sysctl.d", name), []byte(data))
			}
		}
		if err := unix.Mount(filepath.Join(root, dir, "sysctl.d"), "/"+dir+"/sysctl.d", "", unix.MS_BIND, ""); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := unix.Unmount("/"+dir+"/sysctl.d", 0); err != nil {
				t.Fatal(err)
			}
		}()
	}
	start := map[nf.Key]int64{}
	for i, k := range keys {
		start[k] = int64(100 + i)
		if err := fs.SetSysctl(k, start[k]); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(systemdSysctl, "--prefix=/net/netfilter")
	cmd.Env = append(os.Environ(), "SYSTEMD_LOG_LEVEL=debug")
	said, _ := cmd.CombinedOutput() // it fails if the kernel refuses a value
	d := fs.Declared()
	for _, k := range keys {
		file, _ := sysctlFileName(k)
		data, err := os.ReadFile("/proc/sys/net/netfilter/" + file)
		if err != nil {
			t.Fatal(err)
		}
		got, _ := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
		want := start[k]
		if last, ok := lastWriter(d.sysctls, sysctlPaths(k)); ok {
			if n, isNumber := last.declaration(false).Value.Number(); isNumber && n >= 0 {
				want = n
			}
		}
		if got != want {
			t.Fatalf("%s is %d, not %d\n%s%s", k, got, want, text, said)
		}
	}
}

// inOwnNamespaces runs a function in a network namespace and a mount namespace of its
// own. The thread ends with it.
func inOwnNamespaces(t *testing.T, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		for _, err := range []error{unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_NEWNS), unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")} {
			if err != nil {
				t.Errorf("cannot make namespaces: %v", err)
				return
			}
		}
		f()
	}()
	<-done
}
