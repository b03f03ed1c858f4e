package kernel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/nf"
)

// A large table stays small in a snapshot, and is read right.
func TestLargeTable(t *testing.T) {
	inNetns(t, func() {
		var script bytes.Buffer
		script.WriteString("add table inet t\nadd chain inet t z {type filter hook input priority 0;}\n")
		for i := range 40 {
			fmt.Fprintf(&script, "add chain inet t c%02d\n", i)
			for range 50 {
				fmt.Fprintf(&script, "add rule inet t c%02d ct state new tcp dport 1-%d accept\n", i, i+2)
			}
		}
		script.WriteString("add chain inet t nat {type nat hook postrouting priority 100;}\nadd rule inet t nat masquerade\n")
		nft(t, script.String())
		r := live.Rules(t.Context(), netfilter, nil)
		if len(r.Tables) != 1 || r.Tables[0].Rules != 2001 || r.Level() != nf.LevelFull || r.Unknown != "" {
			t.Fatalf("%+v", r)
		}
		if uses := useList(r.Tables); len(uses) != maxUses || uses[0] != "full nat: masq x1" || uses[1] != "stateful c00: ct x50" {
			t.Errorf("the uses are %q", uses)
		}
	})
}

// manyRules adds a chain with so many rules, each of 250 bytes in a dump.
func manyRules(t testing.TB, rules int) {
	var script bytes.Buffer
	script.WriteString("add table inet t\nadd chain inet t z {type filter hook input priority 0;}\n")
	for i := range rules {
		fmt.Fprintf(&script, "add rule inet t z ct state new tcp dport %d accept\n", 1+i%60000)
	}
	nft(t, script.String())
}

// One chain is read in parts that are as large as the kernel makes them. A namespace with
// too many rules, or whose reading takes too long, is unknown, and says why.
func TestManyRules(t *testing.T) {
	inNetns(t, func() {
		const rules = 30_000
		manyRules(t, rules)
		conn, err := openNfnetlink()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Send(netlink.Message{Data: []byte{unix.NFPROTO_UNSPEC, unix.NFNETLINK_V0, 0, 0},
			Header: netlink.Header{Type: unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETRULE, Flags: netlink.Request | netlink.Dump}}); err != nil {
			t.Fatal(err)
		}
		parts := 0
		for done := false; !done; parts++ {
			part, err := conn.receive()
			if err == nil {
				_, done, err = appendAnswers(nil, part)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if most := conn.read/(partSize*3/4) + 3; parts > most {
			t.Errorf("%d bytes came in %d parts, which are too small: at most %d", conn.read, parts, most)
		}
		if r := live.Rules(t.Context(), netfilter, nil); len(r.Tables) != 1 || r.Tables[0].Rules != rules || r.Unknown != "" {
			t.Errorf("%+v", r)
		}
		conn.read = maxAnswers - 1<<20
		if _, err := conn.ask(t.Context(), netlink.Dump, unix.NFNL_SUBSYS_NFTABLES, unix.NFT_MSG_GETRULE, unix.NFPROTO_UNSPEC, nil); err == nil || !strings.Contains(err.Error(), "more than 64 MiB") {
			t.Errorf("beyond the bound: %v", err)
		}
		tooLong := errors.New("it takes too long")
		for _, after := range []time.Duration{0, time.Millisecond} {
			ctx, cancel := context.WithTimeoutCause(t.Context(), after, tooLong)
			r := live.Rules(ctx, netfilter, nil)
			cancel()
			if len(r.Tables) != 0 || !strings.Contains(r.Unknown, tooLong.Error()) || !r.Value().IsUnknown() {
				t.Errorf("after %s: %+v", after, r)
			}
		}
	})
}

// A snapshot does not grow with the number of tables that a container makes.
func TestManyTables(t *testing.T) {
	inNetns(t, func() {
		var script strings.Builder
		for i := range maxTables {
			fmt.Fprintf(&script, "add table inet t%d\n", i)
		}
		nft(t, script.String())
		if r := live.Rules(t.Context(), netfilter, nil); len(r.Tables) != maxTables || r.Unknown != "" {
			t.Errorf("%d tables, unknown %q", len(r.Tables), r.Unknown)
		}
		nft(t, "add table ip more")
		if r := live.Rules(t.Context(), netfilter, nil); len(r.Tables) != 0 || !strings.Contains(r.Unknown, "1001 tables") {
			t.Errorf("%d tables, unknown %q", len(r.Tables), r.Unknown)
		}
	})
}

// The uses and guards that are not listed are counted.
func TestMoreUses(t *testing.T) {
	inNetns(t, func() {
		var script strings.Builder
		script.WriteString("add table inet t\n")
		for i := range 40 {
			fmt.Fprintf(&script, "add chain inet t c%d {type filter hook input priority %d; policy drop;}\nadd rule inet t c%d ct state new accept\n", i, i, i)
		}
		nft(t, script.String())
		r := live.Rules(t.Context(), netfilter, nil).Tables[0]
		if len(r.Uses) != maxUses || len(r.Guards) != maxUses || r.MoreGuards != 40-maxUses || r.MoreUses[nf.LevelStateful] != 40-maxUses {
			t.Errorf("%+v", r)
		}
	})
}
