package runtimes

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/netns"
	"nfsync.dev/nfsync/internal/nf"
)

// Unowned describes the network namespaces that are neither the node's nor that of one of the listed
// containers, in the order of their ages: a line for each, with the cgroup of its oldest process. It
// finds those that a process is in, and those that Docker has a file for, such as Swarm's. It returns
// fs.ErrPermission if this user may not see the namespaces of all processes.
func (n Node) Unowned(ctx context.Context, containers []nf.Container) ([]string, error) {
	owned := map[string]bool{}
	for _, c := range containers {
		if c.Instance != "" {
			owned[netns.Inode(c.Instance)] = true
		}
	}
	for _, own := range n.Own {
		owned[own.InodeInstance(n.BootID)] = true
	}
	found, denied, err := n.strangers(ctx, owned)
	if err != nil {
		return nil, err
	}
	var lines []string
	for _, s := range found {
		owned[s.ns.InodeInstance(n.BootID)] = true
		lines = append(lines, s.String())
	}
	return append(lines, n.swarmFiles(owned)...), denied
}

// stranger is the oldest process in a network namespace.
type stranger struct {
	ns      netns.Identity
	pid     int
	start   uint64
	command string
	cgroup  string
}

func (s stranger) String() string {
	return fmt.Sprintf("net:[%d]: process %d (%s) in %s", s.ns.Inode, s.pid, s.command, s.cgroup)
}

// strangers returns the oldest process of each network namespace that is not owned. denied is the first
// error of a process whose namespace this user may not see.
func (n Node) strangers(ctx context.Context, owned map[string]bool) (found []stranger, denied, err error) {
	entries, err := os.ReadDir(n.proc())
	if err != nil {
		return nil, nil, err
	}
	oldest := map[netns.Identity]stranger{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if ctx.Err() != nil {
			return nil, nil, ctx.Err()
		}
		s, err := n.stranger(pid, owned)
		switch {
		case errors.Is(err, fs.ErrPermission):
			denied = cmp.Or(denied, err)
		case err != nil: // it has ended, or is in a namespace that is owned
		case oldest[s.ns].pid == 0 || s.start < oldest[s.ns].start:
			oldest[s.ns] = s
		}
	}
	for _, s := range oldest {
		found = append(found, s)
	}
	slices.SortFunc(found, func(a, b stranger) int { return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.pid, b.pid)) })
	return found, denied, nil
}

// stranger returns what is said of a process. It returns fs.ErrNotExist if the network namespace of
// the process is owned, or the process has ended.
func (n Node) stranger(pid int, owned map[string]bool) (stranger, error) {
	p, err := n.openProcess(pid, 0)
	if err != nil {
		return stranger{}, err
	}
	defer p.Close()
	ns, err := p.Inode()
	if err != nil {
		return stranger{}, err
	}
	if owned[ns.InodeInstance(n.BootID)] {
		return stranger{}, fs.ErrNotExist
	}
	command, err := p.Read("comm", maxStatus)
	if err != nil {
		return stranger{}, err
	}
	cgroup, err := p.Read("cgroup", maxCgroup)
	return stranger{ns, p.PID, p.Start, strings.TrimSpace(string(command)), systemdCgroup(cgroup)}, err
}

// systemdCgroup returns the path of a process in the hierarchy of systemd, or of cgroup version 2, by
// /proc/PID/cgroup; / if it has neither.
func systemdCgroup(cgroup []byte) string {
	path := "/"
	for line := range strings.Lines(string(cgroup)) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(f) == 3 && (f[1] == "name=systemd" || f[0] == "0" && path == "/") {
			path = f[2]
		}
	}
	return path
}

// swarmFiles returns a line for each network namespace that is not owned, of those that Docker has a
// file for (createBasePath in libnetwork/osl/namespace_linux.go of moby). Those of Swarm's networks and
// of its load balancers have no process.
func (n Node) swarmFiles(owned map[string]bool) []string {
	dir := n.path(dockerRun, "netns")
	files, _ := os.ReadDir(dir) // none, with an error: Docker's containers are listed without
	var lines []string
	for _, f := range files {
		path := dir + "/" + f.Name()
		var st unix.Statfs_t
		if err := unix.Statfs(path, &st); err != nil || st.Type != unix.NSFS_MAGIC {
			continue // a file that is left
		}
		id, err := n.Thread.Identify(path)
		if inode := id.InodeInstance(n.BootID); err == nil && !owned[inode] {
			owned[inode] = true
			lines = append(lines, fmt.Sprintf("net:[%d]: %s%s", id.Inode, path, swarmRole(f.Name())))
		}
	}
	return lines
}

// swarmRole says what a file of Docker's is for, by its name.
func swarmRole(name string) string {
	switch {
	case name == "ingress_sbox":
		return ", the ingress of Swarm"
	case strings.HasPrefix(name, "lb_"):
		return ", a load balancer of Swarm"
	case strings.HasPrefix(name, "1-"):
		return ", an overlay network of Swarm"
	}
	return ""
}
