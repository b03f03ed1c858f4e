package rollout

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"nfsync.dev/nfsync/internal/nf"
)

// The simulation lets 100,000 nodes follow the documents of Decide. It is as coarse as it may be: the coordinator decides when
// something has failed, when nobody is at work any more, and every five minutes.
const (
	simNodes  = 100_000
	simPoll   = 300 * time.Second // of nodes that miss the wake-up
	simVerify = 60 * time.Second
)

// simGroups are the labels of the fleet, and how many nodes of 10,000 have them.
var simGroups = []struct {
	role  string
	share int
}{{"compute", 7000}, {"storage", 1500}, {"edge", 1000}, {"gpu", 495}, {"lab", 5}}

// A fault says what a revision does to nodes.
type fault struct {
	role string  // empty: of all groups
	rate float64 // of these nodes
	dark bool    // they go silent instead of reporting a failure
}

// A simNode is what the simulation knows of a node besides what it reports.
type simNode struct {
	position float64
	group    int
	silent   bool          // it was never heard of in this roll-out
	misses   bool          // it misses wake-ups
	phase    time.Duration // of its heartbeat and polls
	bad      bool          // the revision does it harm
	busy     bool          // it waits to begin, or is at work
	dark     bool
}

type simulation struct {
	doc    nf.RolloutDocument
	random *rand.Rand
	heard  []nf.HeardNode
	nodes  []simNode
	fault  fault
	queue  events
	now    time.Duration // since t0
	busy   int           // nodes that wait to begin or are at work, besides dark ones
	got    int           // nodes that have begun
	halted time.Duration
	failed time.Duration // when the first node began that is harmed
	next   time.Duration // when the coordinator decides
}

type simEvent struct {
	at   time.Duration
	node int // -1: the coordinator decides
	what simAct
}

type simAct int

const (
	simHears simAct = iota
	simBegins
	simEnds
)

type events []simEvent

func (e events) Len() int           { return len(e) }
func (e events) Less(i, j int) bool { return e[i].at < e[j].at }
func (e events) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)        { *e = append(*e, x.(simEvent)) }
func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

// simulate returns a roll-out that is done or halted.
func simulate(seed uint64, plan nf.RolloutPlan, f fault) *simulation {
	s := &simulation{random: rand.New(rand.NewPCG(seed, 1)), fault: f}
	s.makeNodes()
	s.doc = Begin(nf.RolloutDocument{Generation: 1, Revision: "good", State: nf.RolloutDone}, "new", plan, fmt.Sprint(seed), s.heard, t0)
	for i := range s.nodes {
		s.nodes[i].position = Position(s.doc.Seed, s.heard[i].Node)
		s.nodes[i].group = GroupOf(s.doc, s.heard[i].Labels)
	}
	s.plan(0)
	for s.doc.State != nf.RolloutDone && s.doc.State != nf.RolloutHalted {
		e, ok := heap.Pop(&s.queue).(simEvent)
		if !ok || e.at > 7*24*time.Hour {
			break
		}
		s.now = e.at
		s.act(e)
	}
	return s
}

// simFleet returns the nodes of all simulations.
var simFleet = sync.OnceValue(func() []nf.FleetNode {
	var nodes []nf.FleetNode
	for _, g := range simGroups {
		labels := map[string]string{"role": g.role}
		for i := range simNodes * g.share / 10_000 {
			nodes = append(nodes, nf.FleetNode{Node: fmt.Sprintf("%s-%d", g.role, i), Labels: labels, Revision: "good"})
		}
	}
	return nodes
})

func (s *simulation) makeNodes() {
	fleet := simFleet()
	s.heard, s.nodes = make([]nf.HeardNode, len(fleet)), make([]simNode, len(fleet))
	for i, node := range fleet {
		n := &s.nodes[i]
		*n = simNode{
			silent: s.random.Float64() < 0.02, misses: s.random.Float64() < 0.05,
			phase: time.Duration(s.random.Int64N(int64(Heartbeat))),
			bad:   (s.fault.role == "" || s.fault.role == node.Labels["role"]) && s.random.Float64() < s.fault.rate,
		}
		s.heard[i] = nf.HeardNode{FleetNode: node, Heard: t0.Add(-n.phase)}
		if n.silent {
			s.heard[i].Heard = t0.Add(-48 * time.Hour)
		}
	}
}

func (s *simulation) push(after time.Duration, node int, what simAct) {
	heap.Push(&s.queue, simEvent{s.now + after, node, what})
}

// plan lets the coordinator decide in a while, unless it does so earlier.
func (s *simulation) plan(after time.Duration) {
	if at := s.now + after; s.next <= s.now || at < s.next {
		s.next = at
		s.push(after, -1, 0)
	}
}

func (s *simulation) act(e simEvent) {
	switch {
	case e.node < 0:
		if e.at == s.next {
			s.decide()
			s.plan(5 * time.Minute)
		}
	case e.what == simHears:
		s.push(s.spread(s.doc.Spread.Duration()), e.node, simBegins)
	case e.what == simBegins:
		s.begin(e.node)
	case e.what == simEnds:
		s.end(e.node)
	}
}

func (s *simulation) spread(d time.Duration) time.Duration {
	return time.Duration(s.random.Int64N(int64(d)))
}

// decide lets the coordinator decide, and wakes the nodes if the document is another one.
func (s *simulation) decide() {
	now := t0.Add(s.now)
	for i := range s.nodes {
		if n := &s.nodes[i]; !n.silent && !n.dark {
			beat := Heartbeat
			if s.heard[i].Progress != nil {
				beat = WorkingHeartbeat
			}
			if last := now.Add(-(s.now + n.phase) % beat); last.After(s.heard[i].Heard) {
				s.heard[i].Heard = last
			}
		}
	}
	next, changed := Decide(s.doc, Heard{Nodes: s.heard}, now)
	if !changed {
		return
	}
	s.doc = next
	if s.doc.State == nf.RolloutHalted {
		s.halted = s.now
		return
	}
	for i := range s.nodes {
		n := &s.nodes[i]
		if n.silent || n.busy || n.dark || s.heard[i].Progress != nil || n.position >= s.doc.Groups[n.group].Fraction {
			continue
		}
		n.busy = true
		s.busy++
		after := s.spread(time.Second)
		if n.misses {
			after = simPoll - (s.now+n.phase)%simPoll
		}
		s.push(after, i, simHears)
	}
}

// begin lets a node ask again, and begin.
func (s *simulation) begin(i int) {
	n, heard := &s.nodes[i], &s.heard[i]
	turn := TurnOf(s.doc, nf.NodeIdentity{Name: heard.Node, Labels: heard.Labels}, heard.Revision)
	if turn.Commit == "" || turn.OnlyUnaffected {
		s.rest(n)
		return
	}
	s.got++
	s.report(i, nf.ProgressBegun)
	after := 5*time.Second + s.spread(40*time.Second)
	switch {
	case n.bad && s.fault.dark:
		n.dark = true
		s.rest(n)
		s.plan(s.doc.Plan.Silence.Duration() + time.Second)
	case n.bad:
		s.push(after+s.spread(simVerify), i, simEnds)
	default:
		s.push(after+simVerify, i, simEnds)
	}
	if n.bad && s.failed == 0 {
		s.failed = s.now
	}
}

func (s *simulation) end(i int) {
	if s.rest(&s.nodes[i]); s.nodes[i].bad {
		s.report(i, nf.ProgressFailed)
		s.plan(time.Second)
		return
	}
	s.heard[i].Revision = s.doc.Revision
	s.report(i, nf.ProgressApplied)
}

func (s *simulation) rest(n *simNode) {
	n.busy = false
	if s.busy--; s.busy == 0 {
		s.plan(time.Second)
	}
}

func (s *simulation) report(i int, state nf.ProgressState) {
	now := t0.Add(s.now)
	s.heard[i].Progress = &nf.NodeProgress{Generation: s.doc.Generation, Revision: s.doc.Revision, State: state, At: now}
	s.heard[i].Generation, s.heard[i].Heard = s.doc.Generation, now
}

// simPlan is the default plan, with a group for each label.
func simPlan(canaries int) nf.RolloutPlan {
	p := nf.DefaultRolloutPlan()
	p.Canaries = canaries
	for _, g := range simGroups {
		p.Groups = append(p.Groups, nf.PlanGroup{Name: g.role, Match: map[string]string{"role": g.role}})
	}
	return p
}

// oneGroup is the default plan without groups and canaries: what a single threshold finds.
func oneGroup() nf.RolloutPlan {
	p := nf.DefaultRolloutPlan()
	p.Canaries = 0
	return p
}
