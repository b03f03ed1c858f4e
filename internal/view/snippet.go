package view

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/width"
)

// maxSnippet is the most columns of a source line that are shown.
const maxSnippet = 100

// char is a character of a source line as it is shown, and its width in columns.
type char struct {
	text  string
	width int
}

// cost returns the share of maxSnippet that a character takes. A combining mark counts too, so that many
// of them are cut.
func (c char) cost() int { return max(c.width, 1) }

// snippet returns a source line as it is shown, and the line with a caret below the
// character at that column, counted from 1 in characters. Of a long line it shows the
// part around the caret. Tabs stay, in both lines, so that they are equally wide.
func snippet(line string, column int) (text, caret string) {
	before, after := near(line, column)
	chars := charsOf(before)
	at := len(chars)
	chars = append(chars, charsOf(after)...)
	first, last := window(chars, at)
	var shown, below strings.Builder
	if first > 0 {
		shown.WriteString("…")
		below.WriteString(" ")
	}
	for i, c := range chars[first:last] {
		shown.WriteString(c.text)
		switch {
		case first+i >= at:
		case c.text == "\t":
			below.WriteString("\t")
		default:
			below.WriteString(strings.Repeat(" ", c.width))
		}
	}
	if last < len(chars) {
		shown.WriteString("…")
	}
	return shown.String(), below.String() + "^"
}

// near returns what is before the place in a line and what is from there on, without the
// characters that are too far away to be shown: a line may be as long as a file.
func near(line string, column int) (before, after string) {
	at := 0
	for ; column > 1 && at < len(line); column-- {
		_, size := utf8.DecodeRuneInString(line[at:])
		at += size
	}
	start, end := at, at
	for range maxSnippet + 1 {
		_, size := utf8.DecodeLastRuneInString(line[:start])
		start -= size
		_, size = utf8.DecodeRuneInString(line[end:])
		end += size
	}
	return line[start:at], line[at:end]
}

func charsOf(line string) []char {
	var chars []char
	for len(line) > 0 {
		r, size := utf8.DecodeRuneInString(line)
		c := char{line[:size], runeWidth(r)}
		if escaped := Clean(c.text); r != '\t' && escaped != c.text {
			c = char{escaped, utf8.RuneCountInString(escaped)}
		}
		chars, line = append(chars, c), line[size:]
	}
	return chars
}

// window returns the part of a line that is shown: all of it or, if it is wider than
// maxSnippet, half as much before the place as is shown at most, and the rest after it.
func window(chars []char, at int) (first, last int) {
	whole := 0
	for _, c := range chars {
		whole += c.cost()
	}
	if whole <= maxSnippet {
		return 0, len(chars)
	}
	used := 0
	for first = at; first > 0 && used+chars[first-1].cost() <= maxSnippet/2; first-- {
		used += chars[first-1].cost()
	}
	for last = at; last < len(chars) && used+chars[last].cost() <= maxSnippet; last++ {
		used += chars[last].cost()
	}
	return first, last
}

// runeWidth returns how many columns of a terminal a character takes: two for East
// Asian wide ones (UAX #11), none for combining marks, which are drawn onto the
// character before them.
func runeWidth(r rune) int {
	switch {
	case unicode.In(r, unicode.Mn, unicode.Me):
		return 0
	case width.LookupRune(r).Kind() == width.EastAsianWide, width.LookupRune(r).Kind() == width.EastAsianFullwidth:
		return 2
	}
	return 1
}
