package runtimes

import (
	"context"
	"slices"
	"strings"
	"time"

	"nfsync.dev/nfsync/internal/nf"
)

// Dir is a directory in which something appears or vanishes when a container does. It need not exist
// yet.
type Dir struct {
	Path string
	// Births are the runtimes whose containers have an entry there before their program runs.
	Births []string
	// BirthsOnly reports whether that is all that is to be seen there.
	BirthsOnly bool
}

// Dirs returns the directories of the named runtimes, sorted by their paths.
func (n Node) Dirs(names []string) []Dir {
	dirs := map[string]Dir{}
	for _, r := range all {
		if !slices.Contains(names, r.name) {
			continue
		}
		for _, path := range r.watch(n) {
			d := dirs[path]
			d.BirthsOnly = false
			d.Path = path
			dirs[path] = d
		}
		for _, path := range r.births(n) {
			d, known := dirs[path]
			if !known {
				d = Dir{Path: path, BirthsOnly: true}
			}
			d.Births = append(d.Births, r.name)
			dirs[path] = d
		}
	}
	list := make([]Dir, 0, len(dirs))
	for _, d := range dirs {
		list = append(list, d)
	}
	slices.SortFunc(list, func(a, b Dir) int { return strings.Compare(a.Path, b.Path) })
	return list
}

// Born returns the container of a runtime that an entry of a directory with Births stands for. It is
// false if there is none yet: the network namespace is made some milliseconds after the entry. mine
// reports whether the entry stands for a container of that runtime at all.
func (n Node) Born(name, entry string) (c nf.Container, found, mine bool) {
	i := slices.IndexFunc(all, func(r runtime) bool { return r.name == name })
	if i < 0 {
		return c, false, false
	}
	r, found := all[i].born(n, entry)
	if !found {
		return c, false, r.id != ""
	}
	m, err := n.find(r)
	if err != nil || n.isOwn(m.ns) {
		return c, false, true
	}
	return toContainer(name, m, nil, ""), true, true
}

// A runtime makes the namespace of a container some milliseconds after the first entry of it. On a busy
// node that may take seconds.
const (
	soon     = time.Second
	late     = time.Minute
	soonTick = time.Millisecond
	lateTick = 20 * time.Millisecond
)

// AwaitBirth returns the container that an entry of a directory with Births stands for, once it has a
// network namespace of its own. It is false if there is none within a minute. mine is that of Born.
func (n Node) AwaitBirth(ctx context.Context, names []string, entry string) (c nf.Container, found, mine bool) {
	tick := time.NewTicker(soonTick)
	defer tick.Stop()
	for began := time.Now(); ; {
		mine = false
		for _, name := range names {
			c, found, of := n.Born(name, entry)
			if found {
				return c, true, true
			}
			mine = mine || of
		}
		waited := time.Since(began)
		if !mine || waited > late {
			return c, false, mine
		}
		if waited > soon {
			tick.Reset(lateTick)
		}
		select {
		case <-ctx.Done():
			return c, false, mine
		case <-tick.C:
		}
	}
}

// settled is how long the process of a container that was born must live to be its first one. Before that
// it may be one that only makes its namespaces.
const settled = 200 * time.Millisecond

// Stays reports whether the process of a container that was born lives on for some time. If not, the
// container may have another one.
func (n Node) Stays(ctx context.Context, c *nf.Container) bool {
	tick := time.NewTicker(lateTick)
	defer tick.Stop()
	for began := time.Now(); time.Since(began) < settled; {
		select {
		case <-ctx.Done():
			return true
		case <-tick.C:
		}
		if n.Check(c) != nil {
			return false
		}
	}
	return true
}

// programs are the names of the programs that a runtime runs as the first process of a container before
// that runs its own (proc_pid_comm(5)): runc (libcontainer/nsenter/nsexec.c), crun, lxc-start and those
// that are linked with liblxc, systemd-nspawn.
var programs = []string{"runc:[", "crun\n", "lxc-start\n", "incusd\n", "lxd\n", "systemd-nspawn\n", "(sd-"}

// HasBegun reports whether the first process of a container runs the program of the container: what is
// set from now on is late for it. It is false if that is not known, as of a pod: its first process is no
// program of its containers.
func (n Node) HasBegun(c *nf.Container) bool {
	if c.Entry.PID == 0 || c.Runtime == nf.RuntimeCRI {
		return false
	}
	comm, runs := n.comm(c.Entry)
	return runs && comm != "" && !slices.ContainsFunc(programs, func(name string) bool { return strings.HasPrefix(comm, name) })
}
