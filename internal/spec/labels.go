package spec

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"nfsync.dev/nfsync/internal/nf"
)

// UseLabels reports whether a ContainerPolicy for that node selects containers by their
// labels. Otherwise Resolve does not need them.
func (p Policies) UseLabels(node nf.NodeIdentity) bool {
	return slices.ContainsFunc(p, func(policy Policy) bool {
		return len(policy.Containers.Labels) > 0 && policy.Nodes.Match(node)
	})
}

// undecided are containers of one runtime that a policy would select with the right labels, and
// whose labels are not known.
type undecided struct {
	count  int
	reason string // of the first one
	others bool   // another one has another reason
}

func (u *undecided) add(c *nf.Container) {
	u.count++
	u.reason = cmp.Or(u.reason, c.LabelsUnknown)
	u.others = u.others || c.LabelsUnknown != u.reason
}

// warning says that a policy selects none of them.
func (u *undecided) warning(policy *Policy, runtime string) nf.Warning {
	source := policy.Source
	containers, reasons := "1 container", u.reason
	if u.count > 1 {
		containers = fmt.Sprintf("%d containers", u.count)
	}
	if u.others {
		reasons += "; others have other reasons"
	}
	return nf.Warning{Code: nf.WarnLabelsUnknown, Target: nf.Node, Source: &source,
		Message: fmt.Sprintf("the ContainerPolicy %q does not select %s of %s whose labels are unknown: %s", source.Name, containers, runtime, reasons)}
}

// undecidedByRuntime are the undecided containers of each runtime.
type undecidedByRuntime map[string]*undecided

func (u undecidedByRuntime) add(c *nf.Container) {
	if u[c.Runtime] == nil {
		u[c.Runtime] = &undecided{}
	}
	u[c.Runtime].add(c)
}

// of returns those of some runtimes; of all if there is none.
func (u undecidedByRuntime) of(runtimes []string) undecidedByRuntime {
	if len(runtimes) == 0 {
		return u
	}
	some := undecidedByRuntime{}
	for _, runtime := range runtimes {
		if u[runtime] != nil {
			some[runtime] = u[runtime]
		}
	}
	return some
}

// labelWarnings returns the warnings about containers whose labels are not known, by the
// positions of the policies that would select them with the right labels.
func labelWarnings(policies []*Policy, containers []nf.Container) map[int][]nf.Warning {
	all := undecidedByRuntime{}
	var unknown []*nf.Container
	for i := range containers {
		if c := &containers[i]; c.LabelsUnknown != "" {
			all.add(c)
			unknown = append(unknown, c)
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	warnings := map[int][]nf.Warning{}
	warn := func(i int, list undecidedByRuntime) {
		for _, runtime := range slices.Sorted(maps.Keys(list)) {
			warnings[i] = append(warnings[i], list[runtime].warning(policies[i], runtime))
		}
	}
	var named []*Policy // those with labels and names or ids, without the labels
	var places []int    // their positions
	for i, policy := range policies {
		switch s := policy.Containers; {
		case len(s.Labels) == 0:
		case s.hasIdentity():
			s.Labels = nil
			named, places = append(named, &Policy{Containers: s}), append(places, i)
		default:
			warn(i, all.of(s.Runtimes))
		}
	}
	for i, list := range undecidedByName(named, unknown) {
		warn(places[i], list)
	}
	return warnings
}

// undecidedByName returns which containers each policy selects by name or id.
func undecidedByName(policies []*Policy, unknown []*nf.Container) []undecidedByRuntime {
	list := make([]undecidedByRuntime, len(policies))
	selection := newSelection(policies)
	for _, c := range unknown {
		for _, i := range selection.of(c) {
			if list[i] == nil {
				list[i] = undecidedByRuntime{}
			}
			list[i].add(c)
		}
	}
	return list
}
