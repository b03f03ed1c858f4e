package kernel

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/nf"
)

// Sysctls reads conntrack values of the network namespace of the calling thread, below
// /proc/sys/net/netfilter: the asked keys and, if all, every nf_conntrack_* value that the
// kernel has but nf_conntrack_count, which is a counter. The kernel resolves the directory
// in the namespace of the thread that opens it (net_ctl_header_lookup in
// net/sysctl_net.c).
//
// The facts are sorted by key. A key that the kernel does not have is absent; one that
// cannot be read or is not one integer is unknown; keys that are not conntrack's are left
// out. A fact is read-only if its file has no write permission at all, as nf_conntrack_max
// since Linux 5.13 in every namespace but the first (nf_conntrack_standalone_init_sysctl
// in net/netfilter/nf_conntrack_standalone.c).
func (fs FS) Sysctls(keys []nf.Key, all bool) []nf.Fact {
	dir, err := fs.openNetfilter()
	defer dir.close()
	keys = slices.DeleteFunc(slices.Clone(keys), func(k nf.Key) bool { return !k.Conntrack() })
	if all && err == nil {
		var found []nf.Key
		found, err = dir.keys()
		keys = append(keys, found...)
	}
	if all && err != nil {
		keys = append(keys, KnownSysctls()...) // so that they are unknown, not absent
	}
	slices.Sort(keys)
	keys = slices.Compact(keys)
	facts := make([]nf.Fact, 0, len(keys))
	for _, k := range keys {
		if err != nil {
			facts = append(facts, nf.Fact{Key: k, Live: nf.Unknown(err.Error())})
			continue
		}
		facts = append(facts, fs.sysctl(dir, k))
	}
	return facts
}

// sysctl returns the fact of one key. If the number of hash buckets is read-only below
// net.netfilter, as on Virtuozzo 7, the parameter hashsize of nf_conntrack may still set
// it.
func (fs FS) sysctl(dir netfilterDir, k nf.Key) nf.Fact {
	name, ok := sysctlFileName(k)
	if !ok {
		return nf.Fact{Key: k}
	}
	fact := dir.fact(k, name)
	if k == nf.KeyBuckets && (fact.ReadOnly || fact.Live.IsAbsent()) && dir.initial() {
		return fs.hashsize(fact)
	}
	return fact
}

// countFile is the file below /proc/sys/net/netfilter that counts the live
// conntrack entries of a network namespace.
const countFile = "nf_conntrack_count"

// Count is the number of live conntrack entries of the network namespace of the
// calling thread: net.netfilter.nf_conntrack_count. It is absent where the
// kernel has no conntrack. Entries stay until they time out when the last rule
// that tracks is removed, so a count is no proof that connections are tracked.
func (fs FS) Count() nf.Value {
	dir, err := fs.openNetfilter()
	defer dir.close()
	if err != nil {
		return nf.Unknown(err.Error())
	}
	return dir.fact("", countFile).Live
}

// SetSysctl writes a conntrack value of the network namespace of the calling thread: one
// write(2) of the plain decimal, since the kernel reads 010 as eight. The error wraps the
// errno: EINVAL for a value that the kernel refuses, EACCES for one that is read-only here,
// ENOENT for one that it does not have. A nil error is no proof: read the value back.
//
// The number of hash buckets is set through the parameter hashsize of nf_conntrack if it is
// read-only or absent below net.netfilter.
func (fs FS) SetSysctl(k nf.Key, n int64) error {
	name, ok := sysctlFileName(k)
	if !ok {
		return fmt.Errorf("cannot set %s: no such conntrack value: %w", k, os.ErrNotExist)
	}
	path := fs.proc("sys/net/netfilter", name)
	err := writeNumber(path, path, n)
	if k != nf.KeyBuckets || !(errors.Is(err, os.ErrPermission) || errors.Is(err, os.ErrNotExist)) {
		return err
	}
	if e := writeNumber(fs.hashsizePath(), fs.hashsizePath(), n); !errors.Is(e, os.ErrNotExist) {
		return e
	}
	return err
}

// writeNumber writes a number to a file of procfs or sysfs, which errors call path. It neither
// creates nor truncates it: each write is a whole new value.
func writeNumber(file, path string, n int64) error {
	fd, err := unix.Open(file, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "cannot open for writing", Path: path, Err: err}
	}
	defer unix.Close(fd)
	text := strconv.AppendInt(nil, n, 10)
	text = append(text, '\n')
	switch done, err := unix.Write(fd, text); {
	case err != nil:
		return &os.PathError{Op: fmt.Sprintf("cannot write %d to", n), Path: path, Err: err}
	case done != len(text):
		return &os.PathError{Op: fmt.Sprintf("cannot write %d whole to", n), Path: path, Err: unix.EIO}
	}
	return nil
}

func (fs FS) hashsizePath() string { return fs.sys("module/nf_conntrack/parameters/hashsize") }

// hashsize returns the number of buckets as module parameter. It is writable, 0600, in the
// first network namespace only (nf_conntrack_set_hashsize in
// net/netfilter/nf_conntrack_core.c returns EOPNOTSUPP elsewhere). Without it the fact is
// returned as it is.
func (fs FS) hashsize(fact nf.Fact) nf.Fact {
	f, err := openSysctlFile(unix.AT_FDCWD, fs.hashsizePath(), "hashsize")
	if err != nil {
		return fact
	}
	defer unix.Close(f.fd)
	if fact.Live.IsAbsent() {
		fact.Live = f.value()
	}
	fact.ReadOnly, fact.Parameter = f.readOnly, "nf_conntrack.hashsize"
	return fact
}

// sysctlFileName returns the name of the key's file below net/netfilter. It is never a path,
// whatever the key is.
func sysctlFileName(k nf.Key) (string, bool) {
	name, ok := k.Sysctl()
	return name, ok && strings.HasPrefix(name, "nf_conntrack_") && !strings.Contains(name, "/")
}

// KnownSysctls returns the keys that policies have names for.
func KnownSysctls() []nf.Key {
	keys := []nf.Key{nf.KeyMax, nf.KeyBuckets, nf.KeyExpectMax}
	for _, name := range nf.TimeoutNames() {
		keys = append(keys, nf.TimeoutKey(name))
	}
	return keys
}

// netfilterDir is the open directory /proc/sys/net of one network namespace, with its
// netfilter. Opening files relative to it saves most of the time: each lookup in
// /proc/sys/net searches a chain with an entry for every namespace.
type netfilterDir struct {
	net       int  // O_PATH; -1 if not open
	shared    bool // net is open before and after
	netfilter int  // -1 if the kernel has no such directory: no conntrack
}

// openNetfilter opens the directory in the network namespace of the calling thread. A
// missing netfilter is no error, a procfs without sys/net is.
func (fs FS) openNetfilter() (netfilterDir, error) {
	dir := netfilterDir{net: fs.SysNet, shared: true, netfilter: -1}
	var err error
	path := fs.proc("sys/net")
	if fs.SysNet == 0 {
		dir.shared = false
		if dir.net, err = unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
			return dir, fmt.Errorf("cannot open %s: %w", path, err)
		}
	}
	fd, err := unix.Openat(dir.net, "netfilter", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	switch {
	case err == nil:
		dir.netfilter = fd
	case err != unix.ENOENT:
		return dir, fmt.Errorf("cannot open %s/netfilter: %w", path, err)
	}
	return dir, nil
}

func (d netfilterDir) close() {
	if d.net >= 0 && !d.shared {
		unix.Close(d.net)
	}
	if d.netfilter >= 0 {
		unix.Close(d.netfilter)
	}
}

// keys returns the keys of all nf_conntrack_* files but the counter. It reads the directory
// to its end, so that a second call would return none.
func (d netfilterDir) keys() ([]nf.Key, error) {
	if d.netfilter < 0 {
		return nil, nil
	}
	own, err := unix.FcntlInt(uintptr(d.netfilter), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot list net.netfilter: %w", err)
	}
	f := os.NewFile(uintptr(own), "net.netfilter")
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("cannot list net.netfilter: %w", err)
	}
	var keys []nf.Key
	for _, name := range names {
		if k, ok := nf.SysctlFileKey(name); ok && name != countFile {
			keys = append(keys, k)
		}
	}
	return keys, nil
}

// fact reads the value of one file.
func (d netfilterDir) fact(k nf.Key, name string) nf.Fact {
	if d.netfilter < 0 {
		return nf.Fact{Key: k}
	}
	f, err := d.open(name)
	switch {
	case errors.Is(err, unix.ENOENT):
		return nf.Fact{Key: k}
	case err != nil:
		return nf.Fact{Key: k, Live: nf.Unknown(err.Error())}
	}
	defer unix.Close(f.fd)
	return nf.Fact{Key: k, Live: f.value(), ReadOnly: f.readOnly}
}

// initial reports whether this is the first network namespace of the kernel: only there
// is net.core.netdev_max_backlog registered (net/core/sysctl_net_core.c).
func (d netfilterDir) initial() bool {
	var st unix.Stat_t
	return unix.Fstatat(d.net, "core/netdev_max_backlog", &st, 0) == nil
}

// parseNumber returns the value of a file that holds one integer.
func parseNumber(name string, text []byte) nf.Value {
	text = bytes.TrimSpace(text)
	number, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil {
		return nf.Unknown(fmt.Sprintf("%s holds %q, which is not one integer", name, text))
	}
	return nf.Number(number)
}
