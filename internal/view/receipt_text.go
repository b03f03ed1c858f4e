package view

import (
	"slices"
	"time"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/nf"
)

func receiptOutline(r apply.Receipt, opt Options) outline {
	o := outline{title: title("Apply on node ", r.Node, r.Revision), summary: []cell{receiptSummary(r)}, brief: true}
	recovered := "Left by an interrupted run"
	if r.TakenBack != "" {
		recovered = "Taken back, because run " + Clean(r.TakenBack) + " was not confirmed"
	}
	if r.TakenBack != "" && len(r.Recovered) == 0 {
		o.title = title("Taken back on node ", r.Node, r.Revision)
		o.intro = []cell{{{plain, "Run " + Clean(r.TakenBack) + " was not confirmed."}}}
	}
	c := contents{above: foldAt(opt, false)}
	c.add(chapterOf(c.above, red, stuckTitle, ofOne(stuckEarlier(r)), stuckEntry))
	c.add(chapterOf(c.above, yellow, recovered, ofOne(r.Recovered), resultEntry))
	c.add(chapterOf(c.above, red, "Refused", ofOne(r.Refusals), refusalEntry))
	c.add(chapterOf(c.above, plain, changesTitle, ofOne(r.Results), resultEntry))
	c.add(chapterOf(c.above, yellow, "Pending", ofOne(r.Pending), pendingEntry))
	c.add(warningChapter(c.above, ofOne(r.Warnings)))
	if o.chapters = c.chapters; len(o.chapters) == 0 {
		return o
	}
	switch {
	case r.Decided != "":
		o.summary = append(o.summary, cell{{plain, "The changes were to be confirmed: " + Clean(r.Decided) + "."}})
	case r.ConfirmUntil != nil:
		o.summary = append(o.summary, cell{{yellow, "Unless they are confirmed before " + r.ConfirmUntil.UTC().Format(time.RFC3339) + ", the changes are taken back."}})
		o.commands = append(o.commands, [2]string{"nfsync confirm", "keeps the changes"})
	}
	if len(r.Stuck) > 0 {
		o.commands = append(o.commands, [2]string{"nfsync recover", "shows what is stuck: nothing is changed there until it is accepted"})
	}
	o.commands = append(o.commands, explained(r.Refusals)...)
	return o
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
	var late []string
	if r.Late {
		late = []string{"late"}
	}
	e.cells = append(e.cells, marks(r.Change, late...))
	e.notes = []note{{red, "error", r.Error}, {dim, "why", r.Reason}}
	return e
}

// receiptSummary returns one line: the number that was applied, then the other counts.
func receiptSummary(r apply.Receipt) cell {
	s := r.Summary
	if len(r.Results)+len(r.Refusals)+len(r.Pending) == 0 {
		effect := "nothing was changed"
		if r.TakenBack != "" {
			effect = "nothing else was changed"
		}
		return inSync(r.Node, r.Revision, s.InSync, effect)
	}
	parts := counted(s)
	line := cell{{bold, parts[0]}}
	for _, part := range parts[1:] {
		line = append(line, span{plain, ", " + part})
	}
	if took := r.FinishedAt.Sub(r.StartedAt); took > 0 {
		line = append(line, span{dim, " (" + took.Round(time.Millisecond).String() + ")"})
	}
	if r.Interrupted {
		line = append(line, span{plain, ", "}, span{yellow, "interrupted"})
	}
	return line
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
