package spec

import (
	"fmt"
	"slices"
	"strings"
)

// didYouMean returns `: did you mean "stateful"?` for a word that resembles a known one,
// or nothing.
func didYouMean(word string, known []string) string {
	if guess := Closest(word, known); guess != "" {
		return fmt.Sprintf(": did you mean %q?", guess)
	}
	return ""
}

// Closest returns the one known word that begins with word, or the one at the smallest
// distance: at most two edits, or a third of its letters, but never all of them. It returns
// nothing if there is none.
func Closest(word string, known []string) string {
	word = strings.ToLower(word)
	longer := slices.DeleteFunc(slices.Clone(known), func(k string) bool { return !strings.HasPrefix(strings.ToLower(k), word) })
	if len(word) >= 3 && len(longer) == 1 {
		return longer[0]
	}
	guess, fewest := "", max(2, len(word)/3)+1
	for _, k := range known {
		if abs(len(k)-len(word)) >= fewest {
			continue
		}
		if edits := distance(word, strings.ToLower(k)); edits < fewest && edits < len(k) && edits < len(word) {
			guess, fewest = k, edits
		}
	}
	return guess
}

func abs(n int) int { return max(n, -n) }

// distance returns how many letters must be inserted, removed, replaced or exchanged
// with their neighbour (the optimal string alignment distance).
func distance(a, b string) int {
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
