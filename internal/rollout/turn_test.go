package rollout

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"nfsync.dev/nfsync/internal/nf"
)

// TestPosition: positions of known names, so that agents and coordinators of different versions agree, and that they
// are spread evenly.
func TestPosition(t *testing.T) {
	// printf 'seed\0hn-7' | sha256sum: c238392648ee0aa5…
	want := 0xc238392648ee0aa5 / math.Pow(2, 64)
	if got := Position("seed", "hn-7"); math.Abs(got-want) > 1e-15 {
		t.Errorf("%v, want %v", got, want)
	}
	below := 0
	for i := range 10000 {
		if Position("s", string(rune('a'+i%26))+time.Duration(i).String()) < 0.25 {
			below++
		}
	}
	if below < 2300 || below > 2700 {
		t.Fatalf("%d of 10000 are in the first quarter", below)
	}
	rapid.Check(t, func(t *rapid.T) {
		p := Position(rapid.String().Draw(t, "seed"), rapid.String().Draw(t, "node"))
		if p < 0 || p >= 1 || above(p) <= p || above(p) > 1 {
			t.Fatalf("%v, above %v", p, above(p))
		}
	})
}

func TestGroupOf(t *testing.T) {
	doc := nf.RolloutDocument{Groups: []nf.RolloutGroup{
		{Name: "test", Match: map[string]string{"stage": "test"}},
		{Name: "edge-de", Match: map[string]string{"role": "edge", "site": "de"}},
		{Name: "other"},
	}}
	for _, test := range []struct {
		labels map[string]string
		want   int
	}{
		{map[string]string{"stage": "test", "role": "edge", "site": "de"}, 0}, // the first match wins
		{map[string]string{"role": "edge", "site": "de"}, 1},
		{map[string]string{"role": "edge"}, 2}, // all labels of a group must match
		{map[string]string{"role": "edge", "site": "fr"}, 2},
		{nil, 2},
	} {
		if got := GroupOf(doc, test.labels); got != test.want {
			t.Errorf("%v: %d", test.labels, got)
		}
	}
	if got := GroupOf(nf.RolloutDocument{}, nil); got != -1 {
		t.Errorf("of no groups: %d", got)
	}
}

func TestTurnOf(t *testing.T) {
	doc := nf.RolloutDocument{
		Revision: "r3", Previous: "r2", State: nf.RolloutRolling, Seed: "seed", Spread: 70, FetchSpread: 80, Rescue: 0.9, RescueSpread: 90,
		Groups: []nf.RolloutGroup{{Name: "other", Fraction: 0.5}}, Withdrawn: []string{"bad"},
	}
	early, late := "hn-1", "hn-7"
	if Position("seed", early) >= 0.5 || Position("seed", late) < 0.5 {
		t.Fatal(Position("seed", early), Position("seed", late))
	}
	waits := "its turn has not come: of group other it is that of the first 50%"
	for name, test := range map[string]struct {
		doc     func(d *nf.RolloutDocument)
		node    string
		inForce string
		want    Turn
	}{
		"its turn":            {node: early, inForce: "r2", want: Turn{Commit: "r3", Within: 70 * time.Second}},
		"its turn, and fresh": {node: early, want: Turn{Commit: "r3", Within: 70 * time.Second}},
		"it has it":           {node: early, inForce: "r3", want: Turn{Commit: "r3"}},
		"it waits":            {node: late, inForce: "r2", want: Turn{Commit: "r3", OnlyUnaffected: true, Within: 80 * time.Second, Reason: waits}},
		"it waits, and fresh": {node: late, want: Turn{Commit: "r3", OnlyUnaffected: true, Meanwhile: "r2", Within: 80 * time.Second, Reason: waits}},
		"it waits, and older": {node: late, inForce: "r1", want: Turn{Commit: "r3", OnlyUnaffected: true, Meanwhile: "r2", Within: 80 * time.Second, Reason: waits}},
		"rescue":              {node: late, inForce: "bad", want: Turn{Commit: "r3", Rescue: true, Within: 90 * time.Second}},
		"not of the first of the rescue": {node: late, inForce: "bad", doc: func(d *nf.RolloutDocument) { d.Rescue = 0.1 },
			want: Turn{Commit: "r3", OnlyUnaffected: true, Meanwhile: "r2", Within: 80 * time.Second, Reason: waits}},
		"no rescue when held": {node: late, inForce: "bad", doc: func(d *nf.RolloutDocument) { d.State = nf.RolloutHalted },
			want: Turn{Meanwhile: "r2", Within: 80 * time.Second, Reason: "the roll-out is halted"}},
		"it waits for a small part": {node: late, inForce: "r2", doc: func(d *nf.RolloutDocument) { d.Groups = []nf.RolloutGroup{{Name: "other", Fraction: 0.0466148}} },
			want: Turn{Commit: "r3", OnlyUnaffected: true, Within: 80 * time.Second, Reason: "its turn has not come: of group other it is that of the first 4.7%"}},
		"soaking": {node: early, inForce: "r2", doc: func(d *nf.RolloutDocument) { d.State = nf.RolloutSoaking }, want: Turn{Commit: "r3", Within: 70 * time.Second}},
		"done":    {node: early, inForce: "r2", doc: func(d *nf.RolloutDocument) { d.State = nf.RolloutDone }, want: Turn{Commit: "r3", Within: 70 * time.Second}},
		"paused": {node: early, inForce: "r2", doc: func(d *nf.RolloutDocument) { d.State = nf.RolloutPaused },
			want: Turn{Within: 80 * time.Second, Reason: "the roll-out is paused"}},
		"aborted": {node: early, inForce: "r2", doc: func(d *nf.RolloutDocument) { d.State = nf.RolloutAborted },
			want: Turn{Within: 80 * time.Second, Reason: "the roll-out is aborted"}},
		"withdrawn, whatever the state": {node: early, inForce: "r2", doc: func(d *nf.RolloutDocument) { d.Withdrawn = []string{"r3"} },
			want: Turn{Within: 80 * time.Second, Reason: "its revision is withdrawn"}},
		"the one before is withdrawn": {node: late, doc: func(d *nf.RolloutDocument) { d.Withdrawn = []string{"r2"} },
			want: Turn{Commit: "r3", OnlyUnaffected: true, Within: 80 * time.Second, Reason: waits}},
		"the store has lost what was withdrawn": {node: late, doc: func(d *nf.RolloutDocument) { d.State, d.Recovered = nf.RolloutHalted, true },
			want: Turn{Within: 80 * time.Second, Reason: "the roll-out is halted"}},
		"there is none before": {node: late, doc: func(d *nf.RolloutDocument) { d.Previous = "" },
			want: Turn{Commit: "r3", OnlyUnaffected: true, Within: 80 * time.Second, Reason: waits}},
	} {
		d := doc
		if test.doc != nil {
			test.doc(&d)
		}
		test.want.Group = "other"
		if got := TurnOf(d, nf.NodeIdentity{Name: test.node}, test.inForce); got != test.want {
			t.Errorf("%s:\n%+v, want\n%+v", name, got, test.want)
		}
	}
	if got := TurnOf(nf.RolloutDocument{}, nf.NodeIdentity{Name: early}, ""); got != (Turn{Reason: "there is no roll-out"}) {
		t.Errorf("%+v", got)
	}
}
