package main

import (
	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/state"
)

// facts returns the facts of this node, with what nfsync remembers of it.
func (a *app) facts() apply.Facts {
	return apply.Live(a.machine(a.host()), func() (nf.Memory, error) { return state.ReadMemory(a.stateDir) })
}
