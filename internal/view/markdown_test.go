package view

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode/utf16"

	"nfsync.dev/nfsync/internal/nf"
)

func asMarkdown[T any](t *testing.T, kind Kind[T], doc T) string {
	t.Helper()
	var b strings.Builder
	if err := kind.Write(&b, FormatMarkdown, doc, Options{}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestMarkdownText: words are shown as they are, and whatever could be a link, a mention, a
// reference, an emoji or HTML is code.
func TestMarkdownText(t *testing.T) {
	for in, want := range map[string]string{
		"the rules use more, see table nat": "the rules use more, see table nat",
		"set spec.priority, or nf_tables":   "set `spec.priority`, or `nf_tables`",
		"ask @admin about #12 and !7":       "ask `@admin` about `#12` and `!7`",
		"https://evil.example www.x.y GH-7": "`https://evil.example www.x.y GH-7`",
		"a :tada: <b>x</b> [x](y) ![i](j)":  "a `:tada`: `<b>x</b> [x](y) ![i](j)`",
		"_x_ *y* ~~z~~ | a|b \\ & &amp;":    "`_x_ *y* ~~z~~ | a|b \\ & &amp`;",
		"one `two` ``three``":               "one ``` `two` ``three`` ```",
		"(of 1..5) \"quoted\" (2 rules)":    "(of `1..5`) \"quoted\" (2 rules)",
		"a\nb\x1b[2J\u202e":                 "`a\\nb\\x1b[2J\\u{202e}`",
		"":                                  "",
		// A code span has both of a pair of brackets.
		"spec.containers.names[0] is used":          "`spec.containers.names[0]` is used",
		"(see names[0], or f_x(y)):":                "(see `names[0]`, or `f_x(y)`):",
		"(names[0])":                                "(`names[0]`)",
		"name it: metadata: {name: a-unique-name}":  "name it: `metadata: {name: a-unique-name}`",
		"{a: {b: c}}, {d: e}. (f: {g: 1}) or {h: i": "`{a: {b: c}}`, `{d: e}`. (`f: {g: 1}`) or `{h`: i",
		`its state is "not_here" ("x")`:             "its state is \"`not_here`\" (\"x\")",
		`[1, 2_3] and "a" b" x="y"`:                 "[1, `2_3`] and \"a\" b\" `x=\"y\"`",
	} {
		if got := markdownText(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	for in, want := range map[string]string{"a": "`a`", "`": "`` ` ``", "``a`": "``` ``a` ```", "": "", " a ": "`  a  `"} {
		if got := markdownCode(in); got != want {
			t.Errorf("code %q: %q, want %q", in, got, want)
		}
	}
}

// manyPlan has that many changes and refusals, none of which is like another.
func manyPlan(n int) nf.Plan {
	p := emptyPlan()
	for i := range n {
		target := foldedTarget(i)
		target.Name = fmt.Sprintf("`%d` 𝄞 %s", i, strings.Repeat("𝄞", i%50))
		p.Changes = append(p.Changes, nf.Change{Target: target, Key: nf.KeyMax, Layer: nf.LayerLive, From: nf.Number(int64(i)), To: nf.Number(int64(i) + 1),
			Cause: nf.CauseNew, Source: webPolicy(i + 1)})
		p.Refusals = append(p.Refusals, nf.Refusal{Target: target, Key: nf.KeyLevel, Layer: nf.LayerLive, From: nf.LevelFull.Value(), To: nf.LevelStateful.Value(),
			Code: nf.LevelInUse, Reason: strings.Repeat("x", i), Remedy: "remove the rules", Until: nf.UntilRulesRemoved, Source: webPolicy(i + 1)})
	}
	p.Summary = nf.Summary{Changes: n, Refusals: n}
	return p
}

var (
	partLeft  = regexp.MustCompile(`(?m)^(\d+) of these (\d+) are not shown\.$`)
	totalLeft = regexp.MustCompile(`(?m)^\*\*(\d+) of (\d+) entries are not shown\*\*`)
)

// TestMarkdownIsCut: a comment stays below the limit of GitHub in characters and in UTF-16 units, whole
// in its tags, and says truthfully how many entries it leaves out, of each chapter and of all.
func TestMarkdownIsCut(t *testing.T) {
	for _, n := range []int{1, 60, 120, 300, 3000} {
		out := asMarkdown(t, Plans, manyPlan(n))
		if got := len(utf16.Encode([]rune(out))); got > maxMarkdown {
			t.Errorf("%d entries: %d UTF-16 units", n, got)
		}
		if strings.Count(out, "<details") != 2 || strings.Count(out, "</details>") != 2 || strings.Count(out, "<summary>") != strings.Count(out, "</summary>") {
			t.Errorf("%d entries: the tags are not in pairs", n)
		}
		shown := strings.Count(out, "\n- `")
		left := 0
		for _, m := range partLeft.FindAllStringSubmatch(out, -1) {
			if m[2] != strconv.Itoa(n) {
				t.Errorf("%d entries: %s", n, m[0])
			}
			part, _ := strconv.Atoi(m[1])
			left += part
		}
		if shown+left != 2*n {
			t.Errorf("%d entries: %d shown and %d left out of %d", n, shown, left, 2*n)
		}
		switch m := totalLeft.FindStringSubmatch(out); {
		case left == 0 && m != nil, left > 0 && (m == nil || m[1] != strconv.Itoa(left) || m[2] != strconv.Itoa(2*n)):
			t.Errorf("%d entries: %d are left out, and it says %q", n, left, m)
		}
		if n == 3000 && left == 0 {
			t.Error("nothing was cut")
		}
	}
}
