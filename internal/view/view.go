// Package view turns values into bytes: what nfsync prints on stdout.
//
// Every document has three renderings of the same value. Text is what people
// read; it may change between versions. JSON is the document itself, with the
// schemas of the schemas directory, and YAML is that JSON in another notation:
// the same keys in the same order.
//
// The output rules, for all of them:
//
//   - Names and texts that come from outside (containers, rules, policies) can
//     hold anything. Control characters, bidirectional overrides and whatever
//     else has no glyph of its own leave this package escaped only.
//   - A list is never null, and a document ends with a newline.
//   - Text is coloured only where Options.Color says so. Without colour
//     nothing is lost: every meaning is a word or a glyph as well.
//   - A document is written with one Write, or not at all.
package view

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
)

// The formats that every document can be rendered in.
const (
	FormatText = "text"
	FormatJSON = "json"
	FormatYAML = "yaml"
)

// Formats lists the formats, text first.
func Formats() []string { return []string{FormatText, FormatJSON, FormatYAML} }

// CheckFormat is an error that lists the formats where format is none of them.
func CheckFormat(format string) error {
	if slices.Contains(Formats(), format) {
		return nil
	}
	return fmt.Errorf("unknown output format %q: must be one of %s", format, strings.Join(Formats(), ", "))
}

// Options are how text is laid out; the other formats have none. The zero
// value is plain text for a pipe.
type Options struct {
	// Color allows escape sequences for colours. The caller decides: a
	// terminal, NO_COLOR, TERM=dumb.
	Color bool
	// Width is the width of the terminal in columns, 0 where there is none.
	// Prose is wrapped to it; a line of a table is never broken.
	Width int
	// Apply is the command line that would make a plan's changes, as the
	// reader can type it; "nfsync apply" where empty.
	Apply string
	// Elsewhere tells that the plan is of another node than this one: Apply is
	// to be typed there.
	Elsewhere bool
}

// render writes doc in the format. Text is laid out by text, on a page.
func render(w io.Writer, format string, opt Options, doc any, text func(*page)) error {
	var (
		out []byte
		err error
	)
	switch format {
	case FormatText:
		p := &page{opt: opt}
		text(p)
		out = p.buf.Bytes()
	case FormatJSON:
		out, err = encodeJSON(doc)
	case FormatYAML:
		out, err = encodeYAML(doc)
	default:
		err = CheckFormat(format)
	}
	if err != nil {
		return err
	}
	if _, err := io.Copy(w, bytes.NewReader(out)); err != nil {
		return fmt.Errorf("cannot write the output: %w", err)
	}
	return nil
}

// filled is list, or an empty list where it is nil: documents have no null
// lists.
func filled[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
