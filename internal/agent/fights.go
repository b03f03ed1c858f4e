package agent

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/state"
)

// A value that something else has changed back maxFlips times within flipWindow is left.
const (
	maxFlips   = 3
	flipWindow = time.Hour
)

// whyFought returns why a change is left to whom it is fought with. The first value of a new
// instance, and a new want, are nobody's flips.
func (j *judge) whyFought(c nf.Change) string {
	f := j.fight(placeOf(c), c.Asked)
	if f == nil || f.Left == nil || c.Cause != nf.CauseDrift && c.Instance != f.Instance {
		return ""
	}
	by := probably(j.writersOf(placeOf(c), c.From), c.Key, c.From)
	if by != "" {
		by = ": " + c.Key.Text(c.From) + ", " + by
	}
	return fmt.Sprintf("something else has changed it back %d times within an hour%s: it is left since %s, until the policy changes or nfsync sync",
		len(f.Flips), by, since(*f.Left))
}

// fight returns the fight over a value and a want; nil if there is none.
func (j *judge) fight(at place, asked nf.Wish) *state.Fight {
	for i := range j.fights {
		if f := &j.fights[i]; placeOfFight(f) == at && f.Asked == asked {
			return f
		}
	}
	return nil
}

func placeOfFight(f *state.Fight) place { return place{f.Target.Nameless(), f.Key, f.Layer} }

// forgetFights forgets the fights whose want has changed or is no longer there.
func (j *judge) forgetFights(p nf.Plan) error {
	before := len(j.fights)
	asked := askedIn(p)
	j.fights = slices.DeleteFunc(j.fights, func(f state.Fight) bool {
		now, known := asked[wantOf(f.Target, f.Key)]
		if known {
			return now != (nf.Wish{}) && now != f.Asked
		}
		return !unseen(p)
	})
	if len(j.fights) == before {
		return nil
	}
	return j.dir.SaveFights(j.fights)
}

// want is a key of a target that policies ask for.
type want struct {
	target nf.Target // nameless
	key    nf.Key
}

// wantOf returns the want that a change of a key is for: a restart is made for the level.
func wantOf(t nf.Target, k nf.Key) want {
	if k == nf.KeyRestart {
		k = nf.KeyLevel
	}
	return want{t.Nameless(), k}
}

// askedIn returns what a plan is for. Of what is pending the wish is not known: it is the zero one.
func askedIn(p nf.Plan) map[want]nf.Wish {
	asked := map[want]nf.Wish{}
	for _, d := range p.Pending {
		asked[wantOf(d.Target, d.Key)] = nf.Wish{}
	}
	for _, s := range p.InSync {
		asked[wantOf(s.Target, s.Key)] = s.Asked
	}
	for _, r := range p.Refusals {
		asked[wantOf(r.Target, r.Key)] = r.Asked
	}
	for _, c := range p.Changes {
		asked[wantOf(c.Target, c.Key)] = c.Asked
	}
	return asked
}

// unseen reports whether a plan may lack containers that exist.
func unseen(p nf.Plan) bool {
	return slices.ContainsFunc(p.Warnings, func(w nf.Warning) bool { return w.Code == nf.WarnRuntimeBroken })
}

// isFlip reports whether a result shows that something else changes the value: drift that was undone,
// or a value that did not stay.
func isFlip(r apply.Result) bool {
	return !r.Intermediate && (r.Cause == nf.CauseDrift && r.Outcome == apply.Applied || r.Outcome == apply.Failed && r.Moved)
}

// recordFlips counts the flips, each value once.
func (j *judge) recordFlips(r apply.Receipt) error {
	changed := j.forgetFlips()
	for _, result := range r.Results {
		if !isFlip(result) {
			continue
		}
		f := j.fight(placeOf(result.Change), result.Asked)
		if f == nil {
			j.fights = append(j.fights, state.Fight{Target: result.Target, Key: result.Key, Layer: result.Layer, Asked: result.Asked})
			f = &j.fights[len(j.fights)-1]
		}
		f.Flips, f.Instance, changed = append(f.Flips, j.now), result.Instance, true
		if f.Left == nil && len(f.Flips) >= maxFlips {
			f.Left = &j.now
		}
	}
	if !changed {
		return nil
	}
	return j.dir.SaveFights(j.fights)
}

// forgetFlips forgets the flips of long ago, but those of fights that were left, and reports
// whether that has changed anything.
func (j *judge) forgetFlips() bool {
	before := len(j.fights)
	j.fights = slices.DeleteFunc(j.fights, func(f state.Fight) bool { return f.Left == nil && len(j.recent(f.Flips)) == 0 })
	changed := len(j.fights) != before
	for i := range j.fights {
		f := &j.fights[i]
		if now := j.recent(f.Flips); f.Left == nil && !slices.Equal(now, f.Flips) {
			f.Flips, changed = now, true
		}
	}
	return changed
}

// recent returns the times within the window before now. One that is later than now is from before
// the clock was set back, and does not count.
func (j *judge) recent(flips []time.Time) []time.Time {
	return slices.DeleteFunc(slices.Clone(flips), func(at time.Time) bool {
		age := j.now.Sub(at)
		return age < 0 || age > flipWindow
	})
}

// fightsLeft returns the fights that were left, with the value that a plan has found; nil if
// there is no plan.
func (j *judge) fightsLeft(p *nf.Plan) []nf.Fight {
	if p == nil {
		return nil
	}
	list := []nf.Fight{}
	for i := range j.fights {
		if f := &j.fights[i]; f.Left != nil {
			list = append(list, j.shown(f, p))
		}
	}
	slices.SortStableFunc(list, func(a, b nf.Fight) int {
		return cmp.Or(a.Target.Compare(b.Target), cmp.Compare(a.Key, b.Key), cmp.Compare(b.Layer, a.Layer)) // live first
	})
	return list
}

// shown returns a fight for the status.
func (j *judge) shown(f *state.Fight, p *nf.Plan) nf.Fight {
	out := nf.Fight{Target: f.Target, Key: f.Key, Layer: f.Layer, From: nf.Unknown("the last lap did not read it"), To: nearest(f.Asked), Flips: len(f.Flips), Since: *f.Left}
	for _, s := range p.InSync {
		if wantOf(s.Target, s.Key) == wantOf(f.Target, f.Key) && s.Asked == f.Asked {
			out.From, out.To = s.Value, s.Value
		}
	}
	for _, c := range p.Changes {
		if placeOf(c) != placeOfFight(f) {
			continue
		}
		if out.From, out.To = c.From, c.To; j.plan != nil && !j.wasLeft(placeOf(c)) { // this run has made it
			out.From = c.To
		}
	}
	out.SetBy = j.writersOf(placeOfFight(f), out.From)
	return out
}

// nearest returns a value that a wish allows.
func nearest(w nf.Wish) nf.Value {
	if w.IsRange() {
		return nf.Number(cmp.Or(w.AtLeast, w.AtMost))
	}
	return w.Value
}
