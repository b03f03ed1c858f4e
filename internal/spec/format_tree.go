package spec

import (
	"slices"

	"gopkg.in/yaml.v3"
)

// section is what lies between two lines --- of a text.
type section struct {
	marked bool       // a line --- begins it
	mark   *comment   // on that line
	head   []*comment // before the first key
	blank  bool       // a blank line is before the first key
	root   *entry     // nil: there are only comments
}

// entry is an entry of a mapping or of a list, or a whole document, with its comments.
type entry struct {
	key, value *yaml.Node // key is nil in a list
	parent     *entry
	children   []*entry
	start, end int        // of its first and last scalar
	line       int        // its first line
	blank      bool       // a blank line is before it
	head       []*comment // before it
	side       *comment   // behind it, on its line
	foot       []*comment // behind its last child
}

// isFlow reports whether the value is written in brackets.
func (e *entry) isFlow() bool { return e.value.Style&yaml.FlowStyle != 0 }

// column is that of the entries of the value.
func (e *entry) column() int { return e.value.Column }

// sections returns the sections of the text, with the documents and comments in them.
func (s *layoutScanner) sections(documents []*yaml.Node) []*section {
	s.scan(documents)
	comments := s.comments
	begin, list := 0, []*section{}
	current := &section{}
	close := func(end int) {
		var mine []*comment
		for len(comments) > 0 && comments[0].offset < end {
			mine, comments = append(mine, comments[0]), comments[1:]
		}
		if len(documents) > 0 && s.offsets[documents[0]] < end {
			current.root, documents = s.entry(nil, nil, documents[0]), documents[1:]
		}
		onMark := current.marked && len(mine) > 0 && s.lineOf(begin) == mine[0].line
		if onMark && (current.root == nil || mine[0].offset < current.root.start) {
			current.mark, mine = mine[0], mine[1:]
		}
		current.take(s, mine)
		if current.root != nil || current.mark != nil || len(current.head) > 0 || len(list) == 0 && end < len(s.text) {
			list = append(list, current)
		}
	}
	for _, b := range s.boundaries {
		close(b.offset)
		begin, current = b.offset, &section{marked: true}
	}
	close(len(s.text))
	return list
}

// entry returns the tree of a node.
func (s *layoutScanner) entry(parent *entry, key, value *yaml.Node) *entry {
	first := value
	if key != nil {
		first = key
	}
	e := &entry{key: key, value: value, parent: parent, start: s.offsets[first], line: first.Line}
	e.blank = s.blankBefore(e.line)
	e.end = e.start
	for _, n := range []*yaml.Node{key, value} {
		if n != nil && n.Kind == yaml.ScalarNode {
			e.end = max(e.end, s.ends[n])
		}
	}
	switch value.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(value.Content); i += 2 {
			e.children = append(e.children, s.entry(e, value.Content[i], value.Content[i+1]))
		}
	case yaml.SequenceNode:
		for _, n := range value.Content {
			e.children = append(e.children, s.entry(e, nil, n))
		}
	}
	if key == nil && parent != nil && len(e.children) > 0 { // both begin here
		e.children[0].blank = e.children[0].blank && e.children[0].line != e.line
	}
	return e
}

// inOrder appends an entry and all below it, in the order of the text.
func (e *entry) inOrder(list []*entry) []*entry {
	list = append(list, e)
	for _, c := range e.children {
		list = c.inOrder(list)
	}
	return list
}

// take gives the comments of a section to its entries.
func (d *section) take(s *layoutScanner, comments []*comment) {
	var all []*entry
	if d.root != nil {
		all = d.root.inOrder(nil)[1:]
	}
	if len(all) > 0 {
		d.blank, all[0].blank = all[0].blank, false
	}
	next := 0 // the first entry behind the comment
	var floor *entry
	for _, c := range comments {
		before := next
		for next < len(all) && all[next].start < c.offset {
			next++
		}
		if next != before {
			floor = nil
		}
		switch {
		case next == 0:
			d.head = append(d.head, c)
		case next < len(all):
			floor = s.place(c, all[next-1], all[next], floor)
		default:
			floor = s.place(c, all[next-1], nil, floor)
		}
	}
}

// place gives a comment to an entry. last is the entry that begins before the comment, next the
// one behind it. floor is the collection that the comment before this one is in, if both are between
// the same entries: the order of comments does not change. It returns that of this one.
func (s *layoutScanner) place(c *comment, last, next, floor *entry) *entry {
	owner := last
	closed := s.brackets(last.end, c.offset)
	for ; closed > 0 && owner.parent != nil; closed-- {
		owner = owner.parent
	}
	inValue := last.value.Kind == yaml.ScalarNode && c.offset < s.ends[last.value] // between a key and its value
	switch {
	case s.afterDash(c) && next != nil:
		next.head = append(next.head, c)
		return next.parent
	case owner.parent == nil:
		owner.foot = append(owner.foot, c)
		return owner
	case !c.own && owner.side == nil:
		owner.side = c
		return floor
	case !c.own, inValue, closed < 0 && len(owner.children) == 0:
		owner.head = append(owner.head, c)
		return floor
	case floor != nil:
		return c.between(floor, next)
	case closed < 0, next != nil && next.parent == owner:
		return c.between(owner, next)
	}
	return c.between(owner.parent, next)
}

// between gives a comment on a line of its own to the entry behind it or, by its column, to the
// innermost collection that ends before that. into is the collection that the comment is in. In brackets it
// stays in them.
func (c *comment) between(into, next *entry) *entry {
	var outer *entry
	if next != nil {
		outer = next.parent
	}
	for e := into; e != outer; e = e.parent {
		if e.parent == nil || e.isFlow() || e.column() <= c.column && (outer == nil || c.column > outer.column()) {
			e.foot = append(e.foot, c)
			return e
		}
	}
	next.head = append(next.head, c)
	return outer
}

// afterDash reports whether only the dashes of list entries are before a comment on its line.
func (s *layoutScanner) afterDash(c *comment) bool {
	for _, b := range s.text[s.starts[c.line-1]:c.offset] {
		if !slices.Contains([]byte(" \t-?"), b) {
			return false
		}
	}
	return !c.own
}

// brackets returns how many collections in brackets end between two offsets, without those that
// begin there. Asked again from the same offset on, it reads on where it has ended.
func (s *layoutScanner) brackets(from, to int) (closed int) {
	if s.counted.from != from || s.counted.to > to {
		s.counted = bracketCount{from: from, to: from}
	}
	for at := s.counted.to; at < to; at++ {
		switch s.text[at] {
		case '#':
			at = s.lineEnd(at)
		case ']', '}':
			s.counted.closed++
		case '[', '{':
			s.counted.closed--
		}
	}
	s.counted.to = to
	return s.counted.closed
}

// bracketCount is what brackets has counted.
type bracketCount struct{ from, to, closed int }
