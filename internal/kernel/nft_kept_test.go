package kernel

import (
	"io"
	"os/exec"
	"testing"

	"github.com/google/go-cmp/cmp"

	"nfsync.dev/nfsync/internal/nf"
)

// Tables that were kept are the same as those that are read now, after each kind of change. Those
// that the kernel changes without a commit are not kept.
func TestNftTablesKept(t *testing.T) {
	m := live.Modules(nil, false)
	steps := []struct {
		name, nft, sh string
		kept          bool
	}{
		{name: "nothing"},
		{name: "a table", nft: "add table inet web", kept: true},
		{name: "a chain", nft: "add chain inet web in {type filter hook input priority 0;}", kept: true},
		{name: "a rule", nft: "add rule inet web in ct state new accept", kept: true},
		{name: "a policy", nft: "chain inet web in {policy drop;}", kept: true},
		{name: "no rule", nft: "flush chain inet web in", kept: true},
		{name: "a set", nft: "add set inet web limits {type ipv4_addr; flags dynamic; ct count over 3;}", kept: true},
		{name: "an object", nft: `add ct helper inet web ftp {type "ftp" protocol tcp;}`, kept: true},
		{name: "another family", nft: "add table ip6 also; add table bridge br; add table arp old", kept: true},
		{name: "a legacy table too", sh: "iptables-legacy -A INPUT -m conntrack --ctstate NEW", kept: true},
		{name: "another legacy rule", sh: "iptables-legacy -A INPUT -m conntrack --ctstate INVALID", kept: true},
		{name: "no legacy rule", sh: "iptables-legacy -F", kept: true},
		{name: "a chain at a device", sh: "ip link add d0 type veth peer name e0", nft: "add table netdev early; add chain netdev early c {type filter hook ingress device d0 priority 0; policy drop;}"},
		{name: "no device", sh: "ip link del d0"},
		{name: "no such table", nft: "delete table netdev early", kept: true},
		{name: "an ingress chain of inet", sh: "ip link add d1 type veth peer name e1", nft: "add chain inet web early {type filter hook ingress device d1 priority 0; policy drop;}"},
		{name: "no device of it", sh: "ip link del d1"},
		{name: "no ingress chain", nft: "flush ruleset; add table inet web", kept: true},
		{name: "nothing again", nft: "flush ruleset"},
	}
	inNetns(t, func() {
		var k keptNamespace
		for _, step := range steps {
			if step.sh != "" {
				run(t, step.sh)
			}
			if step.nft != "" {
				nft(t, step.nft)
			}
			k.check(t, &m, step.name, step.kept)
		}
	})
}

// keptNamespace is the state of TestNftTablesKept between its steps.
type keptNamespace struct{ last NftTables }

func (k *keptNamespace) check(t *testing.T, m *nf.Modules, name string, kept bool) {
	t.Helper()
	now := live.Rules(t.Context(), m, nil)
	for range 2 {
		if diff := cmp.Diff(now, live.Rules(t.Context(), m, &k.last)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if is := k.last.generation != 0; is != kept {
		t.Errorf("%s: kept %t, want %t", name, is, kept)
	}
}

// A table that belongs to a socket goes with it, and no commit says so.
func TestNftTableOfASocketIsNotKept(t *testing.T) {
	m := live.Modules(nil, false)
	inNetns(t, func() {
		var k keptNamespace
		c := exec.Command("nft", "-i")
		in, err := c.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(in, "add table ip mine { flags owner; }\n"); err != nil {
			t.Fatal(err)
		}
		for len(live.Rules(t.Context(), &m, nil).Tables) == 0 && t.Context().Err() == nil {
			continue
		}
		k.check(t, &m, "a socket's table", false)
		_ = in.Close()
		_ = c.Wait()
		k.check(t, &m, "no socket", false)
		if n := len(live.Rules(t.Context(), &m, &k.last).Tables); n != 0 {
			t.Errorf("%d tables are left", n)
		}
	})
}

// A flowtable is at the hooks of devices.
func TestNftFlowtableIsNotKept(t *testing.T) {
	var last NftTables
	d := nftDump{generation: 3, tables: []nfMessage{{}}}
	if last.keep(d, []nf.Table{{Name: "x"}}); last.generation != 3 || len(last.tables) != 1 {
		t.Errorf("without one: %+v", last)
	}
	d.flowtables = []nfMessage{{}}
	if last.keep(d, nil); last.generation != 0 || last.tables != nil {
		t.Errorf("with one: %+v", last)
	}
}

// Another module counts its generations from the start.
func TestNftTablesOfAnotherModule(t *testing.T) {
	last := NftTables{module: 7, generation: 3, tables: []nf.Table{{Name: "x"}}}
	last.of(7)
	if last.generation != 3 {
		t.Error("the same module forgot its tables")
	}
	last.of(8)
	if last.generation != 0 || last.tables != nil || last.module != 8 {
		t.Errorf("%+v", last)
	}
}
