package spec

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"

	"nfsync.dev/nfsync/internal/nf"
)

// ListEdit changes a list of a test.
type ListEdit struct {
	List   nf.ExpectList
	Set    map[int]nf.TestEntry // fields that get other values, by the index of the entry
	Remove map[int]bool         // by the index of the entry
	Add    []nf.TestEntry
}

// TestEdit changes the lists of a test that it has. Of a test without lists they are added.
type TestEdit struct {
	Name  string // of the test
	Lists []ListEdit
}

// EditTests returns the text of a file with its tests changed. All else, comments too, stays as it
// is. The error is that of a test whose layout is too unusual to be edited.
func EditTests(f File, edits []TestEdit) ([]byte, error) {
	text := bytes.TrimPrefix(f.Data, byteOrderMark)
	e := newTestEditor(text)
	for _, document := range decodeYAML(text, &diagnostics{file: f.Name}) {
		i := slices.IndexFunc(edits, func(edit TestEdit) bool { return isTest(document, edit.Name) })
		if i < 0 {
			continue
		}
		if err := e.test(document, edits[i]); err != nil {
			return nil, fmt.Errorf("cannot edit the test %s of %s: %w", edits[i].Name, f.Name, err)
		}
	}
	result, err := e.result(0)
	if err != nil {
		return nil, fmt.Errorf("cannot edit the tests of %s: %w", f.Name, err)
	}
	f.Data = slices.Concat(f.Data[:len(f.Data)-len(text)], result)
	if _, found := ParseAll([]File{f}); len(found) > 0 {
		return nil, fmt.Errorf("cannot edit the tests of %s: the result would not be valid: %s", f.Name, found[0].Message)
	}
	return f.Data, nil
}

// isTest reports whether a document is the test of that name.
func isTest(document *yaml.Node, name string) bool {
	kind, _ := textOf(document, "kind")
	metadata := valueOf(document, "metadata")
	if kind != nf.KindPolicyTest || metadata == nil {
		return false
	}
	has, _ := textOf(metadata, "name")
	return has == name
}

// testEditor collects replacements of parts of a text.
type testEditor struct {
	text   []byte
	starts []int // of the lines
	ascii  bool  // each character is a byte
	eol    string
	parts  []textPart
}

// textPart is what takes the place of a part of a text.
type textPart struct {
	from, to int
	text     string
}

func newTestEditor(text []byte) *testEditor {
	e := &testEditor{text: text, starts: []int{0}, ascii: utf8.RuneCount(text) == len(text), eol: "\n"}
	for i, b := range text {
		if b == '\n' {
			e.starts = append(e.starts, i+1)
		}
	}
	if first := bytes.IndexByte(text, '\n'); first > 0 && text[first-1] == '\r' {
		e.eol = "\r\n"
	}
	return e
}

func (e *testEditor) replace(from, to int, text string) {
	e.parts = append(e.parts, textPart{from, to, text})
}

// result returns the text from an offset on, with all replacements made.
func (e *testEditor) result(at int) ([]byte, error) {
	slices.SortStableFunc(e.parts, func(a, b textPart) int { return a.from - b.from })
	var out []byte
	for _, part := range e.parts {
		if part.from < at {
			return nil, errLayout
		}
		out = append(append(out, e.text[at:part.from]...), part.text...)
		at = part.to
	}
	return append(out, e.text[at:]...), nil
}

// offset returns the offset of a node.
func (e *testEditor) offset(n *yaml.Node) int {
	at := e.starts[n.Line-1]
	if e.ascii {
		return at + n.Column - 1
	}
	for range n.Column - 1 {
		_, size := utf8.DecodeRune(e.text[at:])
		at += size
	}
	return at
}

func (e *testEditor) test(document *yaml.Node, edit TestEdit) error {
	body := valueOf(document, "spec")
	expect := valueOf(body, "expect")
	switch {
	case expect == nil:
		return e.addExpect(body, edit.Lists)
	case len(expect.Content) == 0:
		from := e.offset(expect)
		to, err := e.flowEnd(from)
		e.replace(from, to, flowLists(edit.Lists))
		return err
	}
	inFlow := isFlow(document) || isFlow(body) || isFlow(expect)
	for _, list := range edit.Lists {
		var err error
		key, value := pairOf(expect, string(list.List))
		switch {
		case value == nil:
		case isFlow(value):
			err = e.flowList(key, value, list, !inFlow && key.Line == value.Line && list.count(value) > 0)
		default:
			err = e.blockList(key, value, list)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func isFlow(n *yaml.Node) bool { return n.Style&yaml.FlowStyle != 0 }

// pairOf returns a key of a mapping, and its value.
func pairOf(n *yaml.Node, name string) (key, value *yaml.Node) {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			return n.Content[i], n.Content[i+1]
		}
	}
	return nil, nil
}

// count returns how many entries a list has afterwards.
func (l ListEdit) count(list *yaml.Node) int {
	return len(list.Content) + len(l.Add) - len(l.Remove)
}

// added returns the texts of the entries that are added.
func (l ListEdit) added() []string {
	texts := make([]string, len(l.Add))
	for i, e := range l.Add {
		texts[i] = entryText(e)
	}
	return texts
}

func flowLists(lists []ListEdit) string {
	var texts []string
	for _, l := range lists {
		texts = append(texts, string(l.List)+": ["+strings.Join(l.added(), ", ")+"]")
	}
	return "{" + strings.Join(texts, ", ") + "}"
}

// addExpect adds the lists behind the last key of spec.
func (e *testEditor) addExpect(body *yaml.Node, lists []ListEdit) error {
	if isFlow(body) {
		end, err := e.flowEnd(e.offset(body))
		if err != nil {
			return err
		}
		before := bytes.TrimRight(e.text[:end-1], " \t\r\n")
		comma := ", "
		if bytes.HasSuffix(before, []byte(",")) {
			comma = " "
		}
		e.replace(len(before), len(before), comma+"expect: "+flowLists(lists))
		return nil
	}
	indent := strings.Repeat(" ", body.Column-1)
	text := indent + "expect:" + e.eol
	for _, l := range lists {
		text += indent + "  " + string(l.List) + ":"
		if len(l.Add) == 0 {
			text += " []"
		}
		text += e.eol + e.blockEntries(indent+"    ", l.added())
	}
	e.insertBelow(e.lastLine(body.Line, body.Column-1, ""), text)
	return nil
}

func (e *testEditor) blockEntries(indent string, entries []string) (text string) {
	for _, entry := range entries {
		text += indent + "- " + entry + e.eol
	}
	return text
}

// insertBelow inserts whole lines below a line.
func (e *testEditor) insertBelow(line int, text string) {
	if line < len(e.starts) {
		e.replace(e.starts[line], e.starts[line], text)
		return
	}
	e.replace(len(e.text), len(e.text), e.eol+strings.TrimSuffix(text, e.eol))
}

// line returns a line by its number, with its end.
func (e *testEditor) line(number int) string {
	end := len(e.text)
	if number < len(e.starts) {
		end = e.starts[number]
	}
	return string(e.text[e.starts[number-1]:end])
}

// lastLine returns the last line of a block whose first line is given: the lines that follow are
// indented more than that or, if also is set, as much and begin with it. Empty lines and comments
// behind it are not its own.
func (e *testEditor) lastLine(first, indent int, also string) int {
	last := first
	for number := first + 1; number <= len(e.starts); number++ {
		line := e.line(number)
		content := strings.TrimLeft(line, " ")
		deep := len(line) - len(content)
		if isBlank := strings.TrimSpace(content) == "" || content[0] == '#'; isBlank {
			continue
		}
		if deep < indent || deep == indent && !strings.HasPrefix(content, also) {
			break
		}
		last = number
	}
	return last
}

// blockList changes a list whose entries are on lines of their own.
func (e *testEditor) blockList(key, list *yaml.Node, edit ListEdit) error {
	indent := list.Column - 1
	first := make([]int, len(list.Content)) // line of each entry
	for i, entry := range list.Content {
		for first[i] = entry.Line; !e.isDash(first[i], indent); first[i]-- {
			if first[i] <= list.Line {
				return errLayout
			}
		}
	}
	last := func(i int) int { return e.lastLine(first[i], indent+1, "") }
	for i, entry := range list.Content {
		if edit.Remove[i] {
			from := e.starts[first[i]-1]
			e.replace(from, from+len(e.lines(first[i], last(i))), "")
		} else if err := e.set(entry, edit.Set[i]); err != nil {
			return err
		}
	}
	if edit.count(list) == 0 {
		at := e.offset(key) + len(key.Value)
		if bytes.HasPrefix(e.text[at:], []byte(":")) {
			e.replace(at+1, at+1, " []")
			return nil
		}
		return errLayout
	}
	e.insertBelow(last(len(list.Content)-1), e.blockEntries(strings.Repeat(" ", indent), edit.added()))
	return nil
}

var errLayout = errors.New("its layout is unusual: write the entries of a list one a line, and the list below its key")

// isDash reports whether a line begins an entry of a list.
func (e *testEditor) isDash(line, indent int) bool {
	text := e.line(line)
	content := strings.TrimLeft(text, " ")
	return len(text)-len(content) == indent && strings.HasPrefix(content, "-")
}

// lines returns the text from one line to another one.
func (e *testEditor) lines(first, last int) string {
	end := len(e.text)
	if last < len(e.starts) {
		end = e.starts[last]
	}
	return string(e.text[e.starts[first-1]:end])
}

// set changes values of an entry.
func (e *testEditor) set(entry *yaml.Node, values nf.TestEntry) error {
	for _, f := range fieldsOf(values) {
		_, value := pairOf(entry, f.key)
		if value == nil {
			return errLayout
		}
		from := e.offset(value)
		to, err := e.valueEnd(value, from)
		if err != nil {
			return err
		}
		e.replace(from, to, likeWritten(entry, value, f.text))
	}
	return nil
}

// likeWritten returns the text of a new value of an entry: a duration, if the old one was written
// as one.
func likeWritten(entry, old *yaml.Node, text string) string {
	key, _ := textOf(entry, "key")
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil || !isDuration(old) {
		return text
	}
	return nf.Key(key).Text(nf.Number(seconds))
}

// valueEnd returns the offset behind a value that begins at an offset.
func (e *testEditor) valueEnd(n *yaml.Node, from int) (int, error) {
	switch {
	case isFlow(n):
		return e.flowEnd(from)
	case n.Kind == yaml.ScalarNode && n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0:
		return e.quoteEnd(from) + 1, nil
	case n.Kind == yaml.ScalarNode && bytes.HasPrefix(e.text[from:], []byte(n.Value)):
		return from + len(n.Value), nil
	}
	return 0, errLayout
}

// flowList changes a list in brackets. If asBlock is set, its entries are put on lines of their
// own, below its key.
func (e *testEditor) flowList(key, list *yaml.Node, edit ListEdit, asBlock bool) error {
	from := e.offset(list)
	to, err := e.flowEnd(from)
	if err != nil {
		return err
	}
	texts, err := e.flowEntries(list, edit)
	switch {
	case err != nil:
		return err
	case hasComment(e.text[from:to]):
		return errLayout // it would be lost
	case !asBlock:
		e.replace(from, to, "["+strings.Join(texts, ", ")+"]")
		return nil
	}
	line, _ := slices.BinarySearch(e.starts, to)
	e.replace(len(bytes.TrimRight(e.text[:from], " ")), to, "")
	e.insertBelow(line, e.blockEntries(strings.Repeat(" ", key.Column+1), texts))
	return nil
}

func hasComment(text []byte) bool {
	return bytes.Contains(text, []byte(" #")) || bytes.Contains(text, []byte("\n#"))
}

// flowEntries returns the texts of the entries of a list in brackets after an edit.
func (e *testEditor) flowEntries(list *yaml.Node, edit ListEdit) ([]string, error) {
	var texts []string
	for i, entry := range list.Content {
		if edit.Remove[i] {
			continue
		}
		from := e.offset(entry)
		to, err := e.flowEnd(from)
		if err != nil {
			return nil, err
		}
		only := &testEditor{text: e.text[:to], starts: e.starts, ascii: e.ascii}
		if err := only.set(entry, edit.Set[i]); err != nil {
			return nil, err
		}
		text, err := only.result(from)
		if err != nil {
			return nil, err
		}
		texts = append(texts, string(text))
	}
	return append(texts, edit.added()...), nil
}

// flowEnd returns the offset behind the bracket that closes the collection at an offset.
func (e *testEditor) flowEnd(from int) (int, error) {
	depth := 0
	for i := from; i < len(e.text); i++ {
		// A quote or a number sign within a plain text is a character as any other.
		begins := i == from || strings.IndexByte(" \t\r\n[]{},:", e.text[i-1]) >= 0
		switch b := e.text[i]; {
		case b == '{', b == '[':
			depth++
		case b == '}', b == ']':
			if depth--; depth == 0 {
				return i + 1, nil
			}
		case begins && (b == '"' || b == '\''):
			i = e.quoteEnd(i)
		case begins && b == '#':
			i += max(bytes.IndexByte(e.text[i:], '\n'), 0)
		}
		if depth == 0 {
			break
		}
	}
	return 0, errLayout
}

// quoteEnd returns the offset of the quote that closes the text at an offset.
func (e *testEditor) quoteEnd(from int) int {
	quote := e.text[from]
	for i := from + 1; i < len(e.text); i++ {
		switch {
		case quote == '"' && e.text[i] == '\\':
			i++
		case e.text[i] != quote:
		case quote == '\'' && i+1 < len(e.text) && e.text[i+1] == quote:
			i++
		default:
			return i
		}
	}
	return len(e.text)
}
