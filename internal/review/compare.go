package review

import (
	"context"
	"slices"

	"nfsync.dev/nfsync/internal/nf"
)

// Review returns what the change from q.Base to q.Wants brings to all nodes whose snapshots are
// read, and the unused files as Fleet does.
func Review(ctx context.Context, from Source, q Question) (nf.Review, []string, error) {
	nodes, unused, err := q.nodes(ctx, from)
	return q.review(nodes), unused, err
}

// ReviewNode returns what the change from q.Base to q.Wants brings to one node.
func ReviewNode(ctx context.Context, s nf.Snapshot, q Question) nf.Review {
	return q.review([]node{q.planned(ctx, s)})
}

func (q Question) review(nodes []node) nf.Review {
	r := nf.Review{APIVersion: nf.APIVersion, Kind: nf.KindReview, Base: q.BaseRevision, Revision: q.Revision, Nodes: []nf.NodeReview{}}
	for _, n := range nodes {
		entry := nf.NodeReview{NodeSnapshot: n.NodeSnapshot}
		if n.plan != nil && n.base != nil {
			entry.Brings, entry.Anyway = compare(*n.base, *n.plan)
			entry.Ends, _ = compare(*n.plan, *n.base)
			entry.Pending, entry.Warnings = n.plan.Pending, n.plan.Warnings
		}
		r.Nodes = append(r.Nodes, entry)
	}
	r.Summarize()
	return r
}

// changeMade is what a change does, whatever policy asks for it.
type changeMade struct {
	target                           nf.Target
	key                              nf.Key
	layer                            nf.Layer
	from, to                         nf.Value
	in                               nf.Wish
	oneWay, disruptive, intermediate bool
}

func made(c nf.Change) changeMade {
	return changeMade{c.Target, c.Key, c.Layer, c.From, c.To, c.Range, c.OneWay, c.Disruptive, c.Intermediate}
}

// refusalMade is what a refusal refuses, whatever policy asks for it. Its reason may count what
// the node has.
type refusalMade struct {
	target   nf.Target
	key      nf.Key
	layer    nf.Layer
	from, to nf.Value
	code     nf.Code
}

func refused(r nf.Refusal) refusalMade {
	made := refusalMade{r.Target, r.Key, r.Layer, r.From, r.To, r.Code}
	if slices.Contains(whateverIsWanted, r.Code) {
		made.to = nf.Absent()
	}
	return made
}

// whateverIsWanted are the codes of refusals that do not depend on the wanted value. Where policies
// conflict, that is the value of the first one in the order of files and lines.
var whateverIsWanted = []nf.Code{nf.NotPermitted, nf.TargetStuck, nf.Unobservable, nf.Conflict}

// compare returns what is only in the plan after a change of the policies, and what is in both.
func compare(before, after nf.Plan) (only, both nf.Differences) {
	only.Changes, both.Changes = divide(before.Changes, after.Changes, made)
	only.Refusals, both.Refusals = divide(before.Refusals, after.Refusals, refused)
	return only, both
}

// divide returns the elements of after that are not in before, and those that are. One that is
// there more often is in both as often as in before.
func divide[E any, K comparable](before, after []E, key func(E) K) (only, both []E) {
	left := map[K]int{}
	for _, e := range before {
		left[key(e)]++
	}
	for _, e := range after {
		if k := key(e); left[k] > 0 {
			left[k]--
			both = append(both, e)
		} else {
			only = append(only, e)
		}
	}
	return only, both
}
