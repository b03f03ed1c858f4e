package kernel

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/nf"
)

// Probe asks the running kernel whether it can do something that not every
// kernel can. Asking changes nothing on the node.
type Probe struct {
	Name   string
	Since  string // the Linux version that it came with
	Config string // the symbol that builds it in, without CONFIG_; empty: it is always built in
	// Without says what nfsync does where the answer is no.
	Without string

	module string     // asking would load this module; empty: none
	no     unix.Errno // of ask: the kernel cannot. Any other error leaves it open
	ask    func() (detail string, err error)

	mu     sync.Mutex
	answer Answer
}

// Answer is the result of a probe.
type Answer struct {
	Can    string // nf.Yes, nf.No or nf.MaybeUnknown
	Detail string // with yes: more of it, or empty; else why
}

// The probes.
var (
	// NetnsIDs asks for the ioctl of NetnsID.
	NetnsIDs = &Probe{Name: "namespace ids", Since: "6.18", Without: "identifies a network namespace by its cookie", no: unix.ENOTTY, ask: askNetnsID}
	// NetnsCookies asks for the socket option of NetnsCookie.
	NetnsCookies = &Probe{Name: "namespace cookies", Since: "5.14", Without: "identifies it by device and inode", no: unix.ENOPROTOOPT,
		ask: func() (string, error) { _, err := NetnsCookie(); return "", err }}
	// OwnProcfs asks for fsopen(2), by which a procfs is made and mounted nowhere.
	OwnProcfs = &Probe{Name: "procfs of its own", Since: "5.2", Without: "reads many containers more slowly", no: unix.ENOSYS, ask: askOwnProcfs}
	// SysctlsOutside asks whether an open file of a sysctl answers for the network namespace in
	// which it was opened, whoever reads it. It makes a network namespace for that, which ends
	// at once.
	SysctlsOutside = &Probe{Name: "sysctls from outside", Since: "2.6", Without: "enters a container for each read and write", no: unix.EOPNOTSUPP, ask: askSysctlsOutside}
	// HookList asks for the hooks that nfnetlink_hook lists.
	HookList = &Probe{Name: "hook list", Since: "5.14", Without: "concludes from the rules alone what tracks connections", Config: "NETFILTER_NETLINK_HOOK", module: "nfnetlink_hook", no: unix.EINVAL, ask: askHookList}
	// ModuleDecompression asks whether finit_module(2) takes compressed files. The
	// detail is their format: gzip, xz or zstd (kernel/module/decompress.c).
	ModuleDecompression = &Probe{Name: "module decompression", Since: "5.17", Without: "decompresses them itself", Config: "MODULE_DECOMPRESS", no: unix.ENOENT, ask: askModuleDecompression}
)

// Probes returns all probes.
func Probes() []*Probe {
	return []*Probe{NetnsIDs, NetnsCookies, OwnProcfs, SysctlsOutside, HookList, ModuleDecompression}
}

// Ask returns the kernel's answer. It asks once a run, and again only as long as
// the answer cannot be determined. A probe that would load a module is not asked
// unless m has it; for the others m may be nil.
func (p *Probe) Ask(m *nf.Modules) Answer {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.answer.Can != nf.Yes && p.answer.Can != nf.No {
		p.answer = p.determine(m)
	}
	return p.answer
}

func (p *Probe) determine(m *nf.Modules) Answer {
	if p.module != "" {
		there, err := hasModule(m, p.module)
		if err != nil {
			return Answer{nf.MaybeUnknown, err.Error()}
		}
		if !there {
			return Answer{nf.MaybeUnknown, p.module + " is not loaded, and asking would load it"}
		}
	}
	detail, err := p.ask()
	switch {
	case err == nil:
		return Answer{nf.Yes, detail}
	case errors.Is(err, p.no):
		return Answer{nf.No, err.Error()}
	}
	return Answer{nf.MaybeUnknown, err.Error()}
}

// Lacks reports whether the kernel says no to Ask.
func (p *Probe) Lacks(m *nf.Modules) bool { return p.Ask(m).Can == nf.No }

func askNetnsID() (string, error) {
	f, err := os.Open("/proc/self/ns/net")
	if err != nil {
		return "", err
	}
	defer f.Close()
	_, err = NetnsID(int(f.Fd()))
	return "", err
}

func askOwnProcfs() (string, error) {
	fd, err := unix.Fsopen("proc", unix.FSOPEN_CLOEXEC)
	if err == nil {
		unix.Close(fd)
	}
	return "", err
}

func askHookList() (string, error) {
	conn, err := openNfnetlink()
	if err != nil {
		return "", err
	}
	defer conn.Close()
	_, err = conn.preroutingHooks(context.Background(), unix.NFPROTO_IPV4)
	return "", err
}

func askModuleDecompression() (string, error) {
	const modules = "/sys/module"
	if _, err := os.Stat(modules); err != nil {
		return "", fmt.Errorf("cannot read %s", modules)
	}
	return readString(modules + "/compression")
}

// outsideKey is a value that every kernel with conntrack has, and that each network namespace
// has for itself.
const outsideKey = "nf_conntrack_generic_timeout"

// askSysctlsOutside sets a value in a new network namespace, and reads it from another thread,
// which is not in that namespace.
func askSysctlsOutside() (detail string, err error) {
	OnThread(func() { // never unlocked: the thread ends, and with it the namespace
		if err = unix.Unshare(unix.CLONE_NEWNET); err != nil {
			err = fmt.Errorf("cannot make a network namespace: %w", err)
			return
		}
		err = askOutside()
	})
	return "", err
}

// askOutside asks from another thread for a value of the calling thread's network namespace.
func askOutside() error {
	key := nf.SysctlKey(outsideKey)
	fs := FS{Proc: "/proc"}
	files, err := fs.OpenSysctls([]nf.Key{key}, false)
	if err != nil {
		return err
	}
	defer files.Close()
	was, err := files.open[0].read()
	if n, ok := was.Number(); err == nil && ok {
		err = fs.SetSysctl(key, n+1)
		was = nf.Number(n + 1)
	}
	if err != nil {
		return err
	}
	outside := make(chan error)
	go func() {
		now, err := files.open[0].read()
		if err == nil && now != was {
			err = unix.EOPNOTSUPP
		}
		outside <- err
	}()
	return <-outside
}
