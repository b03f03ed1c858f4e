package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/nf"
)

// xtFamily holds what it takes to read the legacy tables of one family: the sizes and
// offsets of linux/netfilter_ipv4/ip_tables.h, linux/netfilter_ipv6/ip6_tables.h
// and linux/netfilter_arp/arp_tables.h on a 64-bit machine.
type xtFamily struct {
	family string // as in a snapshot
	names  string // the file below /proc/net that lists the tables
	domain int    // of the socket
	level  int    // of the socket option
	info   int    // XT_SO_GET_INFO; XT_SO_GET_ENTRIES is one more
	hooks  []string
	entry  int // sizeof(struct xt_entry)
	target int // offsetof(struct xt_entry, target_offset); next_offset follows
}

var inetHooks = []string{"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"}

var xtFamilies = []xtFamily{
	{"ip", "ip_tables_names", unix.AF_INET, unix.SOL_IP, 64, inetHooks, 112, 88},
	{"ip6", "ip6_tables_names", unix.AF_INET6, unix.SOL_IPV6, 64, inetHooks, 168, 140},
	{"arp", "arp_tables_names", unix.AF_INET, unix.SOL_IP, 96, []string{"INPUT", "OUTPUT", "FORWARD"}, 192, 164},
}

// Sizes of linux/netfilter/x_tables.h.
const (
	xtNameSize     = 32             // XT_TABLE_MAXNAMELEN
	xtEntriesStart = xtNameSize + 8 // offsetof(struct xt_get_entries, entrytable)
	xtHeader       = 32             // struct xt_entry_match and xt_entry_target: size, name, revision
	xtHeaderName   = 2              // where in it the name is
	xtVerdictEnd   = xtHeader + 4   // the verdict of a standard target follows its header
)

// xtMaxTable bounds one table, in bytes: some 500,000 rules.
const xtMaxTable = 128 << 20

// The targets that are part of x_tables itself.
const (
	xtStandard = ""      // a verdict, or a jump
	xtError    = "ERROR" // the head of a user's chain, or the end of the table
)

// The verdicts of a standard target: a verdict v is stored as -v-1, and a
// positive number is a jump.
const (
	xtAccept = -nfAccept - 1
	xtReturn = -nfRepeat - 1
)

// readXtables reads the legacy tables of one family in the network namespace of the
// calling thread. It asks only for those that the kernel lists: asking for another makes
// it and loads its module. A family without a list has no tables.
func (fs FS) readXtables(f xtFamily) ([]nf.Table, error) {
	list, err := readFile(fs.threadNet(f.names))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot list the legacy tables: %w", err)
	}
	names := strings.Fields(string(list))
	if len(names) == 0 {
		return nil, nil
	}
	// A datagram socket takes the same options as the raw socket that
	// iptables opens, and does not need CAP_NET_RAW.
	fd, err := unix.Socket(f.domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot open a socket to read the legacy tables: %w", err)
	}
	defer unix.Close(fd)
	slices.Sort(names)
	var tables []nf.Table
	for _, name := range names {
		t, err := f.readTable(fd, name)
		if err != nil {
			return tables, fmt.Errorf("cannot read the legacy %s table %s: %w", f.family, name, err)
		}
		tables = append(tables, t)
	}
	return tables, nil
}

// readTable reads one table: first its size, then its rules. The second call returns
// EAGAIN if the size has changed in between.
func (f xtFamily) readTable(fd int, name string) (nf.Table, error) {
	for range maxAttempts {
		info := make([]byte, f.infoSize())
		if len(name) >= xtNameSize {
			return nf.Table{}, unix.ENAMETOOLONG
		}
		copy(info, name)
		if err := getsockopt(fd, f.level, f.info, info); err != nil {
			return nf.Table{}, err
		}
		size := binary.NativeEndian.Uint32(info[len(info)-4:])
		if size > xtMaxTable {
			return nf.Table{}, fmt.Errorf("it has more than %d MiB", xtMaxTable>>20)
		}
		entries := make([]byte, xtEntriesStart+int(size))
		copy(entries, name)
		binary.NativeEndian.PutUint32(entries[xtNameSize:], size)
		switch err := getsockopt(fd, f.level, f.info+1, entries); {
		case err == unix.EAGAIN:
			continue
		case err != nil:
			return nf.Table{}, err
		}
		return f.parse(name, info, entries[xtEntriesStart:])
	}
	return nf.Table{}, fmt.Errorf("%w, %d times", errInterrupted, maxAttempts)
}

// getsockopt fills b, which also holds the request.
func getsockopt(fd, level, option int, b []byte) error {
	size := uint32(len(b))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), uintptr(option),
		uintptr(unsafe.Pointer(&b[0])), uintptr(unsafe.Pointer(&size)), 0)
	switch {
	case errno != 0:
		return errno
	case int(size) != len(b):
		return errMalformed
	}
	return nil
}

// infoSize is sizeof(struct xt_getinfo): the name, valid_hooks, hook_entry and
// underflow of each hook, num_entries and size.
func (f xtFamily) infoSize() int { return xtNameSize + 4 + 8*len(f.hooks) + 8 }

// xtHooks are the offsets at which the builtin chains of a table start and end; -1 for a
// hook without a chain.
type xtHooks struct {
	start, end []int // by hook; end is the rule that is the chain's policy
}

func (f xtFamily) parseInfo(info []byte) (xtHooks, error) {
	var h xtHooks
	if len(info) != f.infoSize() {
		return h, errMalformed
	}
	valid := binary.NativeEndian.Uint32(info[xtNameSize:])
	for i := range f.hooks {
		start, end := -1, -1
		if valid&(1<<i) != 0 {
			start = int(binary.NativeEndian.Uint32(info[xtNameSize+4+4*i:]))
			end = int(binary.NativeEndian.Uint32(info[xtNameSize+4+4*(len(f.hooks)+i):]))
		}
		h.start = append(h.start, start)
		h.end = append(h.end, end)
	}
	return h, nil
}

// xtRule is one entry of a legacy table.
type xtRule struct {
	target  string
	info    []byte // the target's data
	verdict int32  // of a standard target
	needs   []need
	next    int // the offset of the next one, from this one
}

// parse returns the table of the answers to XT_SO_GET_INFO and XT_SO_GET_ENTRIES. The last
// entry of a builtin chain is its policy; that of a user's chain is the return with which
// every chain ends. Entries with the target ERROR begin the user's chains and end the
// table. None of these is a rule.
func (f xtFamily) parse(name string, info, entries []byte) (nf.Table, error) {
	t := nf.Table{Backend: nf.BackendLegacy, Family: f.family, Name: name}
	hooks, err := f.parseInfo(info)
	if err != nil {
		return t, err
	}
	u := uses{}
	chain, user := "", false
	for at := 0; at < len(entries); {
		r, err := f.parseRule(entries[at:])
		if err != nil {
			return t, err
		}
		if i := slices.Index(hooks.start, at); i >= 0 {
			chain, user = f.hooks[i], false
		}
		switch i := slices.Index(hooks.end, at); {
		case r.target == xtError:
			chain, user = unix.ByteSliceToString(r.info), true
		case i >= 0:
			if r.target != xtStandard || r.verdict != xtAccept {
				t.Guards = append(t.Guards, guard(f.hooks[i], strings.ToLower(f.hooks[i])))
			}
		case user && r.target == xtStandard && r.verdict == xtReturn && f.headed(entries[at+r.next:]):
		default:
			t.Rules++
			u.add(chain, r.needs)
		}
		at += r.next
	}
	u.list(&t)
	return t, nil
}

// headed reports whether the entries begin with the head of a chain or the end of the
// table.
func (f xtFamily) headed(entries []byte) bool {
	r, err := f.parseRule(entries)
	return err == nil && r.target == xtError
}

// parseRule reads the entry at the start of b: its header, matches and one target.
func (f xtFamily) parseRule(b []byte) (xtRule, error) {
	var r xtRule
	if len(b) < f.entry {
		return r, errMalformed
	}
	target := int(binary.NativeEndian.Uint16(b[f.target:]))
	r.next = int(binary.NativeEndian.Uint16(b[f.target+2:]))
	if target < f.entry || r.next < target+xtHeader || r.next > len(b) {
		return r, errMalformed
	}
	for at := f.entry; at < target; {
		m, err := parseXtHeader(b[at:target])
		if err != nil {
			return r, err
		}
		r.needs = append(r.needs, matchNeeds(m.name)...)
		at += m.size
	}
	t, err := parseXtHeader(b[target:r.next])
	if err != nil {
		return r, err
	}
	r.target, r.info = t.name, t.data
	r.needs = append(r.needs, targetNeeds(t.name, t.data)...)
	if t.name == xtStandard {
		if t.size < xtVerdictEnd {
			return r, errMalformed
		}
		r.verdict = int32(binary.NativeEndian.Uint32(t.data))
	}
	return r, nil
}

// xtPart is a match or a target of an entry.
type xtPart struct {
	size int
	name string
	data []byte
}

func parseXtHeader(b []byte) (xtPart, error) {
	if len(b) < xtHeader {
		return xtPart{}, errMalformed
	}
	size := int(binary.NativeEndian.Uint16(b))
	if size < xtHeader || size > len(b) {
		return xtPart{}, errMalformed
	}
	// The last byte of the header is the revision, no part of the name.
	return xtPart{size, unix.ByteSliceToString(b[xtHeaderName : xtHeader-1]), b[xtHeader:size]}, nil
}
