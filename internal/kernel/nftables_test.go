package kernel

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/nf"
)

var record = flag.Bool("record", false, "record the kernel's answers in testdata again")

// lists are the parts of a dump with their names in a recording.
func (d *nftDump) lists() map[string]*[]nfMessage {
	return map[string]*[]nfMessage{"table": &d.tables, "chain": &d.chains, "rule": &d.rules,
		"set": &d.sets, "object": &d.objects, "flowtable": &d.flowtables}
}

// recordedNftables is the answer of Linux 6.18 for nftScript: a line a message,
// its part, family and attributes.
const recordedNftables = "testdata/nftables.txt"

const nftScript = `add table inet web; add chain inet web in {type filter hook input priority 0; policy drop;}
	add chain inet web sub; add set inet web seen {type ipv4_addr; flags dynamic;}
	add set inet web limits {type ipv4_addr; flags dynamic; counter; ct count over 3;}
	add ct helper inet web ftp {type "ftp" protocol tcp;}; add counter inet web hits
	add rule inet web in ct state established accept; add rule inet web in ct state new jump sub
	add rule inet web in tcp dport 21 ct helper set "ftp"; add rule inet web sub add @seen {ip saddr ct count over 3} counter name "hits" drop
	add rule inet web sub tcp dport vmap {22: accept, 23: drop}
	add table ip home; add chain ip home out {type nat hook postrouting priority 100; policy accept;}
	add rule ip home out oifname "eth0" masquerade; add rule ip home out snat to 192.0.2.1
	add chain ip home in {type nat hook prerouting priority 0;}; add rule ip home in tcp dport 80 redirect to :8080
	add table netdev early; add chain netdev early c {type filter hook ingress device lo priority 0; policy drop;}
	add table bridge br; add chain bridge br c {type filter hook forward priority 0;}; add rule bridge br c drop
	add table ip6 empty`

func TestParseRecordedNftables(t *testing.T) {
	if *record {
		recordNftables(t)
	}
	got, err := recordedDump(t).parse()
	if err != nil {
		t.Fatal(err)
	}
	want := []nf.Table{
		{Backend: "nft", Family: "bridge", Name: "br", Rules: 1},
		{Backend: "nft", Family: "inet", Name: "web", Rules: 5, Guards: []string{"in (input)"}, Uses: []nf.Use{
			{Level: nf.LevelStateful, Chain: "in", What: "ct", Count: 2},
			{Level: nf.LevelStateful, Chain: "in", What: "ct helper", Count: 1},
			{Level: nf.LevelStateful, Chain: "object ftp", What: "ct helper", Count: 1},
			{Level: nf.LevelStateful, Chain: "set limits", What: "connlimit", Count: 1},
			{Level: nf.LevelStateful, Chain: "sub", What: "connlimit", Count: 1},
		}},
		{Backend: "nft", Family: "ip", Name: "filter", Rules: 3, Uses: []nf.Use{
			{Level: nf.LevelStateful, Chain: "INPUT", What: "xt match conntrack", Count: 1},
			{Level: nf.LevelStateful, Chain: "INPUT", What: "xt target SYNPROXY", Count: 1},
		}},
		{Backend: "nft", Family: "ip", Name: "home", Rules: 3, Uses: []nf.Use{
			{Level: nf.LevelFull, Chain: "in", What: "redir", Count: 1},
			{Level: nf.LevelFull, Chain: "out", What: "masq", Count: 1},
			{Level: nf.LevelFull, Chain: "out", What: "nat", Count: 1},
		}},
		{Backend: "nft", Family: "ip6", Name: "empty"},
		{Backend: "nft", Family: "netdev", Name: "early", Guards: []string{"c (ingress)"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func recordNftables(t *testing.T) {
	inNetns(t, func() {
		nft(t, nftScript)
		for _, rule := range []string{"-m conntrack --ctstate NEW", "-p tcp -j SYNPROXY", "-p tcp --dport 22 -j ACCEPT"} {
			run(t, "iptables-nft -A INPUT "+rule)
		}
		d, err := dumpNftables(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		for _, part := range []string{"table", "chain", "rule", "set", "object", "flowtable"} {
			for _, m := range *d.lists()[part] {
				fmt.Fprintf(&b, "%s %d %x\n", part, m.family, m.attributes)
			}
		}
		write(t, recordedNftables, b.String(), 0o644)
	})
}

func recordedDump(t testing.TB) nftDump {
	t.Helper()
	f, err := os.Open(recordedNftables)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var d nftDump
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var part string
		var m nfMessage
		if _, err := fmt.Sscanf(lines.Text(), "%s %d %x", &part, &m.family, &m.attributes); err != nil {
			t.Fatal(err)
		}
		list := d.lists()[part]
		*list = append(*list, m)
	}
	return d
}

// attr is one netlink attribute; nested attributes are its data.
func attr(kind uint16, data ...[]byte) []byte {
	payload := bytes.Join(data, nil)
	b := binary.NativeEndian.AppendUint16(nil, uint16(nlaHeader+len(payload)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(b, payload...)
	return append(b, make([]byte, (4-len(b)%4)%4)...)
}

func text(s string) []byte { return append([]byte(s), 0) }

func number(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }

// expression is an element of a rule's list of expressions.
func expression(name string, data ...[]byte) []byte {
	return attr(unix.NFTA_LIST_ELEM, attr(unix.NFTA_EXPR_NAME, text(name)), attr(unix.NFTA_EXPR_DATA|1<<15, data...))
}

// What the kernel of the tests does not have: flowtables (nf_tables_newflowtable
// in net/netfilter/nf_tables_api.c, nft_flow_offload.c), the match state of
// older iptables, ipt_CLUSTERIP.c (until Linux 6.12), newer families and hooks, and
// what only modules from outside of the kernel have.
func TestParseNftablesByHand(t *testing.T) {
	rule := func(expressions ...[]byte) nfMessage {
		return nfMessage{2, bytes.Join([][]byte{attr(unix.NFTA_RULE_TABLE, text("t")), attr(unix.NFTA_RULE_CHAIN, text("c")),
			attr(unix.NFTA_RULE_EXPRESSIONS, expressions...)}, nil)}
	}
	d := nftDump{
		tables: []nfMessage{{2, attr(unix.NFTA_TABLE_NAME, text("t"))}, {77, attr(unix.NFTA_TABLE_NAME, text("t"))}},
		chains: []nfMessage{{77, slices.Concat(attr(unix.NFTA_CHAIN_TABLE, text("t")), attr(unix.NFTA_CHAIN_NAME, text("c")),
			attr(unix.NFTA_CHAIN_HOOK, attr(unix.NFTA_HOOK_HOOKNUM, number(99))), attr(unix.NFTA_CHAIN_POLICY, number(0)))}},
		rules: []nfMessage{
			rule(expression("flow_offload")),
			rule(expression("match", attr(unix.NFTA_MATCH_NAME, text("state"))), expression("counter")),
			rule(expression("target", attr(unix.NFTA_TARGET_NAME, text("CLUSTERIP")))),
			rule(expression("target", attr(unix.NFTA_TARGET_NAME, text("CT")), attr(unix.NFTA_TARGET_INFO, binary.NativeEndian.AppendUint16(nil, xtCTNotrack)))),
			rule(expression("target", attr(unix.NFTA_TARGET_NAME, text("CT")))),
			rule(expression("of the future", attr(1, text("nat")))),
			rule(expression("fullcone"), expression("counter")),
			rule(expression("dynset", attr(nftaDynsetExpressions, expression("counter"), expression("fullcone")))),
			rule(expression("match", attr(unix.NFTA_MATCH_NAME, text("ndpi")))),
			rule(expression("target", attr(unix.NFTA_TARGET_NAME, text("FULLCONENAT")))),
			rule(expression("objref", attr(unix.NFTA_OBJREF_SET_NAME, text("m")))),
			rule(expression("dynset", attr(unix.NFTA_DYNSET_EXPR, attr(unix.NFTA_EXPR_NAME, text("ct"))))),
		},
		objects:    []nfMessage{{2, slices.Concat(attr(unix.NFTA_OBJ_TABLE, text("t")), attr(unix.NFTA_OBJ_NAME, text("o")), attr(unix.NFTA_OBJ_TYPE, number(99)))}},
		flowtables: []nfMessage{{2, slices.Concat(attr(nftaFlowtableTable, text("t")), attr(nftaFlowtableName, text("fast")))}},
	}
	want := []nf.Table{
		{Backend: "nft", Family: "family 77", Name: "t", Guards: []string{"c (hook 99)"}},
		{Backend: "nft", Family: "ip", Name: "t", Rules: 12, Uses: []nf.Use{
			{Chain: "c", What: "fullcone", Count: 2},
			{Chain: "c", What: "of the future", Count: 1},
			{Chain: "c", What: "xt match ndpi", Count: 1},
			{Chain: "c", What: "xt target FULLCONENAT", Count: 1},
			{Chain: "object o", What: "object of type 99", Count: 1},
			{Level: nf.LevelStateful, Chain: "c", What: "ct", Count: 1},
			{Level: nf.LevelStateful, Chain: "c", What: "flow_offload", Count: 1},
			{Level: nf.LevelStateful, Chain: "c", What: "xt match state", Count: 1},
			{Level: nf.LevelStateful, Chain: "c", What: "xt target CLUSTERIP", Count: 1},
			{Level: nf.LevelStateful, Chain: "c", What: "xt target CT", Count: 1},
			{Level: nf.LevelStateful, Chain: "flowtable fast", What: "flowtable", Count: 1},
			{Level: nf.LevelStateless, Chain: "c", What: "xt target CT", Count: 1}, // with XT_CT_NOTRACK
		}},
	}
	got, err := d.parse()
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	d.tables = d.tables[1:]
	if _, err := d.parse(); !errors.Is(err, errInterrupted) {
		t.Errorf("a rule whose table is not there: %v, want %v", err, errInterrupted)
	}
}

// Every damage is an error, or harmless: nothing panics, and nothing is read
// beyond the message.
func FuzzParseNftables(f *testing.F) {
	d := recordedDump(f)
	for part, list := range d.lists() {
		for _, m := range *list {
			f.Add(part, m.family, m.attributes)
		}
	}
	f.Fuzz(func(t *testing.T, part string, family uint8, data []byte) {
		d := nftDump{tables: d.tables}
		if list, ok := d.lists()[part]; ok {
			*list = append(slices.Clone(*list), nfMessage{family, data})
			d.parse()
		}
	})
}

func TestDamagedNftables(t *testing.T) {
	for part := range (&nftDump{}).lists() {
		d := recordedDump(t)
		list := *d.lists()[part]
		for i := range list {
			whole := list[i].attributes
			for n := range whole {
				list[i].attributes = whole[:n:n]
				d.parse()
				for _, bit := range []byte{0x01, 0x80, 0xff} {
					list[i].attributes = bytes.Clone(whole)
					list[i].attributes[n] ^= bit
					d.parse()
				}
			}
			list[i].attributes = append(bytes.Clone(whole), 1)
			if _, err := d.parse(); !errors.Is(err, errMalformed) {
				t.Errorf("a byte too many in %s %s: %v, want %v", part, hex.EncodeToString(whole), err, errMalformed)
			}
			list[i].attributes = whole
		}
	}
}
