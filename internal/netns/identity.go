package netns

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/kernel"
)

// Identity identifies a network namespace among all of the same boot. The kernel reuses the
// inode number of a namespace that has ended. So the identity includes a number that is never
// reused, if the kernel has one. Identities are comparable.
type Identity struct {
	Device, Inode uint64
	// Cookie is never reused: the id of the namespace (ioctl NS_GET_ID, Linux 6.18), or its
	// cookie (SO_NETNS_COOKIE, Linux 5.14); 0 if the kernel has neither, or if this user may
	// not enter the namespace.
	Cookie uint64
}

// String returns device:inode:cookie.
func (i Identity) String() string { return fmt.Sprintf("%x:%d:%d", i.Device, i.Inode, i.Cookie) }

// Identify identifies the network namespace that a file names.
func Identify(path string) (Identity, error) {
	fd, err := openFile(path)
	if err != nil {
		return Identity{}, err
	}
	defer unix.Close(fd)
	return identifyFD(fd)
}

// Own identifies the network namespace of the calling thread.
func Own() (Identity, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	return Identify(ownPath())
}

// IsInitial reports whether the calling thread is in the kernel's first network namespace:
// only there is net.core.netdev_max_backlog registered (net/core/sysctl_net_core.c). proc
// is the path of procfs.
func IsInitial(proc string) bool {
	_, err := os.Stat(filepath.Join(proc, "sys/net/core/netdev_max_backlog"))
	return err == nil
}

// identifyFD identifies the network namespace of an open file.
func identifyFD(fd int) (Identity, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return Identity{}, fmt.Errorf("cannot identify the network namespace: %w", err)
	}
	id := Identity{Device: uint64(st.Dev), Inode: st.Ino}
	if !kernel.NetnsIDs.Lacks(nil) {
		if number, err := kernel.NetnsID(fd); err == nil {
			id.Cookie = number
			return id, nil
		}
	}
	err := enterFD(fd, func() error {
		if !kernel.NetnsCookies.Lacks(nil) {
			id.Cookie, _ = kernel.NetnsCookie()
		}
		return nil
	})
	if errors.Is(err, unix.EPERM) {
		return id, nil
	}
	return id, err
}
