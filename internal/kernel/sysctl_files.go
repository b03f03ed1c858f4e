package kernel

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/nf"
)

// SysctlFiles are open files of conntrack values of one network namespace. Any thread reads
// and writes through them the values of that namespace: the kernel looks up the namespace when
// it finds the file (net_ctl_header_lookup in net/sysctl_net.c), and not when it is read.
// SysctlsOutside asks whether this is so.
//
// They do not keep the namespace. Once it has ended, or nf_conntrack is unloaded, the kernel
// answers ENOENT (grab_header in fs/proc/proc_sysctl.c), and never with values of another
// namespace.
type SysctlFiles struct {
	keys []nf.Key // sorted
	open []sysctlFile
	// count is the file of the number of live entries; its fd is -1 if it is not open.
	count sysctlFile
}

type sysctlFile struct {
	fd       int
	name     string
	readOnly bool // it has no write permission at all
}

// OpenSysctls opens the files of conntrack values of the network namespace of the calling
// thread, for reading, and that of the number of live entries if count is set. All of them must
// exist. The number of hash buckets is not among them, since Sysctls may read it elsewhere. The
// error wraps the errno.
func (fs FS) OpenSysctls(keys []nf.Key, count bool) (*SysctlFiles, error) {
	dir, err := fs.openNetfilter()
	defer dir.close()
	if err != nil {
		return nil, err
	}
	keys = slices.Clone(keys)
	slices.Sort(keys)
	f := &SysctlFiles{keys: slices.Compact(keys), count: sysctlFile{fd: -1}}
	for _, k := range f.keys {
		name, ok := sysctlFileName(k)
		if !ok || k == nf.KeyBuckets {
			err = fmt.Errorf("cannot keep %s open: %w", k, os.ErrNotExist)
		}
		var file sysctlFile
		if err == nil {
			file, err = dir.open(name)
		}
		if err != nil {
			f.Close()
			return nil, err
		}
		f.open = append(f.open, file)
	}
	if count {
		if f.count, err = dir.open(countFile); err != nil {
			f.Close()
			return nil, err
		}
	}
	return f, nil
}

// open opens one file.
func (d netfilterDir) open(name string) (sysctlFile, error) {
	if d.netfilter < 0 {
		return sysctlFile{fd: -1}, fmt.Errorf("cannot open %s: %w", name, unix.ENOENT)
	}
	return openSysctlFile(d.netfilter, name, name)
}

// openSysctlFile opens a file of procfs or sysfs that holds one integer, relative to a
// directory.
func openSysctlFile(dir int, path, name string) (sysctlFile, error) {
	fd, err := unix.Openat(dir, path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return sysctlFile{fd: -1}, fmt.Errorf("cannot open %s: %w", name, err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return sysctlFile{fd: -1}, fmt.Errorf("cannot stat %s: %w", name, err)
	}
	return sysctlFile{fd, name, st.Mode&0o222 == 0}, nil
}

// Len returns the number of open files.
func (f *SysctlFiles) Len() int {
	return len(f.Descriptors())
}

// Descriptors returns the descriptors of the open files.
func (f *SysctlFiles) Descriptors() []int {
	var list []int
	for _, file := range append(slices.Clone(f.open), f.count) {
		if file.fd >= 0 {
			list = append(list, file.fd)
		}
	}
	return list
}

// Has reports whether all these files are open.
func (f *SysctlFiles) Has(keys []nf.Key, count bool) bool {
	for _, k := range keys {
		if _, ok := slices.BinarySearch(f.keys, k); !ok {
			return false
		}
	}
	return !count || f.count.fd >= 0
}

// Read appends the values of the keys to facts, as FS.Sysctls reads them, and returns the number
// of live entries if count is set. The files must be open. It returns fs.ErrNotExist if the
// namespace has ended or nf_conntrack is unloaded.
func (f *SysctlFiles) Read(facts []nf.Fact, keys []nf.Key, count bool) (read []nf.Fact, entries nf.Value, err error) {
	for _, k := range keys {
		i, ok := slices.BinarySearch(f.keys, k)
		if !ok {
			return nil, entries, fmt.Errorf("cannot read %s: its file is not open", k)
		}
		live, err := f.open[i].read()
		if err != nil {
			return nil, entries, err
		}
		facts = append(facts, nf.Fact{Key: k, Live: live, ReadOnly: f.open[i].readOnly})
	}
	if count {
		entries, err = f.count.read()
	}
	return facts, entries, err
}

// value reads the value. It is unknown if it cannot be read.
func (f sysctlFile) value() nf.Value {
	v, err := f.read()
	if err != nil {
		return nf.Unknown(fmt.Sprintf("cannot read %s: %v", f.name, err))
	}
	return v
}

// read reads the value. Its only error is fs.ErrNotExist: any other is an unknown value.
func (f sysctlFile) read() (nf.Value, error) {
	var buf [128]byte
	n, err := unix.Pread(f.fd, buf[:], 0)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nf.Value{}, err
	case err != nil:
		return nf.Unknown(fmt.Sprintf("cannot read %s: %v", f.name, err)), nil
	}
	return parseNumber(f.name, buf[:n]), nil
}

// Answer reports whether the files still answer: the namespace has not ended.
func (f *SysctlFiles) Answer() bool {
	var buf [128]byte
	_, err := unix.Pread(f.open[0].fd, buf[:], 0)
	return err == nil
}

// Write writes a value, as FS.SetSysctl does. The file is opened anew for that, by the open one:
// it is the same file of the same namespace. The error is fs.ErrNotExist if the namespace has
// ended or nf_conntrack is unloaded.
func (f *SysctlFiles) Write(k nf.Key, n int64) error {
	i, ok := slices.BinarySearch(f.keys, k)
	if !ok {
		return fmt.Errorf("cannot write %s: its file is not open", k)
	}
	return writeNumber(fmt.Sprintf("/proc/self/fd/%d", f.open[i].fd), "/proc/sys/net/netfilter/"+f.open[i].name, n)
}

// Close closes the files.
func (f *SysctlFiles) Close() {
	for _, fd := range f.Descriptors() {
		unix.Close(fd)
	}
	f.keys, f.open, f.count.fd = nil, nil, -1
}
