package view

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"nfsync.dev/nfsync/internal/nf"
)

// foldAbove is how many targets may have the same entry before it is shown once, with their
// number.
const foldAbove = 3

// foldAt returns the number for a document. In one of many nodes nothing is listed twice.
func foldAt(opt Options, many bool) int {
	switch {
	case opt.foldAll:
		return 0
	case opt.Full:
		return int(^uint(0) >> 1)
	case many:
		return 1
	}
	return foldAbove
}

func (p *page) foldAbove() int { return foldAt(p.opt, false) }

// place is a target of a node. The node is empty in a document of one node.
type place struct {
	node   string
	target nf.Target
}

// compare orders places by the names that are printed. The id of a container decides only between
// equal names.
func (a place) compare(b place) int {
	if order := nf.CompareNames(a.node, b.node); order != 0 {
		return order
	}
	if a.target.Kind == b.target.Kind {
		if order := cmp.Or(cmp.Compare(a.target.Runtime, b.target.Runtime), nf.CompareNames(targetName(a.target), targetName(b.target))); order != 0 {
			return order
		}
	}
	return a.target.Compare(b.target)
}

// group is the entries of one place, or of many that have the same ones.
type group struct {
	places  []place
	entries []entry
}

// bucket is the entries that have the same consequence: the first ones of them, and the places
// of all.
type bucket struct {
	kept   []entry
	places []int32         // in the list of the folder
	values []nf.Value      // the present ones that are printed differently
	texts  map[string]bool // of these values
}

// folder collects entries, and forgets those that it will not show.
type folder struct {
	above   int     // how many places with the same entry are still listed one by one
	places  []place // each once, unless there are others between
	added   int
	buckets map[string]*bucket
	order   []*bucket
}

func newFolder(above int) *folder { return &folder{above: above, buckets: map[string]*bucket{}} }

// add adds an entry, and returns its bucket.
func (f *folder) add(at place, e entry) *bucket {
	f.added++
	e.order = f.added
	key := e.consequence(at)
	b := f.buckets[key]
	if b == nil {
		b = &bucket{texts: map[string]bool{}}
		f.buckets[key] = b
		f.order = append(f.order, b)
	}
	if len(b.kept) <= f.above {
		b.kept = append(b.kept, e)
	}
	first := &b.kept[0]
	first.differ = first.differ || !slices.Equal(e.notes, first.notes) || !slices.Equal(e.advice, first.advice)
	b.places = append(b.places, f.place(at))
	if text := e.text(e.from); !b.texts[text] {
		b.texts[text] = true
		b.values = append(b.values, e.from)
	}
	return b
}

// laidOut is an entry with its bucket.
type laidOut struct {
	bucket *bucket
	entry  entry
}

// addAgain adds an entry of another place that is equal to one that was added.
func (f *folder) addAgain(l *laidOut, at place) {
	f.added++
	b := l.bucket
	if len(b.kept) <= f.above {
		e := l.entry
		e.target, e.order = at.target, f.added
		if len(b.kept) == cap(b.kept) {
			b.kept = slices.Grow(b.kept, len(b.kept)) // twice as many: there may be very many
		}
		b.kept = append(b.kept, e)
	}
	b.places = append(b.places, f.place(at))
}

// place returns the position of a place in the list. What is added is mostly in the order of
// places.
func (f *folder) place(at place) int32 {
	if n := len(f.places); n == 0 || f.places[n-1] != at {
		f.places = append(f.places, at)
	}
	return int32(len(f.places) - 1)
}

// sorted returns the places in their order, each once, and the new positions of the list.
func (f *folder) sorted() (places []place, at []int32) {
	order := make([]int32, len(f.places))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(a, b int32) int { return f.places[a].compare(f.places[b]) })
	places, at = make([]place, 0, len(f.places)), make([]int32, len(f.places))
	for _, i := range order {
		if n := len(places); n == 0 || places[n-1] != f.places[i] {
			places = append(places, f.places[i])
		}
		at[i] = int32(len(places) - 1)
	}
	return places, at
}

// groups returns the entries by place, the node first, those of a place in the order in which
// they were added. Entries that more than so many places have are shown once, whatever their
// present values and notes are.
func (f *folder) groups() []group {
	places, positions := f.sorted()
	var list []group
	var of [][]int32             // the places of each
	byFirst := map[int32][]int{} // the groups by their first place
	put := func(at []int32, e entry) {
		for _, i := range byFirst[at[0]] {
			if slices.Equal(of[i], at) {
				list[i].entries = append(list[i].entries, e)
				return
			}
		}
		byFirst[at[0]] = append(byFirst[at[0]], len(list))
		of, list = append(of, at), append(list, group{places: choose(places, at), entries: []entry{e}})
	}
	for _, b := range f.order {
		for i := range b.places {
			b.places[i] = positions[b.places[i]]
		}
		if len(b.places) > f.above {
			slices.Sort(b.places)
			put(b.places, b.merged())
			continue
		}
		for i, e := range b.kept {
			e.differ = false
			put(b.places[i:i+1], e)
		}
	}
	for _, g := range list {
		slices.SortFunc(g.entries, func(a, b entry) int { return a.order - b.order })
	}
	slices.SortStableFunc(list, func(a, b group) int { return a.places[0].compare(b.places[0]) })
	return list
}

// choose returns the places at some positions. Many are mostly all that there are.
func choose(places []place, at []int32) []place {
	if len(at) == len(places) && isAll(at) {
		return places
	}
	chosen := make([]place, len(at))
	for i, n := range at {
		chosen[i] = places[n]
	}
	return chosen
}

// isAll reports whether positions are those from 0 on, each once.
func isAll(at []int32) bool {
	for i, n := range at {
		if int(n) != i {
			return false
		}
	}
	return true
}

// consequence returns what entries have in common that are shown as one: all columns but the
// present value, and whether the target is the node.
func (e entry) consequence(at place) string {
	var b strings.Builder
	b.WriteString(at.target.Kind)
	for i, c := range e.cells {
		b.WriteByte('\t')
		if i != columnFrom {
			for _, s := range c {
				b.WriteString(s.text)
			}
		}
	}
	return b.String()
}

// maxValues is how many present values of many targets are named.
const maxValues = 3

// merged returns the entries as one.
func (b *bucket) merged() entry {
	e := b.kept[0]
	if len(b.values) > 1 {
		slices.SortFunc(b.values, compareValues)
		e.cells = slices.Clone(e.cells)
		e.cells[columnFrom] = cell{{plain, e.alternatives(b.values)}}
	}
	return e
}

// compareValues orders numbers, and other values before them by their text.
func compareValues(a, b nf.Value) int {
	x, _ := a.Number()
	y, _ := b.Number()
	return cmp.Or(cmp.Compare(x, y), nf.CompareNames(a.String(), b.String()))
}

// alternatives returns the present values as "30s, 60s or 120s". Of many numbers it returns the
// lowest and the highest one, of many other values the first ones.
func (e entry) alternatives(values []nf.Value) string {
	last := len(values) - 1
	var texts []string
	for _, v := range values {
		texts = append(texts, e.text(v))
	}
	switch {
	case len(values) <= maxValues:
		return strings.Join(texts[:last], ", ") + " or " + texts[last]
	case slices.ContainsFunc(values, not(isNumber)):
		return fmt.Sprintf("%s or %s", strings.Join(texts[:maxValues], ", "), count(len(values)-maxValues, "other"))
	}
	return fmt.Sprintf("%s … %s (%d values)", texts[0], texts[last], len(values))
}

func isNumber(v nf.Value) bool {
	_, ok := v.Number()
	return ok
}

// foldAlike returns the elements of a list one by one, but those of which more than so many
// have the same key together, at the place of the first of them.
func foldAlike[T any, K comparable](list []T, above int, key func(T) K) [][]T {
	alike := map[K][]T{}
	for _, e := range list {
		alike[key(e)] = append(alike[key(e)], e)
	}
	var folded [][]T
	for _, e := range list {
		switch same := alike[key(e)]; {
		case len(same) > above:
			folded = append(folded, same)
			alike[key(e)] = nil
		case same != nil:
			folded = append(folded, []T{e})
		}
	}
	return folded
}
