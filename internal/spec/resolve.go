package spec

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"nfsync.dev/nfsync/internal/nf"
)

// Resolve returns the wants of the policies for one node. Of the snapshot it reads
// only the node's name and labels and the identities and labels of its containers.
//
// A target's want for a key is that of the policy with the highest priority
// that sets it. If several of that priority do, the first in the order of file and
// line wins, and those that wish something else are its rivals. Of those that agree on
// a level, the one that does least to restart containers wins: a restart that one of
// them refuses is not allowed because another one comes first.
func (p Policies) Resolve(s *nf.Snapshot) nf.Wants {
	var node, containers []*Policy
	for i := range p {
		policy := &p[i]
		switch {
		case !policy.Nodes.Match(s.Node):
		case policy.Kind == nf.KindNodePolicy:
			node = append(node, policy)
		default:
			containers = append(containers, policy)
		}
	}
	wants := nf.Wants{Warnings: []nf.Warning{}}
	if len(node)+len(containers) == 0 {
		wants.Warnings = append(wants.Warnings, nf.Warning{Code: nf.WarnNoPolicy, Target: nf.Node,
			Message: fmt.Sprintf("no policy selects this node (%s)", s.Node.Name)})
	}
	selecting := map[*Policy]bool{}
	wants.List = appendContainers(resolve(node), containers, s.Containers, selecting)
	unknown := labelWarnings(containers, s.Containers)
	for i, policy := range containers {
		wants.Warnings = append(wants.Warnings, unknown[i]...)
		if !selecting[policy] && len(unknown[i]) == 0 {
			source := policy.Source
			wants.Warnings = append(wants.Warnings, nf.Warning{Code: nf.WarnSelectsNothing, Target: nf.Node, Source: &source,
				Message: fmt.Sprintf("the ContainerPolicy %q selects no container of this node", source.Name)})
		}
	}
	return wants
}

// appendContainers returns the wants for the node and, after them, those for the containers. It
// resolves once for all containers that the same policies select: a node has many containers,
// and few different selections. It marks the policies that select one in selecting.
func appendContainers(node []nf.Want, policies []*Policy, containers []nf.Container, selecting map[*Policy]bool) []nf.Want {
	selection := newSelection(policies)
	resolved := map[string][]nf.Want{}
	wantsOf := make([][]nf.Want, len(containers))
	total := len(node)
	var set []byte
	for i := range containers {
		selected := selection.of(&containers[i])
		set = set[:0]
		for _, j := range selected {
			set = binary.AppendUvarint(set, uint64(j))
		}
		wants, known := resolved[string(set)]
		if !known {
			var together []*Policy
			for _, j := range selected {
				together = append(together, policies[j])
				selecting[policies[j]] = true
			}
			wants = resolve(together)
			resolved[string(set)] = wants
		}
		wantsOf[i] = wants
		total += len(wants)
	}
	list := appendWants(make([]nf.Want, 0, total), nf.Node, node)
	for _, i := range inOrder(containers) {
		list = appendWants(list, containers[i].Target(), wantsOf[i])
	}
	return list
}

// inOrder returns the positions of containers in the order of their targets.
func inOrder(containers []nf.Container) []int {
	order := make([]int, len(containers))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return containers[a].Target().Compare(containers[b].Target()) })
	return order
}

func appendWants(list []nf.Want, target nf.Target, wants []nf.Want) []nf.Want {
	for i := range wants {
		list = append(list, wants[i])
		list[len(list)-1].Target = target
	}
	return list
}

// resolve returns the wants of these policies together for any one target, sorted by
// key.
func resolve(policies []*Policy) []nf.Want {
	type winner struct {
		want     nf.Want
		priority int
	}
	winners := map[nf.Key]*winner{}
	for _, policy := range slices.SortedStableFunc(slices.Values(policies), byPriority) {
		for _, w := range policy.Wishes {
			first := winners[w.Key]
			switch {
			case first == nil:
				want := nf.Want{Key: w.Key, Wish: w.Wish, Source: w.Source}
				if w.Key == nf.KeyLevel {
					want.Restart = policy.Restart
				}
				winners[w.Key] = &winner{want, policy.Priority}
			case first.priority == policy.Priority && first.want.Wish != w.Wish:
				first.want.Rivals = append(first.want.Rivals, nf.Rival{Wish: w.Wish, Source: w.Source})
			case first.priority == policy.Priority && w.Key == nf.KeyLevel && moreCareful(policy.Restart, first.want.Restart):
				first.want.Restart, first.want.Source = policy.Restart, w.Source
			case first.priority > policy.Priority:
				first.want.Lost = append(first.want.Lost, nf.Rival{Wish: w.Wish, Source: w.Source})
			}
		}
	}
	var wants []nf.Want
	for _, key := range slices.Sorted(maps.Keys(winners)) {
		wants = append(wants, winners[key].want)
	}
	return wants
}

// moreCareful reports whether a does less than b for a level that needs a restart.
func moreCareful(a, b nf.Restart) bool {
	order := []nf.Restart{nf.RestartRefuse, nf.RestartStage, nf.RestartAllow}
	return slices.Index(order, a) < slices.Index(order, b)
}

func byPriority(a, b *Policy) int {
	return cmp.Or(cmp.Compare(b.Priority, a.Priority), compareSources(a.Source, b.Source))
}

func compareSources(a, b nf.Source) int {
	return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
}

// Conflicts returns the conflicts that do not depend on a node: of policies of one kind
// with equal priority and the same selectors that want different things of one key, each
// with the first that sets it. If another policy with these selectors has a higher
// priority for the key, there is none. Those of two keys that set one value of the kernel
// are among them, whatever the priorities.
func (p Policies) Conflicts() []Conflict {
	groups := map[string][]*Policy{}
	for i := range p {
		policy := &p[i]
		group := policy.Kind + "\x00" + policy.canonical()
		groups[group] = append(groups[group], policy)
	}
	conflicts := []Conflict{}
	for _, group := range groups {
		wants := resolve(group)
		all := make([]*nf.Want, len(wants))
		for i := range wants {
			all[i] = &wants[i]
		}
		nf.AddRivals(all)
		for _, want := range wants {
			for _, rival := range want.Rivals {
				if rival.Key != "" && compareSources(want.Source, rival.Source) > 0 {
					continue // it is a rival of the other's too
				}
				conflicts = append(conflicts, Conflict{Kind: group[0].Kind, Key: want.Key,
					First: nf.Rival{Wish: want.Wish, Source: want.Source}, Second: rival})
			}
		}
	}
	slices.SortFunc(conflicts, func(a, b Conflict) int {
		return cmp.Or(compareSources(a.Second.Source, b.Second.Source), compareSources(a.First.Source, b.First.Source))
	})
	return conflicts
}
