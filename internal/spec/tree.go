package spec

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"gopkg.in/yaml.v3"
)

// node is a value of a JSON or YAML document, with its place.
type node struct {
	kind         nodeKind
	line, column int32
	text         string  // of a text as it is, of a number as it is written, true or false
	keys         []label // of a mapping: items are its values
	items        []node
}

// label is a key of a mapping.
type label struct {
	name         string
	line, column int32
}

type nodeKind uint8

const (
	nodeText nodeKind = iota
	nodeNull
	nodeBool
	nodeNumber
	nodeList
	nodeMapping
)

// get returns the value of a key of a mapping; nil where there is none.
func (n *node) get(key string) *node {
	if n == nil {
		return nil
	}
	for i := range n.keys {
		if n.keys[i].name == key {
			return &n.items[i]
		}
	}
	return nil
}

func (n *node) String() string {
	switch n.kind {
	case nodeNull:
		return "null"
	case nodeBool, nodeNumber:
		return brief(n.text)
	case nodeText:
		return "the text " + quote(n.text)
	case nodeList:
		return "a list"
	}
	return "a mapping"
}

// The bounds of a snapshot, so that reading any takes at most 200 MiB. As JSON that of a node
// with ten thousand containers takes 45 MiB and has 1.5 million values. YAML has a lower
// bound: see maxYAMLNodes.
const (
	maxJSONDocument = 64 << 20
	maxValues       = 2 << 20
	maxTree         = 200_000 // values that are in memory at a time
	maxShared       = 10_000  // texts
	maxText         = 1 << 20 // bytes of one
)

// entries takes the entries of one list of a document, so that they need not be in memory
// together.
type entries struct {
	of   string // the key of the list in the document
	take func(i int, entry *node)
}

// readDocument reads the one document of a file, JSON or YAML. It is nil where
// there is an error. The entries of each are passed on before the rest is returned, which
// has the list without them.
func readDocument(f File, each entries, found *diagnostics) *node {
	text, ok := checkText(f.Data, maxJSONDocument, found)
	if !ok {
		return nil
	}
	var root *node
	if first := bytes.TrimLeft(text, " \t\r\n"); len(first) > 0 && first[0] == '{' {
		root = jsonTree(text, each, found)
	} else {
		root = yamlTree(text, found)
		if list := root.get(each.of); list != nil && list.kind == nodeList {
			for i := range list.items {
				each.take(i, &list.items[i])
			}
			list.items = nil
		}
	}
	if found.count() > 0 {
		return nil
	}
	return root
}

func yamlTree(text []byte, found *diagnostics) *node {
	documents := decodeYAML(text, found)
	if found.count() > 0 {
		return nil
	}
	p := newParser(text, found)
	p.nulls = true
	root := p.only(documents, "")
	if found.count() > 0 {
		return nil
	}
	p.vet(root, 1)
	tree := fromYAML(root)
	return &tree
}

func fromYAML(y *yaml.Node) node {
	n := node{line: int32(y.Line), column: int32(y.Column), text: y.Value}
	switch y.Kind {
	case yaml.MappingNode:
		n.kind = nodeMapping
		for i := 0; i+1 < len(y.Content); i += 2 {
			key := y.Content[i]
			n.keys = append(n.keys, label{key.Value, int32(key.Line), int32(key.Column)})
			n.items = append(n.items, fromYAML(y.Content[i+1]))
		}
	case yaml.SequenceNode:
		n.kind = nodeList
		for _, entry := range y.Content {
			n.items = append(n.items, fromYAML(entry))
		}
	default:
		n.kind = scalarKinds[y.Tag]
	}
	return n
}

// scalarKinds are the kinds of scalars that are no texts, by their tags. A time is a text.
var scalarKinds = map[string]nodeKind{"!!null": nodeNull, "!!bool": nodeBool, "!!int": nodeNumber, "!!float": nodeNumber}

// jsonTree reads a JSON text with the places of its values, which encoding/json does not
// report. The entries of each are passed on and are not in the tree.
func jsonTree(text []byte, each entries, found *diagnostics) *node {
	// encoding/json reports errors of syntax, so that the reader need not.
	if !json.Valid(text) {
		var whole json.RawMessage
		err := json.Unmarshal(text, &whole)
		line, column := jsonPlace(text, err)
		found.add(RuleSyntax, line, column, "not JSON: "+err.Error(), "")
		return nil
	}
	if at := longText(text); at >= 0 {
		c := newCursor(text)
		c.moveTo(at)
		found.add(RuleTooLarge, c.line, c.column, fmt.Sprintf("a text is longer than %d KiB", maxText>>10), "")
		return nil
	}
	r := jsonReader{chars: newCursor(text), found: found, texts: map[string]string{}, each: each}
	root := r.value(1)
	return &root
}

// longText returns the offset of the first text of valid JSON that is longer than maxText; -1
// if there is none. A text is in memory several times.
func longText(text []byte) int {
	if len(text) <= maxText {
		return -1
	}
	start := -1 // of the text that goes on
	for i := 0; i < len(text); i++ {
		switch {
		case start < 0 && text[i] == '"':
			start = i
		case start < 0:
		case text[i] == '\\':
			i++
		case text[i] == '"':
			start = -1
		case i-start > maxText:
			return start
		}
	}
	return -1
}

// jsonPlace returns the place of an error of encoding/json: of the last byte that it read.
func jsonPlace(text []byte, err error) (line, column int) {
	var offset int64
	var syntax *json.SyntaxError
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		offset = syntax.Offset
	case errors.As(err, &wrong):
		offset = wrong.Offset
	}
	c := newCursor(text)
	c.moveTo(int(offset) - 1)
	return extentOf(text).clamp(c.line, c.column)
}

// jsonReader reads a text that is JSON, as json.Valid has found. Its tokens are slices of the
// text, of which encoding/json makes copies.
type jsonReader struct {
	chars  cursor
	values int // so far
	kept   int // of them, those that are in the tree
	found  *diagnostics
	failed bool // the text holds more than is taken: the reader stops
	each   entries
	texts  map[string]string // that occurred before: most texts of a snapshot recur
	// The values and the keys of the collections that are being read.
	stack  []node
	labels []label
	// Those of the collections that were read.
	nodes slab[node]
	names slab[label]
}

// peek returns the byte with which the next token begins.
func (r *jsonReader) peek() byte {
	text, at := r.chars.text, r.chars.offset
	for at < len(text)-1 && isBetween(text[at]) {
		at++
	}
	r.chars.moveTo(at)
	return text[at]
}

// isBetween reports whether a byte stands between tokens.
func isBetween(b byte) bool {
	return b == ' ' || b == '\t' || b == '\r' || b == '\n' || b == ',' || b == ':'
}

// more reports whether the list or the mapping has another entry.
func (r *jsonReader) more() bool { return bytes.IndexByte([]byte("]}"), r.peek()) < 0 }

// next returns the next token, and its place.
func (r *jsonReader) next() (token []byte, line, column int32) {
	first := r.peek()
	line, column = int32(r.chars.line), int32(r.chars.column)
	rest := r.chars.text[r.chars.offset:]
	end := 1
	switch first {
	case '{', '}', '[', ']':
	case '"':
		for rest[end] != '"' {
			if rest[end] == '\\' {
				end++
			}
			end++
		}
		end++
	default:
		if end = bytes.IndexAny(rest, " \t\r\n,]}"); end < 0 {
			end = len(rest)
		}
	}
	r.chars.moveTo(r.chars.offset + end)
	return rest[:end], line, column
}

func (r *jsonReader) value(depth int) node {
	token, line, column := r.next()
	n := node{line: line, column: column}
	r.values, r.kept = r.values+1, r.kept+1
	if r.values > maxValues || r.kept > maxTree || depth > maxNesting {
		r.fail(n, depth)
		return n
	}
	switch token[0] {
	case '{', '[':
		r.collection(&n, token[0], depth)
	case '"':
		n.kind, n.text = nodeText, r.shared(token)
	case 't', 'f':
		n.kind, n.text = nodeBool, string(token)
	case 'n':
		n.kind, n.text = nodeNull, "null"
	default:
		n.kind, n.text = nodeNumber, string(token)
	}
	return n
}

func (r *jsonReader) fail(n node, depth int) {
	rule, message := RuleNesting, messageNesting
	if depth <= maxNesting {
		rule, message = RuleTooLarge, fmt.Sprintf("the file holds more than %d values, or one part of it more than %d", maxValues, maxTree)
	}
	r.found.add(rule, int(n.line), int(n.column), message, "")
	r.failed = true
}

// collection reads the rest of a list or a mapping. Its values are collected on stacks of the reader,
// and then copied: a slice that grows would be copied several times.
func (r *jsonReader) collection(n *node, open byte, depth int) {
	n.kind = nodeList
	if open == '{' {
		n.kind = nodeMapping
	}
	values, labels := len(r.stack), len(r.labels)
	var lines map[string]int32
	for !r.failed && r.more() {
		var v node
		if n.kind == nodeMapping && r.key(labels, &lines) == r.each.of && depth == 1 {
			v = r.pass()
		} else {
			v = r.value(depth + 1)
		}
		r.stack = append(r.stack, v)
	}
	n.items, n.keys = r.nodes.copied(r.stack[values:]), r.names.copied(r.labels[labels:])
	clear(r.stack[values:])
	r.stack, r.labels = r.stack[:values], r.labels[:labels]
	if !r.failed {
		r.next() // the closing bracket
	}
}

// slab is memory for lists that are in use until reset. It is used again then: the entries of
// a long list are read in the memory of the first of them.
type slab[E any] struct{ room []E }

// slabSize is the least number of elements for which a slab takes memory.
const slabSize = 512

// copied returns a copy in the slab; nil if the list is empty.
func (s *slab[E]) copied(list []E) []E {
	if len(list) == 0 {
		return nil
	}
	if cap(s.room)-len(s.room) < len(list) {
		// Those before it are in the room that is left behind.
		s.room = make([]E, 0, max(slabSize, len(list)))
	}
	start := len(s.room)
	s.room = append(s.room, list...)
	return s.room[start:len(s.room):len(s.room)]
}

func (s *slab[E]) reset() { s.room = s.room[:0] }

// pass passes the entries of a list on, and returns the list without them. What is no list
// is returned as it is.
func (r *jsonReader) pass() node {
	if r.peek() != '[' {
		return r.value(2)
	}
	_, line, column := r.next()
	r.nodes, r.names = slab[node]{}, slab[label]{} // what was read before stays
	for i := 0; !r.failed && r.more(); i++ {
		kept := r.kept
		entry := r.value(3)
		r.each.take(i, &entry)
		r.kept = kept
		r.nodes.reset()
		r.names.reset()
	}
	if !r.failed {
		r.next()
	}
	return node{kind: nodeList, line: line, column: column}
}

// shared returns a quoted text without its quotes, in the memory of an equal one before it.
func (r *jsonReader) shared(quoted []byte) string {
	text := quoted[1 : len(quoted)-1]
	if known, ok := r.texts[string(text)]; ok {
		return known
	}
	plain := string(text)
	if bytes.IndexByte(text, '\\') >= 0 {
		_ = json.Unmarshal(quoted, &plain) // no error: the text is JSON
	}
	if len(r.texts) < maxShared {
		r.texts[string(text)] = plain
	}
	return plain
}

// key reads a key of the mapping whose labels begin there, and returns its name. Lines are those of
// the keys, if there are many.
func (r *jsonReader) key(first int, lines *map[string]int32) string {
	token, line, column := r.next()
	name := r.shared(token)
	if was := lineOf(r.labels[first:], lines, name); was > 0 {
		r.found.add(RuleDuplicateKey, int(line), int(column), fmt.Sprintf("duplicate key %s: already defined at line %d", quote(name), was), "")
	}
	r.labels = append(r.labels, label{name, line, column})
	if *lines != nil {
		(*lines)[name] = line
	}
	return name
}

// manyKeys is how many keys a mapping has before they are looked up in a map.
const manyKeys = 32

// lineOf returns the line of the last key with that name; 0 if there is none.
func lineOf(keys []label, lines *map[string]int32, name string) int32 {
	if len(keys) == manyKeys && *lines == nil {
		*lines = map[string]int32{}
		for _, k := range keys {
			(*lines)[k.name] = k.line
		}
	}
	if *lines != nil {
		return (*lines)[name]
	}
	for _, k := range slices.Backward(keys) {
		if k.name == name {
			return k.line
		}
	}
	return 0
}
