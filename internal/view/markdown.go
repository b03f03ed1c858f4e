package view

import (
	"cmp"
	"fmt"
	"html"
	"regexp"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// FormatMarkdown is a comment on a merge request of GitHub or GitLab.
const FormatMarkdown = "markdown"

// The bounds of a comment. GitHub takes fewer than 65,536 characters; the difference is for
// what a CI job adds.
const (
	maxMarkdown = 65000
	// markdownFrame is the most that the frame of a chapter takes, and the note at the end.
	markdownFrame = 400
	// maxMarkdownText is the most of one text, in characters.
	maxMarkdownText = 600
)

// markdown collects a comment.
type markdown struct {
	strings.Builder
	length  int // in UTF-16 units, of which no character has fewer than one
	reserve int // for what has to follow
}

func (m *markdown) add(text string) {
	m.WriteString(text)
	m.length += utf16Length(text)
}

// addIfFits adds a text if there is room for it, and reports whether there was.
func (m *markdown) addIfFits(text string) bool {
	if m.length+utf16Length(text)+m.reserve > maxMarkdown {
		return false
	}
	m.add(text)
	return true
}

func utf16Length(s string) int {
	n := 0
	for _, r := range s {
		n += utf16.RuneLen(r)
	}
	return n
}

// markdownFormat is the format of a kind that has an outline, and is mostly printed by this command.
func markdownFormat[T any](of func(T, Options) outline, command string) format[T] {
	return format[T]{name: FormatMarkdown, encode: func(doc T, opt Options) ([]byte, error) {
		return encodeMarkdown(of(doc, opt), cmp.Or(opt.Command, command)), nil
	}}
}

// encodeMarkdown returns an outline as a comment. Its first line has the name of the command: by
// it a CI job finds the comment that it has made before. What does not fit is counted.
func encodeMarkdown(o outline, command string) []byte {
	m := &markdown{reserve: (len(o.chapters) + 1) * markdownFrame}
	m.add("<!-- nfsync " + command + " -->\n## " + markdownText(o.title.plain()) + "\n")
	for _, line := range slices.Concat(o.intro, o.summary) {
		m.add("\n" + markdownSpans(line) + "\n")
	}
	total, left := 0, 0
	for _, c := range o.chapters {
		total += c.count()
		left += m.chapter(c)
	}
	if left > 0 {
		m.add(fmt.Sprintf("\n**%d of %d entries are not shown**, because a comment cannot be longer. The other formats have all of them.\n", left, total))
	}
	return []byte(m.String())
}

// chapter adds a chapter, folded unless it is urgent, and returns how many of its entries do
// not fit.
func (m *markdown) chapter(c chapter) (left int) {
	attribute := ""
	if c.urgent() {
		attribute = " open"
	}
	total := c.count()
	m.add(fmt.Sprintf("\n<details%s><summary><b>%s</b> (%d)</summary>\n", attribute, html.EscapeString(cmp.Or(c.title, "Entries")), total))
	if left = total - m.groups(c.groups) - m.remarks(c.remarks); left > 0 {
		m.add(fmt.Sprintf("\n%d of these %d are not shown.\n", left, total))
	}
	m.add("\n</details>\n")
	m.reserve -= markdownFrame
	return left
}

// groups adds the entries of groups, and returns for how many elements of the document they stand.
func (m *markdown) groups(groups []group) (shown int) {
	for _, g := range groups {
		text := "\n**" + markdownCode(placeList(g.places)) + "**\n\n"
		for i := range g.entries {
			if text += markdownEntry(g, i); !m.addIfFits(text) {
				return shown
			}
			text = ""
			shown += len(g.places)
		}
	}
	return shown
}

// remarks adds remarks, and returns for how many elements of the document they stand.
func (m *markdown) remarks(remarks []remark) (shown int) {
	for i, r := range remarks {
		text := "- **" + markdownText(r.label) + "**: " + markdownText(r.text) + "\n"
		if i == 0 {
			text = "\n" + text
		}
		if r.snippet != "" {
			text += "  - " + markdownCode(strings.TrimSpace(r.snippet)) + "\n"
		}
		if r.hint != "" {
			text += "  - hint: " + markdownText(r.hint) + "\n"
		}
		if !m.addIfFits(text) {
			return shown
		}
		shown += r.count
	}
	return shown
}

// markdownEntry returns the i-th entry of a group as an item of a list, with its notes below it.
func markdownEntry(g group, i int) string {
	e := g.entries[i]
	var b strings.Builder
	b.WriteString("- " + markdownCode(e.cells[columnGlyph].plain()) + " " + markdownValue(e.cells[columnKey]))
	if from := markdownValue(e.cells[columnFrom]); from != "" {
		b.WriteString(" " + from + " " + e.cells[columnArrow].plain())
	}
	b.WriteString(" " + markdownValue(e.cells[columnTo]))
	for j, c := range e.cells[columnTo+1:] {
		switch j += columnTo + 1; {
		case c.width() == 0:
		case j == e.by:
			b.WriteString(" · " + markdownCode(c.plain()))
		default:
			b.WriteString(" · " + markdownSpans(c))
		}
	}
	b.WriteString("\n")
	if e.differ {
		b.WriteString("  - not all for the same reason; that of " + markdownCode(placeList(g.places[:1])) + " is:\n")
	}
	for _, n := range g.notes(i) {
		b.WriteString("  - " + n.label + ": " + markdownText(n.text) + "\n")
	}
	return b.String()
}

// markdownValue returns a key or a value as code, and what is said of it as text.
func markdownValue(c cell) string {
	if c.width() == 0 {
		return ""
	}
	return markdownCode(c[0].text) + markdownSpans(c[1:])
}

// markdownSpans returns texts of ours, in which names may be; what has a colour in text is bold.
func markdownSpans(c cell) string {
	var b strings.Builder
	for _, s := range c {
		trimmed := strings.TrimSpace(s.text)
		if trimmed == "" {
			b.WriteString(s.text)
			continue
		}
		before, after, _ := strings.Cut(s.text, trimmed)
		text := markdownText(trimmed)
		if s.style != plain && s.style != dim {
			text = "**" + text + "**"
		}
		b.WriteString(before + text + after)
	}
	return b.String()
}

// plainWord matches a word that Markdown shows as it is, and of which neither GitHub nor GitLab
// makes a link, a mention, a reference or an emoji.
var plainWord = regexp.MustCompile(`^(?:[A-Za-z]+(?:['-][A-Za-z]+)*|[0-9]{1,9}|…)?$`)

// The marks around a word that Markdown shows as they are.
const (
	opening = `(["`
	closing = `)]",.;:?`
)

// markdownText returns a text as markdownProse does, and cuts one that is too long for a comment.
func markdownText(s string) string { return markdownProse(clip(Clean(s))) }

// markdownProse returns a text in which every word that is not plain is code, without the marks
// around it. A part in brackets that is not prose is one word: {name: web}, names[0].
func markdownProse(s string) string {
	var b strings.Builder
	var code []string // words that are not plain, one after the other
	flush := func() {
		b.WriteString(markdownCode(strings.Join(code, " ")))
		code = nil
	}
	for _, word := range markdownWords(s) {
		before, bare, after := trimMarks(word)
		isCode := !plainWord.MatchString(bare)
		if !isCode || before != "" {
			flush()
		}
		if b.Len() > 0 && code == nil {
			b.WriteByte(' ')
		}
		switch {
		case !isCode:
			b.WriteString(word)
		case after == "":
			b.WriteString(before)
			code = append(code, bare)
		default:
			b.WriteString(before)
			code = append(code, bare)
			flush()
			b.WriteString(after)
		}
	}
	flush()
	return b.String()
}

// markdownWords returns the words of a text. What begins with a brace is one word with all up to the
// brace that ends it, and so is the key before it: metadata: {name: web}.
func markdownWords(s string) []string {
	var words []string
	fields := strings.Fields(s)
	for i := 0; i < len(fields); {
		first := i
		if strings.HasSuffix(fields[i], ":") && i+1 < len(fields) && strings.HasPrefix(fields[i+1], "{") {
			i++
		}
		end, depth := i, 0
		for ; end < len(fields); end++ {
			if depth += strings.Count(fields[end], "{") - strings.Count(fields[end], "}"); depth <= 0 {
				break
			}
		}
		if end == len(fields) { // nothing ends it
			first, end = i, i
		}
		words = append(words, strings.Join(fields[first:end+1], " "))
		i = end + 1
	}
	return words
}

// trimMarks returns a word without the marks around it, and these. Marks that are a pair within the
// word are a part of it.
func trimMarks(word string) (before, bare, after string) {
	bare = word
	for bare != "" && strings.IndexByte(opening, bare[0]) >= 0 {
		if end := pairOf(bare); end > 0 && strings.Trim(bare[end:], closing) != "" {
			break
		}
		bare = bare[1:]
	}
	before = word[:len(word)-len(bare)]
	for bare != "" && strings.IndexByte(closing, bare[len(bare)-1]) >= 0 && !closesPair(bare) {
		bare = bare[:len(bare)-1]
	}
	return before, bare, word[len(before)+len(bare):]
}

// pairs are the marks that are in pairs.
var pairs = map[byte]byte{'(': ')', '[': ']', '"': '"'}

// pairOf returns where the mark is that makes a pair with the first one of a text, or -1.
func pairOf(text string) int {
	opens, closes := text[0], pairs[text[0]]
	depth := 1
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case closes:
			depth--
		case opens:
			depth++
		}
		if depth == 0 {
			return i
		}
	}
	return -1
}

// closesPair reports whether the last byte of a text is a mark that makes a pair with one in it.
func closesPair(text string) bool {
	last := text[len(text)-1:]
	switch last {
	case ")":
		return strings.Count(text, "(") >= strings.Count(text, last)
	case "]":
		return strings.Count(text, "[") >= strings.Count(text, last)
	case `"`:
		return strings.Count(text, last)%2 == 0
	}
	return false
}

// markdownCode returns a text as a code span, in which nothing has a meaning. Its fence is longer
// than every fence in the text.
func markdownCode(s string) string {
	if s = clip(Clean(s)); s == "" {
		return ""
	}
	fence := "`"
	for strings.Contains(s, fence) {
		fence += "`"
	}
	if strings.HasPrefix(s, "`") || strings.HasSuffix(s, "`") || strings.HasPrefix(s, " ") && strings.HasSuffix(s, " ") {
		s = " " + s + " "
	}
	return fence + s + fence
}

// clip cuts a text that is longer than a comment has room for.
func clip(s string) string {
	if utf8.RuneCountInString(s) <= maxMarkdownText {
		return s
	}
	return string([]rune(s)[:maxMarkdownText-1]) + "…"
}
