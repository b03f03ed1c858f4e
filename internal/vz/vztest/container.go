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
	UUID string // of the dispatcher; empty: the CTID if it is a UUID, else a generated one
	Name string // NAME=; empty: the dispatcher uses the CTID

	Saved    string // NETFILTER= of its ve.conf; empty: no such line
	IPTables string // IPTABLES= of its ve.conf; empty: no such line

	// State is a state of vzlist: running, paused, mounted, suspended or stopped; empty:
	// stopped. Any other state, such as starting or migrating, is a transition: prlctl prints
	// it, and vzlist prints running if Runs is set, else stopped.
	State string
	Runs  bool
	// Mask is the live mask, or the one in the dump; nil: that of the saved level. It differs
	// from that if the level was saved after the start.
	Mask *uint64

	SharedNet    bool // its init runs in the node's network namespace
	Unregistered bool // the dispatcher does not know it
	Template     bool
	VM           bool // only the dispatcher knows it
}

type container struct {
	Container
	status      string // one of nf's states
	transition  string // printed by prlctl instead of the status; empty: none
	pid         int    // of its init; 0: none
	locked      bool
	refusesMask bool // the kernel refuses the mask at its starts
	failsStart  bool
}

// Add adds containers, in their states.
func (n *Node) Add(list ...Container) {
	n.t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range list {
		n.must(n.add(c))
	}
}

func (n *Node) add(c Container) error {
	n.added++
	if c.UUID == "" {
		c.UUID = fmt.Sprintf("c0ffee00-0000-4000-8000-%012d", n.added)
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
	return n.enterState(added)
}

// enterState brings a new container into its state.
func (n *Node) enterState(c *container) error {
	switch c.State {
	case "", nf.StateStopped:
		return nil
	case nf.StateMounted:
		c.status = nf.StateMounted
		return nil
	case nf.StateSuspended:
		return errors.Join(n.launch(c, n.newMask(c)), n.suspend(c))
	case nf.StateRunning, nf.StatePaused:
		err := n.launch(c, n.newMask(c))
		c.status = c.State
		return err
	}
	c.transition = c.State
	if c.Runs {
		return n.launch(c, n.newMask(c))
	}
	return nil
}

// newMask returns the mask of a container that is added as running or suspended.
func (n *Node) newMask(c *container) uint64 {
	if c.Mask != nil {
		return *c.Mask
	}
	return n.confMask(c)
}

// writeConf makes the container's private area and its ve.conf, in the format of
// etc/ve-basic.conf-sample of vzctl. It links to it from the directory of configurations, by
// an absolute path of the node (lib/util.c and lib/vz.c of libvzctl).
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

// get returns the container with that CTID. The test fails if there is none.
func (n *Node) get(id string) *container {
	n.t.Helper()
	i := slices.IndexFunc(n.containers, func(c *container) bool { return c.ID == id })
	if i < 0 {
		n.t.Fatalf("vztest: there is no container %s", id)
	}
	return n.containers[i]
}

// do runs an action on a container, as an administrator would.
func (n *Node) do(id string, act func(*container) error) {
	n.t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.must(act(n.get(id)))
}

// Start starts a stopped container, and resumes a suspended one.
func (n *Node) Start(id string) { n.t.Helper(); n.do(id, n.start) }

// Stop stops a container.
func (n *Node) Stop(id string) { n.t.Helper(); n.do(id, n.stop) }

// Restart restarts a container cold, even a suspended one.
func (n *Node) Restart(id string) { n.t.Helper(); n.do(id, n.restart) }

// Suspend suspends a running container to disk.
func (n *Node) Suspend(id string) { n.t.Helper(); n.do(id, n.suspend) }

// Resume resumes a suspended container, in a new network namespace.
func (n *Node) Resume(id string) { n.t.Helper(); n.do(id, n.resume) }

// Migrate moves a running container to another node and to this one again. The container has
// its memory and its mask afterwards, and new processes and namespaces: vzmigrate dumps and
// restores it.
func (n *Node) Migrate(id string) {
	n.t.Helper()
	n.do(id, func(c *container) error { return errors.Join(n.suspend(c), n.resume(c)) })
}

// Remove destroys a container with all its files.
func (n *Node) Remove(id string) { n.t.Helper(); n.do(id, n.remove) }

// Crash kills the container's init. Virtuozzo does not notice: the files stay, and the link to
// the network namespace dangles.
func (n *Node) Crash(id string) {
	n.t.Helper()
	n.do(id, func(c *container) error {
		n.endInit(c.pid)
		return nil
	})
}

// Reboot restarts the node: each running container is stopped and started cold, and a
// suspended one stays suspended. The caller chooses the new boot id.
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

// SetTransition makes prlctl print a transition as the state of a container, such as starting
// or migrating. The empty string ends it.
func (n *Node) SetTransition(id, state string) {
	n.t.Helper()
	n.do(id, func(c *container) error { c.transition = state; return nil })
}

// Lock locks or unlocks a container for another operation. vzctl does not change a locked
// container (vzctl2_env_lock, lib/lock.c).
func (n *Node) Lock(id string, locked bool) {
	n.t.Helper()
	n.do(id, func(c *container) error { c.locked = locked; return nil })
}

// RefuseMask makes the kernel refuse the mask that libvzctl writes at each start of a
// container. libvzctl reports no error (set_features, lib/env_nsops.c). The container then has
// the mask of a new ve cgroup, which is that of stateless.
func (n *Node) RefuseMask(id string, refuse bool) {
	n.t.Helper()
	n.do(id, func(c *container) error { c.refusesMask = refuse; return nil })
}

// FailStart makes every start of a container fail.
func (n *Node) FailStart(id string, fail bool) {
	n.t.Helper()
	n.do(id, func(c *container) error { c.failsStart = fail; return nil })
}

// State returns the state of a container, as vzlist prints it.
func (n *Node) State(id string) (state string) {
	n.t.Helper()
	n.do(id, func(c *container) error { state = c.status; return nil })
	return state
}

// Pid returns the process id of a container's init; 0 if it has none.
func (n *Node) Pid(id string) (pid int) {
	n.t.Helper()
	n.do(id, func(c *container) error { pid = c.pid; return nil })
	return pid
}

// Saved returns the level in the container's ve.conf; empty if it has none.
func (n *Node) Saved(id string) (level string) {
	n.t.Helper()
	n.do(id, func(c *container) error {
		var err error
		level, err = n.conf(c.ID).get("NETFILTER")
		return err
	})
	return level
}

// Mask returns the live mask of a running container.
func (n *Node) Mask(id string) (mask uint64) {
	n.t.Helper()
	n.do(id, func(c *container) error {
		text, err := os.ReadFile(n.maskFile(c))
		if err != nil {
			return err
		}
		_, err = fmt.Sscan(string(text), &mask)
		return err
	})
	return mask
}

// RemoveMasks makes the node one of VHS 9: its kernel has no masks, vzlist has no field
// netfilter, and prlctl and vzctl have no option for it. The samples of ve.conf still have a
// line (libvzctl 12df9f7, vzctl 5a2db74, prlctl a8f8249).
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

// isUUID reports whether s has the form of a UUID, without braces.
func isUUID(s string) bool {
	parts := strings.Split(s, "-")
	return len(parts) == 5 && len(s) == 36 && strings.Trim(s, "0123456789abcdefABCDEF-") == ""
}
