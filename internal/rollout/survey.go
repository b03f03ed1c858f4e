package rollout

import (
	"slices"
	"time"

	"nfsync.dev/nfsync/internal/nf"
)

// Heartbeat is how often a node puts what it is, even if nothing has changed; SilentAfter is when it counts
// as silent. WorkingHeartbeat is instead of Heartbeat for a node that has begun, until the roll-out is done.
const (
	Heartbeat        = 10 * time.Minute
	WorkingHeartbeat = 2 * time.Minute
	SilentAfter      = 25 * time.Minute
)

// A standing is how a node stands in a roll-out. Each node has exactly one.
type standing int

const (
	standsSilent standing = iota // not heard of lately, and not begun
	standsUnaffected
	standsSuspended // it is to begin, and a person has suspended it: it counts as waiting
	standsWaiting
	standsBegun
	standsApplied
	standsRefused
	standsFailed
	standsLost
)

// A survey is how all nodes stand in a roll-out at a time.
type survey struct {
	doc     *nf.RolloutDocument
	since   time.Time // Heard.Since
	now     time.Time
	members []member
}

// A member is a node in a survey.
type member struct {
	node     *nf.HeardNode
	group    int
	position float64
	standing standing
}

// look returns how nodes stand. Nodes of no group are not in it: a document of Begin has a group for each.
func look(doc *nf.RolloutDocument, heard Heard, now time.Time) survey {
	nodes := heard.Nodes
	s := survey{doc: doc, since: heard.Since, now: now, members: make([]member, 0, len(nodes))}
	groups := matchersOf(doc.Groups)
	for i := range nodes {
		if group := groups.group(nodes[i].Labels); group >= 0 {
			s.members = append(s.members, member{node: &nodes[i], group: group, position: Position(doc.Seed, nodes[i].Node)})
		}
	}
	s.lookAgain()
	return s
}

// lookAgain finds the standings anew, after the document has changed.
func (s *survey) lookAgain() {
	for i := range s.members {
		s.members[i].standing = s.standingOf(s.members[i].node)
	}
}

func (s *survey) standingOf(n *nf.HeardNode) standing {
	switch progressOf(s.doc, n) {
	case nf.ProgressUnaffected:
		return standsUnaffected
	case nf.ProgressApplied:
		return s.standingOfEnded(n, standsApplied)
	case nf.ProgressRefused:
		return s.standingOfEnded(n, standsRefused)
	case nf.ProgressFailed, nf.ProgressStuck:
		return standsFailed
	case nf.ProgressBegun:
		return s.standingOfBegun(n)
	}
	if isSilent(n, s.now) {
		return standsSilent
	}
	if n.Conditions[nf.Suspended] == nf.ConditionTrue {
		return standsSuspended
	}
	return standsWaiting
}

// standingOfEnded judges a node that has said how it ended. It may be lost all the same: what it has got may cut it off
// some time later. When the roll-out is done, nodes are heard of less often, and may be switched off.
func (s *survey) standingOfEnded(n *nf.HeardNode, ended standing) standing {
	if s.doc.DoneAt == nil && s.isLost(n) {
		return standsLost
	}
	return ended
}

// isLost reports whether a node that has begun has been silent for too long, while it could be heard.
func (s *survey) isLost(n *nf.HeardNode) bool {
	silence := s.doc.Plan.Silence.Duration()
	if s.doc.DoneAt != nil {
		silence = max(silence, SilentAfter)
	}
	return s.now.Sub(s.heardSince(n.Heard)) > silence
}

// standingOfBegun judges a node that has begun and not said how it ended. It is lost once it has been silent for
// too long, and has failed if the step has reached its deadline. Nodes that begin late, while the step
// is watched, have the time that silent ones have.
func (s *survey) standingOfBegun(n *nf.HeardNode) standing {
	if s.isLost(n) {
		return standsLost
	}
	silence := s.doc.Plan.Silence.Duration()
	limit := s.deadline()
	if s.doc.Step >= 0 && n.Progress.Generation < s.doc.StepFrom {
		// It hangs since an earlier step, or has begun late there. It does not have the time of this step, too.
		if s.now.Before(s.heardSince(s.doc.StepBegan).Add(silence)) {
			return standsBegun
		}
		return standsFailed
	}
	if s.doc.Step < 0 || s.now.Before(limit) {
		return standsBegun
	}
	// When it began is known by its own clock only, which may be wrong. So a step that still goes on does not rely on it.
	old := !n.Progress.At.Add(silence).After(s.now)
	if old || s.doc.StepEnded == nil && !s.now.Before(limit.Add(silence)) {
		return standsFailed
	}
	return standsBegun
}

// heardSince returns the time, or the later one since when nodes could be heard.
func (s *survey) heardSince(t time.Time) time.Time {
	if t.Before(s.since) {
		return s.since
	}
	return t
}

// deadline returns when the present step is over in any case: nodes that could not be heard, and hear nothing, have the
// time anew.
func (s *survey) deadline() time.Time {
	return s.heardSince(s.doc.StepBegan).Add(max(s.doc.Spread, s.doc.FetchSpread).Duration() + s.doc.Plan.Deadline.Duration())
}

// progressOf returns how far a node is in the roll-out; empty: it has said nothing of it. What it has said of
// another revision, or of an earlier roll-out of the same one, does not count.
func progressOf(doc *nf.RolloutDocument, n *nf.HeardNode) nf.ProgressState {
	p := n.Progress
	if p == nil || p.Revision != doc.Revision || p.Generation < doc.Began {
		return ""
	}
	return p.State
}

func isSilent(n *nf.HeardNode, now time.Time) bool { return now.Sub(n.Heard) > SilentAfter }

// hasBegun reports whether the node has begun in this roll-out, whatever has become of it.
func (m *member) hasBegun() bool { return m.standing >= standsBegun }

// isCandidate reports whether the fractions of a group are of this node and others like it: it was heard of
// lately, or has begun, and the revision may change something for it. A node that has begun
// and gone silent remains one. Otherwise another would begin in its place, and another one in the place of that.
func (m *member) isCandidate() bool { return m.standing >= standsWaiting }

// ofStep reports whether the present step has brought the turn of the node.
func (s *survey) ofStep(m *member) bool {
	g := &s.doc.Groups[m.group]
	return m.position >= g.Before && m.position < g.Fraction
}

// live counts the nodes that were heard of lately.
func (s *survey) live() int {
	n := 0
	for i := range s.members {
		if !isSilent(s.members[i].node, s.now) {
			n++
		}
	}
	return n
}

// candidates returns the positions of the candidates of each group, rising.
func (s *survey) candidates() [][]float64 {
	positions := make([][]float64, len(s.doc.Groups))
	for i := range s.members {
		if m := &s.members[i]; m.isCandidate() {
			positions[m.group] = append(positions[m.group], m.position)
		}
	}
	for _, p := range positions {
		slices.Sort(p)
	}
	return positions
}

// counts returns how the chosen nodes stand, those of all groups and those of each.
func (s *survey) counts(chosen func(*member) bool) (all nf.RolloutCounts, groups []nf.RolloutCounts) {
	groups = make([]nf.RolloutCounts, len(s.doc.Groups))
	for i := range s.members {
		if m := &s.members[i]; chosen(m) {
			count(&all, m.standing)
			count(&groups[m.group], m.standing)
		}
	}
	return all, groups
}

func everyMember(*member) bool { return true }

func count(c *nf.RolloutCounts, s standing) {
	c.Nodes++
	switch s {
	case standsSilent:
		c.Silent++
	case standsUnaffected:
		c.Unaffected++
	case standsSuspended, standsWaiting:
		c.Waiting++
	case standsBegun:
		c.Begun++
	case standsApplied:
		c.Applied++
	case standsRefused:
		c.Refused++
	case standsLost:
		c.Lost++
		c.Failed++
	case standsFailed:
		c.Failed++
	}
}
