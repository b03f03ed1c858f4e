package view

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// encodeJSON returns doc as JSON, indented with two spaces, with a newline at the end.
func encodeJSON(doc any) ([]byte, error) { return encodeIndented(&bytes.Buffer{}, doc, "") }

// encodeIndented is encodeJSON for a part of a document: each line but the first begins with
// that margin. The part is in the memory of the buffer.
func encodeIndented(buf *bytes.Buffer, doc any, margin string) ([]byte, error) {
	buf.Reset()
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent(margin, "  ")
	if err := enc.Encode(doc); err != nil {
		return nil, fmt.Errorf("cannot encode as JSON: %w", err)
	}
	return noMarkedCommands(escapeUnprintable(buf.Bytes(), utf16Escape), `\u005b`), nil
}

// utf16Escape appends the escape of r in a JSON string: two of them for a character beyond
// the basic plane.
func utf16Escape(dst []byte, r rune) []byte {
	if r1, r2 := utf16.EncodeRune(r); r1 != utf8.RuneError {
		return fmt.Appendf(dst, `\u%04x\u%04x`, r1, r2)
	}
	return fmt.Appendf(dst, `\u%04x`, r)
}

// escapeUnprintable escapes every character that a terminal would interpret instead of
// showing: C1 controls, bidirectional overrides, zero-width and private ones. In JSON they
// occur in strings only, in YAML in double-quoted scalars only, so that an escape never
// changes the value.
func escapeUnprintable(doc []byte, escape func([]byte, rune) []byte) []byte {
	if isPrintableASCII(doc) || !bytes.ContainsFunc(doc, unprintable) {
		return doc
	}
	out := make([]byte, 0, len(doc))
	for _, r := range string(doc) {
		if unprintable(r) {
			out = escape(out, r)
		} else {
			out = utf8.AppendRune(out, r)
		}
	}
	return out
}

// isPrintableASCII reports whether a document has no other characters: most are so.
func isPrintableASCII(doc []byte) bool {
	for _, b := range doc {
		if (b < ' ' || b > '~') && b != '\n' {
			return false
		}
	}
	return true
}

// unprintable reports whether a character has no glyph. Newline and space are printable.
func unprintable(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }
