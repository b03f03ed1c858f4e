package view

import (
	"encoding/json"
	"io"
	"strings"
)

type kinds struct {
	Kinds []string `json:"kinds"`
}

// Kinds writes the kinds of documents that have a schema, one a line.
func Kinds(w io.Writer, format string, list []string) error {
	return render(w, format, Options{}, kinds{filled(list)}, func(p *page) { p.line(strings.Join(list, "\n")) })
}

// Schema writes a JSON Schema. It is JSON as text too, byte for byte.
func Schema(w io.Writer, format string, schema []byte) error {
	if format == FormatJSON {
		format = FormatText
	}
	return render(w, format, Options{}, json.RawMessage(schema), func(p *page) { p.buf.Write(schema) })
}
