package netns

import (
	"fmt"

	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/kernel"
)

// Proc provides procfs for reading the sysctls of many network namespaces.
//
// In one procfs the directories net/netfilter of all namespaces have the same
// name in the same place, so the kernel compares each with all the others that
// were looked up before (proc_sys_compare in fs/proc/proc_sysctl.c): a
// thousandth namespace costs six times as much as a first, for every process
// of the node. A procfs of its own, mounted nowhere and given up after a few
// namespaces, keeps that short and out of the way of others. Where there can
// be none (Linux before 5.2, no privileges) it is the shared one all along.
//
// A Proc is used by one goroutine at a time.
type Proc struct {
	shared string
	fd     int // -1: none of its own
	left   int // namespaces until the next one
}

// perProc is how many namespaces share a procfs. One costs as much to make as
// two or three namespaces to read.
const perProc = 32

// NewProc starts with the procfs that is mounted at the path. Anything but a
// procfs, as tests have it, is kept for good.
func NewProc(shared string) *Proc {
	p := &Proc{shared: shared, fd: -1, left: perProc}
	var st unix.Statfs_t
	if err := unix.Statfs(shared, &st); err != nil || st.Type != unix.PROC_SUPER_MAGIC {
		p.left = -1
	}
	return p
}

// Path returns the path of the procfs for the next namespace. It can be used until Path is
// called again.
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

// Close closes the procfs.
func (p *Proc) Close() {
	if p.fd >= 0 {
		unix.Close(p.fd)
	}
	p.fd, p.left = -1, -1
}

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
		return -1, fmt.Errorf("cannot make a procfs: %w", err)
	}
	defer unix.Close(fs)
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, fmt.Errorf("cannot make a procfs: %w", err)
	}
	return unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
}
