package view

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"nfsync.dev/nfsync/internal/nf"
)

// foldAbove is how many targets may have the same entries before text shows them once,
// with a count. The other formats always list all.
const foldAbove = 20

// foldNames is how many of the folded targets are named.
const foldNames = 3

// span is a text in one style.
type span struct{ style, text string }

// cell is one column of a line.
type cell []span

func (c cell) plain() string {
	var b strings.Builder
	for _, s := range c {
		b.WriteString(s.text)
	}
	return b.String()
}

func (c cell) width() int { return utf8.RuneCountInString(c.plain()) }

// note is prose below an entry's line, with a label of at most noteLabel
// columns.
type note struct{ style, label, text string }

const (
	noteIndent = 6
	noteLabel  = 6
)

// entry is one key of one target: a line of columns, and notes below it.
type entry struct {
	target nf.Target
	cells  []cell
	notes  []note
	// advice are notes that are omitted if the entry above, of the same target, has the
	// same.
	advice []note
}

// group is the entries of one target, or of many targets whose columns are the same.
type group struct {
	targets []nf.Target
	entries []entry
	// differ is set if the notes of the folded targets are not all the same.
	differ bool
}

// columns returns the columns as one text. Targets with the same are folded, whatever
// their notes are.
func (g group) columns() string {
	var b strings.Builder
	for _, e := range g.entries {
		for _, c := range e.cells {
			b.WriteString(c.plain() + "\t")
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// groups returns the entries by target, the node first, those of a target in the order
// given. Many targets whose columns are the same are one group.
func groups(entries []entry) []group {
	slices.SortStableFunc(entries, func(a, b entry) int { return a.target.Compare(b.target) })
	var list []group
	for i, e := range entries {
		if i == 0 || entries[i-1].target != e.target {
			list = append(list, group{targets: []nf.Target{e.target}})
		}
		last := &list[len(list)-1]
		last.entries = append(last.entries, e)
	}
	var folded []group
	for _, same := range foldAlike(list, group.columns) {
		folded = append(folded, merge(same))
	}
	return folded
}

// foldAlike returns the elements of a list one by one, but those of which more than
// foldAbove have the same key together, at the place of the first of them.
func foldAlike[T any, K comparable](list []T, key func(T) K) [][]T {
	alike := map[K][]T{}
	for _, e := range list {
		alike[key(e)] = append(alike[key(e)], e)
	}
	var folded [][]T
	for _, e := range list {
		switch same := alike[key(e)]; {
		case len(same) > foldAbove:
			folded = append(folded, same)
			alike[key(e)] = nil
		case same != nil:
			folded = append(folded, []T{e})
		}
	}
	return folded
}

// merge returns groups whose columns are the same as one.
func merge(same []group) group {
	g := same[0]
	for _, other := range same[1:] {
		g.targets = append(g.targets, other.targets...)
		for j, e := range other.entries {
			equal := slices.Equal(e.notes, g.entries[j].notes) && slices.Equal(e.advice, g.entries[j].advice)
			g.differ = g.differ || !equal
		}
	}
	return g
}

// Columns are aligned within a group, but one long value does not move all others to the
// right. Names are bounded, and always aligned.
const (
	maxColumn = 80
	maxValue  = 44
)

func widest(column int) int {
	if column == columnFrom || column == columnTo {
		return maxValue
	}
	return maxColumn
}

// section writes a heading, if it has a text, and a table of the entries of a list; nothing
// if the list is empty.
func section[T any](p *page, style, title string, list []T, entryOf func(T) entry) {
	if len(list) == 0 {
		return
	}
	p.heading(style, title)
	var entries []entry
	for _, e := range list {
		entries = append(entries, entryOf(e))
	}
	for i, g := range groups(entries) {
		if i > 0 {
			p.line()
		}
		p.group(g)
	}
}

// group writes the targets of a group, and its entries with their columns aligned.
func (p *page) group(g group) {
	p.targets(g)
	widths := columnWidths(g.entries)
	for j, e := range g.entries {
		p.line("  ", p.columns(e.cells, widths))
		p.notes(e.notes)
		if j == 0 || !slices.Equal(e.advice, g.entries[j-1].advice) {
			p.notes(e.advice)
		}
	}
}

func (p *page) notes(list []note) {
	for _, n := range list {
		if n.text != "" {
			label := strings.Repeat(" ", noteIndent) + p.paint(n.style, pad(n.label, noteLabel))
			p.hanging(noteIndent+noteLabel+2, label, n.text)
		}
	}
}

func columnWidths(entries []entry) []int {
	var widths []int
	for _, e := range entries {
		for i, c := range e.cells {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			if n := c.width(); n <= widest(i) {
				widths[i] = max(widths[i], n)
			}
		}
	}
	return widths
}

// columns returns one line: the cells padded to the widths, a space or two between them,
// nothing after the last one that is not empty.
func (p *page) columns(cells []cell, widths []int) string {
	var b strings.Builder
	gap := 0
	for i, c := range cells {
		if c.width() > 0 {
			b.WriteString(strings.Repeat(" ", gap))
			gap = 0
		}
		for _, s := range c {
			b.WriteString(p.paint(s.style, s.text))
		}
		if widths[i] > 0 || c.width() > 0 {
			gap += max(widths[i]-c.width(), 0) + gapAfter(i)
		}
	}
	return b.String()
}

// The first columns of every entry: glyph, key, from, arrow, to.
const (
	columnGlyph = iota
	columnKey
	columnFrom
	columnArrow
	columnTo
)

func gapAfter(column int) int {
	if column == columnGlyph || column == columnFrom || column == columnArrow {
		return 1
	}
	return 2
}

// targets writes the target or, of those that are folded, the number and some names.
func (p *page) targets(g group) {
	if len(g.targets) == 1 {
		p.line(p.paint(bold, Clean(g.targets[0].String())))
		return
	}
	var names []string
	for _, t := range g.targets[:foldNames] {
		names = append(names, strings.TrimPrefix(Clean(t.String()), nf.TargetContainer+" "))
	}
	p.line(p.paint(bold, count(len(g.targets), nf.TargetContainer)+" alike"),
		fmt.Sprintf(" (%s and %d more)", strings.Join(names, ", "), len(g.targets)-foldNames))
	if g.differ {
		p.line(p.paint(dim, "  the notes below are those of "+names[0]))
	}
}

// difference returns the first columns of an entry: the glyph, the key with its
// layer if that is not live, and the two values.
func difference(glyph span, t nf.Target, k nf.Key, layer nf.Layer, from, to nf.Value) []cell {
	var boot span
	if layer == nf.LayerBoot {
		boot = span{yellow, " (boot)"}
	}
	return []cell{
		columnGlyph: {glyph},
		columnKey:   {{plain, Clean(string(k))}, boot},
		columnFrom:  {{plain, value(t, k, from)}},
		columnArrow: {{dim, "→"}},
		columnTo:    {{plain, value(t, k, to)}},
	}
}

// origin returns the policy and the line that set the value.
func origin(s nf.Source) cell {
	if s.File == "" {
		return cell{{plain, Clean(s.Name)}}
	}
	return cell{{plain, Clean(s.Name)}, {dim, " " + Clean(s.String())}}
}

// value returns a value as people read it.
func value(t nf.Target, k nf.Key, v nf.Value) string {
	if n, isNumber := v.Number(); isNumber && n == 0 && k == nf.KeyMax && t.IsNode() {
		return "0 (unlimited)"
	}
	return Clean(k.Text(v))
}

// glyph returns + for a new value, - for the unloading of a module, ~ for the rest.
func glyph(from, to nf.Value) span {
	if state, _, ok := to.Module(); ok && state == nf.ModuleUnloaded {
		return span{red, "-"}
	}
	if state, _, ok := from.Module(); from.IsAbsent() || ok && state == nf.ModuleUnloaded {
		return span{green, "+"}
	}
	return span{yellow, "~"}
}
