package vztest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"nfsync.dev/nfsync/internal/nf"
)

var (
	errRunning    = errors.New("the container is running")
	errNotRunning = errors.New("the container is not running")
	errNoDump     = errors.New("there is no dump to resume from")
	errStart      = errors.New("cannot start the container")
)

// start resumes a suspended container, and starts it cold if that fails. It starts any other
// container cold (ACTION_START, src/vzctl.c of vzctl).
func (n *Node) start(c *container) error {
	if c.status == nf.StateSuspended && n.resume(c) == nil {
		return nil
	}
	return n.coldStart(c)
}

func (n *Node) coldStart(c *container) error {
	if c.pid != 0 {
		return errRunning
	}
	if c.failsStart {
		return errStart
	}
	if err := os.RemoveAll(n.path(privDir, c.ID, "dump")); err != nil {
		return err
	}
	mask := n.confMask(c)
	if c.refusesMask {
		mask = maskDefault // as in a new ve cgroup: ve_create, kernel/ve/ve.c
	}
	return n.launch(c, mask)
}

// launch starts a container's init, and makes its ve cgroup with a mask, its pid file and the
// link to its network namespace.
func (n *Node) launch(c *container, mask uint64) error {
	pid, err := n.startInit(c.SharedNet)
	if err != nil {
		return err
	}
	c.pid, c.status = pid, nf.StateRunning
	if err := n.showProcess(c); err != nil {
		return err
	}
	if err := os.MkdirAll(n.path(cgroupDir, c.ID), 0o755); err != nil {
		return err
	}
	files := map[string]string{
		n.path(pidDir, c.ID+".init.pid"):       strconv.Itoa(pid), // "%d", lib/common.c of libvzctl
		n.path(cgroupDir, c.ID, "ve.state"):    "RUNNING\n",
		n.path(cgroupDir, c.ID, "ve.features"): "0\n",
	}
	if !n.noMasks {
		files[n.maskFile(c)] = strconv.FormatUint(normalize(mask), 10) + "\n"
	}
	for path, text := range files {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return os.Symlink(fmt.Sprintf("/proc/%d/ns/net", pid), n.path(netnsDir, c.ID)) // lib/env_nsops.c
}

// showProcess adds a container's init to Proc, with the line envID of its status (task_state
// in fs/proc/array.c of the Virtuozzo 7 kernel).
func (n *Node) showProcess(c *container) error {
	pid := strconv.Itoa(c.pid)
	status, err := os.ReadFile(filepath.Join("/proc", pid, "status"))
	if err != nil {
		return err
	}
	dir := filepath.Join(n.Proc(), pid)
	return errors.Join(
		os.MkdirAll(dir, 0o755),
		os.WriteFile(filepath.Join(dir, "status"), append(status, "envID:\t"+c.ID+"\n"...), 0o444),
		os.Symlink(filepath.Join("/proc", pid, "stat"), filepath.Join(dir, "stat")),
		os.Symlink(filepath.Join("/proc", pid, "ns"), filepath.Join(dir, "ns")),
	)
}

// halt ends a container's init and removes its ve cgroup and the files that launch made.
func (n *Node) halt(c *container) error {
	n.endInit(c.pid)
	process := filepath.Join(n.Proc(), strconv.Itoa(c.pid))
	c.pid, c.transition = 0, ""
	return errors.Join(
		os.RemoveAll(process),
		os.Remove(n.path(pidDir, c.ID+".init.pid")),
		os.Remove(n.path(netnsDir, c.ID)),
		os.RemoveAll(n.path(cgroupDir, c.ID)),
	)
}

func (n *Node) stop(c *container) error {
	if c.pid == 0 {
		return errNotRunning
	}
	c.status = nf.StateStopped
	return n.halt(c)
}

// restart stops a container and starts it cold. The dump of a suspended one is removed.
func (n *Node) restart(c *container) error {
	if c.pid != 0 {
		if err := n.stop(c); err != nil {
			return err
		}
	}
	c.status = nf.StateStopped
	return n.coldStart(c)
}

// dumpFile returns the path to which vz-cpt saves the mask of a suspended container, in its
// dump (scripts/vz-cpt.in of libvzctl).
func (n *Node) dumpFile(c *container) string {
	return n.path(privDir, c.ID, "dump/Dump/vz_iptables_mask.img")
}

func (n *Node) maskFile(c *container) string { return n.path(cgroupDir, c.ID, "ve.iptables_mask") }

// suspend writes the mask of a container to its dump and ends the container.
func (n *Node) suspend(c *container) error {
	if c.pid == 0 {
		return errNotRunning
	}
	if err := os.MkdirAll(filepath.Dir(n.dumpFile(c)), 0o755); err != nil {
		return err
	}
	if !n.noMasks {
		mask, err := os.ReadFile(n.maskFile(c))
		if err != nil {
			return err
		}
		if err := os.WriteFile(n.dumpFile(c), mask, 0o600); err != nil {
			return err
		}
	}
	c.status = nf.StateSuspended
	return n.halt(c)
}

// resume starts a suspended container in new namespaces, with the mask in its dump
// (scripts/vz-rst.in and vz-rst-action.in of libvzctl).
func (n *Node) resume(c *container) error {
	if c.status != nf.StateSuspended {
		return errNoDump
	}
	var mask uint64
	if !n.noMasks {
		text, err := os.ReadFile(n.dumpFile(c))
		if err != nil {
			return err
		}
		if _, err := fmt.Sscan(string(text), &mask); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(n.path(privDir, c.ID, "dump")); err != nil {
		return err
	}
	return n.launch(c, mask)
}

func (n *Node) remove(c *container) error {
	if c.pid != 0 {
		if err := n.stop(c); err != nil {
			return err
		}
	}
	n.containers = slices.DeleteFunc(n.containers, func(o *container) bool { return o == c })
	return errors.Join(os.RemoveAll(n.path(privDir, c.ID)), os.RemoveAll(n.path(confDir, c.ID+".conf")))
}
