package view

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"strings"

	"gopkg.in/yaml.v3"

	"nfsync.dev/nfsync/internal/spec"
)

// encodeYAML returns the JSON of doc in YAML's block notation: the same keys in
// the same order, and the same JSON value when it is read again. Each element of a list of the
// document is encoded alone, because yaml.v3 takes some fifty times the memory of what it
// encodes.
func encodeYAML(doc any) ([]byte, error) {
	text, err := json.Marshal(doc)
	if err != nil {
		return nil, fmt.Errorf("cannot encode as YAML: %w", err)
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	var out yamlWriter
	token, _ := dec.Token()
	if token != json.Delim('{') || !dec.More() {
		out.block(yamlValue(dec, token), "")
	}
	for dec.More() {
		key := yamlNode(dec)
		token, _ := dec.Token()
		if token != json.Delim('[') || !dec.More() {
			out.block(yamlMapping(key, yamlValue(dec, token)), "")
			continue
		}
		out.block(yamlMapping(key, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null"}), "")
		for dec.More() {
			out.block(&yaml.Node{Kind: yaml.SequenceNode, Content: []*yaml.Node{yamlNode(dec)}}, "  ")
		}
		_, _ = dec.Token() // the closing delimiter
	}
	if out.err != nil {
		return nil, fmt.Errorf("cannot encode as YAML: %w", out.err)
	}
	return out.buf.Bytes(), nil
}

func yamlMapping(key, value *yaml.Node) *yaml.Node {
	return &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{key, value}}
}

// yamlWriter collects blocks of YAML. Its first error stays.
type yamlWriter struct {
	buf bytes.Buffer
	err error
}

// block adds a collection, with each line indented. No scalar has more than one line.
func (w *yamlWriter) block(n *yaml.Node, indent string) {
	var buf bytes.Buffer
	enc := yaml.NewEncoder(&buf)
	enc.SetIndent(2)
	w.err = cmp.Or(w.err, enc.Encode(n), enc.Close())
	for line := range bytes.Lines(noMarkedCommands(escapeUnprintable(buf.Bytes(), yamlEscape), `\x5b`)) {
		w.buf.WriteString(indent)
		w.buf.Write(line)
	}
}

// yamlEscape appends the escape of r in a double-quoted scalar.
func yamlEscape(dst []byte, r rune) []byte { return fmt.Appendf(dst, `\U%08X`, r) }

// yamlNode reads one JSON value. The decoder returns no error: it reads what json.Marshal
// has written.
func yamlNode(dec *json.Decoder) *yaml.Node {
	token, _ := dec.Token()
	return yamlValue(dec, token)
}

// yamlValue reads the rest of the JSON value that begins with a token.
func yamlValue(dec *json.Decoder, token json.Token) *yaml.Node {
	switch t := token.(type) {
	case json.Delim:
		return yamlCollection(dec, t)
	case string:
		return yamlString(t)
	case json.Number, bool:
		return &yaml.Node{Kind: yaml.ScalarNode, Value: fmt.Sprint(t)}
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Value: "null"}
}

// yamlCollection reads the rest of an array or an object. Both are a run of
// values up to the closing delimiter: the keys of an object are values as well.
func yamlCollection(dec *json.Decoder, open json.Delim) *yaml.Node {
	n := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
	if open == '{' {
		n = &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	}
	for dec.More() {
		n.Content = append(n.Content, yamlNode(dec))
	}
	if len(n.Content) == 0 {
		n.Style = yaml.FlowStyle
	}
	_, _ = dec.Token() // the closing delimiter
	return n
}

// yamlString returns the scalar of a string: plain if every reader reads that string, and no
// CI system a command, else in double quotes.
func yamlString(s string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s}
	if spec.ReadsAsOther(s) || strings.ContainsFunc(s, unprintable) || strings.Contains(s, "\n") || strings.Contains(s, commandMark) || strings.HasPrefix(s, "::") {
		n.Style = yaml.DoubleQuotedStyle
	}
	return n
}
