package policytest

import (
	"fmt"
	"slices"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/spec"
)

// instead returns what is there in place of an expectation that no other entry of its list is
// about.
func (n *node) instead(t spec.PolicyTest, list nf.ExpectList, e expectation) string {
	if (nf.Filter{Targets: e.Filter.Targets}).Check(&n.snapshot) != nil {
		return fmt.Sprintf("node %s has no %s%s", n.snapshot.Node.Name, e.Target, n.didYouMean(e.Target))
	}
	if slices.ContainsFunc(n.lists[list].of(e.Filter.Targets), e.holds) && !slices.ContainsFunc(n.selected(list, t.Filter).all, e.holds) {
		return "it is there, but not among the targets and keys of the test"
	}
	if list == nf.ExpectWarnings {
		return ""
	}
	return n.fate(e)
}

// fate returns what the plan does about the target and the key of an expectation.
func (n *node) fate(e expectation) string {
	about := func(list nf.ExpectList) (nf.TestEntry, bool) {
		for _, f := range n.lists[list].of(e.Filter.Targets) {
			if e.Filter.Match(f.target, f.entry.Key) {
				return f.entry, true
			}
		}
		return nf.TestEntry{}, false
	}
	if r, ok := about(nf.ExpectRefusals); ok {
		return "it is refused: " + r.Code
	}
	if d, ok := about(nf.ExpectPending); ok {
		return "it is pending, until: " + string(d.Until)
	}
	if c, ok := about(nf.ExpectChanges); ok {
		return fmt.Sprintf("it is changed: %s → %s", c.Key.Text(*c.From), c.Key.Text(*c.To))
	}
	if w, ok := about(nf.ExpectWants); ok {
		return fmt.Sprintf("it is wanted by %s, and in sync", w.Policy)
	}
	return "no policy wants it"
}

// didYouMean returns a guess which target is meant, or nothing.
func (n *node) didYouMean(target string) string {
	var known []string
	for _, name := range n.names {
		known = append(known, name)
	}
	slices.SortFunc(known, nf.CompareNames)
	guess := spec.Closest(target, known)
	if guess == "" {
		guess = spec.Closest(nf.TargetContainer+"/"+target, known)
	}
	if guess == "" {
		return ""
	}
	return fmt.Sprintf(": did you mean %q?", guess)
}
