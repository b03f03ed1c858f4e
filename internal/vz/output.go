package vz

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// record is what one element of a list says, by its keys in lower case; an
// empty value, null and "-" are left out.
type record map[string]string

// errNoOutput says that a program printed nothing at all, not even an empty
// list.
var errNoOutput = errors.New("it printed nothing")

// parseList reads the array that prlctl list -j and vzlist -j print, and how
// many of its elements cannot be read. Both write it by hand: prlctl leaves
// control bytes as they are within strings (src/PrlOutFormatter.cpp), and
// vzlist does not escape strings at all (print_json_str in src/vzlist.c). What
// is no JSON for that reason is read line by line.
func parseList(data []byte) (list []record, bad int, err error) {
	data = fromBracket(bytes.Map(clean, data))
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, 0, errNoOutput
	}
	var elements []json.RawMessage
	if err := json.Unmarshal(data, &elements); err != nil {
		list, ok := parseLines(data)
		if !ok {
			return nil, 0, fmt.Errorf("its output is no list: %w: %.60q", err, data)
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

// clean makes one character of each that no JSON has; of bytes that are no
// UTF-8, bytes.Map does.
func clean(c rune) rune {
	if c < ' ' && c != '\n' && c != '\r' && c != '\t' {
		return utf8.RuneError
	}
	return c
}

// fromBracket leaves out lines before the one that starts the array.
func fromBracket(data []byte) []byte {
	for rest := data; len(rest) > 0; {
		if bytes.HasPrefix(bytes.TrimLeft(rest, " \t\r"), []byte("[")) {
			return rest
		}
		_, rest, _ = bytes.Cut(rest, []byte("\n"))
	}
	return data
}

// put keeps the first value of a key: what follows may be part of a string that
// was not escaped.
func (r record) put(key, value string) {
	key = strings.ToLower(key)
	if value = strings.TrimSpace(value); value != "" && value != "-" && r[key] == "" {
		r[key] = value
	}
}

// first is the value of the first of the keys that has one.
func (r record) first(keys ...string) string {
	for _, k := range keys {
		if v := r[k]; v != "" {
			return v
		}
	}
	return ""
}

// scalar is a string or a number as text, empty for anything else.
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

// parseLines reads an array whose strings are not escaped, one key a line, as
// both programs print it. What is nested in an element is left out. It is false
// where the array does not end.
func parseLines(data []byte) (list []record, ok bool) {
	var r record
	depth, ended := 0, false
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSuffix(strings.TrimSpace(line), ",")
		key, value, isKey := cutKey(line)
		switch {
		case isKey && depth == 2 && !opens(value):
			r.put(key, bare(value))
		case line == "[", line == "{", isKey && opens(value):
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

func opens(value string) bool { return value == "{" || value == "[" }

// cutKey cuts a line of the form "key": value.
func cutKey(line string) (key, value string, ok bool) {
	rest, quoted := strings.CutPrefix(line, `"`)
	if !quoted {
		return "", "", false
	}
	key, value, ok = strings.Cut(rest, `":`)
	return key, strings.TrimSpace(value), ok
}

// bare takes the outer quotes off a value; what is not in quotes is null, a
// number or a word, or nested.
func bare(value string) string {
	if inner, ok := strings.CutPrefix(value, `"`); ok {
		return strings.TrimSuffix(inner, `"`)
	}
	if value == "null" || strings.ContainsAny(value, "{[") {
		return ""
	}
	return value
}
