package runtimes

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	goruntime "runtime"

	"nfsync.dev/nfsync/internal/netns"
	"nfsync.dev/nfsync/internal/nf"
)

// Enter runs f in the network namespace of a container that was listed, as netns.Thread.Enter does. It
// returns nf.ErrGone if the namespace is not that of the instance any more, and also fs.ErrNotExist
// if the process or the file through which it was to be entered has gone.
func (n Node) Enter(c *nf.Container, f func() error) error {
	path, start := c.Entry.File, uint64(0)
	if path == "" {
		p, err := n.process(c)
		if err != nil {
			return err
		}
		defer p.Close()
		path, start = p.Path("ns/net"), p.Start
	}
	entered := false
	err := n.Thread.EnterIf(path, func(now netns.Identity) error {
		entered = true
		if n.instance(now, start) != c.Instance {
			return moved(c)
		}
		return nil
	}, f)
	if !entered && errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot enter %s: %w: %w", c.Target(), nf.ErrGone, fs.ErrNotExist)
	}
	return err
}

// Check returns nf.ErrGone as Enter does. It compares the inode only, as netns.Runtime.Check does.
func (n Node) Check(c *nf.Container) error {
	if c.Entry.File != "" {
		return n.Enter(c, func() error { return nil })
	}
	p, err := n.process(c)
	if err != nil {
		return err
	}
	defer p.Close()
	id, err := p.Inode()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("cannot enter %s: %w: %w", c.Target(), nf.ErrGone, fs.ErrNotExist)
	case err != nil:
		return fmt.Errorf("cannot enter %s: %w", c.Target(), err)
	case id.InodeInstance(n.BootID) != netns.Inode(c.Instance):
		return moved(c)
	}
	return nil
}

// inNode runs f in the node's network namespace, on a thread that stays there meanwhile.
func (n Node) inNode(f func() error) error {
	if n.NodeNetns != "" {
		return n.Thread.Enter(n.NodeNetns, f)
	}
	goruntime.LockOSThread()
	defer goruntime.UnlockOSThread()
	return f()
}

// process opens the process of a container.
func (n Node) process(c *nf.Container) (*netns.Process, error) {
	if c.Entry.PID == 0 {
		return nil, fmt.Errorf("cannot enter %s: %s: %w", c.Target(), cmp.Or(c.Unobservable, "its process is not known"), nf.ErrGone)
	}
	p, err := n.openProcess(c.Entry.PID, c.Entry.Start)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("cannot enter %s: its process has ended: %w: %w", c.Target(), nf.ErrGone, fs.ErrNotExist)
	case err != nil:
		return nil, fmt.Errorf("cannot enter %s: %w", c.Target(), err)
	}
	return p, nil
}

func moved(c *nf.Container) error {
	return fmt.Errorf("cannot enter %s: its process is in another network namespace now: %w", c.Target(), nf.ErrGone)
}
