package rollout

import (
	"cmp"
	"slices"
	"time"

	"nfsync.dev/nfsync/internal/nf"
)

// NodeReason is a node with a reason.
type NodeReason struct{ Node, Reason string }

// Count counts the nodes of a roll-out: all of them, and those of each group of the document. Each node is in one
// of the counts; those that are lost are in two, for they have failed too.
func Count(doc nf.RolloutDocument, nodes []nf.HeardNode, now time.Time) (all nf.RolloutCounts, groups []nf.RolloutCounts) {
	s := look(&doc, Heard{Nodes: nodes}, now)
	return s.counts(everyMember)
}

// Failed returns the nodes that have failed, and why, by name.
func Failed(doc nf.RolloutDocument, nodes []nf.HeardNode, now time.Time) []NodeReason {
	s := look(&doc, Heard{Nodes: nodes}, now)
	return s.failed(-1)
}

// LeftBehind returns the nodes that were heard of lately and have not begun, although the step that has brought their
// turn has ended, by name.
func LeftBehind(doc nf.RolloutDocument, nodes []nf.HeardNode, now time.Time) []NodeReason {
	s := look(&doc, Heard{Nodes: nodes}, now)
	var behind []NodeReason
	for i := range s.members {
		m := &s.members[i]
		g := &doc.Groups[m.group]
		ended := m.position < g.Before || doc.StepEnded != nil && m.position < g.Fraction
		if (m.standing == standsWaiting || m.standing == standsSuspended) && ended {
			behind = append(behind, NodeReason{m.node.Node, waitReason(s.doc, m.node)})
		}
	}
	return byName(behind)
}

// Silent returns the names of the nodes that were not heard of lately, sorted.
func Silent(nodes []nf.HeardNode, now time.Time) []string {
	var names []string
	for i := range nodes {
		if isSilent(&nodes[i], now) {
			names = append(names, nodes[i].Node)
		}
	}
	slices.Sort(names)
	return names
}

// failed returns the nodes of a group that count as failed, by name; group -1: of all groups.
func (s *survey) failed(group int) []NodeReason {
	var failed []NodeReason
	for i := range s.members {
		m := &s.members[i]
		if group >= 0 && m.group != group {
			continue
		}
		if reason := s.failure(m); reason != "" {
			failed = append(failed, NodeReason{m.node.Node, reason})
		}
	}
	return byName(failed)
}

// failure returns why a node counts as failed; empty: it does not.
func (s *survey) failure(m *member) string {
	p := m.node.Progress
	switch {
	case m.standing == standsLost:
		return "silent since " + nf.Clock(m.node.Heard)
	case m.standing == standsFailed && p.State == nf.ProgressBegun:
		return "has not ended by the deadline"
	case m.standing == standsFailed, m.standing == standsRefused && s.doc.Plan.RefusalsFail:
		if p.Reason == "" {
			return string(p.State)
		}
		return string(p.State) + ": " + p.Reason
	}
	return ""
}

func waitReason(doc *nf.RolloutDocument, n *nf.HeardNode) string {
	if progressOf(doc, n) == "" {
		return "it has said nothing of this roll-out"
	}
	return n.Progress.Reason
}

func byName(nodes []NodeReason) []NodeReason {
	slices.SortFunc(nodes, func(a, b NodeReason) int { return cmp.Compare(a.Node, b.Node) })
	return nodes
}
