package runtimes

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/nf"
)

// cgroups is where cgroup file systems are mounted.
const cgroups = "sys/fs/cgroup"

// cgroupRoots returns the roots of the cgroup hierarchies: that of version 2, or each of version 1
// (cgroups(7)).
func (n Node) cgroupRoots() []string {
	root := n.path(cgroups)
	var fs unix.Statfs_t
	if err := unix.Statfs(root, &fs); err == nil && fs.Type == unix.CGROUP2_SUPER_MAGIC {
		return []string{root}
	}
	names, _ := directories(root) // none, with an error
	roots := []string{root}
	for _, name := range names {
		roots = append(roots, filepath.Join(root, name))
	}
	return roots
}

// cgroupProcesses returns the processes in the first of some cgroups that has any. The paths are those
// that a runtime of root makes. A cgroup with the same last name elsewhere may be anybody's.
func (n Node) cgroupProcesses(paths ...string) []int {
	for _, root := range n.cgroupRoots() {
		for _, path := range paths {
			data, err := os.ReadFile(filepath.Join(root, path, "cgroup.procs"))
			if pids := parsePIDs(data); err == nil && len(pids) > 0 {
				return pids
			}
		}
	}
	return nil
}

// isCgroup reports whether there is a cgroup at one of some paths.
func (n Node) isCgroup(paths ...string) bool {
	for _, root := range n.cgroupRoots() {
		for _, path := range paths {
			if _, err := os.Lstat(filepath.Join(root, path)); err == nil {
				return true
			}
		}
	}
	return false
}

// parsePIDs reads cgroup.procs. It leaves out 0, which stands for a process of another PID namespace.
func parsePIDs(data []byte) []int {
	var pids []int
	for _, field := range strings.Fields(string(data)) {
		if pid, err := strconv.Atoi(field); err == nil && pid > 0 {
			pids = append(pids, pid)
		}
	}
	return pids
}

// newest returns the process of a container that is being made, of those in its cgroups: the first one
// that is in a network namespace of its own. Until there is one, the namespace does not exist. The
// runtime itself is in the cgroup too, and in the node's namespace.
func (n Node) newest(pids []int) (pid int, start uint64) {
	for _, pid := range pids {
		m, err := n.find(record{pid: pid})
		if err == nil && !n.isOwn(m.ns) {
			return pid, m.entry.Start
		}
	}
	return 0, 0
}

// freezerState returns nf.StatePaused for a process in a frozen cgroup; else it is empty. The process
// is given by its cgroups, as /proc/PID/cgroup has them. A cgroup is frozen with those above it
// (Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/freezer-subsystem.rst of Linux).
func (n Node) freezerState(cgroup []byte) string {
	for line := range strings.Lines(string(cgroup)) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(f) != 3 {
			continue
		}
		paths := []string{n.path(cgroups, f[1], f[2], "freezer.state")}
		if f[0] == "0" {
			paths = []string{n.path(cgroups, f[2], "cgroup.events"), n.path(cgroups, "unified", f[2], "cgroup.events")}
		} else if f[1] != "freezer" {
			continue
		}
		for _, path := range paths {
			state, err := os.ReadFile(path)
			if err == nil && (strings.Contains(string(state), "frozen 1\n") || string(state) == "FROZEN\n") {
				return nf.StatePaused
			}
		}
	}
	return ""
}
