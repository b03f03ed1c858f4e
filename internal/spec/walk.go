package spec

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"

	"nfsync.dev/nfsync/internal/nf"
)

// Messages and hints that are used more than once.
const (
	messageAlias   = "an alias is not allowed"
	messageNesting = "nested too deeply: more than 32 mappings and lists inside one another"
	hintAnchor     = "write the value out wherever it is needed; a text that begins with & needs quotes"
	hintTag        = "remove the tag; a text that begins with ! needs quotes"
	hintAlias      = "write the value out; a text that begins with * needs quotes"
)

// parser walks the nodes of one file. It continues after an error, to report all of them
// at once.
type parser struct {
	found *diagnostics
	end   extent
	chars cursor
	// bad are the nodes whose error is reported: keys, which are ignored with their
	// values, and values, which are not read.
	bad map[*yaml.Node]bool
	// nulls are allowed in snapshots, never in a policy.
	nulls bool
	// hidesScalars omits from messages the scalar that is where a list or mapping
	// should be: in a configuration file it may be a secret, and messages go to logs.
	hidesScalars bool
}

func newParser(text []byte, found *diagnostics) *parser {
	return &parser{found: found, end: extentOf(text), chars: newCursor(text), bad: map[*yaml.Node]bool{}}
}

func (p *parser) report(n *yaml.Node, rule Rule, hint, format string, args ...any) {
	line, column := p.end.clamp(n.Line, n.Column)
	if p.found.onlyCounts(line, column) {
		return
	}
	p.found.add(rule, line, column, fmt.Sprintf(format, args...), hint)
}

func (p *parser) reject(n *yaml.Node, rule Rule, hint, format string, args ...any) {
	p.report(n, rule, hint, format, args...)
	p.bad[n] = true
}

// only returns the one document of a file; nil where there is none. The hint says how one
// begins.
func (p *parser) only(documents []*yaml.Node, hint string) *yaml.Node {
	switch {
	case len(documents) == 0 && p.found.count() == 0: // else it is an error of syntax
		p.found.add(RuleNoDocument, 1, 1, "the file holds no document", hint)
	case len(documents) > 1:
		p.report(documents[1], RuleSeveralDocuments, "one document a file", "the file holds a second document")
	}
	if len(documents) == 0 {
		return nil
	}
	return documents[0]
}

// vet finds what is forbidden anywhere in a document: anchors, aliases, tags,
// merge keys, nulls, duplicate keys, and too deep a nesting.
func (p *parser) vet(n *yaml.Node, depth int) {
	switch {
	case depth > maxNesting && n.Kind != yaml.ScalarNode:
		p.reject(n, RuleNesting, "", messageNesting)
		return
	case n.Kind == yaml.AliasNode:
		p.reject(n, RuleAlias, hintAlias, messageAlias)
		return
	}
	if n.Anchor != "" {
		p.report(n, RuleAnchor, hintAnchor, "an anchor is not allowed")
	}
	if p.isTagged(n) {
		p.report(n, RuleTag, hintTag, "a tag is not allowed")
		p.bad[n] = n.Kind == yaml.ScalarNode
	}
	switch n.Kind {
	case yaml.MappingNode:
		p.vetMapping(n, depth)
	case yaml.SequenceNode:
		for _, entry := range n.Content {
			p.vet(entry, depth+1)
			if !p.nulls && isNull(entry) && !p.bad[entry] {
				p.reject(entry, RuleNoValue, "remove the entry, or give it a value", "an entry of the list has no value")
			}
		}
	}
}

func (p *parser) vetMapping(n *yaml.Node, depth int) {
	lines := make(map[string]int, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if !p.vetKey(key) {
			continue
		}
		if line, twice := lines[key.Value]; twice {
			p.reject(key, RuleDuplicateKey, "remove one of the two", "duplicate key %s: already defined at line %d", quote(key.Value), line)
			continue
		}
		lines[key.Value] = key.Line
		p.vet(value, depth+1)
		if !p.nulls && isNull(value) && !p.bad[value] {
			p.reject(value, RuleNoValue, "give it a value, or remove the key", "%s has no value", quote(key.Value))
		}
	}
}

func (p *parser) vetKey(key *yaml.Node) bool {
	switch {
	case key.Kind == yaml.AliasNode:
		p.reject(key, RuleAlias, hintAlias, messageAlias)
	case key.Kind != yaml.ScalarNode, isNull(key):
		p.reject(key, RuleWrongType, "", "a key must be a text, not %s", describe(key))
	case key.Anchor != "":
		p.reject(key, RuleAnchor, hintAnchor, "an anchor is not allowed")
	case p.isTagged(key):
		p.reject(key, RuleTag, hintTag, "a tag is not allowed")
	case key.Tag == "!!merge":
		p.reject(key, RuleMergeKey, "write the keys out", "a merge key is not allowed")
	}
	return !p.bad[key]
}

// isTagged reports whether a node has a tag. It also reads the text, since yaml.v3 drops
// the tag ! of a plain scalar.
func (p *parser) isTagged(n *yaml.Node) bool {
	return n.Style&yaml.TaggedStyle != 0 || p.chars.at(n.Line, n.Column) == '!'
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// missingHints show what to write for a key that is required.
var missingHints = map[string]string{
	"apiVersion": "apiVersion: " + nf.APIVersion,
	"code":       "code: level-not-enforced",
	"key":        "key: conntrack.max",
	"labels":     "labels: {role: edge}",
	"snapshot":   "snapshot: ../snapshots/hn-1.yaml, which nfsync snapshot prints on a node",
	"target":     "target: node, or target: container/web-1",
	"kind":       "kind: NodePolicy, or kind: ContainerPolicy",
	"metadata":   "metadata: {name: a-unique-name}",
	"name":       "name: a-unique-name",
	"spec":       "spec: {…}",
	"state":      "state: loaded, or state: unloaded",

	"certFile": "certFile: /etc/nfsync/client.crt",

	"coordinatorKey":  "coordinatorKey: the public key that nfsync-coordinator init prints",
	"credentialsFile": "credentialsFile: /etc/nfsync/fleet.creds, which nfsync-coordinator enroll prints",
	"servers":         "servers: [tls://nats.example.com:4222]",
	"source":          "source: {urls: [https://git.example.com/policies.git]}",

	"end":          `end: "04:00"`,
	"keyFile":      "keyFile: /etc/nfsync/client.key",
	"mode":         "mode: none, mode: tip, or mode: all",
	"passwordFile": "passwordFile: /etc/nfsync/password",
	"start":        `start: "02:00"`,
	"url":          "url: https://git.example.com/nodes.git",
	"urls":         "urls: [https://git.example.com/policies.git]",
	"user":         "user: name (many servers accept any name with a token)",
}

// field reads the value of a key. Path is that of the key in the document.
type field = func(path string, value *yaml.Node)

// fields are the functions that read the values of the keys of a mapping.
type fields map[string]field

// reader reads the value of a key. It is not ok where there is an error.
type reader[T any] = func(path string, n *yaml.Node) (value T, ok bool)

// store returns a function that stores what is read. An error leaves the value as it was.
func store[T any](to *T, read reader[T]) field {
	return func(path string, n *yaml.Node) {
		if value, ok := read(path, n); ok {
			*to = value
		}
	}
}

// mapping returns a function that reads a mapping with known keys. Elsewhere are keys that
// people may expect here, but that belong elsewhere.
func (p *parser) mapping(want fields, required []string, elsewhere map[string]foreign) field {
	return func(path string, n *yaml.Node) {
		p.entries(path, n, func(key *yaml.Node) field {
			if want[key.Value] == nil {
				p.unknownKey(path, key, slices.Sorted(maps.Keys(want)), elsewhere)
			}
			return want[key.Value]
		})
		if n.Kind != yaml.MappingNode {
			return
		}
		for _, key := range required {
			if valueOf(n, key) == nil {
				p.report(n, RuleMissingKey, missingHints[key], "missing key %q in %s", key, place(path))
			}
		}
	}
}

// entries reads what must be a mapping. Choose returns the function that reads the value of
// a key, or nil for a key that it has reported. What has an error is not read.
func (p *parser) entries(path string, n *yaml.Node, choose func(key *yaml.Node) field) {
	if !p.isMapping(path, n) {
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if p.bad[key] {
			continue
		}
		if read := choose(key); read != nil && !p.bad[value] {
			read(below(path, key.Value), value)
		}
	}
}

// value returns the value of a key of a mapping; nil where there is none, or one of the two
// has an error.
func (p *parser) value(n *yaml.Node, name string) *yaml.Node {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if key, value := n.Content[i], n.Content[i+1]; key.Value == name && !p.bad[key] && !p.bad[value] {
			return value
		}
	}
	return nil
}

// valueOf returns the value of a key of a mapping, even with an error; nil where there is
// none.
func valueOf(n *yaml.Node, name string) *yaml.Node {
	for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			return n.Content[i+1]
		}
	}
	return nil
}

func (p *parser) unknownKey(path string, key *yaml.Node, known []string, elsewhere map[string]foreign) {
	if p.found.onlyCounts(key.Line, key.Column) { // the search for a similar word is expensive
		return
	}
	if f, ok := elsewhere[key.Value]; ok {
		p.report(key, RuleUnknownKey, f.hint, "unknown key %s in %s: %s", quote(key.Value), place(path), f.why)
		return
	}
	p.report(key, RuleUnknownKey, "known keys: "+strings.Join(known, ", "), "unknown key %s in %s%s",
		quote(key.Value), place(path), didYouMean(key.Value, known))
}

func place(path string) string {
	if path == "" {
		return "the document"
	}
	return path
}

func below(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func (p *parser) isMapping(path string, n *yaml.Node) bool {
	if n.Kind != yaml.MappingNode {
		p.report(n, RuleWrongType, "", "%s must be a mapping, not %s", place(path), p.describe(n))
		return false
	}
	return true
}

// texts returns a function that reads a list of at least one text, each with valid. If one
// has an error it is not ok: half a selector would select something else.
func (p *parser) texts(valid reader[string]) reader[[]string] {
	return func(path string, n *yaml.Node) (list []string, ok bool) {
		if n.Kind != yaml.SequenceNode {
			p.report(n, RuleWrongType, "write it as a list: [a, b]", "%s must be a list, not %s", path, p.describe(n))
			return nil, false
		}
		if len(n.Content) == 0 {
			p.report(n, RuleEmptyValue, "name at least one, or remove the key", "%s must not be empty", path)
		}
		for i, entry := range n.Content {
			if p.bad[entry] {
				continue
			}
			if s, ok := valid(path+"["+strconv.Itoa(i)+"]", entry); ok {
				list = append(list, s)
			}
		}
		return list, len(list) == len(n.Content)
	}
}

// text reads a text that is not empty.
func (p *parser) text(path string, n *yaml.Node) (string, bool) {
	text, ok := p.anyText(path, n)
	if ok && text == "" {
		p.report(n, RuleEmptyValue, "", "%s must not be empty", path)
		return "", false
	}
	return text, ok
}

// anyText reads a text, which may be empty.
func (p *parser) anyText(path string, n *yaml.Node) (string, bool) {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!str" {
		hint := ""
		if n.Kind == yaml.ScalarNode {
			hint = "put it in quotes: " + strconv.Quote(n.Value)
		}
		p.report(n, RuleWrongType, hint, "%s must be a text, not %s", path, describe(n))
		return "", false
	}
	return n.Value, true
}

// textThat returns a function that reads a text for which valid holds. The format of the
// error takes the path and the text.
func (p *parser) textThat(valid func(string) bool, hint, format string) reader[string] {
	return func(path string, n *yaml.Node) (string, bool) {
		text, ok := p.text(path, n)
		if ok && !valid(text) {
			p.report(n, RuleInvalidValue, hint, format, path, quote(text))
			return "", false
		}
		return text, ok
	}
}

// word returns a function that reads one of a few words.
func (p *parser) word(noun string, words ...string) reader[string] {
	list := strings.Join(words, ", ")
	return func(path string, n *yaml.Node) (string, bool) {
		if n.Kind != yaml.ScalarNode || n.Tag != "!!str" {
			p.report(n, RuleWrongType, "", "%s must be one of %s, not %s", path, list, describe(n))
			return "", false
		}
		if !slices.Contains(words, n.Value) {
			p.report(n, RuleUnknownWord, "one of "+list, "unknown %s %s%s", noun, quote(n.Value), didYouMean(n.Value, words))
			return "", false
		}
		return n.Value, true
	}
}

var decimal = regexp.MustCompile(`^(0|-?[1-9][0-9]*)$`)

// integer reads a whole number in plain decimal digits.
func (p *parser) integer(path string, n *yaml.Node, least, most int64) (int64, bool) {
	isPlain := n.Kind == yaml.ScalarNode && n.Style == 0
	switch {
	case isPlain && decimal.MatchString(n.Value):
	case isPlain && (n.Tag == "!!int" || n.Tag == "!!float"):
		p.report(n, RuleInvalidValue, cmp.Or(plainDigits(n.Value), "write plain digits only, as in 1000"),
			"%s must be a plain decimal whole number, not %s", path, brief(n.Value))
		return 0, false
	default:
		hint := ""
		switch {
		case n.Kind != yaml.ScalarNode:
		case decimal.MatchString(n.Value):
			hint = "remove the quotes"
		default:
			hint = cmp.Or(sizeHint(n.Value), plainDigits(n.Value))
		}
		p.report(n, RuleWrongType, hint, "%s must be a whole number, not %s", path, describe(n))
		return 0, false
	}
	number, err := strconv.ParseInt(n.Value, 10, 64)
	if err != nil || number < least || number > most {
		p.report(n, RuleOutOfRange, "", "%s must be %d to %d, not %s", path, least, most, brief(n.Value))
		return 0, false
	}
	return number, true
}

func (p *parser) describe(n *yaml.Node) string {
	if p.hidesScalars && n.Kind == yaml.ScalarNode {
		return "a single value"
	}
	return describe(n)
}

// describe describes a value that is not what it should be.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	switch n.Tag {
	case "!!int", "!!float":
		return "the number " + brief(n.Value)
	case "!!bool":
		return "the boolean " + brief(n.Value)
	case "!!timestamp":
		return "the date " + brief(n.Value)
	case "!!null":
		return "nothing"
	}
	return "the text " + quote(n.Value)
}

// quote returns a text of a file for a message: short and printable.
func quote(s string) string { return strconv.Quote(brief(s)) }

const maxQuoted = 60

func brief(s string) string {
	if utf8.RuneCountInString(s) <= maxQuoted {
		return s
	}
	return string([]rune(s)[:maxQuoted]) + "…"
}
