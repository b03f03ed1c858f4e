package rollout

import (
	"encoding/json"
	"testing"
	"time"

	"pgregory.net/rapid"

	"nfsync.dev/nfsync/internal/nf"
)

// TestOtherDocuments: a document of another version of nfsync may lack fields, or have others than this one writes. Nothing that
// is made of it panics, or goes on for ever.
func TestOtherDocuments(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		w.decide(t)
		text, err := json.Marshal(w.doc)
		if err != nil {
			t.Fatal(err)
		}
		fields := map[string]any{}
		if err := json.Unmarshal(text, &fields); err != nil {
			t.Fatal(err)
		}
		for range rapid.IntRange(1, 4).Draw(t, "fields") {
			spoil(t, fields)
		}
		if plan, ok := fields["plan"].(map[string]any); ok && rapid.Bool().Draw(t, "spoil the plan") {
			spoil(t, plan)
		}
		text, err = json.Marshal(fields)
		if err != nil {
			t.Fatal(err)
		}
		var doc nf.RolloutDocument
		if json.Unmarshal(text, &doc) != nil {
			return
		}
		for range 20 {
			heard := Heard{Nodes: w.nodes}
			Why(doc, w.nodes, w.now)
			Count(doc, w.nodes, w.now)
			Failed(doc, w.nodes, w.now)
			LeftBehind(doc, w.nodes, w.now)
			Grants(doc, w.nodes, map[string]nf.RestartGrant{w.nodes[0].Node: {Until: w.now}}, w.now)
			for _, verb := range []nf.AskVerb{nf.AskPause, nf.AskResume, nf.AskApprove, nf.AskHalt, nf.AskAbort, nf.AskWithdraw} {
				if next, err := Obey(doc, nf.FleetAsk{Verb: verb, Revision: "r1"}, heard, w.now); err == nil {
					Decide(next, heard, w.now)
				}
			}
			for i := range w.nodes {
				TurnOf(doc, nf.NodeIdentity{Name: w.nodes[i].Node, Labels: w.nodes[i].Labels}, w.nodes[i].Revision)
			}
			Begin(doc, "r9", w.doc.Plan, "seed", w.nodes, w.now)
			doc, _ = Decide(doc, heard, w.now)
			w.now = w.now.Add(10 * time.Minute)
			w.doc = doc
			w.work(t)
		}
	})
}

// spoil takes a field away, or gives it another value of its type.
func spoil(t *rapid.T, fields map[string]any) {
	var names []string
	for _, name := range []string{"step", "approved", "state", "groups", "plan", "stepEnded", "stepBegan", "spread", "seed", "rescue", "live", "nodes", "fractions", "canaries", "pauseBefore", "inOrder", "silence", "rate", "windows"} {
		if _, ok := fields[name]; ok {
			names = append(names, name)
		}
	}
	name := rapid.SampledFrom(names).Draw(t, "field")
	if _, ok := fields[name].(float64); ok && rapid.Bool().Draw(t, "number") {
		fields[name] = rapid.SampledFrom([]float64{-1, -7, 0, 1, 3, 99}).Draw(t, "value")
		return
	}
	if name == "state" && rapid.Bool().Draw(t, "other state") {
		fields[name] = rapid.SampledFrom([]string{"soaking", "rolling", "paused", "waiting"}).Draw(t, "state")
		return
	}
	delete(fields, name)
}

// TestForeign: what this version does not understand lets no node begin, and says what to do.
func TestForeign(t *testing.T) {
	for what, change := range map[string]func(*nf.RolloutDocument){
		"a step that there is not": func(d *nf.RolloutDocument) { d.Step = 99 },
		"no plan":                  func(d *nf.RolloutDocument) { d.Plan = nf.RolloutPlan{} },
		"no groups":                func(d *nf.RolloutDocument) { d.Groups = nil },
		"a soak without a time":    func(d *nf.RolloutDocument) { d.State = nf.RolloutSoaking },
		"another state":            func(d *nf.RolloutDocument) { d.State = "waiting" },
	} {
		f := inState(t, nf.RolloutRolling)
		f.all(nf.ProgressApplied)
		change(&f.doc)
		waits, next := Why(f.doc, f.nodes, f.now)
		f.decide()
		if f.doc.State != nf.RolloutHalted || f.doc.Reason != foreign || waits != foreign || next != "another revision is rolled out" {
			t.Errorf("%s: %s: %s; %q, next %q", what, f.doc.State, f.doc.Reason, waits, next)
		}
	}
}
