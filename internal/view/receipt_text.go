package view

import (
	"slices"
	"strings"
	"time"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/nf"
)

func (p *page) receipt(r apply.Receipt) {
	if quiet := len(r.Results)+len(r.Recovered)+len(r.Refusals)+len(r.Pending)+len(r.Warnings)+len(r.Stuck) == 0; quiet {
		p.receiptSummary(r)
		return
	}
	recovered := "Left by an interrupted run"
	if r.TakenBack != "" {
		recovered = "Taken back, because run " + Clean(r.TakenBack) + " was not confirmed"
	}
	if r.TakenBack != "" && len(r.Recovered) == 0 {
		p.title("Taken back on node ", r.Node, r.Revision)
		p.line("Run ", Clean(r.TakenBack), " was not confirmed.")
	} else {
		p.title("Apply on node ", r.Node, r.Revision)
	}
	section(p, red, stuckTitle, stuckEarlier(r), stuckEntry)
	section(p, yellow, recovered, r.Recovered, resultEntry)
	section(p, red, "Refused", r.Refusals, refusalEntry)
	title := "Changes"
	if len(r.Refusals)+len(r.Recovered)+len(stuckEarlier(r)) == 0 {
		title = "" // they begin the page
	}
	section(p, plain, title, r.Results, resultEntry)
	section(p, yellow, "Pending", r.Pending, pendingEntry)
	p.warnings(ofOne(r.Warnings))
	p.line()
	p.receiptSummary(r)
	var settle [][2]string
	if r.ConfirmUntil != nil {
		p.line(p.paint(yellow, "Unless they are confirmed before "+r.ConfirmUntil.UTC().Format(time.RFC3339)+", the changes are taken back."))
		settle = append(settle, [2]string{"nfsync confirm", "keeps the changes"})
	}
	if len(r.Stuck) > 0 {
		settle = append(settle, [2]string{"nfsync recover", "shows what is stuck: nothing is changed there until it is accepted"})
	}
	p.next(settle, r.Refusals)
}

// stuckEarlier returns what is stuck since earlier runs. What this run has found stuck is among
// its results.
func stuckEarlier(r apply.Receipt) []nf.StuckChange {
	results := slices.Concat(r.Recovered, r.Results)
	return slices.DeleteFunc(slices.Clone(r.Stuck), func(c nf.StuckChange) bool {
		return slices.ContainsFunc(results, func(res apply.Result) bool {
			return res.Outcome == apply.Stuck && res.Target == c.Target && res.Key == c.Key && res.Layer == c.Layer
		})
	})
}

// outcomes are the styles and glyphs of the outcomes. The word follows the glyph: several
// outcomes have the same.
var outcomes = map[apply.Outcome]span{
	apply.Applied: {green, "✓"},
	apply.Kept:    {yellow, "✓"},
	apply.Failed:  {red, "✗"},
	apply.Stuck:   {bold + ";" + red, "✗"},
	apply.Undone:  {yellow, "↶"},
	apply.Refused: {red, "!"},
	apply.Gone:    {dim, "·"},
	apply.Skipped: {dim, "·"},
}

func resultEntry(r apply.Result) entry {
	mark, known := outcomes[r.Outcome]
	if !known {
		mark = span{plain, "?"}
	}
	e := newEntry(mark, r.Target, r.Key, r.Layer, r.From, r.To)
	e.cells = append(e.cells, cell{{mark.style, Clean(string(r.Outcome))}})
	e.origin(r.Source)
	e.cells = append(e.cells, marks(r.Change))
	e.notes = []note{{red, "error", r.Error}, {dim, "why", r.Reason}}
	return e
}

// receiptSummary writes one line: the number that was applied, then the other counts.
func (p *page) receiptSummary(r apply.Receipt) {
	s := r.Summary
	if len(r.Results)+len(r.Refusals)+len(r.Pending) == 0 {
		effect := "nothing was changed"
		if r.TakenBack != "" {
			effect = "nothing else was changed"
		}
		p.inSync(r.Node, r.Revision, s.InSync, effect)
		return
	}
	parts := counted(s)
	parts[0] = p.paint(bold, parts[0])
	line := strings.Join(parts, ", ")
	if took := r.FinishedAt.Sub(r.StartedAt); took > 0 {
		line += p.paint(dim, " ("+took.Round(time.Millisecond).String()+")")
	}
	if r.Interrupted {
		line += ", " + p.paint(yellow, "interrupted")
	}
	p.line(line)
}

// counted returns the counts of a receipt that people read: what was applied first, and of what is
// rare only what there is.
func counted(s apply.Summary) []string {
	parts := []string{countOf(s.Applied, "applied")}
	for _, c := range []struct {
		n    int
		word string
	}{{s.Failed, "failed"}, {s.Undone, "undone"}, {s.Kept, "kept"}, {s.Stuck, "stuck"}, {s.Gone, "gone"}, {s.Skipped, "skipped"}} {
		if c.n > 0 {
			parts = append(parts, countOf(c.n, c.word))
		}
	}
	return append(parts, countOf(s.Refusals+s.Refused, "refused"), countOf(s.Pending, "pending"), countOf(s.InSync, "in sync"))
}
