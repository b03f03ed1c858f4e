package view

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
)

// longList is a list of a document that may be too long to be encoded at once.
type longList struct {
	key  string
	size int
	part func(from, to int) any
}

// listPart is how many elements of a long list are encoded at a time.
const listPart = 256

// longListOf takes a list out of a document.
func longListOf[E any](key string, list *[]E) longList {
	all := *list
	*list = nil
	return longList{key, len(all), func(from, to int) any { return all[from:to] }}
}

// writeLists writes the JSON of a document whose lists were taken out of it. They are in the
// order of its keys.
func writeLists(w io.Writer, doc any, lists []longList) error {
	rest, err := encodeJSON(doc)
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(w, 1<<16)
	for _, l := range lists {
		// No text of the document has these quotes: in a text they are escaped.
		before, after, _ := bytes.Cut(rest, []byte("\n  \""+l.key+"\": []"))
		_, _ = out.Write(before)
		_, _ = fmt.Fprintf(out, "\n  %q: ", l.key)
		if err := l.write(out); err != nil {
			return err
		}
		rest = after
	}
	_, _ = out.Write(rest)
	if err := out.Flush(); err != nil { // the first error of any write
		return fmt.Errorf("cannot write the output: %w", err)
	}
	return nil
}

// write writes a list part by part.
func (l longList) write(out *bufio.Writer) error {
	if l.size == 0 {
		_, _ = out.WriteString("[]")
		return nil
	}
	separator := "[\n    "
	var buf bytes.Buffer
	for from := 0; from < l.size; from += listPart {
		part, err := encodeIndented(&buf, l.part(from, min(from+listPart, l.size)), "  ")
		if err != nil {
			return err
		}
		_, _ = out.WriteString(separator)
		_, _ = out.Write(bytes.TrimSpace(part[1 : len(part)-len("]\n")]))
		separator = ",\n    "
	}
	_, _ = out.WriteString("\n  ]")
	return nil
}
