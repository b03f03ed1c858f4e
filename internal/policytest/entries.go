package policytest

import (
	"slices"
	"strings"

	"nfsync.dev/nfsync/internal/nf"
)

// found is an entry of a list of a plan.
type found struct {
	target nf.Target
	entry  nf.TestEntry
	source *nf.Source // the policy's line
}

// entries are those of one list. A node may have very many, of which most expectations are about
// one: they are looked up by the names of their targets.
type entries struct {
	all    []*found
	byName map[string][]*found
}

func (e entries) with(f *found) entries {
	if e.byName == nil {
		e.byName = map[string][]*found{}
	}
	e.all = append(e.all, f)
	for _, name := range namesOf(f.target) {
		e.byName[name] = append(e.byName[name], f)
	}
	return e
}

// namesOf returns the names under which a target may be named, each once.
func namesOf(t nf.Target) []string {
	if t.IsNode() {
		return []string{nf.TargetNode}
	}
	return slices.Compact(slices.DeleteFunc([]string{t.ID, t.Name}, func(name string) bool { return name == "" }))
}

// of returns the entries of which some may be of the targets that are named; all if none are named,
// or one by a pattern.
func (e entries) of(targets []nf.TargetPattern) []*found {
	if len(targets) != 1 || !nf.IsLiteral(targets[0].String()) {
		return e.all
	}
	_, name, both := strings.Cut(targets[0].String(), "/")
	if !both {
		name = nf.TargetNode
	}
	return e.byName[name]
}
