package view

import (
	"strings"
	"testing"
)

// The caret is below the character that the column counts, however wide those before
// it are. Widths are those of UAX #11.
func TestSnippet(t *testing.T) {
	long := strings.Repeat("a", 5000) + "X" + strings.Repeat("b", 5000)
	for _, test := range []struct {
		name, line  string
		column      int
		text, caret string
	}{
		{"plain", "levle: full", 1, "levle: full", "^"},
		{"indented", "    levle: full", 5, "    levle: full", "    ^"},
		{"a tab stays", "\tlevle: full", 2, "\tlevle: full", "\t^"},
		{"an accent", "é: x", 4, "é: x", "   ^"},
		{"a combining mark", "e\u0301: x", 5, "e\u0301: x", "   ^"},
		{"wide", "日本: x", 5, "日本: x", "      ^"},
		{"an emoji", "😀: x", 4, "😀: x", "    ^"},
		{"an invisible character", "a\u200bb", 3, `a\u{200b}b`, "         ^"},
		{"an escape sequence", "\x1b[2Jx", 5, `\x1b[2Jx`, "       ^"},
		{"not UTF-8", "a\xffb", 3, `a\xffb`, "     ^"},
		{"past the end", "a:", 9, "a:", "  ^"},
		{"column 0", "a:", 0, "a:", "^"},
		{"empty", "", 1, "", "^"},
		{"nearly long", strings.Repeat("a", 90) + "X", 91, strings.Repeat("a", 90) + "X", strings.Repeat(" ", 90) + "^"},
		{"long", long, 5001, "…" + strings.Repeat("a", 50) + "X" + strings.Repeat("b", 49) + "…", strings.Repeat(" ", 51) + "^"},
		{"the start of a long line", long, 1, strings.Repeat("a", 100) + "…", "^"},
		{"the end of a long line", long, 10002, "…" + strings.Repeat("b", 50), strings.Repeat(" ", 51) + "^"},
		{"far past the end of a long line", long, 1 << 30, "…" + strings.Repeat("b", 50), strings.Repeat(" ", 51) + "^"},
		{"a long line of wide characters", strings.Repeat("日", 10000), 5001, "…" + strings.Repeat("日", 50) + "…", strings.Repeat(" ", 51) + "^"},
		{"a long line of tabs", strings.Repeat("\t", 10000), 5001, "…" + strings.Repeat("\t", 100) + "…", " " + strings.Repeat("\t", 50) + "^"},
		{"many combining marks", "e" + strings.Repeat("\u0301", 10000) + "X", 10002, "…" + strings.Repeat("\u0301", 50) + "X", " ^"},
		{"a long line that is not UTF-8", strings.Repeat("\xff", 10000), 5001, "…" + strings.Repeat(`\xff`, 25) + "…", strings.Repeat(" ", 49) + "^"},
	} {
		text, caret := snippet(test.line, test.column)
		if text != test.text || caret != test.caret {
			t.Errorf("%s:\n got %q\n     %q\nwant %q\n     %q", test.name, text, caret, test.text, test.caret)
		}
	}
}
