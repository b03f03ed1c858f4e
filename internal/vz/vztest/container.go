package vztest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"nfsync.dev/nfsync/internal/nf"
)

// Container is a container, a virtual machine or a template to add to a node.
type Container struct {
	ID   string // the CTID
	UUID string // by which the dispatcher knows it; the CTID where that is one, else one is made up
	Name string // NAME=; where empty the dispatcher names it by its CTID

	Saved    string // NETFILTER= of its ve.conf, empty for none
	IPTables string // IPTABLES= of its ve.conf, empty for none

	// State is one of vzlist's: running, paused, mounted, suspended or, where
	// empty, stopped. Any other, such as starting or migrating, is a transition:
	// prlctl says it, and vzlist what Runs says.
	State string
	Runs  bool
	// Mask is the live mask, or that in the dump, where it is not what the
	// saved level gives: of a container whose level was changed since its start.
	Mask *uint64

	SharedNet    bool // its init has the node's network namespace
	Unregistered bool // unknown to the dispatcher
	Template     bool
	VM           bool // known to nobody but the dispatcher
}

type container struct {
	Container
	status     string // of nf's states
	transition string // the state that prlctl reports instead, in a transition
	pid        int    // of its init
	locked     bool
	swallow    bool // the mask that is written when it starts
	unable     bool // to start
}

// Add adds containers, in the states that they say.
func (n *Node) Add(list ...Container) {
	n.t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range list {
		n.must(n.add(c))
	}
}

func (n *Node) add(c Container) error {
	n.made++
	if c.UUID == "" {
		c.UUID = fmt.Sprintf("c0ffee00-0000-4000-8000-%012d", n.made)
		if isUUID(c.ID) {
			c.UUID = c.ID
		}
	}
	if c.ID == "" {
		c.ID = c.UUID
	}
	added := &container{Container: c, status: nf.StateStopped}
	n.containers = append(n.containers, added)
	if c.VM {
		added.status = c.State
		return nil
	}
	if err := n.writeConf(added); err != nil {
		return err
	}
	return n.bring(added)
}

// bring brings a new container into the state that it is to have.
func (n *Node) bring(c *container) error {
	switch c.State {
	case "", nf.StateStopped:
		return nil
	case nf.StateMounted:
		c.status = nf.StateMounted
		return nil
	case nf.StateSuspended:
		return errors.Join(n.launch(c, n.newMask(c)), n.suspend(c))
	case nf.StateRunning, nf.StatePaused:
		c.status = c.State
		return n.launchAs(c, c.State)
	}
	c.transition = c.State
	if c.Runs {
		return n.launch(c, n.newMask(c))
	}
	return nil
}

func (n *Node) launchAs(c *container, status string) error {
	err := n.launch(c, n.newMask(c))
	c.status = status
	return err
}

// newMask is the mask of a container that is added in the middle of its life.
func (n *Node) newMask(c *container) uint64 {
	if c.Mask != nil {
		return *c.Mask
	}
	return n.confMask(c)
}

// writeConf makes the container's private area and its ve.conf, after
// etc/ve-basic.conf-sample of vzctl, and links it from the directory of all
// (lib/util.c and lib/vz.c of libvzctl): an absolute link, in the node's view.
func (n *Node) writeConf(c *container) error {
	if err := os.MkdirAll(n.path(privDir, c.ID), 0o755); err != nil {
		return err
	}
	lines := []string{
		"# Made for a test.",
		`VERSION="2"`, `ONBOOT="yes"`, "",
		`PHYSPAGES="65536:65536"`, `SWAPPAGES="65536"`, `CPUUNITS="1000"`,
		`VE_ROOT="/vz/root/$VEID"`, `VE_PRIVATE="/vz/private/$VEID"`,
		fmt.Sprintf("UUID=%q", c.UUID), fmt.Sprintf("VEID=%q", c.ID),
	}
	if c.Name != "" {
		lines = append(lines, `NAME="`+c.Name+`"`)
	}
	if c.Template {
		lines = append(lines, `VE_TYPE="template"`) // lib/env_config.c of libvzctl
	}
	if c.IPTables != "" {
		lines = append(lines, `IPTABLES="`+c.IPTables+`"`)
	}
	if c.Saved != "" {
		lines = append(lines, `NETFILTER="`+c.Saved+`"`)
	}
	conf := "/" + filepath.Join(privDir, c.ID, "ve.conf")
	if err := os.WriteFile(n.path(conf), []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		return err
	}
	return os.Symlink(conf, n.path(confDir, c.ID+".conf"))
}

// get returns the container with that CTID, or fails the test.
func (n *Node) get(id string) *container {
	n.t.Helper()
	i := slices.IndexFunc(n.containers, func(c *container) bool { return c.ID == id })
	if i < 0 {
		n.t.Fatalf("vztest: there is no container %s", id)
	}
	return n.containers[i]
}

// on runs an action on a container, as an admin would bring it about.
func (n *Node) on(id string, act func(*container) error) {
	n.t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.must(act(n.get(id)))
}

// Start starts a stopped container, and resumes a suspended one.
func (n *Node) Start(id string) { n.t.Helper(); n.on(id, n.start) }

// Stop stops a container.
func (n *Node) Stop(id string) { n.t.Helper(); n.on(id, n.stop) }

// Restart restarts a container: a cold start, also of a suspended one.
func (n *Node) Restart(id string) { n.t.Helper(); n.on(id, n.restart) }

// Suspend suspends a running container to disk.
func (n *Node) Suspend(id string) { n.t.Helper(); n.on(id, n.suspend) }

// Resume resumes a suspended one, in a new network namespace.
func (n *Node) Resume(id string) { n.t.Helper(); n.on(id, n.resume) }

// Migrate moves a running container to another node and back again: its memory,
// and with it its mask, comes along, its processes and namespaces are new
// (vzmigrate dumps and restores).
func (n *Node) Migrate(id string) {
	n.t.Helper()
	n.on(id, func(c *container) error { return errors.Join(n.suspend(c), n.resume(c)) })
}

// Remove destroys a container: nothing is left of it.
func (n *Node) Remove(id string) { n.t.Helper(); n.on(id, n.remove) }

// Crash ends the container's init behind Virtuozzo's back: its files stay, and
// the link to its namespace dangles.
func (n *Node) Crash(id string) {
	n.t.Helper()
	n.on(id, func(c *container) error {
		n.death(c.pid)
		return nil
	})
}

// Reboot is a restart of the whole node: every container that runs is stopped
// and started cold again, and a suspended one stays so. The new boot id is the
// caller's to make up.
func (n *Node) Reboot() {
	n.t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range n.containers {
		if c.pid != 0 {
			n.must(errors.Join(n.stop(c), n.start(c)))
		}
	}
}

// SetTransition makes prlctl report a transition, such as starting or migrating; the empty
// string ends it.
func (n *Node) SetTransition(id, state string) {
	n.t.Helper()
	n.on(id, func(c *container) error { c.transition = state; return nil })
}

// Lock lets somebody else hold the container's lock, or not any more: vzctl
// changes nothing then (vzctl2_env_lock, lib/lock.c).
func (n *Node) Lock(id string, locked bool) {
	n.t.Helper()
	n.on(id, func(c *container) error { c.locked = locked; return nil })
}

// SwallowMask makes the kernel refuse the mask that is written at a container's
// starts, which libvzctl says to nobody (set_features, lib/env_nsops.c): the
// container then has the mask of a new ve cgroup, which is that of stateless.
func (n *Node) SwallowMask(id string, swallow bool) {
	n.t.Helper()
	n.on(id, func(c *container) error { c.swallow = swallow; return nil })
}

// FailStart makes every start of a container fail.
func (n *Node) FailStart(id string, fail bool) {
	n.t.Helper()
	n.on(id, func(c *container) error { c.unable = fail; return nil })
}

// State is what vzlist says of a container.
func (n *Node) State(id string) (state string) {
	n.t.Helper()
	n.on(id, func(c *container) error { state = c.status; return nil })
	return state
}

// Pid is that of a container's init; 0 where it has none.
func (n *Node) Pid(id string) (pid int) {
	n.t.Helper()
	n.on(id, func(c *container) error { pid = c.pid; return nil })
	return pid
}

// Saved is the level that the container's ve.conf saves, empty for none.
func (n *Node) Saved(id string) (level string) {
	n.t.Helper()
	n.on(id, func(c *container) error {
		var err error
		level, err = n.conf(c.ID).get("NETFILTER")
		return err
	})
	return level
}

// Mask is the live mask of a running container.
func (n *Node) Mask(id string) (mask uint64) {
	n.t.Helper()
	n.on(id, func(c *container) error {
		text, err := os.ReadFile(n.maskFile(c))
		if err != nil {
			return err
		}
		_, err = fmt.Sscan(string(text), &mask)
		return err
	})
	return mask
}

// RemoveMasks makes the node one of VHS 9: the kernel has no masks, vzlist no
// field and the programs no option netfilter, though the samples of ve.conf
// still have a line (libvzctl 12df9f7, vzctl 5a2db74, prlctl a8f8249).
func (n *Node) RemoveMasks() {
	n.t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.noMasks = true
	for _, c := range n.containers {
		if err := os.Remove(n.maskFile(c)); !errors.Is(err, os.ErrNotExist) {
			n.must(err)
		}
	}
}

// isUUID reports whether a text has the form of a UUID, without braces.
func isUUID(s string) bool {
	parts := strings.Split(s, "-")
	return len(parts) == 5 && len(s) == 36 && strings.Trim(s, "0123456789abcdefABCDEF-") == ""
}
