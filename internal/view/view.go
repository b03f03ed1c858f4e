// Package view turns values into bytes: what nfsync prints on stdout.
//
// Each kind of document lists its own formats, one file a format: plan.go has
// the list for plans, plan_text.go their text. Every kind has text, JSON and YAML.
// Text is for people; it may change between versions. JSON is the document
// itself, with the schemas of the schemas directory, and YAML is that JSON in
// another notation: the same keys in the same order. Some kinds have an outline, which
// text, Markdown and HTML lay out, and of whose entries SARIF and others make findings.
//
// The output rules, for all of them:
//
//   - Names and texts from outside (containers, rules, policies) can hold any
//     character. Control characters, bidirectional overrides and all others
//     without a glyph are escaped, but for tabs in the source line of an error.
//     Nothing of them is a command to the CI system whose log shows the text.
//   - A list is never null, and a document ends with a newline.
//   - Text is coloured only if Options.Color is set. Without colour nothing is
//     lost: every meaning is a word or a glyph as well.
//   - A document is written with one Write, or not at all, but for the JSON of plans.
package view

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"nfsync.dev/nfsync/internal/nf"
)

// The formats that every kind of document has.
const (
	FormatText = "text"
	FormatJSON = "json"
	FormatYAML = "yaml"
)

// Formats lists the formats that every kind of document has, text first.
func Formats() []string { return []string{FormatText, FormatJSON, FormatYAML} }

// Kind is a kind of document: the formats that it can be written in, text first.
type Kind[T any] []format[T]

type format[T any] struct {
	name   string
	encode func(T, Options) ([]byte, error)
	// stream, if set, writes a document of any size in place of encode.
	stream func(io.Writer, T) error
}

// newKind returns a kind with the formats that every kind has. asJSON returns what JSON
// and YAML encode; text lays a document out for people.
func newKind[T any](asJSON func(T) any, text func(*page, T)) Kind[T] {
	return Kind[T]{
		{name: FormatText, encode: func(doc T, opt Options) ([]byte, error) {
			p := &page{opt: opt}
			if opt.Configuration != "" {
				p.line(p.paint(dim, "Configuration: "+Clean(opt.Configuration)))
			}
			text(p, doc)
			return noCommands(p.buf.Bytes()), nil
		}},
		jsonFormat(asJSON),
		yamlFormat(FormatYAML, asJSON),
	}
}

// outlined returns the text of a kind that has an outline.
func outlined[T any](of func(T, Options) outline) func(*page, T) {
	return func(p *page, doc T) { p.outline(of(doc, p.opt)) }
}

func jsonFormat[T any](asJSON func(T) any) format[T] {
	return format[T]{name: FormatJSON, encode: func(doc T, _ Options) ([]byte, error) { return encodeJSON(asJSON(doc)) }}
}

func yamlFormat[T any](name string, asJSON func(T) any) format[T] {
	return format[T]{name: name, encode: func(doc T, _ Options) ([]byte, error) { return encodeYAML(asJSON(doc)) }}
}

// with returns the kind with more formats.
func (k Kind[T]) with(more ...format[T]) Kind[T] { return append(k, more...) }

// Formats lists the kind's formats, text first.
func (k Kind[T]) Formats() []string {
	var names []string
	for _, f := range k {
		names = append(names, f.name)
	}
	return names
}

// Write writes a document in one of the kind's formats.
func (k Kind[T]) Write(w io.Writer, format string, doc T, opt Options) error {
	for _, f := range k {
		if f.name == format && f.stream != nil {
			return f.stream(w, doc)
		}
		if f.name == format {
			out, err := f.encode(doc, opt)
			if err != nil {
				return err
			}
			return write(w, out)
		}
	}
	return fmt.Errorf("unknown output format %q: must be one of %s", format, strings.Join(k.Formats(), ", "))
}

func write(w io.Writer, out []byte) error {
	if _, err := io.Copy(w, bytes.NewReader(out)); err != nil {
		return fmt.Errorf("cannot write the output: %w", err)
	}
	return nil
}

// Options are how a document is laid out for people. JSON and YAML have none. The zero
// value is plain text for a pipe.
type Options struct {
	// Color allows escape sequences for colours. The caller decides: a
	// terminal, NO_COLOR, TERM=dumb.
	Color bool
	// Width is the width of the terminal in columns, 0 if there is none.
	// Prose is wrapped to it; a line of a table is never broken.
	Width int
	// Apply is the command line that would make a plan's changes, as the
	// reader can type it; "nfsync apply" if empty.
	Apply string
	// Full lists what happens alike to many targets for each of them.
	Full bool
	// Configuration is the file that was read, if any; the first line of a text says so.
	Configuration string
	// Command is the name of the command that prints the document, for the comment by which a
	// CI job finds the one that it has made before.
	Command string
	// Path returns the path of a file in the repository that a CI job has checked out; nil if it
	// is the name of the file.
	Path func(string) string
	// Policies is the path of the policies: what is about no line of them is shown there.
	Policies string
	// Part is set if targets or keys were selected: the rest is not in the document.
	Part bool
	// Published is set if the snapshots are on branches of another repository, and are no files
	// of that of the policies.
	Published bool
	// foldAll makes everything that is alike one entry, also of a single target.
	foldAll bool
	// Elsewhere is set if the plan is of another node than this one: Apply is
	// to be typed there.
	Elsewhere bool
}

// header begins the JSON of every document.
type header struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
}

func headerOf(kind string) header { return header{nf.APIVersion, kind} }

// filled returns a copy of a list that is empty where the list is nil: documents have no
// null lists.
func filled[T any](list []T) []T { return append([]T{}, list...) }
