package vz

import (
	"context"
	"errors"

	"nfsync.dev/nfsync/internal/netns"
	"nfsync.dev/nfsync/internal/nf"
)

// Runtime is the containers of Virtuozzo on this node.
type Runtime struct {
	Root   string           // below which Virtuozzo's files and programs are
	Proc   string           // nfsync's own procfs
	BootID string           // of this start of the kernel: part of every instance
	Own    []netns.Identity // the node's network namespaces, which are no container's
}

// Node is what List finds.
type Node struct {
	// Containers are sorted by id: identity, state, and the fact of their level,
	// live and saved. Without a namespace of its own one is unobservable.
	Containers []nf.Container
	// Namespaces are those of the containers, which no other runtime has.
	Namespaces []netns.Identity
	// Masks and Latches are those of nf.Capabilities.
	Masks    bool
	Latches  string
	Warnings []nf.Warning
}

// List lists the containers: one run of each program that lists them, and files
// for the rest. A node without Virtuozzo has none, and latches not.
func (r Runtime) List(ctx context.Context) (Node, error) {
	return Node{Latches: nf.No}, ctx.Err()
}

// Refresh reads the container's instance and the fact of its level again, from
// files only. A container that has none any more is nf.ErrGone. One that was
// started, stopped or restarted meanwhile has another instance than before, and
// its state follows from the files then.
func (r Runtime) Refresh(c *nf.Container) error { return nf.ErrGone }

// Enter runs f inside the network namespace of a running container, as
// netns.Enter does; nf.ErrGone where the instance is not there any more.
func (r Runtime) Enter(id, instance string, f func() error) error { return nf.ErrGone }

// SaveLevel saves a level for the container's next cold start. That it returns
// nil is proof: the saved level was read back.
func (r Runtime) SaveLevel(ctx context.Context, c *nf.Container, level string) error {
	return errors.ErrUnsupported
}

// Restart restarts a running container, and returns when it runs again.
func (r Runtime) Restart(ctx context.Context, c *nf.Container) error { return errors.ErrUnsupported }
