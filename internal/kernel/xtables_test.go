package kernel

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/nf"
)

// recordedXtables are the answers of Linux 6.18 for the tables that legacyLines
// make: a line a table, with its family, name, xt_getinfo and entries.
const recordedXtables = "testdata/xtables.txt"

var legacyLines = []string{
	"iptables-legacy -P INPUT DROP", "iptables-legacy -N web", "iptables-legacy -N empty",
	"iptables-legacy -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT",
	"iptables-legacy -A INPUT -p tcp -m multiport --dports 80,443 -m connlimit --connlimit-above 3 -m conntrack --ctstate NEW -j web",
	"iptables-legacy -A web -s 192.0.2.0/24 -j RETURN", "iptables-legacy -A web -j ACCEPT", "iptables-legacy -A web -j RETURN",
	"iptables-legacy -t nat -A POSTROUTING -o eth0 -j MASQUERADE",
	"iptables-legacy -t raw -A PREROUTING -j CT --notrack", "iptables-legacy -t raw -A OUTPUT -j CT --zone 3",
	"ip6tables-legacy -t mangle -P POSTROUTING DROP", "ip6tables-legacy -t mangle -A FORWARD -j CONNMARK --save-mark",
	"ip6tables-legacy -N only",
}

// recording is one recorded table.
type recording struct {
	family        xtFamily
	name          string
	info, entries []byte
}

func TestParseRecordedXtables(t *testing.T) {
	if *record {
		recordXtables(t)
	}
	var got []nf.Table
	for _, r := range recordedTables(t) {
		table, err := r.family.parse(r.name, r.info, r.entries)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, table)
	}
	want := []nf.Table{
		{Backend: "legacy", Family: "ip", Name: "filter", Rules: 5, Guards: []string{"INPUT (input)"}, Uses: []nf.Use{
			{Level: nf.LevelStateful, Chain: "INPUT", What: "xt match connlimit", Count: 1},
			{Level: nf.LevelStateful, Chain: "INPUT", What: "xt match conntrack", Count: 2},
			{Level: nf.LevelStateless, Chain: "INPUT", What: "xt match multiport", Count: 1},
		}},
		{Backend: "legacy", Family: "ip", Name: "nat", Rules: 1, Uses: []nf.Use{
			{Level: nf.LevelFull, Chain: "POSTROUTING", What: "xt target MASQUERADE", Count: 1},
		}},
		{Backend: "legacy", Family: "ip", Name: "raw", Rules: 2, Uses: []nf.Use{
			{Level: nf.LevelStateful, Chain: "OUTPUT", What: "xt target CT", Count: 1},
			{Level: nf.LevelStateless, Chain: "PREROUTING", What: "xt target CT", Count: 1},
		}},
		{Backend: "legacy", Family: "ip6", Name: "filter"},
		{Backend: "legacy", Family: "ip6", Name: "mangle", Rules: 1, Guards: []string{"POSTROUTING (postrouting)"}, Uses: []nf.Use{
			{Level: nf.LevelStateful, Chain: "FORWARD", What: "xt target CONNMARK", Count: 1},
		}},
		{Backend: "legacy", Family: "arp", Name: "filter"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func recordXtables(t *testing.T) {
	inNetns(t, func() {
		for _, line := range legacyLines {
			run(t, line)
		}
		var b bytes.Buffer
		for _, f := range xtFamilies {
			fd := optionSocket(t, f)
			names := strings.Fields(mustRead(t, live.threadNet(f.names)))
			if f.family == "arp" {
				names = []string{"filter"} // asking makes it
			}
			slices.Sort(names)
			for _, name := range names {
				info, entries := answers(t, f, fd, name)
				fmt.Fprintf(&b, "%s %s %x %x\n", f.family, name, info, entries)
			}
		}
		write(t, recordedXtables, b.String(), 0o644)
	})
}

func recordedTables(t testing.TB) []recording {
	t.Helper()
	var list []recording
	data, err := os.ReadFile(recordedXtables)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		var r recording
		var family string
		if _, err := fmt.Sscanf(line, "%s %s %x %x", &family, &r.name, &r.info, &r.entries); err != nil {
			t.Fatal(err)
		}
		r.family = xtFamilies[slices.IndexFunc(xtFamilies, func(f xtFamily) bool { return f.family == family })]
		list = append(list, r)
	}
	return list
}

func optionSocket(t *testing.T, f xtFamily) int {
	t.Helper()
	fd, err := unix.Socket(f.domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// answers are the two answers of the kernel for one table.
func answers(t *testing.T, f xtFamily, fd int, name string) (info, entries []byte) {
	t.Helper()
	info = make([]byte, f.infoSize())
	copy(info, name)
	if err := getsockopt(fd, f.level, f.info, info); err != nil {
		t.Fatal(err)
	}
	size := binary.NativeEndian.Uint32(info[len(info)-4:])
	entries = make([]byte, xtEntriesStart+int(size))
	copy(entries, name)
	binary.NativeEndian.PutUint32(entries[xtNameSize:], size)
	if err := getsockopt(fd, f.level, f.info+1, entries); err != nil {
		t.Fatal(err)
	}
	return info, entries[xtEntriesStart:]
}

// The legacy tables of ARP: one that the test makes by asking for it, and whose
// policy it then sets, as arptables-legacy does.
func TestArpTables(t *testing.T) {
	inNetns(t, func() {
		f := xtFamilies[2]
		fd := optionSocket(t, f)
		info, entries := answers(t, f, fd, "filter")
		want := nf.Table{Backend: nf.BackendLegacy, Family: "arp", Name: "filter"}
		if r := live.Rules(t.Context(), netfilter, nil); r.Unknown != "" || len(r.Tables) != 1 || cmp.Diff(want, r.Tables[0]) != "" {
			t.Errorf("%+v, want %+v", r, want)
		}
		hooks, err := f.parseInfo(info)
		if err != nil {
			t.Fatal(err)
		}
		drop := int32(-1) // NF_DROP, which is 0, stored as -v-1
		binary.NativeEndian.PutUint32(entries[hooks.end[2]+f.entry+xtHeader:], uint32(drop))
		replaceArp(t, fd, info, entries)
		want.Guards = []string{"FORWARD (forward)"}
		if r := live.Rules(t.Context(), netfilter, nil); r.Unknown != "" || len(r.Tables) != 1 || cmp.Diff(want, r.Tables[0]) != "" {
			t.Errorf("%+v, want %+v", r, want)
		}
	})
}

// replaceArp puts a table in: struct arpt_replace (linux/netfilter_arp/arp_tables.h),
// which begins as arpt_getinfo, but for the order of two numbers.
func replaceArp(t *testing.T, fd int, info, entries []byte) {
	t.Helper()
	const setReplace, numbers = 96, 32 + 4
	count := binary.NativeEndian.Uint32(info[len(info)-8:])
	counters := make([]byte, 16*count)
	b := slices.Clone(info[:numbers])
	b = binary.NativeEndian.AppendUint32(b, count)
	b = binary.NativeEndian.AppendUint32(b, uint32(len(entries)))
	b = append(b, info[numbers:len(info)-8]...)
	b = binary.NativeEndian.AppendUint32(b, count)
	b = append(b, make([]byte, 72-len(b))...)
	var pin runtime.Pinner
	pin.Pin(&counters[0])
	defer pin.Unpin()
	b = binary.NativeEndian.AppendUint64(b, uint64(uintptr(unsafe.Pointer(&counters[0]))))
	if err := unix.SetsockoptString(fd, unix.SOL_IP, setReplace, string(append(b, entries...))); err != nil {
		t.Fatal(err)
	}
}

// The match state, which iptables 1.8 writes as conntrack; a chain with the name
// of a match; targets that the kernel of the tests does not have.
func TestParseXtablesByHand(t *testing.T) {
	var r recording
	for _, recorded := range recordedTables(t) {
		if recorded.family.family == "ip" && recorded.name == "filter" {
			r = recorded
		}
	}
	swap := func(from, to string) {
		r.entries = bytes.ReplaceAll(r.entries, append([]byte(from), 0), append([]byte(to), make([]byte, len(from)-len(to)+1)...))
	}
	swap("conntrack", "state")
	swap("connlimit", "cpu")
	swap("web", "cpu")
	table, err := r.family.parse("filter", r.info, r.entries)
	want := []nf.Use{{Level: nf.LevelStateful, Chain: "INPUT", What: "xt match state", Count: 2},
		{Level: nf.LevelStateless, Chain: "INPUT", What: "xt match cpu", Count: 1}, {Level: nf.LevelStateless, Chain: "INPUT", What: "xt match multiport", Count: 1}}
	if err != nil || cmp.Diff(want, table.Uses) != "" || table.Rules != 5 {
		t.Errorf("%v %+v", err, table)
	}
	for name, level := range map[string]nf.Level{"CLUSTERIP": nf.LevelStateful, "SNPT": nf.LevelStateless, "snat": nf.LevelStateless, "NOTRACK": nf.LevelStateless, "NETMAP": nf.LevelFull, "": nf.LevelUnset, "ERROR": nf.LevelUnset} {
		needs := targetNeeds(name, nil)
		if level == nf.LevelUnset && len(needs) > 0 || level != nf.LevelUnset && (len(needs) != 1 || needs[0].level != level) {
			t.Errorf("target %s needs %v, want %s", name, needs, level)
		}
	}
}

func FuzzParseXtables(f *testing.F) {
	for i, r := range recordedTables(f) {
		f.Add(uint8(i), r.info, r.entries)
	}
	f.Fuzz(func(t *testing.T, family uint8, info, entries []byte) {
		xtFamilies[int(family)%len(xtFamilies)].parse("filter", info, entries)
	})
}

// Every damage is an error, or harmless: nothing panics, nothing loops, and
// nothing is read beyond the answer.
func TestDamagedXtables(t *testing.T) {
	for _, r := range recordedTables(t) {
		for n := range r.entries {
			if _, err := r.family.parse(r.name, r.info, r.entries[:n:n]); err == nil && n > 0 && !isEntryEnd(r, n) {
				t.Errorf("%s %s cut to %d bytes is no error", r.family.family, r.name, n)
			}
			for _, b := range []byte{0x00, 0x01, 0x80, 0xff} {
				damaged := bytes.Clone(r.entries)
				damaged[n] = b
				r.family.parse(r.name, r.info, damaged)
			}
		}
		for n := range r.info {
			if _, err := r.family.parse(r.name, r.info[:n], r.entries); err == nil {
				t.Errorf("%s %s: %d bytes of xt_getinfo are no error", r.family.family, r.name, n)
			}
			damaged := bytes.Clone(r.info)
			damaged[n] ^= 0xff
			r.family.parse(r.name, damaged, r.entries)
		}
	}
}

// Offsets that the kernel never writes are an error even where they can be
// followed.
func TestXtablesOffsets(t *testing.T) {
	r := recordedTables(t)[0]
	f := r.family
	for _, c := range []struct {
		name  string
		at    int
		value uint16
	}{
		{"a target within the entry's header", f.target, 16},
		{"a target beyond the entry", f.target, 1000},
		{"a next entry within this one", f.target + 2, uint16(f.entry)},
		{"a next entry beyond the table", f.target + 2, 60000},
		{"a match that is larger than the entry", f.entry, 5000},
		{"a match smaller than its header", f.entry, 8},
	} {
		damaged := bytes.Clone(r.entries)
		binary.NativeEndian.PutUint16(damaged[16:], xtVerdictEnd) // passes for a target
		binary.NativeEndian.PutUint16(damaged[c.at:], c.value)
		if _, err := f.parse(r.name, r.info, damaged); !errors.Is(err, errMalformed) {
			t.Errorf("%s: %v, want %v", c.name, err, errMalformed)
		}
	}
}

func isEntryEnd(r recording, n int) bool {
	for at := 0; at < len(r.entries); {
		rule, err := r.family.parseRule(r.entries[at:])
		if err != nil {
			return false
		}
		if at += rule.next; at == n {
			return true
		}
	}
	return false
}
