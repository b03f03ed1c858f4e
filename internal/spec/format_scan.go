package spec

import (
	"bytes"
	"strings"

	"gopkg.in/yaml.v3"
)

// comment is a comment of a text.
type comment struct {
	text   string // from # to the end of the line
	offset int
	line   int
	column int // from 1, in characters
	indent int // of its line
	gap    int // the white space between what stands before it on its line and it
	blank  bool
	own    bool // it has a line of its own
}

// boundary is a line that begins or ends a document: --- or ...
type boundary struct {
	offset int
	begins bool // it is ---
}

// layoutScanner finds in a text what the nodes of yaml.v3 do not have: where scalars end,
// comments, blank lines, and the lines between documents.
type layoutScanner struct {
	text       []byte
	starts     []int // of the lines
	found      *diagnostics
	comments   []*comment
	boundaries []boundary
	offsets    map[*yaml.Node]int // where nodes begin
	ends       map[*yaml.Node]int // where scalars end
	blocks     map[*yaml.Node][]string
	quoted     map[*yaml.Node]string // scalars in quotes on one line, with their quotes
	at         int                   // what lies before it is scanned
	counted    bracketCount
}

func newLayoutScanner(text []byte, found *diagnostics) *layoutScanner {
	s := &layoutScanner{text: text, found: found, offsets: map[*yaml.Node]int{}, ends: map[*yaml.Node]int{}, blocks: map[*yaml.Node][]string{}, quoted: map[*yaml.Node]string{}, starts: []int{0}}
	for i, b := range text {
		if b == '\n' {
			s.starts = append(s.starts, i+1)
		}
	}
	return s
}

// scan finds the comments and boundaries of the text, and where its scalars end.
func (s *layoutScanner) scan(documents []*yaml.Node) {
	chars := newCursor(s.text)
	for _, n := range documents {
		s.node(n, 0, &chars)
	}
	s.between(len(s.text))
}

// node scans a node. parent is the indentation of the collection that it is in.
func (s *layoutScanner) node(n *yaml.Node, parent int, chars *cursor) {
	chars.at(n.Line, n.Column)
	s.offsets[n] = chars.offset
	if n.Kind != yaml.ScalarNode {
		if n.Style&yaml.FlowStyle == 0 {
			parent = n.Column - 1
		}
		for _, c := range n.Content {
			s.node(c, parent, chars)
		}
		return
	}
	if isNull(n) && n.Value == "" && n.Style == 0 { // it is not written
		s.ends[n] = s.offsets[n]
		return
	}
	start := s.offsets[n]
	s.between(start)
	switch {
	case n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		s.blockScalar(n, start, parent)
		return
	case n.Style&yaml.DoubleQuotedStyle != 0:
		s.at = start + 1
		for s.at < len(s.text) && s.text[s.at] != '"' {
			if s.text[s.at] == '\\' {
				s.at++
			}
			s.at++
		}
		s.at++
	case n.Style&yaml.SingleQuotedStyle != 0:
		s.at = start + 1
		for s.at < len(s.text) && (s.text[s.at] != '\'' || s.at+1 < len(s.text) && s.text[s.at+1] == '\'') {
			if s.text[s.at] == '\'' {
				s.at++
			}
			s.at++
		}
		s.at++
	default:
		s.at = plainEnd(s.text, start, n.Value)
	}
	s.at = min(s.at, len(s.text))
	s.ends[n] = s.at
	if text := string(s.text[start:s.at]); isQuoted(n) && !strings.Contains(text, "\n") {
		s.quoted[n] = text
	}
}

// plainEnd returns where a plain scalar ends. Folding changes only its white space.
func plainEnd(text []byte, at int, value string) int {
	for i := 0; i < len(value) && at < len(text); {
		switch {
		case strings.IndexByte(" \t\n", value[i]) >= 0:
			i++
		case bytes.IndexByte([]byte(" \t\n"), text[at]) >= 0:
			at++
		default:
			i, at = i+1, at+1
		}
	}
	return at
}

// blockScalar scans a scalar in the style | or >. Its lines are kept, without their indentation,
// if they can be indented anew.
func (s *layoutScanner) blockScalar(n *yaml.Node, start, parent int) {
	header := start
	for header < len(s.text) && bytes.IndexByte([]byte(" \t\n"), s.text[header]) < 0 {
		header++
	}
	s.at = header
	s.between(s.lineEnd(header))
	var lines []string
	indent := -1
	simple := !bytes.ContainsAny(s.text[start:header], "+0123456789")
	for at := min(s.at+1, len(s.text)); at < len(s.text); {
		end := s.lineEnd(at)
		line := string(s.text[at:end])
		depth := len(line) - len(strings.TrimLeft(line, " "))
		if strings.TrimSpace(line) != "" {
			if indent < 0 && depth > parent {
				indent = depth
			}
			if indent < 0 || depth < indent {
				break
			}
			s.at = end
			line = line[indent:]
			simple = simple && line[0] != '\t' && (len(lines) > 0 || line[0] != ' ')
		} else {
			simple = simple && (indent < 0 && line == "" || indent >= 0 && len(line) <= indent)
			line = ""
		}
		lines = append(lines, line)
		at = min(end+1, len(s.text))
	}
	for len(lines) > 0 && lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	s.ends[n] = s.at
	if simple && len(lines) > 0 {
		s.blocks[n] = append([]string{string(s.text[start:header])}, lines...)
	}
}

// between scans the text up to an offset, in which there is no scalar.
func (s *layoutScanner) between(to int) {
	for ; s.at < to; s.at++ {
		start := s.at == 0 || s.text[s.at-1] == '\n'
		switch c := s.text[s.at]; {
		case c == '#':
			s.comment()
		case start && (s.isBoundary("---") || s.isBoundary("...")):
			s.boundaries = append(s.boundaries, boundary{s.at, c == '-'})
			s.at += 2
		case start && c == '%':
			s.found.add(RuleSyntax, s.lineOf(s.at), 1, "a file with a YAML directive cannot be laid out: it is left as it is", "remove the directive")
			s.at = s.lineEnd(s.at) - 1
		}
	}
}

// isBoundary reports whether the line at the present offset begins or ends a document.
func (s *layoutScanner) isBoundary(mark string) bool {
	rest, ok := bytes.CutPrefix(s.text[s.at:], []byte(mark))
	return ok && (len(rest) == 0 || bytes.IndexByte([]byte(" \t\n"), rest[0]) >= 0)
}

// comment adds the comment at the present offset, and goes to its end.
func (s *layoutScanner) comment() {
	line := s.lineOf(s.at)
	before := string(s.text[s.starts[line-1]:s.at])
	content := strings.TrimRight(before, " \t")
	end := s.lineEnd(s.at)
	s.comments = append(s.comments, &comment{
		text: strings.TrimRight(string(s.text[s.at:end]), " \t"), offset: s.at, line: line, column: len([]rune(before)) + 1,
		indent: len(before) - len(strings.TrimLeft(before, " \t")), gap: len(before) - len(content), blank: s.blankBefore(line), own: content == "",
	})
	s.at = end - 1
}

// lineOf returns the line of an offset, from 1.
func (s *layoutScanner) lineOf(offset int) int {
	low, high := 0, len(s.starts)
	for high-low > 1 {
		if middle := (low + high) / 2; s.starts[middle] <= offset {
			low = middle
		} else {
			high = middle
		}
	}
	return low + 1
}

// lineEnd returns the offset of the end of the line that an offset is in.
func (s *layoutScanner) lineEnd(offset int) int {
	if i := bytes.IndexByte(s.text[offset:], '\n'); i >= 0 {
		return offset + i
	}
	return len(s.text)
}

// blankBefore reports whether the line before a line, from 1, is blank.
func (s *layoutScanner) blankBefore(line int) bool {
	return line > 1 && len(bytes.TrimSpace(s.text[s.starts[line-2]:s.starts[line-1]])) == 0
}
