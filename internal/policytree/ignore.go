package policytree

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// IgnoreFile is the file at the policy path that names what is not read, in the patterns of
// gitignore(5).
const IgnoreFile = ".nfsyncignore"

const maxIgnoreFile = 64 << 10

// readIgnoreFile reads the patterns of the ignore file. Without them what is not to be read
// cannot be distinguished from the rest: an error ends the walk.
func (w *walk) readIgnoreFile(entries []Entry) error {
	i := slices.IndexFunc(entries, func(e Entry) bool { return e.Path == IgnoreFile })
	if i < 0 {
		return nil
	}
	rule, message := RuleForbiddenFile, "not a regular file"
	switch entries[i].Kind {
	case File:
		data, err := w.tree.Read(entries[i], maxIgnoreFile)
		if err != nil && !errors.Is(err, ErrTooLarge) {
			return err
		}
		if rule, message = ignoreFileProblem(data, err != nil); message == "" {
			w.ignored = parsePatterns(strings.TrimPrefix(string(data), "\uFEFF"))
			return nil
		}
	case Link:
		message = "a symbolic link is not allowed here"
	}
	return cmp.Or(w.problem(IgnoreFile, rule, message, "write a text file with the patterns of gitignore"), errStop)
}

// ignoreFileProblem returns what is wrong with the text of an ignore file, or nothing.
func ignoreFileProblem(data []byte, tooLarge bool) (rule, message string) {
	switch {
	case tooLarge:
		return RuleTooLarge, fmt.Sprintf("the file is larger than %d KiB", maxIgnoreFile>>10)
	case !utf8.Valid(data):
		return RuleEncoding, "the text is not UTF-8"
	}
	return "", ""
}

// patterns are the lines of an ignore file. The last one that matches a path decides.
//
// The package gitignore of go-git differs from git where a pattern has [!a], **, or a negated
// one follows (see TestPatterns, which asks git).
type patterns []pattern

type pattern struct {
	negated  bool
	dirOnly  bool
	anchored bool // it matches the whole path, not the name alone
	literal  string
	glob     *regexp.Regexp // nil: the literal
}

func parsePatterns(text string) patterns {
	var list patterns
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
		if p, ok := parsePattern(line); ok {
			list = append(list, p)
		}
	}
	return list
}

// match reports whether a path is ignored. Those above it are not.
func (list patterns) match(path string, isDir bool) bool {
	name := path[strings.LastIndexByte(path, '/')+1:]
	for _, p := range slices.Backward(list) {
		subject := name
		if p.anchored {
			subject = path
		}
		if (isDir || !p.dirOnly) && p.matches(subject) {
			return !p.negated
		}
	}
	return false
}

func (p *pattern) matches(subject string) bool {
	if p.glob == nil {
		return subject == p.literal
	}
	return p.glob.MatchString(subject)
}

// parsePattern reads one line. It is not ok if the line holds no pattern, or one that matches
// nothing.
func parsePattern(line string) (p pattern, ok bool) {
	line = trimSpaces(line)
	if line == "" || line[0] == '#' {
		return p, false
	}
	line, p.negated = strings.CutPrefix(line, "!")
	line, p.dirOnly = strings.CutSuffix(line, "/")
	p.anchored = strings.Contains(line, "/")
	line = strings.TrimPrefix(line, "/")
	if line == "" {
		return p, false
	}
	if !strings.ContainsAny(line, `*?[\`) {
		p.literal = line
		return p, true
	}
	expression, ok := globExpression(line)
	if !ok {
		return p, false
	}
	var err error
	p.glob, err = regexp.Compile(`(?s)\A` + expression + `\z`)
	return p, err == nil
}

// trimSpaces removes the spaces at the end of a line, but for one after a backslash.
func trimSpaces(line string) string {
	trimmed := strings.TrimRight(line, " ")
	backslashes := len(trimmed) - len(strings.TrimRight(trimmed, `\`))
	if len(trimmed) < len(line) && backslashes%2 == 1 {
		trimmed += " "
	}
	return trimmed
}

// globExpression returns a glob of gitignore(5) as a regular expression.
func globExpression(glob string) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(glob); {
		rest := glob[i:]
		starts := i == 0 || glob[i-1] == '/'
		stars := len(rest) - len(strings.TrimLeft(rest, "*"))
		switch after := rest[stars:]; {
		case starts && stars > 1 && strings.HasPrefix(after, "/"):
			b.WriteString(`(?:.*/)?`)
			i += stars + 1
		case i > 0 && starts && stars > 1 && after == "":
			b.WriteString(`.+`)
			i += stars
		case stars > 0:
			b.WriteString(`[^/]*`)
			i += stars
		case rest[0] == '?':
			b.WriteString(`[^/]`)
			i++
		case rest[0] == '[':
			class, size := classExpression(rest)
			if size == 0 {
				return "", false
			}
			b.WriteString(class)
			i += size
		case rest[0] == '\\':
			if len(rest) == 1 {
				return "", false
			}
			_, size := utf8.DecodeRuneInString(rest[1:])
			b.WriteString(regexp.QuoteMeta(rest[1 : 1+size]))
			i += 1 + size
		default:
			_, size := utf8.DecodeRuneInString(rest)
			b.WriteString(regexp.QuoteMeta(rest[:size]))
			i += size
		}
	}
	return b.String(), true
}

// classExpression returns the bracket expression at the start of a glob as a regular
// expression, and its size in the glob; 0 if it has no end. Like git's it never matches a
// slash.
func classExpression(glob string) (string, int) {
	var b strings.Builder
	b.WriteByte('[')
	i := 1
	negated := i < len(glob) && (glob[i] == '!' || glob[i] == '^')
	if negated {
		b.WriteString("^/")
		i++
	}
	for first := true; i < len(glob); first = false {
		rest := glob[i:]
		switch {
		case rest[0] == ']' && !first:
			b.WriteByte(']')
			return b.String(), i + 1
		case strings.HasPrefix(rest, "[:") && strings.Contains(rest, ":]"):
			end := strings.Index(rest, ":]") + 2
			b.WriteString(rest[:end]) // Go has the classes of POSIX
			i += end
			continue
		case rest[0] == '-' && !first && len(rest) > 1 && rest[1] != ']':
			b.WriteByte('-')
			i++
			continue
		case rest[0] == '\\' && len(rest) > 1:
			i++
		}
		r, size := utf8.DecodeRuneInString(glob[i:])
		if r == '/' {
			i++
			continue
		}
		if r < utf8.RuneSelf {
			fmt.Fprintf(&b, `\x%02x`, r)
		} else {
			b.WriteRune(r)
		}
		i += size
	}
	return "", 0
}
