package spec

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"

	"gopkg.in/yaml.v3"
)

// maxNesting is how deep mappings and lists may be nested.
const maxNesting = 32

// maxYAMLNodes bounds the values and keys of a text: each takes some 500 bytes in yaml.v3.
const maxYAMLNodes = 300_000

// yamlNodes returns how many values and keys a text can have at most. Each but the first
// follows a new line or an indicator (YAML 1.2, section 5.3), and an entry of a flow mapping
// may be a key alone, with a value that is not written.
func yamlNodes(text []byte) int {
	n := 1
	for i, c := range text {
		switch rest := text[i+1:]; c {
		case ',', '{':
			n += 2
		case ':', '[':
			n++
		case '\n':
			if line := bytes.TrimLeft(rest, " "); len(line) > 0 && line[0] != '#' && line[0] != '\n' {
				n++
			}
		case '-', '?': // an indicator only before white space
			if len(rest) > 0 && bytes.IndexByte([]byte(" \t\r"), rest[0]) >= 0 {
				n++
			}
		}
	}
	return n
}

// decodeYAML returns the documents of a text that checkText has accepted, up to the first
// error of syntax. Documents that hold only comments are skipped.
//
// yaml.v3 decodes to nodes only. Decoding into Go values would be quadratic in the keys of
// a mapping, follow aliases, and accept 1e3 or 0777 as numbers.
func decodeYAML(text []byte, found *diagnostics) []*yaml.Node {
	if yamlNodes(text) > maxYAMLNodes {
		found.add(RuleTooLarge, 1, 1, fmt.Sprintf("the file may hold more than %d values and keys", maxYAMLNodes), "split it; a snapshot may be larger as JSON")
		return nil
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var documents []*yaml.Node
	for {
		document := new(yaml.Node)
		err := decodeNode(decoder, document)
		if errors.Is(err, io.EOF) {
			return documents
		}
		if err != nil {
			d := syntaxError(decoder, err)
			line, column := extentOf(text).clamp(d.Line, d.Column)
			found.add(d.Rule, line, column, d.Message, d.Hint)
			return documents
		}
		if len(document.Content) == 1 && !isNothing(document.Content[0]) {
			documents = append(documents, document.Content[0])
		}
	}
}

// decodeNode turns a panic of yaml.v3, which hostile texts have caused before
// (CVE-2022-28948), into an error.
func decodeNode(decoder *yaml.Decoder, n *yaml.Node) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("yaml: %v", r)
		}
	}()
	return decoder.Decode(n)
}

func isNothing(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.Value == "" && n.Style == 0 && n.Anchor == ""
}

// syntaxHints are the usual causes of the errors of yaml.v3.
var syntaxHints = map[string]string{
	"found character that cannot start any token":           "indent with spaces; put a value that begins with one of @ ` % in quotes",
	"found a tab character that violates indentation":       "indent with spaces",
	"mapping values are not allowed in this context":        "the indentation of this line is wrong, the line above lacks a colon, or a value that holds a colon needs quotes",
	"could not find expected ':'":                           "a key is followed by a colon and a space",
	"did not find expected key":                             "the indentation of this line fits none of the lines above, or a bracket is one too many",
	"did not find expected <document start>":                "a further document begins with ---",
	"did not find expected '-' indicator":                   "the indentation of this line fits none of the lines above",
	"did not find expected ',' or ']'":                      "close the list with ], or put a comma between its entries",
	"did not find expected ',' or '}'":                      "close the mapping with }, or put a comma between its entries",
	"found unexpected end of stream":                        "the quotes that begin here are never closed",
	"found unexpected document indicator":                   "the quotes that begin here are never closed",
	"did not find expected alphabetic or numeric character": "put a value that begins with & or * in quotes",
}

// syntaxError returns an error of yaml.v3 as a diagnostic without a file. The texts of
// yaml.v3 name at best a line, often that of the enclosing mapping; the exact places are
// in unexported fields. If those do not exist, in another version, the place is the start
// of the file.
func syntaxError(decoder *yaml.Decoder, err error) Diagnostic {
	state := reflect.ValueOf(decoder)
	if strings.Contains(err.Error(), "unknown anchor") {
		line, column := markOf(state, "parser", "event", "start_mark")
		return Diagnostic{Rule: RuleAlias, Message: messageAlias, Hint: hintAlias, Line: line, Column: column}
	}
	problem := plainMessage(err)
	line, column := markOf(state, "parser", "parser", "problem_mark")
	if strings.HasPrefix(problem, "exceeded max depth") {
		return Diagnostic{Rule: RuleNesting, Message: messageNesting, Line: line, Column: column}
	}
	// The start of what was being read is the better place for something that is never
	// closed, and for a key without a colon.
	contextLine, contextColumn := markOf(state, "parser", "parser", "context_mark")
	switch context := fieldOf(state, "parser", "parser", "context").String(); {
	case context == "while scanning a quoted scalar", context == "while scanning a simple key",
		(context == "while parsing a flow sequence" || context == "while parsing a flow mapping") && contextLine != line:
		line, column = contextLine, contextColumn
	}
	return Diagnostic{Rule: RuleSyntax, Message: "not YAML: " + problem, Hint: syntaxHints[problem], Line: line, Column: column}
}

// plainMessage is the error without "yaml: line 3: ".
func plainMessage(err error) string {
	message := strings.TrimPrefix(err.Error(), "yaml: ")
	if rest, ok := strings.CutPrefix(message, "line "); ok {
		if _, after, ok := strings.Cut(rest, ": "); ok {
			return after
		}
	}
	return message
}

// markOf returns the place that a field of yaml.v3 holds, or the start of the file.
func markOf(v reflect.Value, path ...string) (line, column int) {
	mark := fieldOf(v, path...)
	l, c := fieldOf(mark, "line"), fieldOf(mark, "column")
	if !l.CanInt() || !c.CanInt() {
		return 1, 1
	}
	return int(l.Int()) + 1, int(c.Int()) + 1
}

// fieldOf returns a field of a struct by its path, through pointers; the zero Value where
// there is none.
func fieldOf(v reflect.Value, path ...string) reflect.Value {
	for _, name := range path {
		v = reflect.Indirect(v)
		if v.Kind() != reflect.Struct {
			return reflect.Value{}
		}
		v = v.FieldByName(name)
	}
	return v
}
