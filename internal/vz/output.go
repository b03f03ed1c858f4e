package vz

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// record is one element of a list, by its keys in lower case. An empty value, null and
// "-" are left out.
type record map[string]string

// errNoOutput says that a program printed nothing: an empty list has brackets.
var errNoOutput = errors.New("it printed nothing")

// parseList reads the array of prlctl list -j and vzlist -j, and returns the number of
// elements that cannot be read. Both programs write JSON by hand: prlctl does not escape
// control bytes in strings (src/PrlOutFormatter.cpp), and vzlist does not escape strings at
// all (print_json_str in src/vzlist.c). Output that is not JSON for that reason is read line by
// line.
func parseList(data []byte) (list []record, bad int, err error) {
	data = fromBracket(bytes.Map(replaceControl, data))
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, 0, errNoOutput
	}
	var elements []json.RawMessage
	if err := json.Unmarshal(data, &elements); err != nil {
		list, ok := parseLines(data)
		if !ok {
			return nil, 0, fmt.Errorf("its output is not a list: %w: %.60q", err, data)
		}
		return list, 0, nil
	}
	for _, e := range elements {
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(e, &fields); err != nil || fields == nil {
			bad++
			continue
		}
		r := record{}
		for k, v := range fields {
			r.put(k, scalar(v))
		}
		list = append(list, r)
	}
	return list, bad, nil
}

// replaceControl replaces a control character that JSON does not allow. bytes.Map itself
// replaces bytes that are not UTF-8.
func replaceControl(c rune) rune {
	if c < ' ' && c != '\n' && c != '\r' && c != '\t' {
		return utf8.RuneError
	}
	return c
}

// fromBracket skips the lines before the one that starts the array.
func fromBracket(data []byte) []byte {
	for rest := data; len(rest) > 0; {
		if bytes.HasPrefix(bytes.TrimLeft(rest, " \t\r"), []byte("[")) {
			return rest
		}
		_, rest, _ = bytes.Cut(rest, []byte("\n"))
	}
	return data
}

// put stores a value unless the key has one: later values may be part of an unescaped string.
func (r record) put(key, value string) {
	key = strings.ToLower(key)
	if value = strings.TrimSpace(value); value != "" && value != "-" && r[key] == "" {
		r[key] = value
	}
}

// scalar returns a string or a number as text, empty for anything else.
func scalar(v json.RawMessage) string {
	var s string
	if json.Unmarshal(v, &s) == nil {
		return s
	}
	var n json.Number
	if json.Unmarshal(v, &n) == nil {
		return n.String()
	}
	return ""
}

// parseLines reads an array with unescaped strings, one key a line, as both programs print
// it. It skips nested values. ok is false if the array does not end.
func parseLines(data []byte) (list []record, ok bool) {
	var r record
	depth, ended := 0, false
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSuffix(strings.TrimSpace(line), ",")
		key, value, isKey := cutKey(line)
		switch {
		case isKey && depth == 2 && !isOpening(value):
			r.put(key, trimQuotes(value))
		case line == "[", line == "{", isKey && isOpening(value):
			if depth++; depth == 2 {
				r = record{}
			}
		case line == "]", line == "}":
			if depth--; depth == 1 && len(r) > 0 {
				list = append(list, r)
				r = nil
			}
			ended = depth == 0
		}
		if depth < 0 || ended {
			break
		}
	}
	return list, ended
}

func isOpening(value string) bool { return value == "{" || value == "[" }

// cutKey cuts a line of the form "key": value.
func cutKey(line string) (key, value string, ok bool) {
	rest, quoted := strings.CutPrefix(line, `"`)
	if !quoted {
		return "", "", false
	}
	key, value, ok = strings.Cut(rest, `":`)
	return key, strings.TrimSpace(value), ok
}

// trimQuotes returns a value without its outer quotes; empty if it is null or nested.
func trimQuotes(value string) string {
	if inner, ok := strings.CutPrefix(value, `"`); ok {
		return strings.TrimSuffix(inner, `"`)
	}
	if value == "null" || strings.ContainsAny(value, "{[") {
		return ""
	}
	return value
}
