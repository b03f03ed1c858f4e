package vz

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"

	"nfsync.dev/nfsync/internal/netns"
	"nfsync.dev/nfsync/internal/nf"
)

// Runtime has the containers of Virtuozzo on this node.
type Runtime struct {
	Root     string           // of Virtuozzo's files and programs; empty: /
	Proc     string           // nfsync's own procfs; empty: /proc
	BootID   string           // of this start of the kernel: part of every instance
	Own      []netns.Identity // the node's network namespaces, which are no container's
	Timeouts Timeouts
}

// Node is the result of List.
type Node struct {
	// Containers are sorted by id: identity, state, and the fact of their level,
	// live and saved. Without a namespace of its own one is unobservable.
	Containers []nf.Container
	// Namespaces are those of the containers, which no other runtime lists. It has those
	// that files show even if the containers cannot be listed.
	Namespaces []netns.Identity
	// Masks and Latches are those of nf.Capabilities.
	Masks    bool
	Latches  string
	Warnings []nf.Warning
}

// List lists the containers of the programs' answer, with what files show of them now. A
// node without Virtuozzo has none, and does not latch. If neither program could list it
// returns an error, and the containers that have a configuration, unobservable.
func (r Runtime) List(ctx context.Context, a Answer) (Node, error) {
	if err := ctx.Err(); err != nil {
		return Node{}, err
	}
	n := r.node()
	if !n.virtuozzo() {
		return Node{Containers: []nf.Container{}, Latches: nf.No}, nil
	}
	if a.err != nil {
		return Node{Containers: r.unlisted(n), Latches: nf.MaybeUnknown, Namespaces: r.claims(n, nil)},
			fmt.Errorf("cannot list Virtuozzo's containers: %w", a.err)
	}
	l := lister{r: r, n: n, lives: map[string]life{}}
	for _, e := range a.entries {
		if err := ctx.Err(); err != nil {
			return Node{}, err
		}
		l.add(e)
	}
	l.unshare()
	found := Node{Containers: l.containers, Namespaces: r.claims(n, l.lives), Warnings: a.warnings}
	found.Masks, found.Latches = a.capabilities(l.containers, n.hasMask)
	if found.Masks {
		l.demandMasks()
	}
	return found, ctx.Err()
}

// lister builds the containers of the entries of the programs.
type lister struct {
	r          Runtime
	n          *node
	containers []nf.Container
	lives      map[string]life // by CTID
}

func (l *lister) add(e entry) {
	c, err := l.n.conf(e.ctid)
	if c.isTemplate() {
		return
	}
	life := l.r.life(l.n, e.ctid)
	l.lives[e.ctid] = life
	found := l.n.container(e, c, err)
	found.Instance, found.Unobservable = identify(found.State, life)
	l.containers = append(l.containers, found)
}

// container returns a container with the fact of its level. Its configuration adds what
// the programs do not list.
func (n *node) container(e entry, c conf, confErr error) nf.Container {
	found := nf.Container{Runtime: nf.RuntimeVZ, ID: e.ctid, UUID: cmp.Or(e.uuid, bareUUID(c[confUUID])),
		Name: cmp.Or(e.name, c[confName], e.ctid), State: e.state()}
	found.Facts = []nf.Fact{n.level(e.ctid, found.State, c, confErr)}
	return found
}

// unlisted returns the containers that have a configuration, for when no program could
// list them: so a policy for one of them does not silently select nothing. The link to the
// configuration of a removed container is none.
func (r Runtime) unlisted(n *node) []nf.Container {
	const why = "no program says which containers there are, or in what state"
	list := []nf.Container{}
	for _, ctid := range n.configured() {
		c, err := n.conf(ctid)
		life := r.life(n, ctid)
		if c.isTemplate() || missing(err) && life.kind != lifeOn {
			continue
		}
		found := n.container(entry{ctid: ctid, vzlist: stateUnknown}, c, err)
		found.Instance, found.Unobservable = life.instance, why
		found.Facts[0].Live = nf.Unknown(why)
		list = append(list, found)
	}
	slices.SortFunc(list, func(a, b nf.Container) int { return cmp.Compare(a.ID, b.ID) })
	return list
}

// stateUnknown is prlctl's word for an unknown state (vmstate2str in src/Utils.cpp).
const stateUnknown = "unknown"

// identify returns the instance of a container in a state of the programs, and why it
// cannot be worked with; empty if it can.
func identify(state string, l life) (instance, unobservable string) {
	switch {
	case nf.Runs(state):
		return l.instance, l.why
	case !nf.Rests(state):
		return l.instance, fmt.Sprintf("its state is %q", state)
	case l.kind == lifeOn:
		return l.instance, fmt.Sprintf("it is listed as %s, and files show an init process: it is in transition", state)
	case state == nf.StateSuspended:
		return nf.InstanceSuspended, ""
	}
	return nf.InstanceStopped, ""
}

// unshare makes containers unobservable that share a network namespace: a change in one
// is a change in the other.
func (l *lister) unshare() {
	owners := map[netns.Identity][]string{}
	for ctid, life := range l.lives {
		if life.instance != "" {
			owners[life.ns] = append(owners[life.ns], ctid)
		}
	}
	for i := range l.containers {
		c := &l.containers[i]
		life := l.lives[c.ID]
		if same := owners[life.ns]; life.instance != "" && len(same) > 1 {
			slices.Sort(same)
			c.Unobservable = fmt.Sprintf("the containers %q have the same network namespace", same)
		}
	}
}

// demandMasks makes the level of a running container without a mask unknown, for when
// others have one.
func (l *lister) demandMasks() {
	for i := range l.containers {
		c := &l.containers[i]
		f := c.Fact(nf.KeyLevel)
		if f.Live.IsAbsent() && nf.Runs(c.State) {
			f.Live = nf.Unknown("its ve cgroup has no mask, and those of other containers do")
			c.SetFact(f)
		}
	}
}

// claims returns the namespaces of all containers that files show, listed or not.
func (r Runtime) claims(n *node, lives map[string]life) []netns.Identity {
	var all []netns.Identity
	claim := func(l life) { all = append(all, l.claims...) }
	for _, l := range lives {
		claim(l)
	}
	seen := map[string]bool{}
	for _, ctid := range slices.Concat(n.configured(), ctidsIn(n.pidDir, pidExt)) {
		if _, known := lives[ctid]; !known && !seen[ctid] {
			seen[ctid] = true
			claim(r.life(n, ctid))
		}
	}
	slices.SortFunc(all, func(a, b netns.Identity) int { return cmp.Compare(a.String(), b.String()) })
	return slices.Compact(all)
}

// capabilities returns whether the kernel keeps levels in masks, and so latches: from the
// containers that show it, else from the programs. A mask that cannot be read shows it
// too.
func (a Answer) capabilities(containers []nf.Container, hasMask func(ctid string) bool) (masks bool, latches string) {
	running, without := false, false
	for i := range containers {
		c := &containers[i]
		if hasMask(c.ID) {
			return true, nf.Yes
		}
		if !nf.Runs(c.State) {
			continue
		}
		running = true
		without = without || c.Fact(nf.KeyLevel).Live.IsAbsent()
	}
	switch {
	case without:
		return false, nf.No
	case running:
		return false, nf.MaybeUnknown
	}
	return a.masks, cmp.Or(a.latches, nf.MaybeUnknown)
}

// Refresh reads the container's instance and the fact of its level again, from files only.
// A container without files is nf.ErrGone. One that was started, stopped or restarted since
// has another instance, and its state follows from the files. Only List finds a namespace
// that is shared with another container.
func (r Runtime) Refresh(c *nf.Container) error {
	if !usableCTID(c.ID) {
		return fmt.Errorf("cannot find a container %q: %w", c.ID, nf.ErrGone)
	}
	n := r.node()
	l := r.life(n, c.ID)
	settings, err := n.conf(c.ID)
	if missing(err) && l.kind != lifeOn {
		return fmt.Errorf("container %s has neither a configuration nor an init process: %w", c.ID, nf.ErrGone)
	}
	refreshState(c, l, func() bool { return n.dumped(c.ID, settings) })
	c.SetFact(n.level(c.ID, c.State, settings, err))
	return nil
}

// refreshState sets the state and the instance of a container by its init or, without one,
// by its dump, as vzctl2_get_env_status in libvzctl does.
func refreshState(c *nf.Container, l life, dumped func() bool) {
	had := c.Instance == nf.InstanceStopped || c.Instance == nf.InstanceSuspended
	switch {
	case l.kind == lifeOn && l.instance != "" && l.instance == c.Instance:
		// the listing still holds
	case l.kind == lifeOn:
		c.Instance, c.Unobservable = l.instance, l.why
		if l.pid != 0 {
			c.State = nf.StateRunning
		}
	case l.kind == lifeLost && !had:
		c.Instance, c.Unobservable = "", l.why
	case had && c.State == nf.StateMounted:
	case dumped():
		c.State, c.Instance, c.Unobservable = nf.StateSuspended, nf.InstanceSuspended, ""
	default:
		c.State, c.Instance, c.Unobservable = nf.StateStopped, nf.InstanceStopped, ""
	}
}

// Enter runs f in the network namespace of a running container, as netns.Enter does. It
// returns nf.ErrGone if the instance has ended, with fs.ErrNotExist if the container does
// not run at all.
func (r Runtime) Enter(id, instance string, f func() error) error {
	if !usableCTID(id) || instance == "" {
		return fmt.Errorf("cannot enter %q: no such container runs: %w", id, nf.ErrGone)
	}
	l := r.life(r.node(), id)
	switch {
	case l.kind != lifeOn:
		return fmt.Errorf("cannot enter container %s: %s: %w: %w", id, l.why, nf.ErrGone, fs.ErrNotExist)
	case l.instance == "":
		return fmt.Errorf("cannot enter container %s: %s", id, l.why)
	}
	dir := filepath.Join(r.proc(), strconv.Itoa(l.pid))
	looked := false
	same := func(ns netns.Identity) error {
		looked = true
		start, err := startTime(dir)
		if err == nil && r.instance(id, process{pid: l.pid, start: start, ns: ns}) == instance {
			return nil
		}
		return fmt.Errorf("cannot enter container %s, which was restarted: %w", id, nf.ErrGone)
	}
	err := netns.EnterIf(filepath.Join(dir, "ns/net"), same, f)
	if !looked && missing(err) {
		return fmt.Errorf("cannot enter container %s: %w: %w", id, nf.ErrGone, err)
	}
	return err
}
