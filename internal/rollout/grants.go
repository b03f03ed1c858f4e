package rollout

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"nfsync.dev/nfsync/internal/nf"
)

// GrantFor is how long a restart grant lasts. The slot of a grant that was not used is free only grantMargin after
// it, because the clock of the node may be behind.
const (
	GrantFor    = 30 * time.Minute
	grantMargin = 5 * time.Minute
)

// Grants returns the grants that have to be written: those that have ended, and new ones, each sorted by node.
// grants are all that are in the store, by node.
//
// A group has as many slots as its plan lets nodes restart at the same time. A node that vanishes with a grant keeps its slot
// until Release, as it may be its containers that do not start.
func Grants(doc nf.RolloutDocument, nodes []nf.HeardNode, grants map[string]nf.RestartGrant, now time.Time) []nf.RestartGrant {
	if doc.Revision == "" {
		return nil
	}
	g := granting{doc: &doc, now: now, groups: matchersOf(doc.Groups), grants: grants, taken: make([]int, len(doc.Groups))}
	ended := g.endOld(nodes)
	return append(ended, g.giveNew(nodes)...)
}

// Release returns a grant as it is written to end it.
func Release(grant nf.RestartGrant) nf.RestartGrant {
	grant.Generation++
	grant.Until = time.Time{}
	return grant
}

type granting struct {
	doc    *nf.RolloutDocument
	now    time.Time
	groups matchers
	grants map[string]nf.RestartGrant
	taken  []int // slots of each group
}

// endOld returns the grants that have ended, and counts the slots of all others.
func (g *granting) endOld(nodes []nf.HeardNode) []nf.RestartGrant {
	var ended []nf.RestartGrant
	unknown := maps.Clone(g.grants)
	for i := range nodes {
		n := &nodes[i]
		grant, ok := g.grants[n.Node]
		delete(unknown, n.Node)
		if !ok || grant.Until.IsZero() {
			continue
		}
		if g.hasEnded(n, grant) {
			ended = append(ended, Release(grant))
		} else if group := g.groups.group(n.Labels); group >= 0 {
			g.taken[group]++
		}
	}
	for _, grant := range unknown {
		if !grant.Until.IsZero() {
			// Nobody knows the group of a node that the store has lost. So it may be any.
			for i := range g.taken {
				g.taken[i]++
			}
		}
	}
	return sorted(ended)
}

// hasEnded reports whether a node needs its grant no more, or may not use it any more and does not.
func (g *granting) hasEnded(n *nf.HeardNode, grant nf.RestartGrant) bool {
	if isSilent(n, g.now) {
		return false
	}
	if n.Restarts == 0 {
		return true
	}
	expired := g.now.After(grant.Until.Add(grantMargin))
	allowed := g.doc.State.MayBegin() && grant.Revision == g.doc.Revision
	return n.Grant != grant.Generation && (expired || !allowed)
}

// giveNew returns grants for nodes that ask for one, as long as their groups have slots. Nodes that have had none for the
// revision come first, in the order of the roll-out.
func (g *granting) giveNew(nodes []nf.HeardNode) []nf.RestartGrant {
	if !g.doc.State.MayBegin() || isWithdrawn(*g.doc, g.doc.Revision) {
		return nil
	}
	type candidate struct {
		node     *nf.HeardNode
		had      int // grants for the revision
		position float64
	}
	var asking []candidate
	for i := range nodes {
		n := &nodes[i]
		grant := g.grants[n.Node]
		if !g.mayRestart(n) || !grant.Until.IsZero() {
			continue
		}
		c := candidate{node: n, position: Position(g.doc.Seed, n.Node)}
		if grant.Revision == g.doc.Revision {
			c.had = 1
		}
		asking = append(asking, c)
	}
	slices.SortFunc(asking, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.had, b.had), cmp.Compare(a.position, b.position), cmp.Compare(a.node.Node, b.node.Node))
	})
	var given []nf.RestartGrant
	for _, c := range asking {
		group := g.groups.group(c.node.Labels)
		if group < 0 || g.taken[group] >= restartsOf(g.doc.Plan, group) {
			continue
		}
		g.taken[group]++
		given = append(given, nf.RestartGrant{
			Channel: g.doc.Channel, Node: c.node.Node, Generation: g.grants[c.node.Node].Generation + 1,
			Until: g.now.Add(GrantFor), Revision: g.doc.Revision,
		})
	}
	return sorted(given)
}

// mayRestart reports whether a node asks for restarts and has ended its work on the revision well.
func (g *granting) mayRestart(n *nf.HeardNode) bool {
	if n.Restarts == 0 || n.Revision != g.doc.Revision || isSilent(n, g.now) {
		return false
	}
	switch progressOf(g.doc, n) {
	case nf.ProgressApplied, nf.ProgressRefused, nf.ProgressUnaffected:
		return true
	}
	return false
}

func sorted(grants []nf.RestartGrant) []nf.RestartGrant {
	slices.SortFunc(grants, func(a, b nf.RestartGrant) int { return cmp.Compare(a.Node, b.Node) })
	return grants
}
