package rollout

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"nfsync.dev/nfsync/internal/nf"
)

// TestGoesOnAfterAll: whatever has happened to a roll-out, once its nodes answer again a person who does what Why says brings it to
// its end.
func TestGoesOnAfterAll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		t.Repeat(map[string]func(*rapid.T){
			"decide":  w.decide,
			"decides": w.decide,
			"operate": w.operate,
			"work":    w.work,
			"works":   w.work,
			"pass":    w.pass,
			"hear":    w.hear,
			"hears":   w.hear,
			"join":    w.join,
			"change":  w.change,
			"push":    w.push,
		})
		w.calm()
		if rapid.Bool().Draw(t, "the store is older") {
			w.nodes[0].Generation = w.doc.Generation + 7
		}
		if rapid.Bool().Draw(t, "the store has lost nodes") {
			w.nodes = w.nodes[:rapid.IntRange(1, len(w.nodes)).Draw(t, "left")]
		}
		for i := range w.nodes {
			// If more than half go dark, the roll-out waits.
			switch gone := rapid.IntRange(0, 5).Draw(t, "gone"); {
			case gone == 0 && i > 0 && 2*i+2 < len(w.nodes):
				w.dark[w.nodes[i].Node] = true
			case gone == 1 && i > 0:
				w.nodes[i].Conditions = map[nf.ConditionType]nf.ConditionStatus{nf.Suspended: nf.ConditionTrue}
			}
		}
		w.finish(t)
	})
}

// change lets something happen to a node that a person or the machine does.
func (w *world) change(t *rapid.T) {
	i := rapid.IntRange(0, len(w.nodes)-1).Draw(t, "node")
	n := &w.nodes[i]
	switch rapid.IntRange(0, 4).Draw(t, "what") {
	case 0:
		n.Conditions = map[nf.ConditionType]nf.ConditionStatus{nf.Suspended: nf.ConditionTrue}
	case 1:
		n.Conditions = nil
	case 2:
		n.Labels = map[string]string{"role": rapid.SampledFrom([]string{"edge", "gpu", "db"}).Draw(t, "role")}
	case 3:
		n.Progress = nil // enrolled again, on a new disk
	case 4:
		if p := n.Progress; p != nil {
			at := *p
			at.At = w.now.Add(time.Duration(rapid.IntRange(-100, 100).Draw(t, "clock")) * time.Hour)
			n.Progress = &at
		}
	}
}

// calm lets all nodes be heard, and no node be suspended.
func (w *world) calm() {
	clear(w.dark)
	for i := range w.nodes {
		w.nodes[i].Conditions, w.nodes[i].Heard = nil, w.now
		if w.doc.Generation > w.nodes[i].Generation {
			w.nodes[i].Generation = w.doc.Generation
		}
	}
}

func (w *world) finish(t *rapid.T) {
	for end := w.now.Add(120 * 24 * time.Hour); w.doc.State != nf.RolloutDone; w.now = w.now.Add(5 * time.Minute) {
		waits, next := Why(w.doc, w.nodes, w.now)
		if w.now.After(end) {
			t.Fatalf("%s, step %d: %q, next %q", w.doc.State, w.doc.Step, waits, next)
		}
		if strings.Contains(waits, "%!") || waits == "" {
			t.Fatalf("%q", waits)
		}
		if _, until, ok := strings.Cut(waits, "until "); ok && w.doc.State != nf.RolloutPaused && w.doc.State != nf.RolloutHalted {
			at, err := time.Parse("2006-01-02 15:04:05 UTC", strings.TrimSuffix(until, " at most"))
			if err != nil {
				at, err = time.Parse("2006-01-02 15:04 UTC", strings.TrimSuffix(until, " at most"))
			}
			if err != nil {
				t.Fatalf("%q: %v", waits, err)
			}
			if after, changed := Decide(w.doc, Heard{Nodes: w.nodes}, w.now); !changed && at.Before(w.now.Add(-time.Minute)) {
				t.Fatalf("at %s: %q, %s", w.now, waits, after.State)
			}
		}
		verb := nf.AskVerb("")
		switch {
		case strings.Contains(next, "rollout approve"):
			verb = nf.AskApprove
		case strings.Contains(next, "rollout resume"), strings.Contains(next, "a person resumes"):
			verb = nf.AskResume
		case next == "a person aborts it, and another revision is rolled out":
			verb = nf.AskAbort
		case strings.Contains(next, "another revision is rolled out"):
			w.commits++
			w.doc = Begin(w.doc, fmt.Sprintf("r%d", w.commits), anyPlan(t), fmt.Sprint("seed", w.commits), w.nodes, w.now)
		case w.doc.State == nf.RolloutHalted || w.doc.State == nf.RolloutPaused || w.doc.State == nf.RolloutAborted:
			t.Fatalf("%s: %q %q", w.doc.State, waits, next)
		}
		if verb != "" {
			doc, err := Obey(w.doc, nf.FleetAsk{Verb: verb}, Heard{Nodes: w.nodes}, w.now)
			if err != nil {
				t.Fatalf("%s: %q %q: %v", w.doc.State, waits, next, err)
			}
			w.doc = doc
		}
		w.doc, _ = Decide(w.doc, Heard{Nodes: w.nodes}, w.now)
		for i := range w.nodes {
			if n := &w.nodes[i]; !w.dark[n.Node] {
				w.acts(n)
			}
		}
	}
}

// acts lets a node do what the document lets it do, well.
func (w *world) acts(n *nf.HeardNode) {
	n.Heard, n.Generation = w.now, w.doc.Generation
	if progressOf(&w.doc, n) == nf.ProgressBegun {
		w.report(n, nf.ProgressApplied)
		return
	}
	turn := TurnOf(w.doc, nf.NodeIdentity{Name: n.Node, Labels: n.Labels}, n.Revision)
	if n.Revision == w.doc.Revision && progressOf(&w.doc, n) == "" {
		w.report(n, nf.ProgressUnaffected)
	}
	if turn.Commit != "" && turn.Commit != n.Revision && !turn.OnlyUnaffected && n.Conditions[nf.Suspended] == "" {
		w.report(n, nf.ProgressBegun)
	}
}
