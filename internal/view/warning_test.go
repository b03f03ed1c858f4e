package view

import (
	"fmt"
	"strings"
	"testing"

	"nfsync.dev/nfsync/internal/nf"
)

// TestFoldWarnings: warnings that differ only in numbers are one, with the text of the first place.
// Those of other keys, of other lines, or with other names in their texts are not alike.
func TestFoldWarnings(t *testing.T) {
	warning := func(n int, text string) nf.Warning {
		return nf.Warning{Code: nf.WarnLeftoverEntries, Target: foldedTarget(n), Key: nf.KeyLevel, Message: text}
	}
	for _, c := range []struct {
		name string
		of   func(n int) nf.Warning
		want string // the texts
	}{
		{"the same", func(n int) nf.Warning { return warning(n, "3 are left") },
			"containers netns/web-0001 … web-0004 (4), level: 3 are left"},
		{"other counts", func(n int) nf.Warning { return warning(n, fmt.Sprintf("%d are left (%d rules)", n, n)) },
			"containers netns/web-0001 … web-0004 (4), level: not all with the same numbers; that of container netns/web-0001 is: 1 are left (1 rules)"},
		{"other names", func(n int) nf.Warning { return warning(n, fmt.Sprintf("x%d is left", n%2)) }, `
container netns/web-0004, level: x0 is left
container netns/web-0003, level: x1 is left
container netns/web-0002, level: x0 is left
container netns/web-0001, level: x1 is left`},
		{"other lines", func(n int) nf.Warning {
			w, source := warning(n, "3 are left"), webPolicy(n)
			w.Source = &source
			return w
		}, `
container netns/web-0004, level: 3 are left (web policies/web.yaml:4:24)
container netns/web-0003, level: 3 are left (web policies/web.yaml:3:24)
container netns/web-0002, level: 3 are left (web policies/web.yaml:2:24)
container netns/web-0001, level: 3 are left (web policies/web.yaml:1:24)`},
	} {
		var list []nf.Warning
		for n := 4; n > 0; n-- {
			list = append(list, c.of(n))
		}
		var texts []string
		for _, r := range warningChapter(foldAbove, ofOne(list)).remarks {
			texts = append(texts, r.text)
		}
		if got := strings.Join(texts, "\n"); got != strings.TrimSpace(c.want) {
			t.Errorf("%s: got\n%s\nwant\n%s", c.name, got, c.want)
		}
	}
}
