package review

import (
	"context"

	"nfsync.dev/nfsync/internal/diff"
	"nfsync.dev/nfsync/internal/nf"
)

// Effective returns the effective policy of all nodes whose snapshots are read, and the unused
// files as Fleet does.
func Effective(ctx context.Context, from Source, q Question) (nf.Effective, []string, error) {
	q.effective = true
	nodes, unused, err := q.nodes(ctx, from)
	return q.shown(nodes), unused, err
}

// EffectiveNode returns the effective policy of one node.
func EffectiveNode(s nf.Snapshot, q Question) nf.Effective {
	q.effective = true
	return q.shown([]node{q.planned(context.Background(), s)})
}

func (q Question) shown(nodes []node) nf.Effective {
	e := nf.Effective{APIVersion: nf.APIVersion, Kind: nf.KindEffective, Revision: q.Revision, Nodes: []nf.NodeEffective{}}
	for _, n := range nodes {
		e.Nodes = append(e.Nodes, nf.NodeEffective{NodeSnapshot: n.NodeSnapshot, Keys: n.keys, Warnings: n.warnings})
	}
	return e
}

// show adds the effective policy of a node.
func (q Question) show(n *node, s *nf.Snapshot) {
	keys, warnings := diff.Effective(q.Wants(s), s)
	for _, k := range keys {
		if q.Filter.Match(k.Target, k.Key) {
			n.keys = append(n.keys, k)
		}
	}
	n.warnings = q.Filter.Warnings(warnings)
}
