package spec

import (
	"fmt"

	"nfsync.dev/nfsync/internal/nf"
)

// Policies are all policies of one revision, in the order of file and line.
type Policies []Policy

// Policy is one policy document.
type Policy struct {
	Kind       string    // nf.KindNodePolicy or nf.KindContainerPolicy
	Source     nf.Source // its name, and the place of metadata.name
	Priority   int       // higher wins, key by key
	Nodes      NodeSelector
	Containers ContainerSelector // of a ContainerPolicy
	Restart    nf.Restart        // of a ContainerPolicy: refuse, stage or allow
	Wishes     []KeyWish         // in the order of the file, each key once
}

// KeyWish is a policy's wish for one key, and the place of that value.
type KeyWish struct {
	Key    nf.Key
	Wish   nf.Wish
	Source nf.Source
}

// NodeSelector selects the nodes of a policy: every node if it is empty. If names and
// labels are given both must match.
type NodeSelector struct {
	Names  []string // globs as path.Match has them, of which one must match the whole name
	Labels map[string]string
}

// ContainerSelector selects the containers of a policy, on its nodes: those of these
// runtimes that have all of the labels and of which a name or an id matches. A part that
// is empty selects every container.
type ContainerSelector struct {
	Names    []string // globs, on the name or an alias
	IDs      []string
	Labels   map[string]string
	Runtimes []string
}

// Conflict is a pair of wishes that policies of one kind with the same selectors have: for
// different things of one key, with equal priority, or of one value of the kernel, under
// two keys. Second.Key is then the other one.
type Conflict struct {
	Kind   string   `json:"kind"`
	Key    nf.Key   `json:"key"`
	First  nf.Rival `json:"first"`
	Second nf.Rival `json:"second"`
}

// Diagnostic returns the conflict as a diagnostic at the second of the two.
func (c Conflict) Diagnostic() Diagnostic {
	at := c.Second.Source
	d := Diagnostic{Rule: RuleConflict, File: at.File, Line: at.Line, Column: at.Column}
	if c.Second.Key != "" {
		d.Message = fmt.Sprintf("conflict: %s %q wants %s %s, but %q at %s wants %s %s, and both keys set one value of the kernel",
			c.Kind, at.Name, c.Second.Key, c.Second.Key.WishText(c.Second.Wish), c.First.Source.Name, c.First.Source, c.Key, c.Key.WishText(c.First.Wish))
		d.Hint = "set the value under one of the two keys only, or to the same under both"
		return d
	}
	d.Message = fmt.Sprintf("conflict: %s %q wants %s %s, but %q at %s wants %s, with the same priority and selectors",
		c.Kind, at.Name, c.Key, c.Key.WishText(c.Second.Wish), c.First.Source.Name, c.First.Source, c.Key.WishText(c.First.Wish))
	d.Hint = "give one of the two a higher spec.priority, or selectors of its own"
	return d
}
