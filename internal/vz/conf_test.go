package vz

import (
	"strings"
	"testing"

	"nfsync.dev/nfsync/internal/nf"
)

// The lines are those of etc/ve-basic.conf-sample of vzctl, and others that parse_line in
// lib/util.c of libvzctl accepts.
func TestParseConf(t *testing.T) {
	for _, test := range []struct{ line, key, want string }{
		{`NETFILTER="full"`, "NETFILTER", "full"},
		{`NETFILTER=full`, "NETFILTER", "full"},
		{`NETFILTER='full'`, "NETFILTER", "full"},
		{`  NETFILTER="full"  `, "NETFILTER", "full"},
		{"NETFILTER=\"full\"\r", "NETFILTER", "full"},
		{`NETFILTER=full # as the manual says`, "NETFILTER", "full"},
		{`NETFILTER="full" # as the manual says`, "NETFILTER", "full"},
		{`NETFILTER=""`, "NETFILTER", ""},
		{`NETFILTER=`, "NETFILTER", ""},
		{`#NETFILTER="full"`, "NETFILTER", ""},
		{`# NETFILTER="full"`, "NETFILTER", ""},
		{`NETFILTER="full`, "NETFILTER", "full"},
		{"NETFILTER=\"stateless\"\nNETFILTER=\"full\"", "NETFILTER", "full"}, // the last one counts
		{`NAME="web 1"`, "NAME", "web 1"},
		{`NAME="a=b#c"`, "NAME", "a=b#c"},
		{`NAME="a # b"`, "NAME", "a # b"},
		{`NAME=a#b`, "NAME", "a#b"},
		{`NAME="say \"hi\""`, "NAME", `say "hi"`},
		{`NAME='it is "it"'`, "NAME", `it is "it"`},
		{"NAME=\"\xff\"", "NAME", "\uFFFD"},
		{`NAME`, "NAME", ""},
		{`export NAME="x"`, "NAME", ""},
		{`IPTABLES="ip_tables iptable_filter"`, "IPTABLES", "ip_tables iptable_filter"},
		{`PHYSPAGES="65536:65536"`, "PHYSPAGES", "65536:65536"},
	} {
		if got := parseConf([]byte("VERSION=\"2\"\n" + test.line + "\n"))[test.key]; got != test.want {
			t.Errorf("%s: %s is %q, want %q", test.line, test.key, got, test.want)
		}
	}
}

// The level is that of NETFILTER=, else of IPTABLES=, else VE_IP_DEFAULT (get_ipt_mask in
// lib/iptables.c of libvzctl). NETFILTER= in vz.conf applies to no container
// (_s_conf_local_param).
func TestSavedLevel(t *testing.T) {
	for _, test := range []struct {
		conf, global string
		want         nf.Value
	}{
		{`NETFILTER="disabled"`, "", nf.LevelDisabled.Value()},
		{`NETFILTER="stateless"`, "", nf.LevelStateless.Value()},
		{`NETFILTER="stateful"`, "", nf.LevelStateful.Value()},
		{`NETFILTER="full"`, "", nf.LevelFull.Value()},
		{"NETFILTER=full\nIPTABLES=ip_tables", "", nf.LevelFull.Value()},
		{"", "", nf.LevelStateless.Value()},
		{`NETFILTER=""`, "", nf.LevelStateless.Value()},
		{`IPTABLES=""`, "", nf.LevelStateless.Value()},
		{`IPTABLES="nonsense"`, "", nf.LevelStateless.Value()},
		{`IPTABLES="iptable_filter iptable_mangle"`, "", nf.LevelStateless.Value()},
		{`IPTABLES="iptable_filter ipt_state"`, "", nf.MaskValue(0x4c004003)},
		{"", `IPTABLES="iptable_filter"`, nf.MaskValue(0xc000003)},
		{`IPTABLES="iptable_nat"`, `IPTABLES="iptable_filter"`, nf.MaskValue(0x64104001)},
		{"", `NETFILTER="full"`, nf.LevelStateless.Value()},
		{`NETFILTER="Full"`, "", nf.Unknown(`its configuration has NETFILTER="Full", which is not a level`)},
		{`NETFILTER="custom(0x1)"`, "", nf.Unknown(`its configuration has NETFILTER="custom(0x1)", which is not a level`)},
	} {
		got := parseConf([]byte(test.conf)).over(parseConf([]byte(test.global))).savedLevel()
		if got != test.want {
			t.Errorf("%q over %q: %v %s, want %v", test.conf, test.global, got, got.Why(), test.want)
		}
	}
}

func TestPrivateArea(t *testing.T) {
	for conf, want := range map[string]string{
		"":                               "/vz/private/101",
		`VE_PRIVATE="/vz/private/$VEID"`: "/vz/private/101",
		`VE_PRIVATE="/a/${VEID}/b"`:      "/a/101/b",
		`VE_PRIVATE="/b/ct"`:             "/b/ct",
	} {
		if got := parseConf([]byte(conf)).private("101"); got != want {
			t.Errorf("%q: %s, want %s", conf, got, want)
		}
	}
}

// No configuration makes nfsync panic, and each value that it reads is one line.
func FuzzParseConf(f *testing.F) {
	f.Add([]byte("NETFILTER=\"full\"\n# x\nNAME='a\\\n"))
	f.Add([]byte("IPTABLES=\"ip_tables,\tipt_state\"\nVE_PRIVATE=\"${VEID}\"\n=\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c := parseConf(data)
		for k, v := range c {
			if strings.ContainsAny(v, "\n") || !isSetting(k) {
				t.Errorf("%q=%q", k, v)
			}
		}
		saved := c.savedLevel()
		if _, ok := saved.Mask(); !ok && !saved.IsUnknown() {
			t.Errorf("the saved level is %v", saved)
		}
	})
}
