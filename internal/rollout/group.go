package rollout

import "nfsync.dev/nfsync/internal/nf"

// GroupOf returns the index of the group of a node with these labels: the first one that it matches. It is -1 if
// the document has no such group.
func GroupOf(doc nf.RolloutDocument, labels map[string]string) int {
	return matchersOf(doc.Groups).group(labels)
}

// Group returns the group of a node with these labels; its zero value if the document has none for it.
func Group(doc nf.RolloutDocument, labels map[string]string) nf.RolloutGroup {
	if i := GroupOf(doc, labels); i >= 0 {
		return doc.Groups[i]
	}
	return nf.RolloutGroup{}
}

// matchers are the labels of groups as lists, which are faster to go through than maps.
type matchers [][]label

type label struct{ key, value string }

func matchersOf(groups []nf.RolloutGroup) matchers {
	list := make(matchers, len(groups))
	for i, g := range groups {
		for key, value := range g.Match {
			list[i] = append(list[i], label{key, value})
		}
	}
	return list
}

// group returns the index of the first group that a node matches; -1: none.
func (m matchers) group(labels map[string]string) int {
	for i := range m {
		if matches(m[i], labels) {
			return i
		}
	}
	return -1
}

func matches(match []label, labels map[string]string) bool {
	for _, l := range match {
		if has, ok := labels[l.key]; !ok || has != l.value {
			return false
		}
	}
	return true
}

// groupsOf returns the groups of a plan, with the default one last. None has begun.
func groupsOf(plan nf.RolloutPlan) []nf.RolloutGroup {
	var groups []nf.RolloutGroup
	for _, g := range plan.Groups {
		groups = append(groups, nf.RolloutGroup{Name: g.Name, Match: g.Match, Step: -1})
	}
	return append(groups, nf.RolloutGroup{Name: nf.DefaultGroup, Step: -1})
}

// canariesOf returns how many canaries a group has, restartsOf how many of its nodes may restart containers at
// the same time. The default group, which is not in the plan's list, has those of the plan.
func canariesOf(plan nf.RolloutPlan, group int) int {
	if group < len(plan.Groups) && plan.Groups[group].Canaries != nil {
		return *plan.Groups[group].Canaries
	}
	return plan.Canaries
}

func restartsOf(plan nf.RolloutPlan, group int) int {
	if group < len(plan.Groups) && plan.Groups[group].Restarts != nil {
		return *plan.Groups[group].Restarts
	}
	return plan.Restarts
}
