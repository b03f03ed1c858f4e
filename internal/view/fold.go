package view

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"nfsync.dev/nfsync/internal/nf"
)

// foldAbove is how many targets may have the same entry before text shows it once, with their
// number. The other formats always list all.
const foldAbove = 3

// foldAbove returns the number for these options.
func (o Options) foldAbove() int {
	if o.Full {
		return int(^uint(0) >> 1)
	}
	return foldAbove
}

// group is the entries of one target, or of many targets that have the same ones.
type group struct {
	targets []nf.Target
	entries []entry
}

// groups returns the entries by target, the node first, those of a target in the order given.
// Entries that more than so many targets have are shown once, whatever their present values
// and notes are.
func groups(entries []entry, above int) []group {
	slices.SortStableFunc(entries, func(a, b entry) int { return a.target.Compare(b.target) })
	alike := map[string][]entry{}
	for _, e := range entries {
		alike[e.consequence()] = append(alike[e.consequence()], e)
	}
	var list []group
	at := map[string]int{} // in list, by the targets
	for _, e := range entries {
		same := alike[e.consequence()]
		switch {
		case len(same) == 0: // it is shown already
			continue
		case len(same) <= above:
			same = []entry{e}
		default:
			alike[e.consequence()] = nil
		}
		targets, key := targetsOf(same)
		i, known := at[key]
		if !known {
			i = len(list)
			at[key] = i
			list = append(list, group{targets: targets})
		}
		list[i].entries = append(list[i].entries, merge(same))
	}
	return list
}

// consequence returns what entries have in common that are shown as one: all columns but the
// present value.
func (e entry) consequence() string {
	var b strings.Builder
	b.WriteString(e.target.Kind)
	for i, c := range e.cells {
		b.WriteByte('\t')
		if i != columnFrom {
			b.WriteString(c.plain())
		}
	}
	return b.String()
}

// targetsOf returns the targets of entries, and a text that identifies them.
func targetsOf(entries []entry) ([]nf.Target, string) {
	var list []nf.Target
	var key strings.Builder
	for _, e := range entries {
		list = append(list, e.target)
		key.WriteString(e.target.String() + "\n")
	}
	return list, key.String()
}

// maxValues is how many present values of many targets are named.
const maxValues = 3

// merge returns entries with the same consequence as one.
func merge(same []entry) entry {
	e := same[0]
	byValue := slices.SortedStableFunc(slices.Values(same), func(a, b entry) int { return compareValues(a.from, b.from) })
	var values []string
	for _, other := range byValue {
		e.differ = e.differ || !slices.Equal(other.notes, e.notes) || !slices.Equal(other.advice, e.advice)
		if v := other.cells[columnFrom].plain(); !slices.Contains(values, v) {
			values = append(values, v)
		}
	}
	if len(values) > 1 {
		e.cells = slices.Clone(e.cells)
		e.cells[columnFrom] = cell{{plain, alternatives(values)}}
	}
	return e
}

// compareValues orders numbers, and other values before them by their text.
func compareValues(a, b nf.Value) int {
	x, _ := a.Number()
	y, _ := b.Number()
	return cmp.Or(cmp.Compare(x, y), nf.CompareNames(a.String(), b.String()))
}

// alternatives returns values as "30s, 60s or 120s".
func alternatives(values []string) string {
	last := len(values) - 1
	if len(values) > maxValues {
		return fmt.Sprintf("%s … %s (%d values)", values[0], values[last], len(values))
	}
	return strings.Join(values[:last], ", ") + " or " + values[last]
}

// targetList returns targets as people name them: "node", "container netns/web-1", or
// "containers netns/web-1 … web-300 (300)".
func targetList(targets []nf.Target) string {
	if len(targets) == 1 {
		return Clean(targets[0].String())
	}
	var names []string
	runtime := ""
	for _, t := range targets {
		name := t.Name
		if name == "" {
			name = t.ID
		}
		if name = Clean(name); t.Runtime != runtime {
			runtime = t.Runtime
			name = runtime + "/" + name
		}
		names = append(names, name)
	}
	return "containers " + foldNames(names)
}

// maxRuns is how many names and ranges of names are listed, and minRange the shortest range.
const (
	maxRuns  = 6
	minRange = 3
)

// foldNames returns names that are in order as a list with their number, in which names that
// differ only in the number at their end are a range: "db, web-1 … web-300 (301)".
func foldNames(names []string) string {
	var parts []string
	listed := 0
	for listed < len(names) && len(parts) < maxRuns {
		end := listed + 1
		for end < len(names) && !strings.Contains(names[end], "/") && stem(names[end]) != "" && stem(names[end]) == stem(names[listed]) {
			end++
		}
		if end-listed >= minRange {
			parts = append(parts, names[listed]+" … "+names[end-1])
			listed = end
		} else {
			parts = append(parts, names[listed])
			listed++
		}
	}
	list := strings.Join(parts, ", ")
	if more := len(names) - listed; more > 0 {
		list += fmt.Sprintf(" and %d more", more)
	}
	return fmt.Sprintf("%s (%d)", list, len(names))
}

// stem returns a name without its runtime and without the number at its end; "" if it does not
// end in one.
func stem(name string) string {
	name = name[strings.IndexByte(name, '/')+1:]
	if s := strings.TrimRight(name, "0123456789"); s != name {
		return s + "0"
	}
	return ""
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
