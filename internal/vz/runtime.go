package vz

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"nfsync.dev/nfsync/internal/netns"
	"nfsync.dev/nfsync/internal/nf"
)

// Runtime lists, enters and changes the containers of Virtuozzo on this node.
type Runtime struct {
	Root     string // of Virtuozzo's files and programs; empty: /
	Proc     string // nfsync's own procfs; empty: /proc
	BootID   string // of this start of the kernel: part of every instance
	Timeouts Timeouts
	// Inherit returns files that the programs which change a container inherit; nil: none.
	Inherit func() []*os.File
	// NodeNamespaces are the node's network namespaces. None of them is a container's.
	NodeNamespaces []netns.Identity
	// Thread enters the namespaces of containers; nil: a new thread for each.
	Thread *netns.Thread
}

// Node is the result of List.
type Node struct {
	// Containers are sorted by id. They have identity, state and the fact of their level,
	// live and saved. A container without a network namespace of its own is unobservable.
	Containers []nf.Container
	// Namespaces are the containers' network namespaces, which no other runtime may list.
	// They are read from files, even if the containers cannot be listed.
	Namespaces []netns.Identity
	// Latches is that of nf.Capabilities. It is nf.Yes on a kernel that has masks.
	Latches  string
	Warnings []nf.Warning
}

// List returns the containers that prlctl and vzlist list, each run once, with the facts that
// files show. A node without Virtuozzo has none, and does not latch; there nothing is run. A
// container that files show and no program lists is unobservable, and so is one for which
// files and programs, or the files of two containers, disagree. If neither program lists the
// containers, List also returns an error.
func (r Runtime) List(ctx context.Context) (Node, error) {
	if err := ctx.Err(); err != nil {
		return Node{}, err
	}
	n := r.node()
	if !n.virtuozzo() {
		return Node{Containers: []nf.Container{}, Latches: nf.No}, nil
	}
	ctids, unread := n.present() // before the programs run: a container may be created meanwhile
	entries, warnings, err := r.listBoth(ctx, n)
	if ctx.Err() != nil {
		return Node{}, ctx.Err()
	}
	for _, e := range entries {
		ctids[e.ctid] = true
	}
	confs := n.configurations(ctids)
	if err = errors.Join(err, unread); err != nil {
		const why = "neither vzlist nor prlctl lists the containers and their states"
		return Node{Containers: r.unlistedContainers(n, confs, why), Latches: nf.MaybeUnknown, Namespaces: r.namespaces(n, nil)},
			fmt.Errorf("cannot list Virtuozzo's containers: %w", err)
	}
	found := Node{Latches: nf.MaybeUnknown, Warnings: warnings}
	if !slices.ContainsFunc(entries, func(e entry) bool { return nf.Runs(e.state()) }) {
		found.Latches = r.latchesByVzlist(ctx, n) // else the files of a running container show it
	}
	inits := map[string]initState{}
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return Node{}, err
		}
		if c := confs[e.ctid]; !c.isTemplate() {
			inits[e.ctid] = r.findInit(n, e.ctid)
			found.Containers = append(found.Containers, n.listedContainer(e, c, inits[e.ctid]))
		}
	}
	excludeShared(found.Containers, inits)
	n.excludeAmbiguous(found.Containers, entries, confs)
	found.addContainers(r.unlistedContainers(n, without(confs, entries), "neither vzlist nor prlctl lists it, but its files are there"))
	found.Namespaces = r.namespaces(n, inits)
	found.Latches = latches(found.Containers, n.hasMask, found.Latches)
	if found.Latches == nf.Yes {
		markMissingMasks(found.Containers)
	}
	return found, ctx.Err()
}

// addContainers adds containers, and sorts all by id.
func (n *Node) addContainers(more []nf.Container) {
	n.Containers = append(n.Containers, more...)
	slices.SortFunc(n.Containers, func(a, b nf.Container) int { return cmp.Compare(a.ID, b.ID) })
}

// listedContainer returns a container in the state that the programs list, unless files
// contradict it.
func (n *node) listedContainer(e entry, c configuration, init initState) nf.Container {
	listed := n.container(e, c.conf, c.err)
	listed.Instance, listed.Unobservable = instanceOf(listed.State, init)
	if why := n.contradiction(e.ctid, listed.State, c); why != "" && listed.Unobservable == "" {
		listed.Instance, listed.Unobservable = "", why
	}
	return listed
}

// container returns a container with the fact of its level. Its configuration adds what
// the programs do not list.
func (n *node) container(e entry, c conf, confErr error) nf.Container {
	found := nf.Container{Runtime: nf.RuntimeVZ, ID: e.ctid, UUID: cmp.Or(e.uuid, bareUUID(c[confUUID])),
		Name: cmp.Or(e.name, c[confName], e.ctid), State: e.state()}
	found.Facts = []nf.Fact{n.level(e.ctid, found.State, c, confErr)}
	return found
}

// stateUnknown is prlctl's word for an unknown state (vmstate2str in src/Utils.cpp).
const stateUnknown = "unknown"

// instanceOf returns the instance of a container in a state that the programs list, and why
// it is unobservable; empty if it is not.
func instanceOf(state string, init initState) (instance, unobservable string) {
	switch {
	case nf.Runs(state):
		return init.instance, init.why
	case !nf.Rests(state):
		return init.instance, fmt.Sprintf("its state is %q", state)
	case init.kind == initRuns:
		return init.instance, fmt.Sprintf("it is listed as %s, but files show an init process: it is in transition", state)
	case state == nf.StateSuspended:
		return nf.InstanceSuspended, ""
	}
	return nf.InstanceStopped, ""
}

// excludeShared makes containers unobservable that share a network namespace: a change in
// one would change the other.
func excludeShared(containers []nf.Container, inits map[string]initState) {
	owners := map[netns.Identity][]string{}
	for ctid, init := range inits {
		if init.instance != "" {
			owners[init.ns] = append(owners[init.ns], ctid)
		}
	}
	for i := range containers {
		c := &containers[i]
		init := inits[c.ID]
		if same := owners[init.ns]; init.instance != "" && len(same) > 1 {
			slices.Sort(same)
			c.Unobservable = fmt.Sprintf("the containers %q have the same network namespace", same)
		}
	}
}

// markMissingMasks makes the level of each running container without a mask unknown. It is
// for a kernel that has masks.
func markMissingMasks(containers []nf.Container) {
	for i := range containers {
		c := &containers[i]
		f := c.Fact(nf.KeyLevel)
		if f.Live.IsAbsent() && nf.Runs(c.State) {
			f.Live = nf.Unknown("its ve cgroup has no mask, but those of other containers have one")
			c.SetFact(f)
		}
	}
}

// namespaces returns the network namespaces of all containers that files show, listed or
// not. inits has the inits that were found already.
func (r Runtime) namespaces(n *node, inits map[string]initState) []netns.Identity {
	var all []netns.Identity
	for _, init := range inits {
		all = append(all, init.namespaces...)
	}
	seen := map[string]bool{}
	for _, ctid := range slices.Concat(n.configured(), ctidsIn(n.pidDir, pidExt)) {
		if _, known := inits[ctid]; !known && !seen[ctid] {
			seen[ctid] = true
			all = append(all, r.findInit(n, ctid).namespaces...)
		}
	}
	slices.SortFunc(all, func(a, b netns.Identity) int { return cmp.Compare(a.String(), b.String()) })
	return slices.Compact(all)
}

// latches returns nf.Capabilities.Latches: nf.Yes if the kernel has masks. The running
// containers show it, or byVzlist if none runs. A mask that cannot be read counts too.
func latches(containers []nf.Container, hasMask func(ctid string) bool, byVzlist string) string {
	running, without := false, false
	for i := range containers {
		c := &containers[i]
		if hasMask(c.ID) {
			return nf.Yes
		}
		if !nf.Runs(c.State) {
			continue
		}
		running = true
		without = without || c.Fact(nf.KeyLevel).Live.IsAbsent()
	}
	switch {
	case without:
		return nf.No
	case running:
		return nf.MaybeUnknown
	}
	return byVzlist
}

// Refresh reads the container's instance and the fact of its level again, from files only.
// It returns nf.ErrGone for a container with neither a configuration nor an init. A
// container that was started, stopped or restarted since has another instance, and the
// state that the files show. Only List finds a namespace that is shared with another
// container.
func (r Runtime) Refresh(c *nf.Container) error {
	if !usableCTID(c.ID) {
		return fmt.Errorf("cannot find container %q: %w", c.ID, nf.ErrGone)
	}
	n := r.node()
	init := r.findInit(n, c.ID)
	settings, err := n.conf(c.ID)
	if missing(err) && init.kind != initRuns {
		return fmt.Errorf("container %s has neither a configuration nor an init process: %w", c.ID, nf.ErrGone)
	}
	refreshState(c, init, func() bool { return n.hasDump(c.ID, settings) })
	c.SetFact(n.level(c.ID, c.State, settings, err))
	return nil
}

// refreshState sets the state and the instance of a container by its init or, without one,
// by its dump, as vzctl2_get_env_status in libvzctl does.
func refreshState(c *nf.Container, init initState, hasDump func() bool) {
	rested := c.Instance == nf.InstanceStopped || c.Instance == nf.InstanceSuspended
	switch {
	case init.kind == initRuns && init.instance != "" && init.instance == c.Instance:
		// the same instance: what List found still holds
	case init.kind == initRuns:
		c.Instance, c.Unobservable = init.instance, init.why
		if init.pid != 0 {
			c.State = nf.StateRunning
		}
	case init.kind == initLost && !rested:
		c.Instance, c.Unobservable = "", init.why
	case rested && c.State == nf.StateMounted:
	case hasDump():
		setAtRest(c, nf.StateSuspended, nf.InstanceSuspended)
	default:
		setAtRest(c, nf.StateStopped, nf.InstanceStopped)
	}
}

// setAtRest sets the state and the instance of a container without processes. If it had none
// before, what List found still holds.
func setAtRest(c *nf.Container, state, instance string) {
	if c.Instance != instance {
		c.Unobservable = ""
	}
	c.State, c.Instance = state, instance
}

// Enter runs f in the network namespace of a running container, as netns.Enter does. It
// returns nf.ErrGone if the instance has ended, and also fs.ErrNotExist if the container
// does not run at all.
func (r Runtime) Enter(id, instance string, f func() error) error {
	if !usableCTID(id) || instance == "" {
		return fmt.Errorf("cannot enter %q: no such container runs: %w", id, nf.ErrGone)
	}
	init := r.findInit(r.node(), id)
	switch {
	case init.kind != initRuns:
		return fmt.Errorf("cannot enter container %s: %s: %w: %w", id, init.why, nf.ErrGone, fs.ErrNotExist)
	case init.instance == "":
		return fmt.Errorf("cannot enter container %s: %s", id, init.why)
	}
	dir := filepath.Join(r.proc(), strconv.Itoa(init.pid))
	checked := false
	same := func(ns netns.Identity) error {
		checked = true
		start, err := netns.StartTime(dir)
		if err == nil && r.instance(id, process{pid: init.pid, start: start, ns: ns}) == instance {
			return nil
		}
		return fmt.Errorf("cannot enter container %s: it was restarted: %w", id, nf.ErrGone)
	}
	err := r.Thread.EnterIf(filepath.Join(dir, "ns/net"), same, f)
	if !checked && missing(err) {
		return fmt.Errorf("cannot enter container %s: %w: %w", id, nf.ErrGone, err)
	}
	return err
}
