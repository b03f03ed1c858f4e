package runtimes

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/netns"
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
// that is in a network namespace of its own and stays. Until there is one, the namespace does not exist.
// The runtime itself is in the cgroup too, and in the node's namespace.
func (n Node) newest(pids []int) (pid int, start uint64) {
	for _, pid := range pids {
		m, err := n.find(record{pid: pid})
		if err == nil && !n.isOwn(m.ns) && !n.isStage(m.entry) {
			return pid, m.entry.Start
		}
	}
	return 0, 0
}

// stages are the names of the processes of runc that make the namespaces, and end before the first
// process of the container begins (libcontainer/nsenter/nsexec.c).
var stages = []string{"runc:[0:PARENT]", "runc:[1:CHILD]"}

// isStage reports whether a process is one of the stages, or has ended.
func (n Node) isStage(e nf.Entry) bool {
	comm, runs := n.comm(e)
	return !runs || slices.Contains(stages, strings.TrimSuffix(comm, "\n"))
}

// maxComm bounds the name of a process with its line end, in bytes (TASK_COMM_LEN of Linux is less).
const maxComm = 64

// comm returns the name of a process, as /proc/PID/comm has it; empty if it cannot be read. runs is false
// for a process that has ended.
func (n Node) comm(e nf.Entry) (name string, runs bool) {
	p, err := n.openProcess(e.PID, e.Start)
	if err != nil {
		return "", false
	}
	defer p.Close()
	comm, _ := p.Read("comm", maxComm) // none, with an error
	return string(comm), true
}

// birthRoots returns the roots of those hierarchies in which each container has a cgroup with either
// driver: that of version 2, or that of systemd.
func (n Node) birthRoots() []string {
	roots := n.cgroupRoots()
	if len(roots) == 1 {
		return roots
	}
	return []string{filepath.Join(roots[0], "systemd")}
}

// isFrozen reports whether the cgroup of a process is frozen, which is how OCI runtimes pause a container
// (cgroup.events of cgroup-v2.rst, freezer.state of cgroup-v1/freezer-subsystem.rst).
func (n Node) isFrozen(p *netns.Process) bool {
	data, err := p.Read("cgroup", maxCgroup)
	if err != nil {
		return false
	}
	has := func(text string, at ...string) bool {
		data, err := os.ReadFile(n.path(append([]string{cgroups}, at...)...))
		return err == nil && slices.Contains(strings.Split(string(data), "\n"), text)
	}
	for line := range strings.Lines(string(data)) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(f) != 3 || strings.Contains(f[2], "/..") { // outside of the cgroup namespace
			continue
		}
		switch {
		case f[0] == "0" && (has("frozen 1", f[2], "cgroup.events") || has("frozen 1", "unified", f[2], "cgroup.events")),
			f[1] == "freezer" && has("FROZEN", "freezer", f[2], "freezer.state"):
			return true
		}
	}
	return false
}
