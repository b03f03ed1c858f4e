package spec

import (
	"bytes"
	"iter"
	"slices"

	"nfsync.dev/nfsync/internal/nf"
)

// Document is a document of a file.
type Document struct {
	File
	before int // the lines of the file before it
}

// Snapshot reads the document as ParseSnapshot does.
func (d Document) Snapshot() (nf.Snapshot, []Diagnostic) {
	s, found := ParseSnapshot(d.File)
	for i := range found {
		found[i].Line += d.before
	}
	return s, found
}

// Documents returns the documents of a file: of a YAML stream, or of JSON values one after
// another. What cannot be split is one document, for its reader to say what is wrong with it.
func Documents(f File) iter.Seq[Document] {
	first := bytes.TrimLeft(f.Data, " \t\r\n\ufeff")
	if len(first) > 0 && first[0] == '{' {
		return jsonDocuments(f)
	}
	return yamlDocuments(f)
}

// jsonDocuments splits JSON values.
func jsonDocuments(f File) iter.Seq[Document] {
	return func(yield func(Document) bool) {
		for at := 0; at < len(f.Data); {
			end := at + jsonEnd(f.Data[at:])
			if len(bytes.TrimSpace(f.Data[end:])) == 0 {
				end = len(f.Data)
			}
			if !yield(f.part(int64(at), int64(end))) {
				return
			}
			at = end
		}
	}
}

// jsonEnd returns the length of the JSON mapping or list with which a text begins; that of the
// text if it does not end.
func jsonEnd(text []byte) int {
	depth := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			i = quoteEnd(text, i)
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth <= 0 {
				return i + 1
			}
		}
	}
	return len(text)
}

// quoteEnd returns the offset of the quote that ends the text which begins at an offset; the
// length if there is none.
func quoteEnd(text []byte, start int) int {
	for i := start + 1; i < len(text); i++ {
		switch text[i] {
		case '"':
			return i
		case '\\':
			i++
		}
	}
	return len(text)
}

// yamlDocuments splits at the lines that separate the documents of a YAML stream. Documents
// without content are left out, but for the only one.
func yamlDocuments(f File) iter.Seq[Document] {
	return func(yield func(Document) bool) {
		var parts [][2]int64
		start, at := int64(0), int64(0)
		for line := range bytes.Lines(f.Data) {
			end := at + int64(len(line))
			if isSeparator(line) {
				parts = append(parts, [2]int64{start, at})
				start = end
			}
			at = end
		}
		parts = append(parts, [2]int64{start, at})
		empty := func(part [2]int64) bool { return !hasContent(f.Data[part[0]:part[1]]) }
		if full := slices.DeleteFunc(slices.Clone(parts), empty); len(full) > 0 {
			parts = full
		} else {
			parts = [][2]int64{{0, at}}
		}
		for _, part := range parts {
			if !yield(f.part(part[0], part[1])) {
				return
			}
		}
	}
}

// isSeparator reports whether a line separates documents.
func isSeparator(line []byte) bool {
	return bytes.Equal(bytes.TrimRight(line, " \t\r\n"), []byte("---"))
}

// hasContent reports whether a YAML document is more than comments.
func hasContent(text []byte) bool {
	for line := range bytes.Lines(text) {
		if line = bytes.TrimSpace(line); len(line) > 0 && line[0] != '#' {
			return true
		}
	}
	return false
}

// part returns a part of a file.
func (f File) part(from, to int64) Document {
	return Document{File{Name: f.Name, Data: f.Data[from:to]}, bytes.Count(f.Data[:from], []byte("\n"))}
}
