package kernel

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/nf"
)

// Capabilities probes what nfsync may change, as the calling thread, in its network
// namespace. Masks and latches, which the container runtimes know, are left at no.
func (fs FS) Capabilities(m *nf.Modules) nf.Capabilities {
	c := nf.Capabilities{
		Denied:     map[string]string{},
		Latches:    nf.No,
		BucketStep: int64(os.Getpagesize() / (strconv.IntSize / 8)),
	}
	if f, ok := m.Find("ip_tables"); ok {
		c.LegacyTables = f.State != nf.ModuleUnloaded
	}
	for ability, why := range map[string]string{
		nf.AbilityModules:    fs.deniedModules(),
		nf.AbilityNode:       fs.deniedSysctls(),
		nf.AbilityContainers: fs.deniedContainers(),
	} {
		if why != "" {
			c.Denied[ability] = why
		}
	}
	return c
}

// deniedModules says why modules cannot be loaded or unloaded; empty if they can. The
// kernel requires CAP_SYS_MODULE in the initial user namespace (capable() in
// kernel/module/main.c), which root in another user namespace does not have.
func (fs FS) deniedModules() string {
	if !fs.hasCapability(unix.CAP_SYS_MODULE) {
		return "nfsync lacks CAP_SYS_MODULE"
	}
	if !fs.initialUserNamespace() {
		return "nfsync is not in the initial user namespace, where CAP_SYS_MODULE counts"
	}
	return ""
}

// deniedContainers says why containers cannot be entered and changed; empty if they
// can. setns(2) requires CAP_SYS_ADMIN, and the values are below the same /proc/sys.
func (fs FS) deniedContainers() string {
	if !fs.hasCapability(unix.CAP_SYS_ADMIN) {
		return "nfsync lacks CAP_SYS_ADMIN, which setns(2) needs"
	}
	return fs.deniedSysctls()
}

// deniedSysctls says why the sysctls of this network namespace cannot be written; empty
// if they can. It opens one that every namespace has for writing, which changes
// nothing: the kernel checks the owner of the namespace (net_ctl_permissions in
// net/sysctl_net.c), and /proc/sys may be mounted read-only.
func (fs FS) deniedSysctls() string {
	f, err := os.OpenFile(fs.proc("sys/net/core/somaxconn"), os.O_WRONLY, 0)
	switch {
	case err == nil:
		f.Close()
		return ""
	case errors.Is(err, unix.EROFS):
		return fs.proc("sys") + " is mounted read-only"
	case errors.Is(err, os.ErrPermission):
		return "nfsync lacks CAP_NET_ADMIN in the owner of this network namespace: " + err.Error()
	}
	return fmt.Sprintf("the sysctls of the network cannot be written: %v", err)
}

// hasCapability reports whether the calling thread has that effective capability.
func (fs FS) hasCapability(capability int) bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if unix.Capget(&header, &data[0]) != nil {
		return false
	}
	return data[capability/32].Effective>>(capability%32)&1 == 1
}

// initialUserNamespaceInode is the number of /proc/self/ns/user in the initial
// user namespace (USER_NS_INIT_INO of include/uapi/linux/nsfs.h).
const initialUserNamespaceInode = 0xEFFFFFFD

// initialUserNamespace reports whether nfsync is in the initial user namespace. Like it,
// another one can map all ids to themselves.
func (fs FS) initialUserNamespace() bool {
	var st unix.Stat_t
	if unix.Stat(fs.proc("self/ns/user"), &st) == nil && st.Ino != initialUserNamespaceInode {
		return false
	}
	data, err := readFile(fs.proc("self/uid_map"))
	if err != nil {
		return errors.Is(err, os.ErrNotExist) // a kernel without user namespaces
	}
	return strings.Join(strings.Fields(string(data)), " ") == "0 0 4294967295" // user_namespaces(7)
}
