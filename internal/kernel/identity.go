package kernel

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/nf"
)

// Identity tells which start of which kernel this is: the boot id of
// /proc/sys/kernel/random/boot_id, and what uname(2) says of the kernel and of
// the node's name.
func (fs FS) Identity() (bootID string, k nf.Kernel, nodeName string, err error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "", nf.Kernel{}, "", fmt.Errorf("cannot read the kernel's name: %w", err)
	}
	k = nf.Kernel{Release: unix.ByteSliceToString(u.Release[:]), Machine: unix.ByteSliceToString(u.Machine[:])}
	nodeName = unix.ByteSliceToString(u.Nodename[:])
	data, err := readFile(fs.proc("sys/kernel/random/boot_id"))
	if err != nil {
		return "", k, nodeName, fmt.Errorf("cannot read the boot id: %w", err)
	}
	return strings.TrimSpace(string(data)), k, nodeName, nil
}
