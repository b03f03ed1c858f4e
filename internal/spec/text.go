package spec

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"unicode/utf8"
)

var byteOrderMark = []byte("\uFEFF")

// checkText is the guard before every parser. It reports a file that is too large or not
// UTF-8, and characters that YAML forbids or that readers interpret differently. The
// text is returned without its byte order mark.
func checkText(data []byte, limit int, found *diagnostics) (text []byte, ok bool) {
	if len(data) > limit {
		found.add(RuleTooLarge, 1, 1, tooLarge(limit), "split it into several files")
		return nil, false
	}
	text = bytes.TrimPrefix(data, byteOrderMark)
	c := newCursor(text)
	for c.offset < len(text) {
		if plain := plainLength(text[c.offset:]); plain > 0 {
			c.moveTo(c.offset + plain)
			continue
		}
		line, column := c.line, c.column
		r, size := c.next()
		if message := wrongCharacter(r, size, text[c.offset:]); message != "" {
			found.add(RuleEncoding, line, column, message, "save the file as plain UTF-8 text")
			return nil, false
		}
	}
	return text, true
}

// plainLength returns the number of bytes, from the first on, that are printable ASCII characters
// or end lines.
func plainLength(text []byte) int {
	start := 0
	for len(text)-start >= 8 && arePlain(binary.LittleEndian.Uint64(text[start:])) {
		start += 8
	}
	for i := start; i < len(text); i++ {
		b := text[i]
		if b != '\n' && (b < ' ' || b > '~') {
			return i
		}
	}
	return len(text)
}

// arePlain reports whether eight bytes, which are those of a number, are printable ASCII
// characters or end lines. It may be false where they are.
func arePlain(eight uint64) bool {
	const each, high = 0x0101010101010101, 0x8080808080808080
	newlines := eight ^ '\n'*each // 0 in the place of a newline
	isNewline := ^(((newlines &^ high) + 0x7f*each) | newlines) & high
	above := (eight &^ high) + (0x80-' ')*each // its high bit is set from the space on
	belowDelete := (eight &^ high) + each      // its high bit is set for 0x7f
	return (eight|^(above|isNewline)|belowDelete)&high == 0
}

// wrongCharacter returns why r is not allowed, or nothing. In YAML 1.1 a carriage return
// alone, U+0085, U+2028 and U+2029 end a line; editors and reviews do not show that, so
// that what a person reads as a comment could be a key.
func wrongCharacter(r rune, size int, next []byte) string {
	switch {
	case r == utf8.RuneError && size == 1:
		return "the text is not UTF-8 from here on"
	case r == '\t', r == '\n', r >= ' ' && r <= '~':
		return ""
	case r == '\r' && len(next) > 0 && next[0] == '\n':
		return ""
	case r == '\r', r == 0x85, r == 0x2028, r == 0x2029:
		return fmt.Sprintf("the character %U ends a line for YAML, but not for people", r)
	case r == 0xFEFF:
		return "a byte order mark is allowed at the start of a file only"
	case r < 0xA0, r == 0xFFFE, r == 0xFFFF:
		return fmt.Sprintf("the character %U is not allowed in a text", r)
	}
	return ""
}

// extent is where a text ends: its last line, and the last character there.
type extent struct{ line, column int }

func extentOf(text []byte) extent {
	text = bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte("\r"))
	last := text[bytes.LastIndexByte(text, '\n')+1:]
	return extent{bytes.Count(text, []byte("\n")) + 1, max(utf8.RuneCount(last), 1)}
}

// clamp moves a place behind the last line, where YAML reports what is missing, to the
// last character.
func (e extent) clamp(line, column int) (int, int) {
	if line > e.line {
		return e.line, e.column
	}
	return line, column
}

// cursor walks through a text, and knows the line and the column of its offset.
type cursor struct {
	text         []byte
	offset       int
	line, column int
}

func newCursor(text []byte) cursor { return cursor{text: text, line: 1, column: 1} }

// next returns the character at the offset and its size, and moves behind it.
func (c *cursor) next() (r rune, size int) {
	r, size = utf8.DecodeRune(c.text[c.offset:])
	c.offset += size
	c.column++
	if r == '\n' {
		c.line, c.column = c.line+1, 1
	}
	return r, size
}

// moveTo moves to an offset behind the present one.
func (c *cursor) moveTo(offset int) {
	offset = min(offset, len(c.text))
	if offset <= c.offset {
		return
	}
	passed := c.text[c.offset:offset]
	c.offset = offset
	if lines := bytes.Count(passed, []byte("\n")); lines > 0 {
		c.line, c.column = c.line+lines, 1
		passed = passed[bytes.LastIndexByte(passed, '\n')+1:]
	}
	c.column += utf8.RuneCount(passed)
}

// at returns the character at a place, or what follows where the line is shorter. A walk in
// the order of the text reads the text once.
func (c *cursor) at(line, column int) rune {
	if line < c.line || line == c.line && column < c.column {
		*c = newCursor(c.text)
	}
	for c.offset < len(c.text) && (c.line < line || c.line == line && c.column < column) {
		c.next()
	}
	r, _ := utf8.DecodeRune(c.text[c.offset:])
	return r
}
