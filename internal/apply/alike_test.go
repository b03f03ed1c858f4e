package apply

import (
	"testing"

	"nfsync.dev/nfsync/internal/host/hosttest"
	"nfsync.dev/nfsync/internal/nf"
)

func TestWantTheSame(t *testing.T) {
	udp := nf.TimeoutKey("udp")
	at := func(line int) nf.Source { return nf.Source{Name: "p", File: "p.yaml", Line: line} }
	ct := (&nf.Container{Runtime: nf.RuntimeNetns, ID: "1"}).Target()
	want := nf.Want{Target: nf.Node, Key: udp, Wish: nf.Exactly(nf.Number(30)), Source: at(3)}
	with := func(change func(*nf.Want)) []nf.Want {
		w := want
		change(&w)
		return []nf.Want{w}
	}
	rivals := func(numbers ...int64) []nf.Want {
		return with(func(w *nf.Want) {
			for i, n := range numbers {
				w.Rivals = append(w.Rivals, nf.Rival{Wish: nf.Exactly(nf.Number(n)), Source: at(i)})
			}
		})
	}
	for name, c := range map[string]struct {
		a, b []nf.Want
		same bool
	}{
		"nothing":           {nil, []nf.Want{}, true},
		"another line":      {with(func(*nf.Want) {}), with(func(w *nf.Want) { w.Source = at(9) }), true},
		"lower priority":    {with(func(*nf.Want) {}), with(func(w *nf.Want) { w.Lost = []nf.Rival{{Wish: nf.Exactly(nf.Number(1))}} }), true},
		"rivals in order":   {rivals(1, 2), rivals(2, 1), true},
		"another value":     {with(func(*nf.Want) {}), with(func(w *nf.Want) { w.Wish = nf.Exactly(nf.Number(31)) }), false},
		"a range":           {with(func(*nf.Want) {}), with(func(w *nf.Want) { w.Wish = nf.Wish{AtLeast: 30} }), false},
		"another key":       {with(func(*nf.Want) {}), with(func(w *nf.Want) { w.Key = nf.TimeoutKey("tcp") }), false},
		"another target":    {with(func(*nf.Want) {}), with(func(w *nf.Want) { w.Target = ct }), false},
		"another restart":   {with(func(*nf.Want) {}), with(func(w *nf.Want) { w.Restart = nf.RestartAllow }), false},
		"a want more":       {with(func(*nf.Want) {}), append(with(func(*nf.Want) {}), with(func(w *nf.Want) { w.Target = ct })...), false},
		"a conflict":        {with(func(*nf.Want) {}), rivals(1), false},
		"another conflict":  {rivals(1, 2), rivals(1, 3), false},
		"a rival for a key": {rivals(1), with(func(w *nf.Want) { w.Rivals = []nf.Rival{{Key: udp, Wish: nf.Exactly(nf.Number(1))}} }), false},
	} {
		wishes := func(list []nf.Want) Wishes {
			return Wishes{Wants: func(*nf.Snapshot) nf.Wants { return nf.Wants{List: list} }}
		}
		for _, order := range [][2][]nf.Want{{c.a, c.b}, {c.b, c.a}} {
			same, err := WantTheSame(t.Context(), hosttest.New(), wishes(order[0]), wishes(order[1]))
			if err != nil || same != c.same {
				t.Errorf("%s: %v, %v; want %v", name, same, err, c.same)
			}
		}
	}
}
