package spec

import (
	"slices"
	"strings"

	"nfsync.dev/nfsync/internal/nf"
)

// selection finds the policies that select a container. A node can have as many policies as
// containers: what a selector names is looked up, and only patterns that begin and end with a
// wildcard are tried on each name.
type selection struct {
	policies []*Policy
	every    []int // select all containers, of these runtimes
	patterns []int // have a pattern without a known beginning or end
	ids      map[string][]int
	names    map[string][]int
	prefixes affixes
	suffixes affixes
}

// affixes are the beginnings or the ends of patterns.
type affixes struct {
	of      map[string][]int
	longest int
}

func (a *affixes) add(text string, policy int) {
	add(&a.of, text, policy)
	a.longest = max(a.longest, len(text))
}

func add(index *map[string][]int, key string, policy int) {
	if *index == nil {
		*index = map[string][]int{}
	}
	(*index)[key] = append((*index)[key], policy)
}

// newSelection indexes policies by what their selectors name.
func newSelection(policies []*Policy) *selection {
	s := &selection{policies: policies}
	for i, policy := range policies {
		selector := policy.Containers
		if len(selector.Names) == 0 && len(selector.IDs) == 0 {
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

func (s *selection) addName(pattern string, policy int) {
	first := strings.IndexAny(pattern, nf.PatternCharacters)
	switch last := strings.LastIndexAny(pattern, nf.PatternCharacters+"]"); {
	case first < 0:
		add(&s.names, pattern, policy)
	case first > 0:
		s.prefixes.add(pattern[:first], policy)
	case last+1 < len(pattern) && pattern[last] != '\\':
		s.suffixes.add(pattern[last+1:], policy)
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
