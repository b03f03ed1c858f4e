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
	if len(s.Runtimes) > 0 && !slices.Contains(s.Runtimes, c.Runtime) {
		return false
	}
	if len(s.Names) == 0 && len(s.IDs) == 0 {
		return true
	}
	if slices.Contains(s.IDs, c.ID) || matchAny(s.Names, c.Name) {
		return true
	}
	if c.UUID != "" && slices.ContainsFunc(s.IDs, func(id string) bool { return strings.EqualFold(id, c.UUID) }) {
		return true
	}
	for _, alias := range c.Aliases {
		if matchAny(s.Names, alias) || c.Runtime == nf.RuntimeNetns && slices.Contains(s.IDs, alias) {
			return true
		}
	}
	return false
}

// onlyNetns reports whether only containers of netns can be selected.
func (s ContainerSelector) onlyNetns() bool {
	return len(s.Runtimes) > 0 && !slices.Contains(s.Runtimes, nf.RuntimeVZ)
}

func matchAny(globs []string, name string) bool {
	for _, glob := range globs {
		// The parser has refused malformed globs.
		if ok, err := path.Match(glob, name); ok && err == nil {
			return true
		}
	}
	return false
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
