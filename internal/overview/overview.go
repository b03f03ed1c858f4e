package overview

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/rollout"
)

// Fleet is what was read from the store of a fleet.
type Fleet struct {
	Channel string
	At      time.Time // when it was read
	Nodes   []nf.HeardNode
	Unread  map[string]error // nodes whose values cannot be read
	// Document is the roll-out document; nil: there is none, or RolloutError says why it was not read.
	Document     *nf.RolloutDocument
	RolloutError string
}

// OfChannel returns the nodes that follow a channel. A node that names none counts for any.
func OfChannel(nodes []nf.HeardNode, channel string) []nf.HeardNode {
	return slices.DeleteFunc(slices.Clone(nodes), func(n nf.HeardNode) bool { return n.Channel != "" && n.Channel != channel })
}

// Status counts the nodes of the fleet.
func Status(f Fleet) nf.FleetStatus {
	s := nf.FleetStatus{
		APIVersion: nf.APIVersion, Kind: nf.KindFleetStatus, Channel: f.Channel, At: f.At, RolloutError: f.RolloutError,
		Nodes: len(f.Nodes) + len(f.Unread), Groups: []nf.GroupCounts{}, Silent: f.silent(), Unread: f.unread(),
	}
	silent := namesOf(s.Silent)
	s.Revisions = revisions(f.Nodes, silent)
	heard := slices.DeleteFunc(slices.Clone(f.Nodes), func(n nf.HeardNode) bool { return silent[n.Node] })
	s.Conditions = conditions(heard)
	for _, n := range heard {
		t := &s.Totals
		t.Containers, t.Refusals, t.Pending, t.Stuck, t.Restarts = t.Containers+n.Containers, t.Refusals+n.Refusals, t.Pending+n.Pending, t.Stuck+n.Stuck, t.Restarts+n.Restarts
	}
	if d := f.Document; d != nil {
		waits, next := rollout.Why(*d, f.Nodes, f.At)
		s.Rollout = &nf.RolloutBrief{Revision: d.Revision, State: d.State, Reason: d.Reason, Step: d.StepName(), Waits: waits, Next: next}
		_, s.Groups = f.counts()
	}
	return s
}

// Rollout says how far the roll-out is.
func Rollout(f Fleet) nf.FleetRollout {
	r := nf.FleetRollout{
		APIVersion: nf.APIVersion, Kind: nf.KindFleetRollout, Channel: f.Channel, At: f.At, Document: f.Document,
		Groups: []nf.GroupCounts{}, Begun: []nf.BegunNode{}, Failed: []nf.NodeReason{}, Silent: f.silent(), Unread: f.unread(),
	}
	if f.Document == nil {
		return r
	}
	r.Waits, r.Next = rollout.Why(*f.Document, f.Nodes, f.At)
	r.Counts, r.Groups = f.counts()
	failed := map[string]bool{}
	for _, n := range rollout.Failed(*f.Document, f.Nodes, f.At) {
		failed[n.Node] = true
		r.Failed = append(r.Failed, nf.NodeReason{Node: n.Node, Reason: n.Reason})
	}
	for _, n := range f.Nodes {
		if p := n.Progress; p != nil && p.State == nf.ProgressBegun && p.Revision == f.Document.Revision && p.Generation >= f.Document.Began && !failed[n.Node] {
			r.Begun = append(r.Begun, nf.BegunNode{Node: n.Node, Group: f.groupOf(n), Since: p.At})
		}
	}
	slices.SortFunc(r.Begun, func(a, b nf.BegunNode) int { return nf.CompareNames(a.Node, b.Node) })
	return r
}

// Choice selects nodes. What is empty selects all.
type Choice struct {
	Labels   map[string]string // all of them
	Group    string
	Revision string // in force: a commit, or its first digits
	Silent   bool   // only silent ones
}

// Nodes lists the nodes of the fleet that are chosen.
func Nodes(f Fleet, c Choice) nf.FleetNodes {
	list := nf.FleetNodes{APIVersion: nf.APIVersion, Kind: nf.KindFleetNodes, Channel: f.Channel, At: f.At, Nodes: []nf.NodeInFleet{}, Unread: []nf.NodeReason{}}
	silent := namesOf(f.silent())
	for _, n := range f.Nodes {
		in := f.inFleet(n, silent[n.Node])
		if c.has(in) {
			list.Nodes = append(list.Nodes, in)
		}
	}
	slices.SortFunc(list.Nodes, func(a, b nf.NodeInFleet) int { return nf.CompareNames(a.Node, b.Node) })
	if len(c.Labels) == 0 && c.Group == "" && c.Revision == "" && !c.Silent {
		list.Unread = f.unread()
	}
	return list
}

func (c Choice) has(n nf.NodeInFleet) bool {
	for key, value := range c.Labels {
		if got, ok := n.Labels[key]; !ok || got != value {
			return false
		}
	}
	return (c.Group == "" || n.Group == c.Group) && (c.Revision == "" || strings.HasPrefix(n.Revision, c.Revision)) && (!c.Silent || n.Silent)
}

// Node says what is known of one node. It is false if nothing was heard of it.
func Node(f Fleet, name string) (nf.FleetNodeStatus, bool) {
	i := slices.IndexFunc(f.Nodes, func(n nf.HeardNode) bool { return n.Node == name })
	if i < 0 {
		return nf.FleetNodeStatus{}, false
	}
	n := f.Nodes[i]
	silent := slices.Contains(rollout.Silent(f.Nodes[i:i+1], f.At), name)
	s := nf.FleetNodeStatus{APIVersion: nf.APIVersion, Kind: nf.KindFleetNodeStatus, Channel: f.Channel, At: f.At, Node: f.inFleet(n, silent)}
	if d := f.Document; d != nil {
		turn := rollout.TurnOf(*d, nf.NodeIdentity{Name: n.Node, Labels: n.Labels}, n.Revision)
		s.Turn = &nf.NodeTurn{Position: rollout.Position(d.Seed, n.Node), Commit: turn.Commit, OnlyUnaffected: turn.OnlyUnaffected, Meanwhile: turn.Meanwhile, Rescue: turn.Rescue, Reason: turn.Reason}
		s.Turn.Fraction = rollout.Group(*d, n.Labels).Fraction
	}
	return s, true
}

func (f Fleet) inFleet(n nf.HeardNode, silent bool) nf.NodeInFleet {
	if n.Conditions == nil {
		n.Conditions = map[nf.ConditionType]nf.ConditionStatus{}
	}
	return nf.NodeInFleet{HeardNode: n, Silent: silent, Group: f.groupOf(n)}
}

// groupOf returns the name of a node's group in the roll-out; empty if there is none.
func (f Fleet) groupOf(n nf.HeardNode) string {
	if f.Document == nil {
		return ""
	}
	return rollout.Group(*f.Document, n.Labels).Name
}

// counts returns the counts of the roll-out: of all nodes, and of each group.
func (f Fleet) counts() (nf.RolloutCounts, []nf.GroupCounts) {
	all, each := rollout.Count(*f.Document, f.Nodes, f.At)
	groups := []nf.GroupCounts{}
	for i, g := range f.Document.Groups {
		counts := nf.GroupCounts{Name: g.Name, Fraction: g.Fraction, Step: g.Step}
		if i < len(each) {
			counts.Counts = each[i]
		}
		groups = append(groups, counts)
	}
	return all, groups
}

// silent lists the nodes that were not heard of lately.
func (f Fleet) silent() []nf.SilentNode {
	heard := map[string]time.Time{}
	for _, n := range f.Nodes {
		heard[n.Node] = n.Heard
	}
	list := []nf.SilentNode{}
	for _, name := range rollout.Silent(f.Nodes, f.At) {
		list = append(list, nf.SilentNode{Node: name, Heard: heard[name]})
	}
	slices.SortFunc(list, func(a, b nf.SilentNode) int { return nf.CompareNames(a.Node, b.Node) })
	return list
}

func namesOf(list []nf.SilentNode) map[string]bool {
	names := map[string]bool{}
	for _, n := range list {
		names[n.Node] = true
	}
	return names
}

func (f Fleet) unread() []nf.NodeReason {
	list := []nf.NodeReason{}
	for _, name := range slices.SortedFunc(maps.Keys(f.Unread), nf.CompareNames) {
		list = append(list, nf.NodeReason{Node: name, Reason: f.Unread[name].Error()})
	}
	return list
}

// revisions counts the nodes by the revision that is in force.
func revisions(nodes []nf.HeardNode, silent map[string]bool) []nf.RevisionCount {
	counts := map[string]*nf.RevisionCount{}
	for _, n := range nodes {
		c := counts[n.Revision]
		if c == nil {
			c = &nf.RevisionCount{Revision: n.Revision}
			counts[n.Revision] = c
		}
		c.Nodes++
		if silent[n.Node] {
			c.Silent++
		}
	}
	list := []nf.RevisionCount{}
	for _, c := range counts {
		list = append(list, *c)
	}
	slices.SortFunc(list, func(a, b nf.RevisionCount) int {
		return cmp.Or(cmp.Compare(b.Nodes, a.Nodes), cmp.Compare(a.Revision, b.Revision))
	})
	return list
}

// conditions counts the nodes by their conditions: those that this nfsync knows, and that a node has
// reported. What else a node says is its own.
func conditions(nodes []nf.HeardNode) []nf.ConditionCount {
	list := []nf.ConditionCount{}
	for _, t := range nf.ConditionTypes() {
		c := nf.ConditionCount{Type: t}
		for _, n := range nodes {
			switch status, reported := n.Conditions[t]; {
			case !reported:
			case status == nf.ConditionTrue:
				c.True++
			case status == nf.ConditionFalse:
				c.False++
			default:
				c.Unknown++
			}
		}
		if c.True+c.False+c.Unknown > 0 {
			list = append(list, c)
		}
	}
	return list
}
