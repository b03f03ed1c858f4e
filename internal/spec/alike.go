package spec

import (
	"fmt"
	"slices"
	"strings"

	"nfsync.dev/nfsync/internal/nf"
)

// AreAlike reports whether two sets of policies want the same of a node, whatever containers it has now or later: the
// policies that select the node are the same, but for their names and places. It may be false of two that bring the
// same in other words.
func AreAlike(a, b Policies, node nf.NodeIdentity) bool {
	inA, inB := meanings(a, node), meanings(b, node)
	if slices.Equal(inA, inB) {
		return true
	}
	slices.Sort(inA)
	slices.Sort(inB)
	return slices.Equal(inA, inB) && !a.haveRivals(node) // with rivals, the first one wins
}

// meanings returns what the policies that select a node mean, in the order in which they are resolved.
func meanings(p Policies, node nf.NodeIdentity) []string {
	var list []string
	for _, policy := range p.selecting(node) {
		list = append(list, policy.meaning())
	}
	return list
}

// selecting returns the policies that select a node, in the order in which they are resolved.
func (p Policies) selecting(node nf.NodeIdentity) []*Policy {
	var list []*Policy
	for i := range p {
		if p[i].Nodes.Match(node) {
			list = append(list, &p[i])
		}
	}
	slices.SortStableFunc(list, byPriority)
	return list
}

// meaning returns a text of everything in a policy that is resolved on a node that it selects.
func (p *Policy) meaning() string {
	onAnyNode := *p
	onAnyNode.Nodes = NodeSelector{}
	wishes := make([]string, len(p.Wishes))
	for i, w := range p.Wishes {
		wishes[i] = fmt.Sprintf("%q %#v", w.Key, w.Wish)
	}
	slices.Sort(wishes)
	return fmt.Sprintf("%s %d %s %q\n%s", p.Kind, p.Priority, onAnyNode.canonical(), p.Restart, strings.Join(wishes, "\n"))
}

// haveRivals reports whether two policies of one kind and priority that select a node have different wishes for a key.
func (p Policies) haveRivals(node nf.NodeIdentity) bool {
	type claim struct {
		kind     string
		priority int
		key      nf.Key
	}
	claims := map[claim]nf.Wish{}
	for _, policy := range p.selecting(node) {
		for _, w := range policy.Wishes {
			c := claim{policy.Kind, policy.Priority, w.Key}
			if first, ok := claims[c]; ok && first != w.Wish {
				return true
			}
			claims[c] = w.Wish
		}
	}
	return false
}
