package view

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"nfsync.dev/nfsync/internal/nf"
)

// The styles of text, as parameters of the escape sequence "select graphic
// rendition" (ECMA-48): colours of the terminal's own palette.
const (
	plain  = ""
	bold   = "1"
	dim    = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
	cyan   = "36"
)

// Prose is wrapped to the width of the terminal, or to defaultProse without one, and never
// wider than maxProse: long lines are hard to read.
const (
	defaultProse = 80
	maxProse     = 100
	minProse     = 40
)

// page collects text. Its methods take texts that are clean already, except hanging, which
// cleans them.
type page struct {
	buf bytes.Buffer
	opt Options
	// lines are lines of policies that the texts may name. Their paths are not broken between words.
	lines []nf.Source
}

// paint returns s in that style, or s itself if there is no colour.
func (p *page) paint(style, s string) string {
	if style == plain || s == "" || !p.opt.Color {
		return s
	}
	return "\x1b[" + style + "m" + s + "\x1b[0m"
}

// line writes its parts and a newline.
func (p *page) line(parts ...string) {
	for _, s := range parts {
		p.buf.WriteString(s)
	}
	p.buf.WriteByte('\n')
}

// proseWidth returns the width that prose is wrapped to.
func (p *page) proseWidth() int {
	if p.opt.Width <= 0 {
		return defaultProse
	}
	return max(min(p.opt.Width, maxProse), minProse)
}

// hanging writes a label that takes indent columns, and beside it a text,
// cleaned and wrapped.
func (p *page) hanging(indent int, label, text string) {
	for i, line := range wrap(p.unbroken(Clean(text)), p.proseWidth()-indent) {
		if i > 0 {
			label = strings.Repeat(" ", indent-2)
		}
		p.line(strings.TrimRight(label+"  "+withSpaces(line), " "))
	}
}

// noBreak stands for a space at which no line is broken. No clean text has it.
const noBreak = "\x00"

// unbroken returns a clean text with noBreak for the spaces in the paths of p.lines.
func (p *page) unbroken(text string) string {
	for _, s := range p.lines {
		if at := Clean(s.String()); strings.Contains(at, " ") {
			text = strings.ReplaceAll(text, at, strings.ReplaceAll(at, " ", noBreak))
		}
	}
	return text
}

func withSpaces(text string) string { return strings.ReplaceAll(text, noBreak, " ") }

// prose writes clean texts below that indent, wrapped, each in its style.
func (p *page) prose(indent int, c cell) {
	all, margin := c.plain(), strings.Repeat(" ", indent)
	lines := wrap(p.unbroken(all), p.proseWidth()-indent)
	if len(lines) == 1 {
		p.line(margin, p.spans(c))
		return
	}
	for _, line := range lines {
		line = withSpaces(line)
		start := len(all) - len(strings.TrimLeft(all, " "))
		c, all = c.from(start), all[start:]
		end := 0
		for words := len(strings.ReplaceAll(line, " ", "")); words > 0; end++ {
			if all[end] != ' ' {
				words--
			}
		}
		p.line(margin, p.spans(c.upTo(end)))
		c, all = c.from(end), all[end:]
	}
}

// maxCommand is the widest command line that others are aligned with.
const maxCommand = 50

// commands writes command lines that the reader may want to run next, each with its
// effect.
func (p *page) commands(lines [][2]string) {
	wide := 0
	for _, l := range lines {
		if n := utf8.RuneCountInString(Clean(l[0])); n <= maxCommand {
			wide = max(wide, n)
		}
	}
	for _, l := range lines {
		line := "  " + p.paint(cyan, Clean(l[0]))
		if l[1] != "" {
			line += strings.Repeat(" ", max(wide-utf8.RuneCountInString(Clean(l[0])), 0)+2) + p.paint(dim, l[1])
		}
		p.line(line)
	}
}

// wrap breaks a text between words. No line is wider than width unless a single word is.
func wrap(text string, width int) []string {
	var lines []string
	line, used := "", 0
	for word := range strings.FieldsSeq(text) {
		n := utf8.RuneCountInString(word)
		switch {
		case used == 0:
			line, used = word, n
		case used+1+n > width:
			lines = append(lines, line)
			line, used = word, n
		default:
			line, used = line+" "+word, used+1+n
		}
	}
	return append(lines, line)
}

// Clean escapes characters that a terminal would interpret instead of showing, bytes that are
// not UTF-8, and commands in a log. The result is one line.
func Clean(s string) string {
	if isClean(s) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < 0x80:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			fmt.Fprintf(&b, `\u{%x}`, r)
		}
		s = s[size:]
	}
	if clean := b.String(); !strings.Contains(clean, commandMark) {
		return clean
	}
	return string(noMarkedCommands([]byte(b.String()), `\x5b`))
}

// isClean reports whether a text is printable ASCII without the mark of a command: most are.
func isClean(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return !strings.Contains(s, commandMark)
}

// commandMark begins what GitHub and Azure take for a command wherever it is in a line of a log:
// ##[group], ##vso[task.complete].
const commandMark = "##"

var markedCommand = regexp.MustCompile(commandMark + `[a-zA-Z]*\[`)

// noMarkedCommands returns a text with these brackets escaped.
func noMarkedCommands(text []byte, bracket string) []byte {
	if !bytes.Contains(text, []byte(commandMark)) {
		return text
	}
	return markedCommand.ReplaceAllFunc(text, func(command []byte) []byte {
		return append(bytes.Clone(command[:len(command)-1]), bracket...)
	})
}

// noCommands returns a text that has no such command, and in which no line begins with ::, after
// spaces. GitHub takes such a line of a log for a command (::error::, ::add-mask::).
func noCommands(text []byte) []byte {
	text = noMarkedCommands(text, `\x5b`)
	if !bytes.Contains(text, []byte("::")) {
		return text
	}
	return lineCommand.ReplaceAll(text, []byte(`$1\x3a:`))
}

var lineCommand = regexp.MustCompile(`(?m)^((?:\x1b\[[0-9;]*m|[^\S\n])*)::`)

// cleanLines is Clean for a text of several lines.
func cleanLines(s string) string {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		lines[i] = Clean(line)
	}
	return strings.Join(lines, "\n")
}

// count returns "1 change", "3 changes".
func count(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

// countOf returns "3 pending": a count of a word that has no plural.
func countOf(n int, word string) string { return fmt.Sprintf("%d %s", n, word) }

// pad fills s up to that many columns.
func pad(s string, columns int) string {
	return s + strings.Repeat(" ", max(columns-utf8.RuneCountInString(s), 0))
}
