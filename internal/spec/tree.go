package spec

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

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
	nodeNull nodeKind = iota
	nodeBool
	nodeNumber
	nodeText
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

// The bounds of a snapshot. That of a node with a thousand containers takes about
// 12 MiB. The nodes of yaml.v3 take some hundred bytes each, so that YAML has a lower
// bound.
const (
	maxJSONDocument = 64 << 20
	maxYAMLDocument = 16 << 20
	maxValues       = 2 << 20
)

// readDocument reads the one document of a file, JSON or YAML. It is nil where
// there is an error.
func readDocument(f File, found *diagnostics) *node {
	text, ok := checkText(f.Data, maxJSONDocument, found)
	if !ok {
		return nil
	}
	var root *node
	if first := bytes.TrimLeft(text, " \t\r\n"); len(first) > 0 && first[0] == '{' {
		root = jsonTree(text, found)
	} else {
		root = yamlTree(text, found)
	}
	if found.count() > 0 {
		return nil
	}
	return root
}

func yamlTree(text []byte, found *diagnostics) *node {
	if len(text) > maxYAMLDocument {
		found.add(RuleTooLarge, 1, 1, tooLarge(maxYAMLDocument), "write it as JSON, which may be larger")
		return nil
	}
	documents := decodeYAML(text, found)
	if found.count() > 0 {
		return nil
	}
	switch len(documents) {
	case 0:
		found.add(RuleNoDocument, 1, 1, "the file holds no document", "")
		return nil
	case 1:
	default:
		found.add(RuleSeveralDocuments, documents[1].Line, documents[1].Column, "the file holds a second document", "one document a file")
		return nil
	}
	p := newParser(text, found)
	p.nulls = true
	p.vet(documents[0], 1)
	if found.count() > 0 {
		return nil
	}
	root := fromYAML(documents[0])
	return &root
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
		n.kind = scalarKind(y.Tag)
	}
	return n
}

func scalarKind(tag string) nodeKind {
	switch tag {
	case "!!null":
		return nodeNull
	case "!!bool":
		return nodeBool
	case "!!int", "!!float":
		return nodeNumber
	}
	return nodeText // a time is a text as well
}

// jsonTree reads a JSON text with the places of its values, which encoding/json does not
// report.
func jsonTree(text []byte, found *diagnostics) *node {
	// encoding/json reports errors of syntax, so that the reader need not.
	var whole json.RawMessage
	if err := json.Unmarshal(text, &whole); err != nil {
		line, column := jsonPlace(text, err)
		found.add(RuleSyntax, line, column, "not JSON: "+err.Error(), "")
		return nil
	}
	r := jsonReader{text: text, line: 1, column: 1, found: found}
	root := r.value(1)
	return &root
}

// jsonPlace returns the place of an error of encoding/json: of the last byte that it read.
func jsonPlace(text []byte, err error) (line, column int) {
	r := jsonReader{text: text, line: 1, column: 1}
	var syntax *json.SyntaxError
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		r.offset = max(int(syntax.Offset)-1, 0)
	case errors.As(err, &wrong):
		r.offset = max(int(wrong.Offset)-1, 0)
	}
	r.position()
	return extentOf(text).clamp(int(r.line), int(r.column))
}

// jsonReader reads a text that is JSON.
type jsonReader struct {
	text   []byte
	offset int
	values int
	found  *diagnostics
	failed bool // the text holds more than is taken: the reader stops
	// line and column are those of the byte at counted.
	counted      int
	line, column int32
}

// position is the line and column of the offset, which only grows.
func (r *jsonReader) position() (line, column int32) {
	for ; r.counted < r.offset; r.counted++ {
		switch b := r.text[r.counted]; {
		case b == '\n':
			r.line, r.column = r.line+1, 1
		case b&0xC0 != 0x80: // the first byte of a character
			r.column++
		}
	}
	return r.line, r.column
}

func (r *jsonReader) value(depth int) node {
	r.space()
	var n node
	n.line, n.column = r.position()
	if r.values++; r.values > maxValues || depth > maxNesting {
		r.fail(depth)
		return n
	}
	switch r.text[r.offset] {
	case '{':
		n.kind = nodeMapping
		r.mapping(&n, depth)
	case '[':
		n.kind = nodeList
		r.list(&n, depth)
	case '"':
		n.kind, n.text = nodeText, r.str()
	case 'n':
		n.kind, n.text = nodeNull, r.word()
	case 't', 'f':
		n.kind, n.text = nodeBool, r.word()
	default:
		n.kind, n.text = nodeNumber, r.word()
	}
	return n
}

func (r *jsonReader) fail(depth int) {
	rule, message := RuleNesting, messageNesting
	if depth <= maxNesting {
		rule, message = RuleTooLarge, fmt.Sprintf("the file holds more than %d values", maxValues)
	}
	r.found.add(rule, int(r.line), int(r.column), message, "")
	r.failed = true
}

func (r *jsonReader) mapping(n *node, depth int) {
	seen := map[string]int32{}
	for !r.closed('}') {
		var key label
		key.line, key.column = r.position()
		key.name = r.str()
		r.space()
		r.offset++ // the colon
		if line, twice := seen[key.name]; twice {
			r.found.add(RuleDuplicateKey, int(key.line), int(key.column), fmt.Sprintf("duplicate key %s: already defined at line %d", quote(key.name), line), "")
		}
		seen[key.name] = key.line
		n.keys = append(n.keys, key)
		n.items = append(n.items, r.value(depth+1))
	}
}

func (r *jsonReader) list(n *node, depth int) {
	for !r.closed(']') {
		n.items = append(n.items, r.value(depth+1))
	}
}

// closed goes to the next entry and reports whether there is none: at the end of the
// list or mapping, or after a failure.
func (r *jsonReader) closed(end byte) bool {
	if r.failed {
		return true
	}
	r.space()
	switch c := r.text[r.offset]; c {
	case '{', '[', ',':
		// The opening bracket is here before the first entry only: reading a value
		// moves the offset behind it.
		r.offset++
		r.space()
		if c == ',' || r.text[r.offset] != end {
			return false
		}
	}
	r.offset++
	return true
}

func (r *jsonReader) space() {
	for r.offset < len(r.text) && bytes.IndexByte([]byte(" \t\r\n"), r.text[r.offset]) >= 0 {
		r.offset++
	}
}

// str reads a string.
func (r *jsonReader) str() string {
	start := r.offset
	escaped := false
	for r.offset++; r.text[r.offset] != '"'; r.offset++ {
		if r.text[r.offset] == '\\' {
			escaped = true
			r.offset++
		}
	}
	r.offset++
	raw := r.text[start:r.offset]
	if !escaped {
		return string(raw[1 : len(raw)-1])
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return string(raw) // cannot be: the whole text is JSON
	}
	return s
}

// word reads a number, true, false or null.
func (r *jsonReader) word() string {
	start := r.offset
	for r.offset < len(r.text) && bytes.IndexByte([]byte(" \t\r\n,]}"), r.text[r.offset]) < 0 {
		r.offset++
	}
	return string(r.text[start:r.offset])
}
