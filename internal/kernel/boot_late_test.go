package kernel

import (
	"slices"
	"testing"

	"nfsync.dev/nfsync/internal/nf"
)

// What sets a value after systemd-sysctl has run, and where it is written.
func TestLateDeclared(t *testing.T) {
	const limit = "net.netfilter.nf_conntrack_max"
	for _, test := range []struct {
		name, source string
		files        map[string]string
		want         []string
	}{
		{"ufw", "ufw-init-functions", map[string]string{"etc/ufw/ufw.conf": "ENABLED=yes\n", "etc/ufw/sysctl.conf": "# c\nnet/netfilter/nf_conntrack_max=5\n"},
			[]string{"/etc/ufw/sysctl.conf:2 5 (ufw sets it when it starts)"}},
		{"ufw that is off", "ufw-init-functions", map[string]string{"etc/ufw/ufw.conf": "ENABLED=no\n", "etc/ufw/sysctl.conf": "net/netfilter/nf_conntrack_max=5\n"}, nil},
		{"ufw with another file", "ufw-init-functions", map[string]string{"etc/default/ufw": "IPT_SYSCTL=\"/etc/other\"\n", "etc/ufw/sysctl.conf": limit + "=5\n", "etc/other": limit + "=6\n"},
			[]string{"/etc/other:1 6 (ufw sets it when it starts)"}},
		{"the active profile of tuned", "tuned.conf(5)", map[string]string{"etc/tuned/active_profile": "mine\n", "etc/tuned/tuned-main.conf": "reapply_sysctl = 0\n",
			"etc/tuned/mine/tuned.conf": "[main]\ninclude=base\n[sysctl]\nnet.netfilter.nf_conntrack_max = 5\n[vm]\nnet.netfilter.nf_conntrack_max = 6\n", "usr/lib/tuned/base/tuned.conf": "[sysctl]\nnet.netfilter.nf_conntrack_max=4\n",
			"usr/lib/tuned/mine/tuned.conf": "[sysctl]\n" + limit + "=1\n", "etc/tuned/other/tuned.conf": "[sysctl]\n" + limit + "=1\n"},
			[]string{"/usr/lib/tuned/base/tuned.conf:2 4 (tuned sets it with its active profile), overruled", "/etc/tuned/mine/tuned.conf:4 5 (tuned sets it with its active profile)"}},
		{"tuned that reads sysctl.d afterwards", "tuned-main.conf(5)", map[string]string{"etc/tuned/active_profile": "mine", "usr/lib/tuned/profiles/mine/tuned.conf": "[main]\ninclude=mine\n[sysctl]\n" + limit + "=>5\n"},
			[]string{"/usr/lib/tuned/profiles/mine/tuned.conf:4 >5 (tuned sets it with its active profile), overruled"}},
		{"a rule of udev", "udev(7)", map[string]string{"etc/udev/rules.d/a.rules": "# SYSCTL{net/netfilter/nf_conntrack_max}=\"4\"\nACTION==\"add\", \\\n SYSCTL{net/netfilter/nf_conntrack_max}=\"5\"\nSYSCTL{net/netfilter/nf_conntrack_max}==\"6\"\n",
			"run/udev/rules.d/a.rules": "SYSCTL{net.netfilter.nf_conntrack_max}=\"7\"\n"}, []string{"/etc/udev/rules.d/a.rules:2 5 (udev sets it)"}},
		{"a command of udev", "udev(7)", map[string]string{"usr/lib/udev/rules.d/a.rules": `SUBSYSTEM=="module", KERNEL=="nf_conntrack", RUN+="/sbin/sysctl -w net.netfilter.nf_conntrack_max=5"` + "\n"},
			[]string{"/usr/lib/udev/rules.d/a.rules:1 5 (a command sets it)"}},
		{"a unit that loads a file", "sysctl(8)", map[string]string{"etc/systemd/system/a.service": "[Service]\nType=oneshot\nExecStart=-/sbin/sysctl -qp /etc/a.conf\n", "etc/a.conf": "\n" + limit + " = 5\n"},
			[]string{"/etc/a.conf:2 5 (/etc/systemd/system/a.service:3 has it loaded)"}},
		{"a unit that sets a value, in a shell", "sysctl(8)", map[string]string{"usr/lib/systemd/system/a.service": "ExecStartPost=/bin/sh -c 'sleep 5; sysctl -w " + limit + "=5 net.ipv4.ip_forward=1 && echo net.nf_conntrack_max=7'\n"},
			[]string{"/usr/lib/systemd/system/a.service:1 5 (a command sets it)"}},
		{"a unit with systemd-sysctl", "systemd-sysctl(8)", map[string]string{"run/systemd/system/a.service": "ExecStart=/usr/lib/systemd/systemd-sysctl --prefix=/net /etc/a.conf\n", "etc/a.conf": limit + "=5"},
			[]string{"/etc/a.conf:1 5 (/run/systemd/system/a.service:1 has it loaded)"}},
		{"units that read what nfsync writes", "sysctl(8)", map[string]string{"etc/systemd/system/a.service": "ExecStart=/sbin/sysctl --system\nExecStart=sysctl -p /etc/sysctl.d/90-nfsync.conf\nExecStart=/usr/lib/systemd/systemd-sysctl\nExecStop=sysctl " + limit + "=5\n", sysctlConf: limit + " = 4\n"}, nil},
		{"a shell that writes the file", "sh(1)", map[string]string{"etc/rc.d/rc.local": "echo 5 > /proc/sys/net/netfilter/nf_conntrack_max\n", "etc/rc.local": "echo 9 >/proc/sys/net/ipv4/ip_forward\n"},
			[]string{"/etc/rc.d/rc.local:1 5 (a command sets it)"}},
		{"rc.local", "rc.local(8)", map[string]string{"etc/rc.local": "#!/bin/sh\nsysctl " + limit + "=5 >/dev/null\n"}, []string{"/etc/rc.local:2 5 (a command sets it)"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			fs, _ := bootOf(t, test.files)
			d := fs.Declared()
			if got := said(d, nf.KeyMax); !slices.Equal(got, test.want) {
				t.Errorf("%q, want %q (%s)", got, test.want, test.source)
			}
			if got := slices.Contains(d.Keys(), nf.KeyMax); got != (test.want != nil) {
				t.Errorf("the key is listed: %v", got)
			}
		})
	}
}

// The number of buckets is a parameter of the module too (nf_conntrack_core.c).
func TestLateBuckets(t *testing.T) {
	fs, _ := bootOf(t, map[string]string{"etc/rc.local": "echo 4096 > /sys/module/nf_conntrack/parameters/hashsize\n",
		"etc/udev/rules.d/a.rules": `SUBSYSTEM=="module", KERNEL=="nf_conntrack", ATTR{parameters/hashsize}="8192"` + "\n"})
	want := []string{"/etc/udev/rules.d/a.rules:1 8192 (udev sets it)", "/etc/rc.local:1 4096 (a command sets it)"}
	if got := said(fs.Declared(), nf.KeyBuckets); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// The example of sysctl.d(5): a rule of udev sets the values once the module is loaded.
func TestRereads(t *testing.T) {
	for rule, want := range map[string]bool{
		`ACTION=="add", SUBSYSTEM=="module", KERNEL=="nf_conntrack", RUN+="/usr/lib/systemd/systemd-sysctl --prefix=/net/netfilter"`: true,
		`ACTION=="add", SUBSYSTEM=="module", KERNEL=="br_netfilter|nf_*", RUN+="/sbin/sysctl --system"`:                              true,
		`SUBSYSTEM=="module", KERNEL=="nf_conntrack", RUN+="/sbin/sysctl -p /etc/sysctl.d/90-nfsync.conf"`:                           true,
		`SUBSYSTEM=="module", KERNEL=="nf_conntrack", RUN+="/sbin/sysctl -p /etc/sysctl.d/other.conf"`:                               false,
		`SUBSYSTEM=="module", KERNEL=="br_netfilter", RUN+="/usr/lib/systemd/systemd-sysctl"`:                                        false,
		`SUBSYSTEM=="net", KERNEL=="nf_conntrack", RUN+="/usr/lib/systemd/systemd-sysctl"`:                                           false,
		`# SUBSYSTEM=="module", KERNEL=="nf_conntrack", RUN+="/usr/lib/systemd/systemd-sysctl"`:                                      false,
	} {
		fs, _ := bootOf(t, map[string]string{"etc/udev/rules.d/a.rules": rule + "\n"})
		if d := fs.Declared(); d.Rereads("nf_conntrack") != want {
			t.Errorf("%s: %v", rule, !want)
		}
	}
}
