package netns

import (
	"fmt"

	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/kernel"
)

// Proc provides procfs for reading the sysctls of many network namespaces.
//
// In one procfs the directories net/netfilter of all namespaces have the same name and parent.
// A lookup compares the directory with those of all namespaces that were used before
// (proc_sys_compare in fs/proc/proc_sysctl.c). The thousandth namespace takes six times as long
// as the first, for every process on the node. So Proc uses private procfs, mounted nowhere, and
// makes a new one after a few namespaces. If the kernel cannot make one (Linux before 5.2, no
// privileges), Proc uses the shared procfs.
//
// A Proc may be used by one goroutine at a time.
type Proc struct {
	shared string
	fd     int // of the private procfs; -1: none
	left   int // namespaces until the next private procfs; -1: never
}

// perProc is the number of namespaces that share a private procfs. Making one takes as long as
// reading two or three namespaces.
const perProc = 32

// NewProc returns a Proc that starts with the procfs mounted at the path. If the path is not a
// procfs, as in tests, the Proc never uses another one.
func NewProc(shared string) *Proc {
	p := &Proc{shared: shared, fd: -1, left: perProc}
	var st unix.Statfs_t
	if err := unix.Statfs(shared, &st); err != nil || st.Type != unix.PROC_SUPER_MAGIC {
		p.left = -1
	}
	return p
}

// Path returns the path of the procfs for the next namespace. It is valid until the next call.
func (p *Proc) Path() string {
	if p.left == 0 {
		p.renew()
	}
	if p.left > 0 {
		p.left--
	}
	if p.fd < 0 {
		return p.shared
	}
	return fmt.Sprintf("/proc/self/fd/%d", p.fd)
}

// Close closes the private procfs.
func (p *Proc) Close() {
	if p.fd >= 0 {
		unix.Close(p.fd)
	}
	p.fd, p.left = -1, -1
}

// renew replaces the private procfs. Without a new one, Path returns the shared procfs from now
// on.
func (p *Proc) renew() {
	p.Close()
	if kernel.OwnProcfs.Lacks(nil) {
		return
	}
	if fd, err := newProc(); err == nil {
		p.fd, p.left = fd, perProc
	}
}

// newProc makes a procfs that is mounted nowhere.
func newProc() (int, error) {
	fs, err := unix.Fsopen("proc", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, err
	}
	defer unix.Close(fs)
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, err
	}
	return unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
}
