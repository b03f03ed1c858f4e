// Package manual writes manual pages, as groff_man(7) has them, from texts that nfsync has
// anyway: the help of its programs, and the descriptions in its schemas.
//
// The generator of cobra takes its texts for Markdown, which those of nfsync's help are not, and
// there is none for schemas: what both need of roff is small.
package manual

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Page is the source of a manual page that is being written.
type Page struct {
	name    string
	section int
	begun   bool // a section, which has no text yet
	buf     strings.Builder
}

// Edition says which nfsync a page is of. A page without a date shows none.
type Edition struct {
	Version string
	Date    time.Time
}

// New begins a page.
func New(name string, section int, of Edition) *Page {
	p := &Page{name: name, section: section}
	date := ""
	if !of.Date.IsZero() {
		date = of.Date.UTC().Format(time.DateOnly)
	}
	p.buf.WriteString(".\\\" nfsync man has made this page.\n")
	// A date with escapes is none to mandoc(1).
	p.line(fmt.Sprintf(`.TH "%s" "%d" "%s" "%s" ""`, inline(strings.ToUpper(name)), section, date, inline("nfsync "+of.Version)))
	p.line(".nh") // no word is hyphenated: most would be typed
	p.line(".ad l")
	return p
}

// Name returns the name of the page's file.
func (p *Page) Name() string { return fmt.Sprintf("%s.%d", p.name, p.section) }

// Section returns the section of the manual that the page is in.
func (p *Page) Section() int { return p.section }

// String returns the page.
func (p *Page) String() string { return p.buf.String() }

// Title writes the section NAME: the page's name, and what it is about.
func (p *Page) Title(about string) {
	p.Heading("NAME")
	first, size := utf8.DecodeRuneInString(about)
	p.line(escaped(p.name) + ` \- ` + escaped(string(unicode.ToLower(first))+about[size:]))
}

// Heading begins a section.
func (p *Page) Heading(title string) {
	p.macro("SH", title)
	p.begun = true
}

// Text writes a text as the help has it. Empty lines are between its paragraphs. Lines that begin
// with two spaces are a list of words with texts, or, if they begin with a tab, are to be typed.
func (p *Page) Text(text string) {
	for part := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
		p.part(strings.Split(strings.Trim(part, "\n"), "\n"))
	}
}

// part writes one paragraph. A list may come after its first lines.
func (p *Page) part(lines []string) {
	prose := 0
	for prose < len(lines) && !strings.HasPrefix(lines[prose], "  ") && !strings.HasPrefix(lines[prose], "\t") {
		prose++
	}
	if prose > 0 {
		p.paragraph(strings.TrimLeft(strings.Join(lines[:prose], "\n"), "# "))
	}
	if list := lines[prose:]; len(list) > 0 {
		p.Literal(strings.Join(list, "\n"))
	}
}

// paragraph writes a paragraph, whose lines the reader's terminal breaks.
func (p *Page) paragraph(text string) {
	p.space()
	p.prose(text)
}

// prose writes a text, a line for each sentence.
func (p *Page) prose(text string) {
	text = strings.Join(strings.Fields(text), " ")
	for _, sentence := range strings.SplitAfter(text, ". ") {
		if sentence = strings.TrimSpace(sentence); sentence != "" {
			p.line(escaped(sentence))
		}
	}
}

// Literal writes lines that are to be typed, or looked at, as they are. What they all are
// indented by is left out.
func (p *Page) Literal(text string) {
	p.space()
	p.line(".RS 4")
	p.line(".nf")
	for _, line := range strings.Split(dedented(text), "\n") {
		p.line(escaped(line))
	}
	p.line(".fi")
	p.line(".RE")
}

// dedented returns lines without the white space that all of them begin with.
func dedented(text string) string {
	lines := strings.Split(strings.Trim(text, "\n"), "\n")
	margin := -1
	for _, l := range lines {
		if indent := len(l) - len(strings.TrimLeft(l, " \t")); l != "" && (margin < 0 || indent < margin) {
			margin = indent
		}
	}
	for i, l := range lines {
		if l != "" {
			lines[i] = l[margin:]
		}
	}
	return strings.Join(lines, "\n")
}

// Item writes a tag, and below it one or more paragraphs.
func (p *Page) Item(tag Tag, paragraphs ...string) {
	p.begun = false
	p.line(".TP")
	p.line(tag.roff())
	first := true
	for _, text := range paragraphs {
		if strings.TrimSpace(text) == "" {
			continue
		}
		if !first {
			p.line(".IP")
		}
		p.prose(text)
		first = false
	}
}

// Tag is what an item is about: words in bold, which are typed as they are, and behind them
// others, which stand for something. Section is that of a page whose name is in bold.
type Tag struct {
	Bold, Italic string
	Section      int
}

func (t Tag) roff() string {
	var parts []string
	if t.Bold != "" {
		parts = append(parts, `\fB`+inline(t.Bold)+`\fR`)
	}
	if t.Italic != "" {
		parts = append(parts, `\fI`+inline(t.Italic)+`\fR`)
	}
	text := strings.Join(parts, " ")
	if t.Section > 0 {
		text += fmt.Sprintf("(%d)", t.Section)
	}
	return text
}

// Synopsis writes a command line: the words of its command in bold, those in capitals, which stand
// for something, in italics.
func (p *Page) Synopsis(command, rest string) {
	line := `\fB` + inline(command) + `\fR`
	for word := range strings.FieldsSeq(rest) {
		line += " " + synopsisWord(word)
	}
	p.space()
	p.line(line)
}

func synopsisWord(word string) string {
	var b strings.Builder
	for _, part := range splitCapitals(word) {
		if isCapitals(part) {
			b.WriteString(`\fI` + part + `\fR`)
		} else {
			b.WriteString(inline(part))
		}
	}
	return b.String()
}

// splitCapitals splits a word where letters begin or end.
func splitCapitals(word string) (parts []string) {
	start := 0
	for i := 1; i <= len(word); i++ {
		if i == len(word) || isLetter(word[i]) != isLetter(word[i-1]) {
			parts = append(parts, word[start:i])
			start = i
		}
	}
	return parts
}

func isLetter(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }

func isCapitals(word string) bool {
	return len(word) > 1 && word == strings.ToUpper(word) && isLetter(word[0])
}

// SeeAlso writes the references to other pages.
func (p *Page) SeeAlso(pages ...string) {
	p.Heading("SEE ALSO")
	for i, page := range pages {
		comma := ","
		if i == len(pages)-1 {
			comma = ""
		}
		name, section, _ := strings.Cut(page, "(")
		p.line(`\fB` + inline(name) + `\fR(` + section + comma)
	}
}

// space begins a paragraph. The first one of a section needs no space above it.
func (p *Page) space() {
	if !p.begun {
		p.line(".PP")
	}
	p.begun = false
}

func (p *Page) line(text string) { p.buf.WriteString(text + "\n") }

// macro writes a request with arguments.
func (p *Page) macro(name string, arguments ...string) {
	line := "." + name
	for _, a := range arguments {
		line += ` "` + inline(a) + `"`
	}
	p.line(line)
}

// escaped returns a line of text that roff prints as it is.
func escaped(text string) string {
	text = inline(text)
	if strings.HasPrefix(text, ".") || strings.HasPrefix(text, "'") {
		return `\&` + text
	}
	return text
}

// glyphs are the characters that roff would take for something else, or replace by another one
// that looks alike.
var glyphs = strings.NewReplacer(`\`, `\e`, `-`, `\-`, `"`, `\(dq`, `'`, `\(aq`, "`", `\(ga`, `^`, `\(ha`, `~`, `\(ti`)

// inline returns text for within a line.
func inline(text string) string {
	var b strings.Builder
	for _, r := range glyphs.Replace(text) {
		switch {
		case r == '\t':
			b.WriteString("    ")
		case r > unicode.MaxASCII:
			fmt.Fprintf(&b, `\[u%04X]`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
