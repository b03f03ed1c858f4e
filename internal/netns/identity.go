package netns

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

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
func (i Identity) String() string { return string(i.append(nil)) }

// append appends String to b.
func (i Identity) append(b []byte) []byte {
	return strconv.AppendUint(i.appendInode(b), i.Cookie, 10)
}

// appendInode appends device:inode: to b.
func (i Identity) appendInode(b []byte) []byte {
	b = append(strconv.AppendUint(b, i.Device, 16), ':')
	return append(strconv.AppendUint(b, i.Inode, 10), ':')
}

// Instance returns the instance of a container with this network namespace, of a start of the kernel.
func (i Identity) Instance(bootID string) string {
	b := make([]byte, 0, 96)
	return string(i.append(append(append(b, bootID...), '/')))
}

// InodeInstance returns Inode of the instances with this inode.
func (i Identity) InodeInstance(bootID string) string {
	b := make([]byte, 0, 96)
	return string(i.appendInode(append(append(b, bootID...), '/')))
}

// Of returns the identity with the cookie of an instance.
func (i Identity) Of(instance string) Identity {
	i.Cookie, _ = strconv.ParseUint(instance[strings.LastIndexByte(instance, ':')+1:], 10, 64)
	return i
}

// Inode returns the part of an instance, as Identity.Instance returns it, that another namespace may have again
// once this one has ended: all but the cookie.
func Inode(instance string) string { return instance[:strings.LastIndexByte(instance, ':')+1] }

// HasCookie reports whether no other namespace can have an instance after it has ended. It is false
// for an instance whose kernel gives no cookies.
func HasCookie(instance string) bool { return !strings.HasSuffix(instance, ":0") }

// Identify identifies the network namespace that a file names.
func Identify(path string) (Identity, error) { return (*Thread)(nil).Identify(path) }

// Identify is the function Identify on this thread.
func (t *Thread) Identify(path string) (Identity, error) {
	fd, err := openFile(path)
	if err != nil {
		return Identity{}, err
	}
	defer unix.Close(fd)
	return t.identifyFD(fd)
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

// needsEntry reports whether only a thread that is in a namespace can read its cookie.
func needsEntry() bool { return kernel.NetnsIDs.Lacks(nil) && !kernel.NetnsCookies.Lacks(nil) }

// identifyFD identifies the network namespace of an open file.
func (t *Thread) identifyFD(fd int) (Identity, error) {
	id, err := inodeOf(fd)
	if err != nil {
		return id, err
	}
	if !kernel.NetnsIDs.Lacks(nil) {
		if number, err := kernel.NetnsID(fd); err == nil {
			id.Cookie = number
			return id, nil
		}
	}
	err = t.enterFD(fd, func() error {
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

// inodeOf returns the identity of the network namespace of an open file, without its cookie.
func inodeOf(fd int) (Identity, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return Identity{}, fmt.Errorf("cannot identify the network namespace: %w", err)
	}
	return Identity{Device: uint64(st.Dev), Inode: st.Ino}, nil
}
