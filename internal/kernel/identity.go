package kernel

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/nf"
)

// Identity returns which start of which kernel this is: the boot id of
// /proc/sys/kernel/random/boot_id, and what uname(2) says of the kernel and of
// the node's name.
func (fs FS) Identity() (bootID string, k nf.Kernel, nodeName string, err error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "", nf.Kernel{}, "", fmt.Errorf("cannot read the kernel's name: %w", err)
	}
	k = nf.Kernel{Release: unix.ByteSliceToString(u.Release[:]), Machine: unix.ByteSliceToString(u.Machine[:])}
	nodeName = unix.ByteSliceToString(u.Nodename[:])
	bootID, err = readString(fs.proc("sys/kernel/random/boot_id"))
	if err != nil {
		return "", k, nodeName, fmt.Errorf("cannot read the boot id: %w", err)
	}
	return bootID, k, nodeName, nil
}

// NetnsID returns the id of an open network namespace, by the ioctl NS_GET_ID
// (ioctl_nsfs(2), Linux 6.18).
func NetnsID(fd int) (uint64, error) {
	var id uint64
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.NS_GET_ID, uintptr(unsafe.Pointer(&id)))
	if errno != 0 {
		return 0, errno
	}
	return id, nil
}

// NetnsCookie returns the cookie of the calling thread's network namespace, by
// the socket option SO_NETNS_COOKIE (net/core/sock.c, Linux 5.14). A socket of
// the local family loads no module.
func NetnsCookie() (uint64, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	return unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
}
