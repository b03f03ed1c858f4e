package rollout

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"nfsync.dev/nfsync/internal/nf"
)

// TestProperties lets a fleet act at random: nodes begin, succeed, fail, go dark and come back, operators ask, new revisions
// come, the coordinator decides now and then. What must hold after each decision is in check.
func TestProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		t.Repeat(map[string]func(*rapid.T){
			"":        func(t *rapid.T) { w.checkTurns(t) },
			"decide":  w.decide,
			"operate": w.operate,
			"work":    w.work,
			"pass":    w.pass,
			"hear":    w.hear,
			"join":    w.join,
			"change":  w.change,
			"push":    w.push,
		})
	})
}

// A world is a fleet, its coordinator and its operators.
type world struct {
	testFleet
	dark    map[string]bool
	begunAt map[string]nf.RolloutDocument // the document with which a node has begun last
	commits int
}

func newWorld(t *rapid.T) *world {
	w := &world{testFleet: testFleet{now: t0}, dark: map[string]bool{}, begunAt: map[string]nf.RolloutDocument{}}
	for range rapid.IntRange(1, 60).Draw(t, "nodes") {
		w.join(t)
	}
	w.doc = nf.RolloutDocument{Channel: "main", Generation: rapid.Uint64Range(0, 5).Draw(t, "generation")}
	w.push(t)
	return w
}

func anyPlan(t *rapid.T) nf.RolloutPlan {
	p := nf.RolloutPlan{
		InOrder:         rapid.Bool().Draw(t, "in order"),
		Canaries:        rapid.IntRange(0, 5).Draw(t, "canaries"),
		Fractions:       rapid.SampledFrom([][]float64{{1}, {0.5, 1}, {0.07, 0.2, 1}}).Draw(t, "fractions"),
		Soak:            nf.Seconds(rapid.SampledFrom([]int{0, 60, 600}).Draw(t, "soak")),
		Rate:            rapid.SampledFrom([]float64{0.1, 1, 100}).Draw(t, "rate"),
		Deadline:        nf.Seconds(rapid.SampledFrom([]int{60, 1800}).Draw(t, "deadline")),
		Silence:         nf.Seconds(rapid.SampledFrom([]int{60, 300}).Draw(t, "silence")),
		FailureCount:    rapid.IntRange(0, 3).Draw(t, "failures"),
		FailureFraction: rapid.SampledFrom([]float64{0, 0.01, 0.3}).Draw(t, "failure fraction"),
		RefusalsFail:    rapid.Bool().Draw(t, "refusals fail"),
		Restarts:        1,
	}
	if rapid.Bool().Draw(t, "groups") {
		edgeAndGPU(&p)
		p.Groups[1].Canaries = rapid.SampledFrom([]*int{nil, new(int)}).Draw(t, "canaries of gpu")
	}
	if rapid.Bool().Draw(t, "pauses") {
		p.PauseBefore = []int{rapid.IntRange(0, len(p.StepNames())-1).Draw(t, "pause before")}
	}
	if rapid.Bool().Draw(t, "windows") {
		p.Windows = []nf.RolloutWindow{{Start: 9 * 3600, End: 17 * 3600, Zone: "Europe/Berlin"}}
	}
	return p
}

// push begins the roll-out of a new commit.
func (w *world) push(t *rapid.T) {
	w.commits++
	was := w.doc
	w.doc = Begin(was, fmt.Sprintf("r%d", w.commits), anyPlan(t), fmt.Sprint("seed", w.commits), w.nodes, w.now)
	if w.doc.Generation != was.Generation+1 {
		t.Fatalf("generation %d after %d", w.doc.Generation, was.Generation)
	}
	if was.State == nf.RolloutHalted && !was.Recovered && was.DoneAt == nil && !isWithdrawn(w.doc, was.Revision) {
		t.Fatalf("%s was halted, and is not withdrawn", was.Revision)
	}
	if was.State == nf.RolloutDone && !isWithdrawn(w.doc, was.Revision) && w.doc.Previous != was.Revision {
		t.Fatalf("previous is %q", w.doc.Previous)
	}
}

func (w *world) decide(t *rapid.T) {
	was := w.doc
	next, changed := Decide(was, Heard{Nodes: w.nodes}, w.now)
	shuffled := rapid.Permutation(w.nodes).Draw(t, "order")
	if other, _ := Decide(was, Heard{Nodes: shuffled}, w.now); !cmp.Equal(next, other) {
		t.Fatalf("it depends on the order of the nodes: %s", cmp.Diff(next, other))
	}
	w.doc = next
	w.check(t, was, changed)
	if again, changed := Decide(next, Heard{Nodes: w.nodes}, w.now); changed {
		t.Fatalf("another decision at the same time: %s", cmp.Diff(next, again))
	}
	if was.State == nf.RolloutHalted || was.State == nf.RolloutAborted {
		if changed {
			t.Fatalf("%s is not final", was.State)
		}
	}
}

// check compares a document with the one before it.
func (w *world) check(t *rapid.T, was nf.RolloutDocument, changed bool) {
	next := w.doc
	if !changed {
		if !cmp.Equal(was, next) {
			t.Fatalf("changed, and it does not say so: %s", cmp.Diff(was, next))
		}
		return
	}
	if next.Generation != was.Generation+1 {
		t.Fatalf("generation %d after %d", next.Generation, was.Generation)
	}
	for i, g := range next.Groups {
		before := was.Groups[i]
		if g.Fraction < before.Fraction || g.Step < before.Step || g.Fraction < g.Before {
			t.Fatalf("group %s went back: %+v after %+v", g.Name, g, before)
		}
		w.checkFraction(t, was, i)
	}
	checkDocument(t, next)
	w.checkDeaf(t, was)
}

// checkDeaf holds that no turn comes while less than half of the nodes are heard of.
func (w *world) checkDeaf(t *rapid.T, was nf.RolloutDocument) {
	if 2*live(w.nodes, w.now) >= min(was.Live, len(w.nodes)) || w.doc.Step == was.Step && w.doc.State != nf.RolloutDone {
		return
	}
	if was.State == nf.RolloutRolling || was.State == nf.RolloutSoaking {
		t.Fatalf("%s step %d after %s step %d, and %d of %d nodes are heard of", w.doc.State, w.doc.Step, was.State, was.Step, live(w.nodes, w.now), was.Live)
	}
}

// checkFraction counts who got a turn by a decision: no more than the step says, of the nodes that were heard of.
func (w *world) checkFraction(t *rapid.T, was nf.RolloutDocument, group int) {
	before, g := was.Groups[group].Fraction, w.doc.Groups[group]
	last := w.doc.Step == len(w.doc.Plan.StepNames())-1 || w.doc.State == nf.RolloutDone
	if g.Fraction == before || last || g.Fraction == 1 && w.doc.Plan.InOrder {
		return
	}
	all, turns := 0, 0
	for i := range w.nodes {
		n := &w.nodes[i]
		if GroupOf(w.doc, n.Labels) != group {
			continue
		}
		p := progressOf(&was, n)
		begun := p == nf.ProgressBegun || p != "" && p.HasEnded() && p != nf.ProgressUnaffected
		if begun || p != nf.ProgressUnaffected && w.now.Sub(n.Heard) <= SilentAfter && n.Conditions[nf.Suspended] != nf.ConditionTrue {
			all++
			if Position(w.doc.Seed, n.Node) < g.Fraction {
				turns++
			}
		}
	}
	if most := max(nodesOf(&w.doc.Plan, w.doc.Step, group, all), 0); turns > most {
		t.Fatalf("step %d of group %s: the turn of %d of %d has come, and %d may", w.doc.Step, g.Name, turns, all, most)
	}
}

// checkDocument holds for each document.
func checkDocument(t *rapid.T, doc nf.RolloutDocument) {
	text, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	var back nf.RolloutDocument
	if err := json.Unmarshal(text, &back); err != nil || !cmp.Equal(doc, back) {
		t.Fatalf("%v: %s", err, cmp.Diff(doc, back))
	}
	if !slices.Contains(nf.RolloutStates(), doc.State) {
		t.Fatalf("state %q", doc.State)
	}
	if doc.State == nf.RolloutDone && doc.DoneAt == nil || doc.State.MayBegin() && doc.State != nf.RolloutDone && doc.DoneAt != nil {
		t.Fatalf("%s, done at %v", doc.State, doc.DoneAt)
	}
	if (doc.State == nf.RolloutSoaking) && doc.StepEnded == nil || doc.State == nf.RolloutRolling && doc.StepEnded != nil {
		t.Fatalf("%s, ended %v", doc.State, doc.StepEnded)
	}
	if doc.AwaitsApproval && doc.State != nf.RolloutPaused || doc.State == nf.RolloutHalted && doc.Reason == "" {
		t.Fatalf("%s: %q", doc.State, doc.Reason)
	}
	if len(doc.History) > maxHistory || len(doc.Withdrawn) > maxWithdrawn {
		t.Fatalf("%d records, %d withdrawn", len(doc.History), len(doc.Withdrawn))
	}
	if doc.State.MayBegin() && isWithdrawn(doc, doc.Revision) {
		t.Fatalf("%s is withdrawn, and %s", doc.Revision, doc.State)
	}
}

// operate lets an operator ask for something.
func (w *world) operate(t *rapid.T) {
	ask := nf.FleetAsk{
		Verb:     rapid.SampledFrom([]nf.AskVerb{nf.AskPause, nf.AskResume, nf.AskResume, nf.AskHalt, nf.AskAbort, nf.AskApprove, nf.AskApprove, nf.AskWithdraw, nf.AskWake, nf.AskRelease}).Draw(t, "verb"),
		Revision: fmt.Sprintf("r%d", rapid.IntRange(0, w.commits).Draw(t, "revision")),
		By:       "ann",
	}
	was := w.doc
	next, err := Obey(was, ask, Heard{Nodes: w.nodes}, w.now)
	if err != nil && !cmp.Equal(was, next) {
		t.Fatalf("%v, and changed: %s", err, cmp.Diff(was, next))
	}
	w.doc = next
	w.check(t, was, next.Generation != was.Generation)
	if err != nil {
		return
	}
	if again, err := Obey(next, ask, Heard{Nodes: w.nodes}, w.now); err != nil || !cmp.Equal(next, again) {
		t.Fatalf("%s again: %v %s", ask.Verb, err, cmp.Diff(next, again))
	}
	if ask.Verb == nf.AskResume && was.State == nf.RolloutHalted {
		// What has failed so far is forgiven. Only that the store is not as it was halts again.
		if after, _ := Decide(next, Heard{Nodes: w.nodes}, w.now); after.State == nf.RolloutHalted && !after.Recovered && !isWithdrawn(after, after.Revision) {
			if w.now.Before(deadlineOf(next)) && next.Step >= 0 {
				t.Fatalf("halted again at once: %s", after.Reason)
			}
		}
	}
}

// work lets a node act by the document as it is.
func (w *world) work(t *rapid.T) {
	n := &w.nodes[rapid.IntRange(0, len(w.nodes)-1).Draw(t, "node")]
	if w.dark[n.Node] {
		return
	}
	if progressOf(&w.doc, n) == nf.ProgressBegun {
		w.report(n, rapid.SampledFrom([]nf.ProgressState{nf.ProgressApplied, nf.ProgressApplied, nf.ProgressRefused, nf.ProgressFailed, nf.ProgressStuck}).Draw(t, "result"))
		return
	}
	turn := TurnOf(w.doc, nf.NodeIdentity{Name: n.Node, Labels: n.Labels}, n.Revision)
	if n.Revision == "" && turn.Meanwhile != "" {
		n.Revision = turn.Meanwhile
	}
	switch {
	case turn.Commit == "" || turn.Commit == n.Revision:
	case rapid.IntRange(0, 3).Draw(t, "unaffected") == 0:
		w.report(n, nf.ProgressUnaffected)
	case turn.OnlyUnaffected:
		w.report(n, nf.ProgressWaiting)
	default:
		w.begunAt[n.Node] = w.doc
		w.report(n, nf.ProgressBegun)
	}
}

// checkTurns looks at all nodes that have begun, with the document by which they did.
func (w *world) checkTurns(t *rapid.T) {
	for name, doc := range w.begunAt {
		if !doc.State.MayBegin() || isWithdrawn(doc, doc.Revision) {
			t.Fatalf("%s has begun, and the roll-out was %s", name, doc.State)
		}
	}
	for i := range w.nodes {
		n := &w.nodes[i]
		turn := TurnOf(w.doc, nf.NodeIdentity{Name: n.Node, Labels: n.Labels}, n.Revision)
		below := Position(w.doc.Seed, n.Node) < w.doc.Groups[GroupOf(w.doc, n.Labels)].Fraction
		if turn.Commit != "" && turn.Commit != n.Revision && !turn.OnlyUnaffected && !turn.Rescue && !below {
			t.Fatalf("%s: %+v", n.Node, turn)
		}
		if turn.Commit == w.doc.Revision && n.Revision != w.doc.Revision && !w.doc.State.MayBegin() {
			t.Fatalf("%s: %s: %+v", w.doc.State, n.Node, turn)
		}
		if turn.Meanwhile != "" && isWithdrawn(w.doc, turn.Meanwhile) {
			t.Fatalf("%s gets a withdrawn revision", n.Node)
		}
	}
	all, groups := Count(w.doc, w.nodes, w.now)
	sum := all.Silent + all.Unaffected + all.Waiting + all.Begun + all.Applied + all.Refused + all.Failed
	if all.Nodes != len(w.nodes) || sum != all.Nodes || len(groups) != len(w.doc.Groups) {
		t.Fatalf("%+v of %d nodes", all, len(w.nodes))
	}
}

func (w *world) pass(t *rapid.T) {
	w.now = w.now.Add(time.Duration(rapid.SampledFrom([]int{1, 15, 60, 301, 600, 1501, 36000}).Draw(t, "seconds")) * time.Second)
}

// hear lets all nodes that are not dark be heard, and some go dark or come back.
func (w *world) hear(t *rapid.T) {
	for i := range w.nodes {
		n := &w.nodes[i]
		if rapid.IntRange(0, 19).Draw(t, "changes") == 0 {
			w.dark[n.Node] = !w.dark[n.Node]
		}
		if !w.dark[n.Node] {
			n.Heard = w.now
			n.Generation = w.doc.Generation
		}
	}
}

func (w *world) join(t *rapid.T) {
	role := rapid.SampledFrom([]string{"edge", "gpu", "db"}).Draw(t, "role")
	revision := rapid.SampledFrom([]string{"", "r0"}).Draw(t, "has")
	n := nf.FleetNode{Node: fmt.Sprintf("hn-%d", len(w.nodes)), Labels: map[string]string{"role": role}, Revision: revision}
	w.nodes = append(w.nodes, nf.HeardNode{FleetNode: n, Heard: w.now})
}

// TestCompletes: a good revision reaches all nodes that answer, whatever the plan, with silent nodes and some that go dark, and
// without anybody's help.
func TestCompletes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		w.nodes = append(w.nodes, nf.HeardNode{FleetNode: nf.FleetNode{Node: "awake", Revision: "r0"}, Heard: w.now})
		p := anyPlan(t)
		p.PauseBefore, p.Silence, p.Deadline = nil, 300, 1800
		p.FailureCount = len(w.nodes) // nodes that go dark are not to halt it here
		w.doc = Begin(nf.RolloutDocument{}, "good", p, "seed", w.nodes, w.now)
		for i := range w.nodes {
			// If more than half go dark, the roll-out waits.
			w.dark[w.nodes[i].Node] = 2*i+2 < len(w.nodes) && rapid.IntRange(0, 3).Draw(t, "dark") == 0
			w.nodes[i].Revision = "r0"
		}
		end := w.now.Add(30 * 24 * time.Hour)
		for w.doc.State != nf.RolloutDone {
			if w.now.After(end) {
				waits, next := Why(w.doc, w.nodes, w.now)
				t.Fatalf("it is not done: %s %s %s", w.doc.State, waits, next)
			}
			if w.doc.State == nf.RolloutHalted {
				t.Fatalf("halted: %s", w.doc.Reason)
			}
			w.doc, _ = Decide(w.doc, Heard{Nodes: w.nodes}, w.now)
			for i := range w.nodes {
				n := &w.nodes[i]
				if w.dark[n.Node] {
					continue
				}
				n.Heard = w.now
				turn := TurnOf(w.doc, nf.NodeIdentity{Name: n.Node, Labels: n.Labels}, n.Revision)
				if turn.Commit != "" && turn.Commit != n.Revision && !turn.OnlyUnaffected {
					w.report(n, nf.ProgressApplied)
				}
			}
			w.now = w.now.Add(5 * time.Minute)
		}
		for i := range w.nodes {
			if n := &w.nodes[i]; !w.dark[n.Node] && n.Revision != "good" {
				t.Fatalf("%s has %s", n.Node, n.Revision)
			}
		}
	})
}
