package spec

import (
	"bytes"
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
	line, column := 1, 1
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRune(text[i:])
		if message := wrongCharacter(r, size, text[i+size:]); message != "" {
			found.add(RuleEncoding, line, column, message, "save the file as plain UTF-8 text")
			return nil, false
		}
		i += size
		column++
		if r == '\n' {
			line, column = line+1, 1
		}
	}
	return text, true
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
