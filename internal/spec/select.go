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
	return hasAll(node.Labels, s.Labels) && (len(s.Names) == 0 || matchAny(s.Names, node.Name))
}

// hasAll reports whether labels have all that are wanted, with these values.
func hasAll(labels, wanted map[string]string) bool {
	for label, value := range wanted {
		if got, ok := labels[label]; !ok || got != value {
			return false
		}
	}
	return true
}

// Match reports whether the selector selects that container. One whose labels are not
// known is selected by no labels.
func (s ContainerSelector) Match(c *nf.Container) bool {
	return s.matchIdentity(c) && (len(s.Labels) == 0 || c.LabelsUnknown == "" && hasAll(c.Labels, s.Labels))
}

// matchIdentity reports whether the selector selects that container, whatever its labels
// are. A Virtuozzo container has two ids, its CTID and its UUID, of which the letters are the same
// in upper and lower case (RFC 9562). In netns an alias is a file name
// as good as the first, and so an id.
func (s ContainerSelector) matchIdentity(c *nf.Container) bool {
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

// excludesVZ reports whether no container of vz can be selected.
func (s ContainerSelector) excludesVZ() bool {
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
	runtimes := sortedSet(p.Containers.Runtimes)
	if len(runtimes) == len(nf.Runtimes()) {
		runtimes = nil // all of them is every runtime
	}
	return fmt.Sprintf("%q %q %q %q %q %q", sortedSet(p.Nodes.Names), labelTexts(p.Nodes.Labels),
		sortedSet(p.Containers.Names), sortedSet(p.Containers.IDs), labelTexts(p.Containers.Labels), runtimes)
}

// labelTexts returns labels with their values, sorted.
func labelTexts(labels map[string]string) []string {
	var list []string
	for label, value := range labels {
		list = append(list, fmt.Sprintf("%q=%q", label, value))
	}
	slices.Sort(list)
	return list
}

func sortedSet(list []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(list)))
}
