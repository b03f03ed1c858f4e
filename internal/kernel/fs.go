package kernel

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/durable"
)

// FS is where the kernel's files are. The zero value is not useful: give all
// three directories.
type FS struct {
	Proc string // procfs, normally /proc
	Sys  string // sysfs, normally /sys
	Root string // where lib/modules, etc and boot are, normally /
	// SysNet is the open directory sys/net of Proc, for reading the sysctls of many network
	// namespaces; 0: it is opened each time.
	SysNet int
	// Writer writes the boot files.
	Writer durable.Writer
}

func (fs FS) proc(elem ...string) string { return filepath.Join(append([]string{fs.Proc}, elem...)...) }
func (fs FS) sys(elem ...string) string  { return filepath.Join(append([]string{fs.Sys}, elem...)...) }
func (fs FS) root(elem ...string) string { return filepath.Join(append([]string{fs.Root}, elem...)...) }

// maxFile bounds any one file, in bytes. The longest file of a real kernel, kallsyms,
// has about 15 MiB.
const maxFile = 64 << 20

// readFile reads a whole file. It does not use the size of stat(2), which is 0 in
// procfs.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("cannot read %s: it is longer than %d MiB", path, maxFile>>20)
	}
	return data, nil
}

// readString reads a file of one line.
func readString(path string) (string, error) {
	data, err := readFile(path)
	return strings.TrimSpace(string(data)), err
}

// release returns the release of the running kernel, as in uname(2) and in the names of
// the directories of lib/modules.
func (fs FS) release() string {
	if release, err := readString(fs.proc("sys/kernel/osrelease")); err == nil && release != "" {
		return release
	}
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}
