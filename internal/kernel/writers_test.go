package kernel

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"nfsync.dev/nfsync/internal/nf"
)

// TestWriters: what a running program sets, and what cron runs, beside the lines of boot files.
func TestWriters(t *testing.T) {
	const limit = "net.netfilter.nf_conntrack_max"
	const proxy = "proc/812/cmdline"
	words := func(w ...string) string { return strings.Join(w, "\x00") + "\x00" }
	established, udp := nf.TimeoutKey("tcpEstablished"), nf.TimeoutKey("udp")
	for _, test := range []struct {
		name, source string
		key          nf.Key
		files        map[string]string
		want         []string
	}{
		{"sysctl.d, but not nfsync's own", "sysctl.d(5)", nf.KeyMax, map[string]string{"etc/sysctl.d/90-x.conf": "\n\n" + limit + " = 5\n", sysctlConf: limit + " = 4\n", "etc/sysctl.conf": limit + "=6\n", "etc/sysctl.d/95-y.conf": "-" + limit + "\n"},
			[]string{"/etc/sysctl.d/90-x.conf:3 5", "/etc/sysctl.conf:1 6"}},
		{"a unit", "sysctl(8)", nf.KeyMax, map[string]string{"etc/systemd/system/a.service": "ExecStart=/sbin/sysctl -w " + limit + "=5\n"}, []string{"/etc/systemd/system/a.service:1 (a command sets it) 5"}},
		{"cron", "crontab(5)", nf.KeyMax, map[string]string{"etc/crontab": "# " + limit + "\n*/5 * * * * root sysctl -w " + limit + "=5\n", "etc/cron.d/x": "@hourly root echo 6 > /proc/sys/net/netfilter/nf_conntrack_max\n",
			"etc/cron.hourly/tune": "#!/bin/sh\nsysctl -qp /etc/tune.conf\n", "etc/tune.conf": limit + "=7\n", "var/spool/cron/crontabs/root": "* * * * * sysctl " + limit + "=8\n"},
			[]string{"/etc/cron.d/x:1 (a command sets it) 6", "/etc/tune.conf:1 (/etc/cron.hourly/tune:2 has it loaded) 7", "/etc/crontab:2 (a command sets it) 5", "/var/spool/cron/crontabs/root:1 (a command sets it) 8"}},
		{"a module", "modules-load.d(5)", nf.ModuleKey("nf_nat"), map[string]string{"etc/modules-load.d/a.conf": "nf_nat\n", "etc/modprobe.d/a.conf": "options nf_nat x=1\n"}, []string{"/etc/modules-load.d/a.conf:1 loaded"}},
		{"kube-proxy by its defaults", "getConntrackMax", nf.KeyMax, map[string]string{proxy: words("/usr/local/bin/kube-proxy")}, []string{"kube-proxy (process 812, its flags and defaults) 131072"}},
		{"kube-proxy on more cores", "getConntrackMax", nf.KeyMax, map[string]string{proxy: words("kube-proxy", "--conntrack-max-per-core=100000", "--conntrack-min", "1")}, []string{"kube-proxy (process 812, its flags and defaults) 200000"}},
		{"kube-proxy that leaves the limit", "getConntrackMax", nf.KeyMax, map[string]string{proxy: words("kube-proxy", "--conntrack-max-per-core=0")}, nil},
		{"kube-proxy and the buckets", "realConntracker.SetMax", nf.KeyBuckets, map[string]string{proxy: words("kube-proxy")}, []string{"kube-proxy (process 812, its flags and defaults) 32768"}},
		{"kube-proxy with a file", "KubeProxyConntrackConfiguration", nf.KeyMax, map[string]string{proxy: words("/usr/local/bin/kube-proxy", "--config=/var/lib/kube-proxy/config.conf", "--conntrack-min=7"),
			"proc/812/root/var/lib/kube-proxy/config.conf": "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nmin: 9\nconntrack:\n  max: null\n  maxPerCore: 50000  # each\n  min: null\niptables:\n  min: 3\n"},
			[]string{"kube-proxy (process 812, /var/lib/kube-proxy/config.conf) 131072"}},
		{"a limit of an old kube-proxy", "KubeProxyConntrackConfiguration", nf.KeyMax, map[string]string{proxy: words("hyperkube", "kube-proxy", "--config", "/c"), "proc/812/root/c": "conntrack:\n  max: 77\n"}, []string{"kube-proxy (process 812, /c) 77"}},
		{"a file that is not there", "", nf.KeyMax, map[string]string{proxy: words("kube-proxy", "--config=/c")}, nil},
		{"kube-proxy's timeouts", "ConntrackTCPEstablishedTimeout", established, map[string]string{proxy: words("kube-proxy")}, []string{"kube-proxy (process 812, its flags and defaults) 86400"}},
		{"a timeout that is left", "ConntrackTCPEstablishedTimeout", established, map[string]string{proxy: words("kube-proxy", "--conntrack-tcp-timeout-established=0s")}, nil},
		{"a timeout of udp", "ConntrackUDPTimeout", udp, map[string]string{proxy: words("kube-proxy", "--config=/c"), "proc/812/root/c": "conntrack:\n  udpTimeout: 45s\n"}, []string{"kube-proxy (process 812, /c) 45"}},
		{"no timeout of udp by default", "ConntrackUDPTimeout", udp, map[string]string{proxy: words("kube-proxy")}, nil},
		{"in another network namespace", "network_namespaces(7)", nf.KeyMax, map[string]string{"proc/999/cmdline": words("kube-proxy")}, nil},
		{"another program", "", nf.KeyMax, map[string]string{proxy: words("vim", "a", "kube-proxy")}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			fs, dir := bootOf(t, test.files)
			fs.Proc, fs.Sys = filepath.Join(dir, "proc"), filepath.Join(dir, "sys")
			for pid, space := range map[string]string{"1": "net:[1]", "812": "net:[1]", "999": "net:[2]"} {
				mustSucceed(t, os.MkdirAll(fs.proc(pid, "ns"), 0o755))
				mustSucceed(t, os.Symlink(space, fs.proc(pid, "ns/net")))
			}
			for _, cpu := range []string{"cpu0", "cpu1", "cpufreq"} {
				mustSucceed(t, os.MkdirAll(fs.sys("devices/system/cpu", cpu, "topology"), 0o755))
			}
			var got []string
			for _, w := range fs.Writers(test.key) {
				got = append(got, w.Where+" "+w.Value.String())
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("%q, want %q (%s)", got, test.want, test.source)
			}
		})
	}
}

// TestWritersHostileFile: the file of a container leads nowhere, blocks nothing, and is not read
// beyond its bound.
func TestWritersHostileFile(t *testing.T) {
	fs, dir := bootOf(t, map[string]string{"proc/812/cmdline": "kube-proxy\x00--config=/c\x00", "secret": "conntrack:\n  max: 77\n", "proc/812/root/x": ""})
	fs.Proc = filepath.Join(dir, "proc")
	for _, pid := range []string{"1", "812"} {
		mustSucceed(t, os.MkdirAll(fs.proc(pid, "ns"), 0o755))
		mustSucceed(t, os.Symlink("net:[1]", fs.proc(pid, "ns/net")))
	}
	config := fs.proc("812/root/c")
	for name, make := range map[string]func() error{
		"a link out of the container": func() error { return os.Symlink(filepath.Join(dir, "secret"), config) },
		"a pipe":                      func() error { return syscall.Mkfifo(config, 0o644) },
		"a directory":                 func() error { return os.Mkdir(config, 0o755) },
		"a large file": func() error {
			return os.WriteFile(config, append([]byte("conntrack:\n  max: 77\n#"), strings.Repeat("x", 1<<20)...), 0o644)
		},
	} {
		mustSucceed(t, make())
		if got := fs.kubeProxies(nf.KeyMax); len(got) > 0 && got[0].Value == nf.Number(77) {
			t.Errorf("%s: %v", name, got)
		}
		mustSucceed(t, os.RemoveAll(config))
	}
}

func mustSucceed(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
