package nf

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// Filter selects targets and keys. The zero value selects all.
type Filter struct {
	Targets []TargetPattern
	Keys    []string // patterns as in path.Match
}

// TargetPattern names the node, or containers: by their id or name, which may be a pattern as in
// path.Match.
type TargetPattern struct {
	node    bool
	runtime string // empty: any
	name    string
}

// ParseTarget parses "node", "container/NAME", "RUNTIME/NAME", or a NAME alone.
func ParseTarget(s string) (TargetPattern, error) {
	kind, name, both := strings.Cut(s, "/")
	switch {
	case s == TargetNode:
		return TargetPattern{node: true}, nil
	case !both:
		kind, name = TargetContainer, s
	}
	p := TargetPattern{runtime: kind, name: name}
	if kind == TargetContainer {
		p.runtime = ""
	}
	if _, err := path.Match(name, ""); err != nil || name == "" || kind == "" {
		return p, fmt.Errorf("%q names no target: write node, container/NAME or RUNTIME/NAME, where NAME may be a pattern", s)
	}
	return p, nil
}

// String returns the pattern as ParseTarget takes it.
func (p TargetPattern) String() string {
	switch {
	case p.node:
		return TargetNode
	case p.runtime == "":
		return TargetContainer + "/" + p.name
	}
	return p.runtime + "/" + p.name
}

// Match reports whether the pattern names a target.
func (p TargetPattern) Match(t Target) bool {
	if p.node || t.IsNode() {
		return p.node && t.IsNode()
	}
	return (p.runtime == "" || p.runtime == t.Runtime) && (match(p.name, t.ID) || t.Name != "" && match(p.name, t.Name))
}

// match is path.Match for a pattern that is known to be one. A slash in the name is a character
// as any other.
func match(pattern, name string) bool {
	if IsLiteral(pattern) {
		return pattern == name
	}
	ok, err := path.Match(strings.ReplaceAll(pattern, "/", "\x00"), strings.ReplaceAll(name, "/", "\x00"))
	return ok && err == nil
}

// IsZero reports whether the filter selects all.
func (f Filter) IsZero() bool { return len(f.Targets)+len(f.Keys) == 0 }

// Match reports whether the filter selects a key of a target.
func (f Filter) Match(t Target, k Key) bool {
	target := len(f.Targets) == 0 || slices.ContainsFunc(f.Targets, func(p TargetPattern) bool { return p.Match(t) })
	return target && (len(f.Keys) == 0 || slices.ContainsFunc(f.Keys, func(p string) bool { return match(p, string(k)) }))
}

// Wants returns the wants that the filter selects.
func (f Filter) Wants(w Wants) Wants {
	if f.IsZero() {
		return w
	}
	w.List = slices.DeleteFunc(slices.Clone(w.List), func(want Want) bool { return !f.Match(want.Target, want.Key) })
	return w
}

// Warnings returns the warnings without those about keys that the filter does not select.
func (f Filter) Warnings(list []Warning) []Warning {
	if f.IsZero() {
		return list
	}
	return slices.DeleteFunc(slices.Clone(list), func(w Warning) bool { return w.Key != "" && !f.Match(w.Target, w.Key) })
}

// PatternCharacters are those that mean something in a pattern.
const PatternCharacters = `*?[\`

// IsLiteral reports whether a pattern matches itself only.
func IsLiteral(pattern string) bool { return !strings.ContainsAny(pattern, PatternCharacters) }

// IsPattern reports whether a text is a pattern as in path.Match.
func IsPattern(s string) bool {
	_, err := path.Match(s, "")
	return err == nil && s != ""
}

// EscapePattern returns the pattern that matches only that text.
func EscapePattern(s string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(s)
}

// CheckAny returns an error for a target of the filter that each of several nodes lacks, by what each
// lacks.
func (f Filter) CheckAny(lacking [][]TargetPattern) error {
	for _, p := range f.Targets {
		if !slices.ContainsFunc(lacking, func(list []TargetPattern) bool { return !slices.Contains(list, p) }) {
			return fmt.Errorf("none of these nodes has a %s", p)
		}
	}
	return nil
}

// Check returns an error if a pattern names no target of a node.
func (f Filter) Check(s *Snapshot) error {
	if lacking := f.Lacking(s); len(lacking) > 0 {
		return fmt.Errorf("this node has no %s", lacking[0])
	}
	return nil
}

// Lacking returns the targets of the filter that a node does not have.
func (f Filter) Lacking(s *Snapshot) (list []TargetPattern) {
	for _, p := range f.Targets {
		if !p.Match(Node) && !slices.ContainsFunc(s.Containers, func(c Container) bool { return p.Match(c.Target()) }) {
			list = append(list, p)
		}
	}
	return list
}
