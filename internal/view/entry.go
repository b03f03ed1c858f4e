package view

import (
	"iter"
	"slices"
	"strings"
	"unicode/utf8"

	"nfsync.dev/nfsync/internal/nf"
)

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

// upTo returns the first n bytes of a cell, and from the rest after them.
func (c cell) upTo(n int) (first cell) {
	for _, s := range c {
		k := min(n, len(s.text))
		first = append(first, span{s.style, s.text[:k]})
		n -= k
	}
	return first
}

func (c cell) from(n int) (rest cell) {
	for _, s := range c {
		k := min(n, len(s.text))
		rest = append(rest, span{s.style, s.text[k:]})
		n -= k
	}
	return rest
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
	from   nf.Value
	text   func(nf.Value) string // of a value of its key
	cells  []cell
	by     int         // the column of the policy and its line; 0: there is none
	lines  []nf.Source // that its columns and notes name
	notes  []note
	// advice are notes that are omitted if the entry above, of the same target, has the
	// same.
	advice []note
	// rule is the code of what the entry says, and source the line that asks for it.
	rule     string
	source   nf.Source
	severity severity
	// differ is set in an entry for many targets whose notes are not all the same.
	differ bool
	order  int // in which it was added
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
	p.chapter(chapterOf(p.foldAbove(), style, title, ofOne(list), entryOf))
}

// ofOne returns the elements of a list of a document of one node.
func ofOne[T any](list []T) iter.Seq2[string, T] {
	return func(yield func(string, T) bool) {
		for _, e := range list {
			if !yield("", e) {
				return
			}
		}
	}
}

// group writes the targets of a group, and its entries with their columns aligned. If a line is
// wider than the terminal, the policies are on lines of their own.
func (p *page) group(g group) {
	p.line(p.paint(bold, placeList(g.places)))
	widths := columnWidths(g.entries)
	if p.opt.Width > 0 && lineWidth(g.entries, widths) > p.opt.Width {
		for i := range g.entries {
			g.entries[i].moveOrigin()
		}
		widths = columnWidths(g.entries)
	}
	for j, e := range g.entries {
		p.line("  ", p.columns(e.cells, widths))
		if e.differ {
			p.prose(noteIndent, cell{{dim, "not all for the same reason; that of " + placeList(g.places[:1]) + " is:"}})
		}
		p.lines = e.lines
		p.notes(g.notes(j))
		p.lines = nil
	}
}

// moveOrigin moves the policy and its line from the columns to the notes.
func (e *entry) moveOrigin() {
	if e.by == 0 || e.cells[e.by].width() == 0 {
		return
	}
	e.cells = slices.Clone(e.cells)
	e.notes = append([]note{{dim, "by", e.cells[e.by].plain()}}, e.notes...)
	e.cells[e.by] = nil
}

// lineWidth returns the width of the widest line of the entries.
func lineWidth(entries []entry, widths []int) int {
	wide := 0
	for _, e := range entries {
		wide = max(wide, utf8.RuneCountInString("  "+(&page{}).columns(e.cells, widths)))
	}
	return wide
}

func (p *page) notes(list []note) {
	for _, n := range list {
		label := strings.Repeat(" ", noteIndent) + p.paint(n.style, pad(n.label, noteLabel))
		p.hanging(noteIndent+noteLabel+2, label, n.text)
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

// newEntry returns an entry with its first columns: the glyph, the key with its layer if that is
// not live, and the two values.
func newEntry(glyph span, t nf.Target, k nf.Key, layer nf.Layer, from, to nf.Value) entry {
	var boot span
	if layer == nf.LayerBoot {
		boot = span{yellow, " (boot)"}
	}
	return entry{target: t, from: from, text: func(v nf.Value) string { return value(t, k, v) }, cells: []cell{
		columnGlyph: {glyph},
		columnKey:   {{plain, Clean(string(k))}, boot},
		columnFrom:  {{plain, value(t, k, from)}},
		columnArrow: {{dim, "→"}},
		columnTo:    {{plain, value(t, k, to)}},
	}}
}

// origin adds the column of the policy and the line that set the value.
func (e *entry) origin(s nf.Source) {
	e.by = len(e.cells)
	e.lines = append(e.lines, s)
	e.cells = append(e.cells, origin(s))
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
