package kernel

import (
	"errors"
	"net"
	"os"
	"strings"
	"testing"

	"nfsync.dev/nfsync/internal/nf"
)

// TestParseConntrackStat: ct_cpu_seq_show in net/netfilter/nf_conntrack_standalone.c of the kernels.
func TestParseConntrackStat(t *testing.T) {
	const (
		linux310 = "entries  searched found new invalid ignore delete delete_list insert insert_failed drop early_drop icmp_error  expect_new expect_create expect_delete search_restart\n"
		linux618 = "entries  clashres found new invalid ignore delete chainlength insert insert_failed drop early_drop icmp_error  expect_new expect_create expect_delete search_restart\n"
	)
	row := func(drop, evict string) string {
		return "0003fffe  00000001 00000002 00000003 00000004 00000005 00000006 00000007 00000008 00000009 " + drop + " " + evict + " 0000000c  0000000d 0000000e 0000000f 00000010\n"
	}
	for name, test := range map[string]struct {
		text string
		want nf.Drops
		err  string
	}{
		"Linux 3.10":         {linux310 + row("0000000a", "0000000b"), nf.Drops{Dropped: 10, Evicted: 11}, ""},
		"Linux 6.18, 2 CPUs": {linux618 + row("000000ff", "00000010") + row("00000001", "ffffffff"), nf.Drops{Dropped: 256, Evicted: 0x10000000f}, ""},
		"other columns":      {"entries early_drop drop\n00000001 00000002 00000003\n", nf.Drops{Dropped: 3, Evicted: 2}, ""},
		"no CPU":             {linux618, nf.Drops{}, ""},
		"no column":          {"entries drop\n00000001 00000002\n", nf.Drops{}, "no column"},
		"short line":         {linux618 + "00000001\n", nf.Drops{}, "1 counters"},
		"no digits":          {"drop early_drop\nx 1\n", nf.Drops{}, "invalid syntax"},
		"empty":              {"", nf.Drops{}, "no column"},
	} {
		got, err := parseConntrackStat([]byte(test.text))
		if test.err == "" && (err != nil || got != test.want) || test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
			t.Errorf("%s: %+v, %v; want %+v, %q", name, got, err, test.want, test.err)
		}
	}
}

// TestConntrackTable: the entries and the counters are those of the namespace of the thread.
func TestConntrackTable(t *testing.T) {
	inNetns(t, func() {
		count, limit := live.ConntrackTable()
		if most, ok := limit.Number(); count != nf.Number(0) || !ok || most <= 0 {
			t.Errorf("%v of %v", count, limit)
		}
		run(t, "ip link set lo up")
		nft(t, "add table inet t\nadd chain inet t c { type filter hook output priority 0; }\nadd rule inet t c ct state new accept")
		c, err := net.Dial("udp", "127.0.0.1:9")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Write([]byte("x")); err != nil {
			t.Error(err)
		}
		if count, _ := live.ConntrackTable(); count != nf.Number(1) {
			t.Errorf("%v entries, want 1", count)
		}
		if drops, err := live.ConntrackDrops(); err != nil || drops != (nf.Drops{}) {
			t.Errorf("%+v, %v", drops, err)
		}
	})
	none := FS{Proc: t.TempDir(), Sys: "/sys", Root: "/"}
	if _, err := none.ConntrackDrops(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
	if count, limit := none.ConntrackTable(); !count.IsUnknown() || !limit.IsUnknown() {
		t.Errorf("%v, %v", count, limit)
	}
}
