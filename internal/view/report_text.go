package view

import "nfsync.dev/nfsync/internal/apply"

func (p *page) report(r apply.Report) {
	if len(r.Left) == 0 && r.Unconfirmed == "" {
		p.line("Nothing is left of earlier runs.")
		return
	}
	p.line(p.paint(bold, "Left by run "+Clean(r.Run)))
	section(p, plain, "", r.Left, func(l apply.Leftover) entry { return leftEntry(l, r.Unconfirmed != "") })
	p.line()
	p.reportSummary(r)
}

func leftEntry(l apply.Leftover, unconfirmed bool) entry {
	mark, word := span{yellow, "…"}, "interrupted"
	switch {
	case l.Stuck:
		mark, word = outcomes[apply.Stuck], string(apply.Stuck)
	case unconfirmed:
		word = "unconfirmed"
	}
	e := newEntry(mark, l.Target, l.Key, l.Layer, l.From, l.To)
	e.cells = append(e.cells, cell{{mark.style, word}}, cell{{plain, "now " + value(l.Target, l.Key, l.Reads)}})
	e.notes = append(unknownNow(l.Reads), note{dim, "why", l.Why})
	return e
}

func (p *page) reportSummary(r apply.Report) {
	stuck := 0
	for _, l := range r.Left {
		if l.Stuck {
			stuck++
		}
	}
	switch {
	case r.Accepted:
		p.line(p.paint(bold, "Accepted"), ": the current state is accepted.")
	case stuck > 0:
		p.line(p.paint(bold, countOf(stuck, "stuck")), ": nothing is changed on such a target until a person has settled it.")
		p.commands([][2]string{{"nfsync recover --accept", "accepts the current state"}})
	case r.Unconfirmed != "":
		p.line(p.paint(bold, countOf(len(r.Left), "unconfirmed")), ": ", Clean(r.Unconfirmed), ".")
		p.commands([][2]string{{"nfsync confirm", "keeps the changes of a run that waits for it"}})
	default:
		p.line(p.paint(bold, countOf(len(r.Left), "interrupted")), ": the next apply finishes or undoes it.")
	}
}
