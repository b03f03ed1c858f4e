package spec

import (
	"cmp"
	"slices"
	"strings"

	"nfsync.dev/nfsync/internal/nf"
)

// selection finds the policies that select a container. A node can have as many policies as
// containers: what a selector names is looked up, and only patterns that begin and end with a
// wildcard are tried on each name. A selector with labels that names nothing else, or has such
// a pattern, is looked up by one of its labels.
type selection struct {
	policies []*Policy
	every    []int // select all containers, of these runtimes
	patterns []int // have a pattern without a known beginning or end
	ids      map[string][]int
	names    map[string][]int
	labels   map[labelPair][]int
	prefixes affixes
	suffixes affixes
}

// labelPair is a label with its value.
type labelPair struct{ name, value string }

// affixes are the beginnings or the ends of patterns.
type affixes struct {
	of      map[string][]int
	longest int
}

func (a *affixes) add(text string, policy int) {
	add(&a.of, text, policy)
	a.longest = max(a.longest, len(text))
}

func add[K comparable](index *map[K][]int, key K, policy int) {
	if *index == nil {
		*index = map[K][]int{}
	}
	(*index)[key] = append((*index)[key], policy)
}

// newSelection indexes policies by what their selectors name.
func newSelection(policies []*Policy) *selection {
	s := &selection{policies: policies}
	uses := usesOfLabels(policies)
	for i, policy := range policies {
		selector := policy.Containers
		if len(selector.Labels) > 0 && !selector.namesAll() {
			add(&s.labels, rarest(selector.Labels, uses), i)
			continue
		}
		if !selector.hasIdentity() {
			s.every = append(s.every, i)
		}
		for _, id := range selector.IDs {
			add(&s.ids, foldCase(id), i)
		}
		for _, name := range selector.Names {
			s.addName(name, i)
		}
	}
	return s
}

// usesOfLabels counts the policies that select by each label.
func usesOfLabels(policies []*Policy) map[labelPair]int {
	uses := map[labelPair]int{}
	for _, policy := range policies {
		for name, value := range policy.Containers.Labels {
			uses[labelPair{name, value}]++
		}
	}
	return uses
}

// rarest returns the label that the fewest policies use.
func rarest(labels map[string]string, uses map[labelPair]int) (least labelPair) {
	for name, value := range labels {
		l := labelPair{name, value}
		if order := cmp.Compare(uses[l], uses[least]); least == (labelPair{}) || order < 0 || order == 0 && l.name < least.name {
			least = l
		}
	}
	return least
}

// hasIdentity reports whether the selector has names or ids.
func (s ContainerSelector) hasIdentity() bool { return len(s.Names)+len(s.IDs) > 0 }

// namesAll reports whether what the selector selects can be looked up by its names and ids.
func (s ContainerSelector) namesAll() bool {
	return s.hasIdentity() && !slices.ContainsFunc(s.Names, func(pattern string) bool {
		name, prefix, suffix := parts(pattern)
		return name+prefix+suffix == ""
	})
}

// parts returns the name that a pattern means, or what each name that it matches begins or ends
// with. It is nothing for a pattern that begins and ends with a wildcard.
func parts(pattern string) (name, prefix, suffix string) {
	first := strings.IndexAny(pattern, nf.PatternCharacters)
	switch last := strings.LastIndexAny(pattern, nf.PatternCharacters+"]"); {
	case first < 0:
		name = pattern
	case first > 0:
		prefix = pattern[:first]
	case last+1 < len(pattern) && pattern[last] != '\\':
		suffix = pattern[last+1:]
	}
	return name, prefix, suffix
}

func (s *selection) addName(pattern string, policy int) {
	switch name, prefix, suffix := parts(pattern); {
	case name != "":
		add(&s.names, name, policy)
	case prefix != "":
		s.prefixes.add(prefix, policy)
	case suffix != "":
		s.suffixes.add(suffix, policy)
	default:
		s.patterns = append(s.patterns, policy)
	}
}

// foldCase returns a text that is the same for all that strings.EqualFold finds equal.
func foldCase(text string) string { return strings.ToLower(strings.ToUpper(text)) }

// of returns the positions of the policies that select a container, in their order.
func (s *selection) of(c *nf.Container) []int {
	found := slices.Concat(s.every, s.patterns, s.ids[foldCase(c.ID)])
	if c.UUID != "" {
		found = append(found, s.ids[foldCase(c.UUID)]...)
	}
	found = s.named(found, c.Name)
	for _, alias := range c.Aliases {
		found = append(s.named(found, alias), s.ids[foldCase(alias)]...)
	}
	if len(s.labels) > 0 {
		for name, value := range c.Labels {
			found = append(found, s.labels[labelPair{name, value}]...)
		}
	}
	slices.Sort(found)
	return slices.DeleteFunc(slices.Compact(found), func(i int) bool { return !s.policies[i].Containers.Match(c) })
}

// named appends the policies that may select a name.
func (s *selection) named(found []int, name string) []int {
	found = append(found, s.names[name]...)
	for n := 1; n <= min(len(name), s.prefixes.longest); n++ {
		found = append(found, s.prefixes.of[name[:n]]...)
	}
	for n := 1; n <= min(len(name), s.suffixes.longest); n++ {
		found = append(found, s.suffixes.of[name[len(name)-n:]]...)
	}
	return found
}
