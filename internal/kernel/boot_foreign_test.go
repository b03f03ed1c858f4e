package kernel

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"nfsync.dev/nfsync/internal/nf"
)

// said is each line about a key as FILE:LINE VALUE, and whether it is overruled.
func said(d Declarations, k nf.Key) []string {
	var lines []string
	for _, l := range d.Of(k) {
		text := l.Place() + " " + l.Value.String()
		if l.Why != "" {
			text += " (" + l.Why + ")"
		}
		if l.Overruled {
			text += ", overruled"
		}
		lines = append(lines, text)
	}
	return lines
}

func TestDeclared(t *testing.T) {
	sysctl := func(text string) map[string]string { return map[string]string{"etc/sysctl.d/a.conf": text} }
	modprobe := func(text string) map[string]string { return map[string]string{"etc/modprobe.d/a.conf": text} }
	for _, test := range []struct {
		name, source string
		files        map[string]string
		key          nf.Key
		want         []string
	}{
		{"an assignment", "sysctl.d(5)", sysctl("# c\n; c\n\nnet.netfilter.nf_conntrack_max=010\n"), nf.KeyMax, []string{"/etc/sysctl.d/a.conf:4 8"}},
		{"with slashes, may fail", "sysctl.d(5)", sysctl("  -net/netfilter/nf_conntrack_udp_timeout = 0x10 \n"), nf.TimeoutKey("udp"), []string{"/etc/sysctl.d/a.conf:1 16"}},
		{"the other name", "nf_conntrack_standalone.c", sysctl("net.nf_conntrack_max = 5\n"), nf.KeyMax, []string{"/etc/sysctl.d/a.conf:1 5"}},
		{"no number", "proc_dointvec", sysctl("net.netfilter.nf_conntrack_max = lots\n"), nf.KeyMax, []string{"/etc/sysctl.d/a.conf:1 lots"}},
		{"negative", "proc_dointvec", sysctl("net.netfilter.nf_conntrack_udp_timeout = -1\n"), nf.TimeoutKey("udp"), []string{"/etc/sysctl.d/a.conf:1 -1"}},
		{"no assignment", "sysctl.d(5)", sysctl("net.netfilter.nf_conntrack_max\n= 5\n"), nf.KeyMax, nil},
		{"no value", "parse_file of sysctl.c", sysctl("net.netfilter.nf_conntrack_max =\n"), nf.KeyMax, []string{"/etc/sysctl.d/a.conf:1 unknown (has no value, so that no earlier line sets it)"}},
		{"what follows a blank", "proc_dointvec", sysctl("net.netfilter.nf_conntrack_max = 11 # c\n"), nf.KeyMax, []string{"/etc/sysctl.d/a.conf:1 11"}},
		{"what follows no blank", "proc_dointvec", sysctl("net.netfilter.nf_conntrack_max = 11#c\n"), nf.KeyMax, []string{"/etc/sysctl.d/a.conf:1 11#c"}},
		{"a backslash joins nothing", "parse_file of sysctl.c", sysctl("net.netfilter.nf_conntrack_max = \\\n5\n"), nf.KeyMax, []string{`/etc/sysctl.d/a.conf:1 \`}},
		{"carriage returns", "read_line of fileio.c", sysctl("# c\rnet.netfilter.nf_conntrack_max = 5\r\nnet.netfilter.nf_conntrack_max = 6\r\n"), nf.KeyMax, []string{"/etc/sysctl.d/a.conf:1 5, overruled", "/etc/sysctl.d/a.conf:2 6"}},
		{"slashes that do not count", "sysctl_normalize of sysctl-util.c", sysctl("//net/netfilter//nf_conntrack_max = 5\n"), nf.KeyMax, []string{"/etc/sysctl.d/a.conf:1 5"}},
		{"excluded after it is set", "parse_file of sysctl.c", sysctl("net.netfilter.nf_conntrack_max = 5\n- net.netfilter.nf_conntrack_max\n"), nf.KeyMax,
			[]string{"/etc/sysctl.d/a.conf:1 5, overruled", "/etc/sysctl.d/a.conf:2 unknown (excludes it, so that no earlier line sets it)"}},
		{"set after it is excluded", "parse_file of sysctl.c", sysctl("-net.netfilter.nf_conntrack_max\nnet.netfilter.nf_conntrack_max = 5\n"), nf.KeyMax,
			[]string{"/etc/sysctl.d/a.conf:1 unknown (excludes it, so that no earlier line sets it), overruled", "/etc/sysctl.d/a.conf:2 5"}},
		{"a pattern excludes nothing", "apply_all of sysctl.c", sysctl("-net.netfilter.*\n"), nf.TimeoutKey("udp"), nil},
		{"a pattern of the other name", "apply_all of sysctl.c", sysctl("net.nf_conntrack_* = 7\n"), nf.KeyMax, []string{"/etc/sysctl.d/a.conf:1 7"}},
		{"a pattern of the other name, read before", "apply_all of sysctl.c", map[string]string{"etc/sysctl.d/10.conf": "net.nf_conntrack_* = 7\n"}, nf.KeyMax, []string{"/etc/sysctl.d/10.conf:1 7, overruled"}},
		{"a line that says the same keeps the turn of the first", "parse_file of sysctl.c", map[string]string{
			"etc/sysctl.d/10.conf": "net.netfilter.nf_conntrack_max = 7", "etc/sysctl.d/20.conf": "net.nf_conntrack_max = 5", sysctlConf: "net.netfilter.nf_conntrack_max = 7"},
			nf.KeyMax, []string{"/etc/sysctl.d/10.conf:1 7, overruled", "/etc/sysctl.d/20.conf:1 5"}},
		{"alternatives in a pattern", "glob_extend of glob-util.c", sysctl("net.netfilter.nf_conntrack_{u,ic}[!x]p_timeou? = 7\n"), nf.TimeoutKey("udp"), []string{"/etc/sysctl.d/a.conf:1 7, overruled"}},
		{"a hidden file", "FOREACH_DIRENT of dirent-util.h", map[string]string{"etc/sysctl.d/.a.conf": "net.netfilter.nf_conntrack_max = 5"}, nf.KeyMax, nil},
		{"masked by an empty file", "sysctl.d(5)", map[string]string{"etc/sysctl.d/a.conf": "", "run/sysctl.d/a.conf": "net.netfilter.nf_conntrack_max = 5"}, nf.KeyMax, nil},
		{"masked by a directory", "files_add of conf-files.c", map[string]string{"etc/sysctl.d/a.conf/x": "", "run/sysctl.d/a.conf": "net.netfilter.nf_conntrack_max = 5"}, nf.KeyMax, nil},
		{"something else", "sysctl.d(5)", sysctl("net.ipv4.conf.all.nf_conntrack_max = 1\nnet.netfilter.nf_log.1 = x\n"), nf.KeyMax, nil},
		{"a pattern", "sysctl.d(5)", sysctl("net.netfilter.nf_conntrack_* = 7\n"), nf.KeyMax, []string{"/etc/sysctl.d/a.conf:1 7, overruled"}},
		{"a pattern stops at a slash", "glob(7)", sysctl("net.* = 7\n"), nf.TimeoutKey("udp"), nil},
		{"excluded from a pattern", "sysctl.d(5)", sysctl("net.netfilter.* = 7\n-net.netfilter.nf_conntrack_max\n"), nf.KeyMax,
			[]string{"/etc/sysctl.d/a.conf:1 7, overruled", "/etc/sysctl.d/a.conf:2 unknown (excludes it, so that no earlier line sets it)"}},
		{"a name before a pattern", "sysctl.d(5)", sysctl("net.netfilter.nf_conntrack_max = 5\nnet.netfilter.* = 7\n"), nf.KeyMax, []string{"/etc/sysctl.d/a.conf:1 5", "/etc/sysctl.d/a.conf:2 7, overruled"}},
		{"by name of the files", "sysctl.d(5)", map[string]string{"usr/lib/sysctl.d/10.conf": "net.netfilter.nf_conntrack_max = 1", "etc/sysctl.d/20.conf": "net.netfilter.nf_conntrack_max = 2", "lib/sysctl.d/15.conf": "net.netfilter.nf_conntrack_max = 3"},
			nf.KeyMax, []string{"/usr/lib/sysctl.d/10.conf:1 1, overruled", "/lib/sysctl.d/15.conf:1 3, overruled", "/etc/sysctl.d/20.conf:1 2, overruled"}},
		{"replaced by name", "sysctl.d(5)", map[string]string{"usr/lib/sysctl.d/10.conf": "net.netfilter.nf_conntrack_max = 1", "run/sysctl.d/10.conf": "net.netfilter.nf_conntrack_max = 2"},
			nf.KeyMax, []string{"/run/sysctl.d/10.conf:1 2, overruled"}},
		{"before and after nfsync's own", "sysctl.d(5)", map[string]string{"etc/sysctl.d/90-nfsync.con.conf": "net.netfilter.nf_conntrack_max = 1", "run/sysctl.d/90-nfsyncd.conf": "net.nf_conntrack_max = 2\nnet.netfilter.nf_conntrack_max = 3", "usr/lib/sysctl.d/99.conf": "net.netfilter.nf_conntrack_max = 4"},
			nf.KeyMax, []string{"/etc/sysctl.d/90-nfsync.con.conf:1 1, overruled", "/run/sysctl.d/90-nfsyncd.conf:1 2, overruled", "/run/sysctl.d/90-nfsyncd.conf:2 3, overruled", "/usr/lib/sysctl.d/99.conf:1 4"}},
		{"by name, and not by directory", "sysctl.d(5)", map[string]string{"usr/lib/sysctl.d/95.conf": "net.netfilter.nf_conntrack_max = 1", "etc/sysctl.d/50.conf": "net.netfilter.nf_conntrack_max = 2"},
			nf.KeyMax, []string{"/etc/sysctl.d/50.conf:1 2, overruled", "/usr/lib/sysctl.d/95.conf:1 1"}},
		{"what only sysctl(8) reads", "sysctl(8)", map[string]string{"etc/sysctl.conf": "net.netfilter.nf_conntrack_max = 1\nnet.netfilter.nf_conntrack_max = 2", "etc/sysctl.d/95.conf": "net.netfilter.nf_conntrack_max = 3"},
			nf.KeyMax, []string{"/etc/sysctl.d/95.conf:1 3", "/etc/sysctl.conf:1 1, overruled", "/etc/sysctl.conf:2 2"}},
		{"another suffix", "sysctl.d(5)", map[string]string{"etc/sysctl.d/README": "net.netfilter.nf_conntrack_max = 1"}, nf.KeyMax, nil},
		{"sysctl.conf, last of all", "sysctl(8)", map[string]string{"etc/sysctl.conf": "net.netfilter.nf_conntrack_max = 1", "etc/sysctl.d/z.conf": "net.netfilter.nf_conntrack_max = 2"},
			nf.KeyMax, []string{"/etc/sysctl.d/z.conf:1 2", "/etc/sysctl.conf:1 1"}},
		{"nfsync's own", "", map[string]string{sysctlConf: "net.netfilter.nf_conntrack_max = 1"}, nf.KeyMax, nil},
		{"masked by nfsync's own", "sysctl.d(5)", map[string]string{sysctlConf: "", "usr/lib/sysctl.d/90-nfsync.conf": "net.netfilter.nf_conntrack_max = 1"}, nf.KeyMax, nil},

		{"a listed module", "modules-load.d(5)", map[string]string{"etc/modules-load.d/a.conf": "; c\n# ip_set\n ip-set\nip_set x\n"}, ipset, []string{"/etc/modules-load.d/a.conf:3 loaded"}},
		{"a listed module, CRLF and NUL", "read_line of fileio.c", map[string]string{"etc/modules-load.d/a.conf": "a\r\nip_set\r\n\x00ip_set"}, ipset, []string{"/etc/modules-load.d/a.conf:2 loaded", "/etc/modules-load.d/a.conf:3 loaded"}},
		{"listed under another name", "kmod_module_new_from_lookup", map[string]string{"etc/modules-load.d/a.conf": "sets\n", "etc/modprobe.d/a.conf": "alias set? ip-set\n"}, ipset, []string{"/etc/modules-load.d/a.conf:1 loaded"}},
		{"another module under its name", "kmod_module_new_from_lookup", map[string]string{"etc/modules-load.d/a.conf": "ip_set\n", "etc/modprobe.d/a.conf": "alias ip_set other\n"}, ipset, []string{"/etc/modprobe.d/a.conf:1 unloaded (modprobe loads other instead)"}},
		{"a hidden list", "FOREACH_DIRENT of dirent-util.h", map[string]string{"etc/modules-load.d/.a.conf": "ip_set"}, ipset, nil},

		{"options", "modprobe.d(5)", modprobe("options ip-set max_sets=5\noptions ip_set\n"), ipset, []string{"/etc/modprobe.d/a.conf:1 loaded (max_sets=5)"}},
		{"options that cannot be read", "next_arg of lib/cmdline.c", modprobe("options ip-set max_sets=5 flag q=\"a  b\" \"x=y\"\n"), ipset,
			[]string{"/etc/modprobe.d/a.conf:1 loaded (max_sets=5 x=y)", `/etc/modprobe.d/a.conf:1 unknown (says "options ip-set max_sets=5 flag q=\"a  b\" \"x=y\"", of which nfsync cannot read flag q=a  b)`}},
		{"options that go on", "getline_wrapped of libkmod-util.c", modprobe("options other a=1 \\\n  b=2\n\noptions ip_set max_\\\nsets=\\5"), ipset, []string{"/etc/modprobe.d/a.conf:4 loaded (max_sets=5)"}},
		{"a comment that goes on", "getline_wrapped of libkmod-util.c", modprobe("# c \\\noptions ip_set max_sets=5\n"), ipset, nil},
		{"options of a pattern", "kmod_module_get_options", modprobe("options ip_* max_sets=5\n"), ipset, nil},
		{"options with CRLF", "isspace of lib/ctype.c", modprobe("options ip_set max_sets=5\r\n"), ipset, []string{"/etc/modprobe.d/a.conf:1 loaded (max_sets=5)"}},
		{"hashsize is the buckets", "nf_conntrack_core.c", modprobe("options nf_conntrack hashsize=4096\n"), nf.KeyBuckets, []string{"/etc/modprobe.d/a.conf:1 4096"}},
		{"buckets without a value", "parse_one of kernel/params.c", modprobe("options nf_conntrack hashsize = 4096\n"), nf.KeyBuckets,
			[]string{`/etc/modprobe.d/a.conf:1 unknown (says "options nf_conntrack hashsize = 4096": the kernel refuses hashsize without a value, and does not load the module)`}},
		{"hashsize without its value", "parse_one of kernel/params.c", modprobe("options nf_conntrack hashsize = 4096\n"), nf.ModuleKey("nf_conntrack"),
			[]string{`/etc/modprobe.d/a.conf:1 unloaded (says "options nf_conntrack hashsize = 4096": the kernel refuses hashsize without a value, and does not load the module)`}},
		{"hashsize with a value apart", "param_set_uint of kernel/params.c", modprobe("options nf_conntrack hashsize= 4096\n"), nf.ModuleKey("nf_conntrack"),
			[]string{`/etc/modprobe.d/a.conf:1 unloaded (says "options nf_conntrack hashsize= 4096": the kernel refuses hashsize=, and does not load the module)`}},
		{"a blacklist", "modprobe.d(5)", modprobe("blacklist ip_set # c\n"), ipset, []string{"/etc/modprobe.d/a.conf:1 unloaded"}},
		{"a blacklist with CRLF", "strtok_r in kmod_config_parse", modprobe("blacklist ip_set\r\n"), ipset, nil},
		{"an alias that is off", "kmod_lookup_alias_from_config", modprobe("\talias ip-* off\n"), ipset, []string{"/etc/modprobe.d/a.conf:1 unloaded (modprobe loads nothing by that name)"}},
		{"an alias of the module too", "kmod_lookup_alias_from_config", modprobe("alias ip-* off\nalias ip_set ip_set\n"), ipset, nil},
		{"an alias without a module", "kmod_config_parse", modprobe("alias ip_set\n"), ipset, nil},
		{"kept out", "kmod_module_get_install_commands", modprobe("install ip_set /bin/true\ninstall ip_* /bin/false\n"), ipset,
			[]string{`/etc/modprobe.d/a.conf:1 unloaded (says "install ip_set /bin/true")`, `/etc/modprobe.d/a.conf:2 unloaded (says "install ip_* /bin/false"), overruled`}},
		{"kept out, with a reason", "sh(1)", modprobe("install ip_set /bin/false # why; modprobe ip_set\n"), ipset, []string{`/etc/modprobe.d/a.conf:1 unloaded (says "install ip_set /bin/false # why; modprobe ip_set")`}},
		{"kept out by a script", "sh(1)", modprobe("install ip_set echo off >&2; exit 1\n"), ipset, []string{`/etc/modprobe.d/a.conf:1 unloaded (says "install ip_set echo off >&2; exit 1")`}},
		{"kept out, CRLF", "sh(1)", modprobe("install ip_set /bin/false\r\n"), ipset, []string{`/etc/modprobe.d/a.conf:1 unloaded (says "install ip_set /bin/false")`}},
		{"another command", "modprobe.d(5)", modprobe("install ip_set /sbin/modprobe -i ip_set; true\n"), ipset,
			[]string{`/etc/modprobe.d/a.conf:1 unknown (says "install ip_set /sbin/modprobe -i ip_set; true", a command that may load it or not)`}},
		{"a command in a harmless one", "sh(1)", modprobe("install ip_set echo $(modprobe -i ip_set)\n"), ipset,
			[]string{`/etc/modprobe.d/a.conf:1 unknown (says "install ip_set echo $(modprobe -i ip_set)", a command that may load it or not)`}},
		{"no command", "kmod_config_parse", modprobe("install ip_set\ninstall ip_set \noptions ip_set \n"), ipset, nil},
		{"brackets that are not in pairs", "underscores of libkmod-util.c", modprobe("install ip_[s /bin/false\ninstall ip_s]et /bin/false\n"), ipset, nil},
		{"what nothing is read from", "modprobe.d(5)", modprobe("alias x ip_set\nsoftdep ip_set pre: x\nremove ip_set /bin/false\ninstall\nblacklist\nInstall ip_set /bin/false\n"), ipset, nil},
		{"a hidden file of modprobe.d", "conf_files_filter_out of libkmod-config.c", map[string]string{"etc/modprobe.d/.a.conf": "blacklist ip_set"}, ipset, nil},
		{"a file of aliases", "conf_files_filter_out of libkmod-config.c", map[string]string{"etc/modprobe.d/a.alias": "blacklist ip_set"}, ipset, []string{"/etc/modprobe.d/a.alias:1 unloaded"}},
		{"a directory masks nothing", "conf_files_filter_out of libkmod-config.c", map[string]string{"etc/modprobe.d/a.conf/x": "", "run/modprobe.d/a.conf": "blacklist ip_set"}, ipset, []string{"/run/modprobe.d/a.conf:1 unloaded"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			fs, _ := bootOf(t, test.files)
			if got := said(fs.Declared(), test.key); !slices.Equal(got, test.want) {
				t.Errorf("%q, want %q (%s)", got, test.want, test.source)
			}
		})
	}
}

// Links: to /dev/null they mask, and etc/sysctl.conf under another name is
// read once.
func TestDeclaredLinks(t *testing.T) {
	fs, dir := bootOf(t, map[string]string{
		"usr/lib/sysctl.d/10.conf": "net.netfilter.nf_conntrack_max = 1",
		"etc/sysctl.conf":          "net.netfilter.nf_conntrack_max = 2",
		"etc/elsewhere":            "net.netfilter.nf_conntrack_max = 3",
		"etc/sysctl.d/x":           "",
	})
	for name, to := range map[string]string{"10.conf": "/dev/null", "99-sysctl.conf": "../sysctl.conf", "20.conf": "/etc/elsewhere", "30.conf": "/nowhere", "40.conf": "40.conf"} {
		if err := os.Symlink(to, filepath.Join(dir, "etc/sysctl.d", name)); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"/etc/sysctl.d/20.conf:1 3, overruled", "/etc/sysctl.conf:1 2"}
	if got := said(fs.Declared(), nf.KeyMax); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// Whatever is in a file, reading it ends, and what it declares is a key.
func FuzzDeclared(f *testing.F) {
	for _, seed := range []string{"", "-", "=", "-*=1\n-*", "[=1", "net/netfilter/[=1", "net.netfilter.nf_conntrack_max=0x", "options a \\", "options a b=\"", "install * /bin/false", "\\\n\\\n", "\xff\x00", "a.b/c"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		tree := tree{}
		d := Declarations{modprobe: modprobeConfig{append(parseModprobeConf(data, "a"), parseCmdline(data)...), &tree}, listed: map[string][]nf.Declaration{}}
		d.parseLoad(data, "a")
		d.parseLoadCmdline(data)
		d.sysctls = parseSysctl(data, "a")
		d.oldSysctls = d.sysctls
		for _, k := range append(d.Keys(), nf.KeyMax, ipset) {
			_, module := k.Module()
			if _, sysctl := k.Sysctl(); !module && !sysctl {
				t.Errorf("%q is no key", k)
			}
			for _, l := range d.Of(k) {
				if l.Line < 1 && l.File != cmdlineFile || l.Value.IsAbsent() {
					t.Errorf("%+v", l)
				}
			}
		}
		own := newOwnBoot()
		for _, parse := range []func(string) error{own.parseListed, own.parseModprobe, own.parseSysctl} {
			_ = parseOwn(data, "a", parse) // an error is fine, a panic is not
		}
	})
}
