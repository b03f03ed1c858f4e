package spec

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"nfsync.dev/nfsync/internal/nf"
)

// Match reports whether the selector selects that node.
func (s NodeSelector) Match(node nf.NodeIdentity) bool {
	for label, value := range s.Labels {
		if got, ok := node.Labels[label]; !ok || got != value {
			return false
		}
	}
	return len(s.Names) == 0 || matchAny(s.Names, node.Name)
}

// Match reports whether the selector selects that container. A Virtuozzo
// container has two ids, its CTID and its UUID, of which the letters are the same
// in upper and lower case (RFC 9562). In netns an alias is a file name
// as good as the first, and so an id.
func (s ContainerSelector) Match(c *nf.Container) bool {
	switch {
	case len(s.Runtimes) > 0 && !slices.Contains(s.Runtimes, c.Runtime):
		return false
	case len(s.Names) == 0 && len(s.IDs) == 0, slices.Contains(s.IDs, c.ID), matchAny(s.Names, c.Name),
		c.UUID != "" && slices.ContainsFunc(s.IDs, func(id string) bool { return strings.EqualFold(id, c.UUID) }):
		return true
	}
	return slices.ContainsFunc(c.Aliases, func(alias string) bool {
		return matchAny(s.Names, alias) || c.Runtime == nf.RuntimeNetns && slices.Contains(s.IDs, alias)
	})
}

// onlyNetns reports whether only containers of netns can be selected.
func (s ContainerSelector) onlyNetns() bool {
	return len(s.Runtimes) > 0 && !slices.Contains(s.Runtimes, nf.RuntimeVZ)
}

func matchAny(globs []string, name string) bool {
	return slices.ContainsFunc(globs, func(glob string) bool {
		ok, _ := path.Match(glob, name) // the parser has refused malformed globs
		return ok
	})
}

// canonical returns the selectors as a text that does not depend on their order.
func (p *Policy) canonical() string {
	var labels []string
	for label, value := range p.Nodes.Labels {
		labels = append(labels, fmt.Sprintf("%q=%q", label, value))
	}
	runtimes := sortedSet(p.Containers.Runtimes)
	if len(runtimes) == 2 {
		runtimes = nil // both is every runtime
	}
	return fmt.Sprintf("%q %q %q %q %q", sortedSet(p.Nodes.Names), sortedSet(labels),
		sortedSet(p.Containers.Names), sortedSet(p.Containers.IDs), runtimes)
}

func sortedSet(list []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(list)))
}
