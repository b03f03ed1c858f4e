package fleetscale

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"nfsync.dev/nfsync/internal/fleet"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/rollout"
)

// watcher sees all documents that the store takes, all that nodes put, and all that is changed on machines, and holds them
// against each other. What nodes and the coordinator say of their reasons it does not hear.
type watcher struct {
	w *world

	mu       sync.Mutex // of what follows
	docs     []document
	changes  []change // that were not checked yet
	begun    []begun  // the same
	answers  map[uint64]nf.RolloutState
	resumed  int                        // how often a person has asked for a roll-out to go on, and it has not yet
	touched  map[string]map[string]bool // the nodes that were to have the value of a revision, by it
	has      map[string]string          // the revision whose value a node was last to have
	checked  int
	problems []string
	seen     int // documents that were held against the one before
}

// document is a document with the time since when the watcher has it: it was in the store before.
type document struct {
	nf.RolloutDocument
	arrived time.Time
}

func (d document) String() string {
	return fmt.Sprintf("generation %d, %.8s %s, step %d: %s", d.Generation, d.Revision, d.State, d.Step, d.Reason)
}

// change is that a machine gets the value of another revision.
type change struct {
	n        *node
	from, to string
	saw      sight // the last document that its agent was given
}

// begun is that a node has put that it begins.
type begun struct {
	nf.NodeProgress
	node nf.NodeIdentity
	from string // the revision that it had in force
}

func newWatcher(w *world) *watcher {
	w.Helper()
	o := &watcher{w: w, answers: map[uint64]nf.RolloutState{}, touched: map[string]map[string]bool{}, has: map[string]string{}}
	nc := w.connect()
	w.must(wholeDocuments(w.Context(), nc, agents(w.T)))
	_, err := nc.Subscribe(fleet.SubjectWakeRollout+fleet.DefaultChannel, o.hearDocument)
	w.must(err)
	_, err = nc.Subscribe(fleet.SubjectStatus+">", o.hearNode)
	w.must(err)
	w.must(nc.FlushTimeout(patience))
	return o
}

func (o *watcher) hearDocument(m *nats.Msg) {
	var doc nf.RolloutDocument
	err := fleet.Open(fleet.SealRollout, fleet.DefaultChannel, m.Data, o.w.directory.CoordinatorPublicKey(), &doc)
	o.mu.Lock()
	defer o.mu.Unlock()
	if err != nil {
		o.problem("a document: %v", err)
		return
	}
	o.docs = append(o.docs, document{doc, time.Now()})
}

func (o *watcher) hearNode(m *nats.Msg) {
	var n nf.FleetNode
	err := json.Unmarshal(m.Data, &n)
	o.mu.Lock()
	defer o.mu.Unlock()
	if err != nil {
		o.problem("%s: %v", m.Subject, err)
		return
	}
	if p := n.Progress; p != nil && p.State == nf.ProgressBegun {
		o.begun = append(o.begun, begun{*p, nf.NodeIdentity{Name: n.Node, Labels: n.Labels}, n.Revision})
	}
}

// changed takes what is changed on a machine.
func (o *watcher) changed(c change) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.changes = append(o.changes, c)
	if o.touched[c.to] == nil {
		o.touched[c.to] = map[string]bool{}
	}
	o.touched[c.to][c.n.identity.Name] = true
	o.has[c.n.identity.Name] = c.to
}

// resumes takes that an operator is about to let the roll-out go on.
func (o *watcher) resumes() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.resumed++
}

// answered takes the answer to an operator.
func (o *watcher) answered(doc nf.RolloutDocument) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.answers[doc.Generation] = doc.State
	if is, _ := o.find(doc.Generation); is != nil && is.State != doc.State {
		o.problem("%s: the answer to an operator was that it is %s", is, doc.State)
	}
}

// commits returns how many commits there are.
func (o *watcher) commits() int {
	o.w.repo.mu.Lock()
	defer o.w.repo.mu.Unlock()
	return o.w.repo.count
}

// last returns the newest document; the zero value: there is none.
func (o *watcher) last() document {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.docs) == 0 {
		return document{}
	}
	return o.docs[len(o.docs)-1]
}

// touchedBy counts the nodes that were to have the value of a revision.
func (o *watcher) touchedBy(revision string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.touched[revision])
}

// leftWith counts the nodes that were last to have the value of a revision.
func (o *watcher) leftWith(revision string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	count := 0
	for _, has := range o.has {
		if has == revision {
			count++
		}
	}
	return count
}

func (o *watcher) problem(format string, args ...any) {
	o.problems = append(o.problems, fmt.Sprintf(format, args...))
}

// check fails the test if something has happened that may not.
func (o *watcher) check() {
	o.w.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	for ; o.seen < len(o.docs); o.seen++ {
		o.checkFractions(o.docs[o.seen])
		if o.seen > 0 {
			o.checkOrder(o.docs[o.seen-1], o.docs[o.seen])
		}
	}
	o.changes = slices.DeleteFunc(o.changes, o.checkChange)
	o.begun = slices.DeleteFunc(o.begun, o.checkBegun)
	for _, p := range o.problems[:min(len(o.problems), 10)] {
		o.w.Error(p)
	}
	o.problems = nil
}

// settled reports whether all that was seen was checked.
func (o *watcher) settled() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.changes)+len(o.begun) == 0
}

// counts returns how many beginnings and changes were checked, and documents.
func (o *watcher) counts() (checked, documents int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.checked, o.seen
}

// find returns the document of a generation, and the one after it.
func (o *watcher) find(generation uint64) (is, after *document) {
	for i := range o.docs {
		switch o.docs[i].Generation {
		case generation:
			is = &o.docs[i]
		case generation + 1:
			after = &o.docs[i]
		}
	}
	return is, after
}

// checkChange checks what was changed on a machine, and reports whether it could.
func (o *watcher) checkChange(c change) bool {
	if c.saw.doc.Generation == 0 {
		o.problem("%s got %.8s without a document", c.n.identity.Name, c.to)
		return true
	}
	is, after := o.find(c.saw.doc.Generation)
	if is == nil {
		return false // the watcher has not heard of it yet
	}
	o.checked++
	if after != nil && after.arrived.Before(c.saw.asked) {
		o.problem("%s got %.8s by %s, which was not the last one when it asked: that was %s", c.n.identity.Name, c.to, is, after)
	}
	if why := whyNot(is.RolloutDocument, c.n.identity, c.from, c.to); why != "" {
		o.problem("%s got %.8s after %.8s by %s: %s", c.n.identity.Name, c.to, c.from, is, why)
	}
	return true
}

// checkBegun checks that a node has put that it begins with a revision, and reports whether it could.
func (o *watcher) checkBegun(b begun) bool {
	is, _ := o.find(b.Generation)
	if is == nil {
		return false
	}
	o.checked++
	if why := whyNot(is.RolloutDocument, b.node, b.from, b.Revision); why != "" {
		o.problem("%s began %.8s after %.8s by %s: %s", b.node.Name, b.Revision, b.from, is, why)
	}
	return true
}

// whyNot returns why a document does not let a node take a revision that has another one in force; empty: it does.
func whyNot(doc nf.RolloutDocument, n nf.NodeIdentity, inForce, revision string) string {
	group := rollout.GroupOf(doc, n.Labels)
	mayBegin := doc.State == nf.RolloutRolling || doc.State == nf.RolloutSoaking || doc.State == nf.RolloutDone
	isRescued := slices.Contains(doc.Withdrawn, inForce)
	switch {
	case slices.Contains(doc.Withdrawn, revision):
		return "it is withdrawn"
	case revision == doc.Previous && numberOf(inForce) < numberOf(revision):
		return ""
	case revision != doc.Revision:
		return "it is another revision"
	case !mayBegin:
		return "no node may begin"
	case isRescued || rollout.Position(doc.Seed, n.Name) < doc.Groups[group].Fraction:
		return ""
	}
	return fmt.Sprintf("its turn has not come: it is at %f, and the fraction is %f", rollout.Position(doc.Seed, n.Name), doc.Groups[group].Fraction)
}

// checkOrder holds a document against the one before.
func (o *watcher) checkOrder(was, is document) {
	if is.Generation != was.Generation+1 || is.Term < was.Term || is.UpdatedAt.Before(was.UpdatedAt) {
		o.problem("%s follows %s", is, was)
	}
	if state, ok := o.answers[is.Generation]; ok && is.State != state {
		o.problem("%s: the answer to an operator was that it is %s", is, state)
	}
	if is.Revision != was.Revision {
		if numberOf(is.Revision) < numberOf(was.Revision) {
			o.problem("%s follows %s", is, was)
		}
		return
	}
	if is.Step != was.Step && is.Step != was.Step+1 || is.Seed != was.Seed {
		o.problem("%s follows %s", is, was)
	}
	for i := range is.Groups {
		if is.Groups[i].Fraction < was.Groups[i].Fraction {
			o.problem("%s: the fraction of %s falls", is, is.Groups[i].Name)
		}
	}
	held := was.State == nf.RolloutPaused || was.State == nf.RolloutHalted || was.State == nf.RolloutAborted
	if held && is.State != was.State {
		if o.resumed--; o.resumed < 0 {
			o.problem("%s follows %s, and nobody has asked for it", is, was)
		}
	}
}

// checkFractions checks that no step gives more nodes their turn than it may.
func (o *watcher) checkFractions(d document) {
	if d.State == nf.RolloutDone {
		return
	}
	turn, all := make([]int, len(d.Groups)), make([]int, len(d.Groups))
	for _, n := range o.w.nodes {
		if !n.isAffected(d.Revision) {
			continue // it makes room for another one
		}
		g := rollout.GroupOf(d.RolloutDocument, n.identity.Labels)
		all[g]++
		if rollout.Position(d.Seed, n.identity.Name) < d.Groups[g].Fraction {
			turn[g]++
		}
	}
	for g := range d.Groups {
		if most := mostOf(d.Step, all[g]); turn[g] > most {
			o.problem("%s: it is the turn of %d nodes of %s, at most of %d", d, turn[g], d.Groups[g].Name, most)
		}
	}
}

// mostOf returns the most nodes of a group that have their turn by a step.
func mostOf(step, nodes int) int {
	switch step {
	case -1:
		return 0
	case 0:
		return min(canaries, nodes)
	case 1:
		return max(min(canaries, nodes), int(math.Ceil(0.4*float64(nodes)-1e-9)))
	}
	return nodes
}
