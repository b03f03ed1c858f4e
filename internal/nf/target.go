package nf

import (
	"cmp"
	"errors"
)

// The kinds of targets.
const (
	TargetNode      = "node"
	TargetContainer = "container"
)

// The container runtimes.
const (
	RuntimeVZ    = "vz"    // Virtuozzo 7, VHS 7, OpenVZ 7
	RuntimeNetns = "netns" // named network namespaces, as ip-netns(8) makes them
)

// ErrGone says that a target has vanished, or that its name now belongs to
// another instance, since it was observed.
var ErrGone = errors.New("the target is gone")

// ErrNodeScope says that a container's conntrack.max turned out to be the
// node's: writing it moved the node's value. Both have been put back.
var ErrNodeScope = errors.New("the container's conntrack.max is the node's: writing it moved the node's value, and both were put back")

// Target names the owner of a want, a fact or a change: the node itself or one
// container on it. It is comparable. ID is the container's CTID or UUID, for
// netns the file name; Name is what people call it.
type Target struct {
	Kind    string `json:"kind"`
	Runtime string `json:"runtime,omitempty"`
	ID      string `json:"id,omitempty"`
	Name    string `json:"name,omitempty"`
}

// Node is the target that stands for the node's own network namespace.
var Node = Target{Kind: TargetNode}

// IsNode reports whether t is the node itself.
func (t Target) IsNode() bool { return t.Kind == TargetNode }

// String returns "node", or "container vz/132694 (web-1)".
func (t Target) String() string {
	if t.IsNode() {
		return TargetNode
	}
	s := "container " + t.Runtime + "/" + t.ID
	if t.Name != "" && t.Name != t.ID {
		s += " (" + t.Name + ")"
	}
	return s
}

// Nameless returns the target without its name: a container that was renamed is the same
// one.
func (t Target) Nameless() Target {
	t.Name = ""
	return t
}

// Compare orders targets: the node first, then containers by runtime and id.
func (t Target) Compare(o Target) int {
	if t.IsNode() != o.IsNode() {
		if t.IsNode() {
			return -1
		}
		return 1
	}
	return cmp.Or(cmp.Compare(t.Runtime, o.Runtime), cmp.Compare(t.ID, o.ID), cmp.Compare(t.Name, o.Name))
}
