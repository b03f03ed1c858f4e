package nf

import (
	"cmp"
	"errors"
	"slices"
	"strings"
)

// The kinds of targets.
const (
	TargetNode      = "node"
	TargetContainer = "container"
)

// The container runtimes.
const (
	RuntimeVZ     = "vz"     // Virtuozzo 7, VHS 7, OpenVZ 7
	RuntimeCRI    = "cri"    // the pods of Kubernetes: containerd, CRI-O
	RuntimeDocker = "docker" // Docker Engine
	RuntimePodman = "podman" // Podman, of root and of users
	RuntimeIncus  = "incus"  // Incus and LXD
	RuntimeLXC    = "lxc"    // LXC
	RuntimeNspawn = "nspawn" // systemd-nspawn
	RuntimeNetns  = "netns"  // named network namespaces, as ip-netns(8) makes them
)

// Runtimes lists the container runtimes. If several of them know a network namespace, it is a
// container of the first one.
func Runtimes() []string {
	return []string{RuntimeVZ, RuntimeCRI, RuntimeDocker, RuntimePodman, RuntimeIncus, RuntimeLXC, RuntimeNspawn, RuntimeNetns}
}

// HasLabels reports whether containers of that runtime have labels.
func HasLabels(runtime string) bool {
	return slices.Contains([]string{RuntimeCRI, RuntimeDocker, RuntimePodman, RuntimeIncus}, runtime)
}

// ErrGone says that a target has vanished, or that its name now belongs to
// another instance, since it was observed.
var ErrGone = errors.New("the target is gone")

// ErrBusy says that another program holds the lock of the target: a change that failed for
// that is made when it ends.
var ErrBusy = errors.New("another program holds the lock of the target")

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

// Compare orders targets: the node first, then containers by runtime and id, as people count
// them (web-3 before web-10). Only equal targets compare as equal.
func (t Target) Compare(o Target) int {
	if t.IsNode() != o.IsNode() {
		if t.IsNode() {
			return -1
		}
		return 1
	}
	if order := cmp.Compare(t.Runtime, o.Runtime); order != 0 {
		return order
	}
	if order := CompareNames(t.ID, o.ID); order != 0 {
		return order
	}
	return CompareNames(t.Name, o.Name)
}

// CompareNames compares names byte by byte, but the numbers within them as numbers. Of names
// that differ only in the zeros before a number, the one with more of them comes first.
func CompareNames(a, b string) int {
	if a == b {
		return 0
	}
	restA, restB := a, b
	for restA != "" && restB != "" {
		numberA, numberB := leadingDigits(restA), leadingDigits(restB)
		if numberA == "" || numberB == "" {
			if restA[0] != restB[0] {
				return cmp.Compare(restA[0], restB[0])
			}
			restA, restB = restA[1:], restB[1:]
			continue
		}
		x, y := strings.TrimLeft(numberA, "0"), strings.TrimLeft(numberB, "0")
		if order := cmp.Or(cmp.Compare(len(x), len(y)), cmp.Compare(x, y)); order != 0 {
			return order
		}
		restA, restB = restA[len(numberA):], restB[len(numberB):]
	}
	return cmp.Or(cmp.Compare(len(restA), len(restB)), cmp.Compare(a, b))
}

// leadingDigits returns the decimal digits with which s begins.
func leadingDigits(s string) string {
	end := 0
	for end < len(s) && '0' <= s[end] && s[end] <= '9' {
		end++
	}
	return s[:end]
}
