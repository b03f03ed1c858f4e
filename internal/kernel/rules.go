package kernel

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/nf"
)

// Rules reads the tables of the network namespace of the calling thread: those of
// nf_tables over netlink, and the legacy ones of ip_tables, ip6_tables and arp_tables
// with getsockopt(2). Reading loads no module and makes no table: nf_tables is asked only
// if m has it loaded or built in, a legacy table only if ip_tables_names, or the file of
// its family, lists it.
//
// Each table has the number of its rules, the base chains whose policy is not accept, and
// the statements that need a level above stateless. Unknown says what could not be read,
// usually without CAP_NET_ADMIN in the namespace.
//
// It does not read the legacy tables of ebtables: the kernel has no list of them, asking
// makes them, and no level has them. Nor does it read the elements of sets: a connlimit in
// an element is not seen after the rule that added it was removed.
//
// last, if not nil, is what an earlier call has read in the same namespace: the tables of nf_tables
// are not read again as long as the kernel says that they are the same.
func (fs FS) Rules(ctx context.Context, m *nf.Modules, last *NftTables) nf.Rules {
	if last == nil {
		last = &NftTables{}
	} else {
		last.of(fs.moduleInode("nf_tables"))
	}
	rules := nf.Rules{Tables: []nf.Table{}}
	var unknown []string
	add := func(tables []nf.Table, err error) {
		rules.Tables = append(rules.Tables, tables...)
		if err != nil {
			unknown = append(unknown, err.Error())
		}
	}
	switch there, err := hasModule(m, "nf_tables"); {
	case err != nil:
		add(nil, err)
	case there:
		add(readNftables(ctx, last))
	}
	add(fs.readLegacy(ctx))
	rules.Unknown = strings.Join(unknown, "; ")
	return rules
}

// moduleInode returns the inode of a module's directory in sysfs, which is another one each time that
// the module is loaded; 0 without one.
func (fs FS) moduleInode(name string) uint64 {
	var st unix.Stat_t
	if unix.Stat(fs.sys("module", name), &st) != nil {
		return 0
	}
	return st.Ino
}

// readLegacy reads the legacy tables of all families. It returns the first error: the
// others have the same reason.
func (fs FS) readLegacy(ctx context.Context) ([]nf.Table, error) {
	if _, err := os.Stat(fs.threadNet("")); err != nil {
		return nil, fmt.Errorf("cannot list the legacy tables: %w", err)
	}
	var all []nf.Table
	var first error
	for _, f := range xtFamilies {
		if ctx.Err() != nil {
			return all, cmp.Or(first, context.Cause(ctx))
		}
		tables, err := fs.readXtables(f)
		all = append(all, tables...)
		if first == nil {
			first = err
		}
	}
	return all, first
}

// hasModule reports whether a module is loaded or built in. The error says that this is
// unknown.
func hasModule(m *nf.Modules, name string) (bool, error) {
	if f, ok := m.Find(name); ok {
		return f.State != nf.ModuleUnloaded, nil
	}
	if m.Complete {
		return false, nil
	}
	return false, fmt.Errorf("cannot determine whether the kernel has %s: %s", name, m.Unknown)
}

// threadNet returns the path of a file below /proc/net of the calling thread: /proc/net
// itself is that of the main thread. Before Linux 3.17 there is no thread-self.
func (fs FS) threadNet(name string) string {
	self := fs.proc("thread-self")
	if _, err := os.Lstat(self); err != nil {
		self = fs.proc("self/task", strconv.Itoa(unix.Gettid()))
	}
	return strings.TrimSuffix(self+"/net/"+name, "/")
}
