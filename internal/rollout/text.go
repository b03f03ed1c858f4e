package rollout

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// some returns the first names of a list, and how many more there are.
func some(names []string) string {
	const most = 3
	if len(names) <= most {
		return join(names)
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

// join returns a list in words: a, b and c.
func join(names []string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " and " + names[last]
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

// short returns a revision for people.
func short(revision string) string {
	const most = 12
	if len(revision) > most {
		return revision[:most]
	}
	return revision
}

// shorten bounds a text that others have written.
func shorten(text string) string {
	if len(text) <= maxText {
		return text
	}
	end := maxText - len("…")
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…"
}
