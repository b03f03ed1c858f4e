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
	shared kernel.FS
	fd     int // of the private procfs; -1: none
	sysNet int // its directory sys/net, or that of the shared procfs; -1: not open
	left   int // namespaces until the next private procfs; -1: never
}

// perProc is the number of namespaces that share a private procfs. Making one takes as long as
// reading two or three namespaces.
const perProc = 32

// NewProc returns a Proc that starts with the procfs of fs. If that is not a procfs, as in
// tests, the Proc never uses another one.
func NewProc(fs kernel.FS) *Proc {
	p := &Proc{shared: fs, fd: -1, sysNet: -1, left: perProc}
	var st unix.Statfs_t
	if err := unix.Statfs(fs.Proc, &st); err != nil || st.Type != unix.PROC_SUPER_MAGIC {
		p.left = -1
		return p
	}
	p.openSysNet()
	return p
}

// FS returns the files of the kernel with the procfs for the next namespace. It is valid until
// the next call.
func (p *Proc) FS() kernel.FS {
	if p.left == 0 {
		p.renew()
	}
	if p.left > 0 {
		p.left--
	}
	fs := p.shared
	if p.fd >= 0 {
		fs.Proc = fmt.Sprintf("/proc/self/fd/%d", p.fd)
	}
	if p.sysNet >= 0 {
		fs.SysNet = p.sysNet
	}
	return fs
}

// Close closes the private procfs.
func (p *Proc) Close() {
	for _, fd := range []int{p.fd, p.sysNet} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
	p.fd, p.sysNet, p.left = -1, -1, -1
}

// renew replaces the private procfs. Without a new one, FS returns the shared procfs from now
// on.
func (p *Proc) renew() {
	p.Close()
	if !kernel.OwnProcfs.Lacks(nil) {
		if fd, err := newProc(); err == nil {
			p.fd, p.left = fd, perProc
		}
	}
	p.openSysNet()
}

// openSysNet opens sys/net of the present procfs. What is below it is another directory in
// each network namespace, but it is the same in all.
func (p *Proc) openSysNet() {
	path := p.shared.Proc
	if p.fd >= 0 {
		path = fmt.Sprintf("/proc/self/fd/%d", p.fd)
	}
	if fd, err := unix.Open(path+"/sys/net", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err == nil {
		p.sysNet = fd
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
