package kernel

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/nf"
)

// Rules reads the tables of the network namespace of the calling thread: those
// of nf_tables over netlink, and the legacy ones of ip_tables, ip6_tables and
// arp_tables with getsockopt(2). Reading loads no module and makes no table: nf_tables
// is asked only where m has it loaded or built in, a legacy table only where
// ip_tables_names and its like list it.
//
// Of each table it reports the number of rules, the base chains whose policy is
// not accept, and what needs a level above stateless. What could not be read,
// for want of CAP_NET_ADMIN in the namespace above all, is in Unknown.
//
// The legacy tables of ebtables are not looked at: the kernel has no list of
// them, asking makes them, and they are no part of any level. Nor are the
// elements of sets: a connlimit that an element keeps when the rule which added
// it is gone is not seen.
func (fs FS) Rules(m *nf.Modules) nf.Rules {
	rules := nf.Rules{Tables: []nf.Table{}}
	var unknown []string
	add := func(tables []nf.Table, err error) {
		rules.Tables = append(rules.Tables, tables...)
		if err != nil {
			unknown = append(unknown, err.Error())
		}
	}
	switch there, err := present(m, "nf_tables"); {
	case err != nil:
		add(nil, err)
	case there:
		add(readNftables())
	}
	add(fs.readLegacy())
	rules.Unknown = strings.Join(unknown, "; ")
	return rules
}

// readLegacy reads the legacy tables of all families. The error is the first of
// those met: what is wrong with one family is wrong with the others.
func (fs FS) readLegacy() ([]nf.Table, error) {
	if _, err := os.Stat(fs.threadNet("")); err != nil {
		return nil, fmt.Errorf("cannot list the legacy tables: %w", err)
	}
	var all []nf.Table
	var first error
	for _, f := range xtFamilies {
		tables, err := fs.readXtables(f)
		all = append(all, tables...)
		if first == nil {
			first = err
		}
	}
	return all, first
}

// present tells whether the kernel has the module now, loaded or built in. The
// error says that this is not known.
func present(m *nf.Modules, name string) (bool, error) {
	if f, ok := m.Find(name); ok {
		return f.State != nf.ModuleUnloaded, nil
	}
	if m.Complete {
		return false, nil
	}
	return false, fmt.Errorf("it is unknown whether the kernel has %s: %s", name, m.Unknown)
}

// threadNet is the path of a file below /proc/net of the calling thread: the
// plain /proc/net is that of the main thread. Before Linux 3.17 there is no
// thread-self.
func (fs FS) threadNet(name string) string {
	self := fs.proc("thread-self")
	if _, err := os.Lstat(self); err != nil {
		self = fs.proc("self/task", strconv.Itoa(unix.Gettid()))
	}
	return strings.TrimSuffix(self+"/net/"+name, "/")
}
