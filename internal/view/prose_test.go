package view

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"nfsync.dev/nfsync/internal/nf"
)

// TestProse: texts in several styles are wrapped, and lose nothing.
func TestProse(t *testing.T) {
	long := cell{{bold, "This change brings 21 changes"}, {yellow, " (1 restart)"}, {plain, " and 16 refusals, and ends 12 changes and 3 refusals."}}
	for _, c := range []struct {
		name   string
		width  int
		indent int
		cell   cell
		want   string
	}{
		{"it fits", 100, 0, long, "<1>This change brings 21 changes<0><33> (1 restart)<0> and 16 refusals, and ends 12 changes and 3 refusals.\n"},
		{"between words of one style", 80, 0, long, "<1>This change brings 21 changes<0><33> (1 restart)<0> and 16 refusals, and ends 12 changes\nand 3 refusals.\n"},
		{"between styles, indented", 40, 2, long, "  <1>This change brings 21 changes<0><33> (1<0>\n  <33>restart)<0> and 16 refusals, and ends 12\n  changes and 3 refusals.\n"},
		{"within a style", 40, 0, cell{{dim, strings.Repeat("ab ", 15)}}, "<2>ab ab ab ab ab ab ab ab ab ab ab ab ab<0>\n<2>ab ab<0>\n"},
		{"nothing", 80, 0, nil, "\n"},
	} {
		p := &page{opt: Options{Width: c.width, Color: true}}
		p.prose(c.indent, c.cell)
		got := strings.NewReplacer("\x1b[", "<", "m", "m").Replace(p.buf.String())
		for _, style := range []string{"0", "1", "2", "33"} {
			got = strings.ReplaceAll(got, "<"+style+"m", "<"+style+">")
		}
		if got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

// TestTextIsWrapped: no line of a text is wider than 80 columns, but for the columns of an entry and a
// path, which stays whole with its spaces.
func TestTextIsWrapped(t *testing.T) {
	source := nf.Source{Name: "web", File: "policies/of many/long directories/with spaces/and more of them/web servers.yaml", Line: 12, Column: 24}
	var plan nf.Plan
	for n := range 5 {
		target := nf.Target{Kind: nf.TargetContainer, Runtime: nf.RuntimeVZ, ID: "41c0a6de-0b6f-4b58-8a0d-2f7f6d1e910" + string(rune('0'+n)), Name: "web-1"}
		plan.Refusals = append(plan.Refusals, nf.Refusal{Target: target, Key: nf.KeyLevel, Code: nf.Unobservable, From: nf.Unknown("x"), To: nf.LevelFull.Value(), Reason: target.ID, Source: source},
			nf.Refusal{Target: target, Key: nf.KeyMax, Code: nf.Conflict, From: nf.Number(1), To: nf.Number(2), Source: source, Rivals: []nf.Rival{{Wish: nf.Exactly(nf.Number(3)), Source: source}}})
	}
	plan.Warnings = []nf.Warning{{Code: nf.WarnSelectsNothing, Target: nf.Node, Message: "the policy matches nothing here", Source: &source}}
	review := nf.Review{Summary: nf.ReviewSummary{Brings: nf.DifferenceCounts{Changes: 21111, Refusals: 1611}, Ends: nf.DifferenceCounts{Changes: 12111, Refusals: 3111}}}
	for _, write := range []func(out *strings.Builder) error{
		func(out *strings.Builder) error { return Plans.Write(out, FormatText, plan, Options{Width: 80}) },
		func(out *strings.Builder) error { return Reviews.Write(out, FormatText, review, Options{Width: 80}) },
	} {
		var out strings.Builder
		if err := write(&out); err != nil {
			t.Fatal(err)
		}
		if paths := strings.Count(out.String(), "servers.yaml"); paths != strings.Count(out.String(), source.String()) {
			t.Errorf("a path is broken:\n%s", out.String())
		}
		for line := range strings.Lines(out.String()) {
			isEntry := slices.ContainsFunc([]string{"containers ", "  ! "}, func(s string) bool { return strings.HasPrefix(line, s) })
			if n := utf8.RuneCountInString(strings.TrimSpace(line)); n > 80 && !isEntry && !strings.Contains(line, source.String()) {
				t.Errorf("%d columns: %s", n, line)
			}
		}
	}
}
