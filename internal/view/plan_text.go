package view

import (
	"cmp"
	"slices"
	"strings"

	"nfsync.dev/nfsync/internal/nf"
)

func (p *page) plan(doc nf.Plan) {
	if quiet := len(doc.Changes)+len(doc.Refusals)+len(doc.Pending)+len(doc.Warnings) == 0; quiet {
		p.planSummary(doc)
		return
	}
	p.title("Plan for node ", doc.Node, doc.Revision)
	if len(doc.Changes) > 0 {
		var entries []entry
		for _, c := range doc.Changes {
			entries = append(entries, changeEntry(c))
		}
		p.line()
		p.table(groups(entries))
	}
	p.refusals(doc.Refusals)
	p.pending(doc.Pending)
	p.warnings(doc.Warnings)
	p.line()
	p.planSummary(doc)
	var apply string
	if len(doc.Changes) > 0 {
		apply = "makes the changes"
		if p.opt.Elsewhere {
			apply += ", on " + clean(doc.Node)
		}
	}
	p.next(apply, codes(doc.Refusals))
}

// title writes the first line: the kind of document, its node and its revision.
func (p *page) title(what, node, revision string) {
	p.line(p.paint(bold, what+clean(node)), p.atRevision(revision))
}

// atRevision returns the commit that the policies are of, or nothing.
func (p *page) atRevision(revision string) string {
	if revision == "" {
		return ""
	}
	return p.paint(dim, " at revision "+clean(revision))
}

// section starts a part of the page with a heading.
func (p *page) section(style, title string) {
	p.line()
	p.line(p.paint(bold+";"+style, title))
}

func changeEntry(c nf.Change) entry {
	e := entry{target: c.Target, cells: difference(glyph(c.From, c.To), c.Target, c.Key, c.Layer, c.From, c.To)}
	e.cells[columnTo] = append(e.cells[columnTo], bounds(c.Asked))
	e.cells = append(e.cells, origin(c.Source), cell{{dim, string(c.Cause)}}, marks(c))
	e.notes = unknownNow(c.From)
	return e
}

// unknownNow returns a note why a value is unknown, if it is.
func unknownNow(v nf.Value) []note {
	if !v.IsUnknown() {
		return nil
	}
	return []note{{dim, "now", "unknown: " + v.Why()}}
}

// bounds marks a value that is the nearest bound of a range.
func bounds(asked nf.Wish) span {
	switch {
	case asked.AtLeast != 0 && asked.AtMost != 0:
		return span{dim, " (of " + asked.String() + ")"}
	case asked.AtLeast != 0:
		return span{dim, " (at least)"}
	case asked.AtMost != 0:
		return span{dim, " (at most)"}
	}
	return span{}
}

// marks returns the properties of a change that make it risky.
func marks(c nf.Change) cell {
	var words []string
	if c.OneWay {
		words = append(words, "one-way")
	}
	if c.Disruptive {
		words = append(words, "disruptive")
	}
	if words == nil {
		return nil
	}
	return cell{{yellow, "[" + strings.Join(words, ", ") + "]"}}
}

func (p *page) refusals(list []nf.Refusal) {
	if len(list) == 0 {
		return
	}
	p.section(red, "Refused")
	var entries []entry
	for _, r := range list {
		entries = append(entries, refusalEntry(r))
	}
	p.table(groups(entries))
}

func refusalEntry(r nf.Refusal) entry {
	e := entry{target: r.Target, cells: difference(span{red, "!"}, r.Target, r.Key, r.Layer, r.From, r.To)}
	e.cells = append(e.cells, cell{{red, string(r.Code)}}, origin(r.Source))
	for _, rival := range r.Rivals {
		e.notes = append(e.notes, note{dim, "also", wish(r.Target, r.Key, rival.Wish) + " by " + origin(rival.Source).plain()})
	}
	e.notes = append(e.notes, note{dim, "why", r.Reason})
	e.advice = []note{{dim, "remedy", r.Remedy}, {dim, "until", until(r.Until)}}
	return e
}

func wish(t nf.Target, k nf.Key, w nf.Wish) string {
	if w.IsRange() {
		return w.String()
	}
	return value(t, k, w.Value)
}

func (p *page) pending(list []nf.Pending) {
	if len(list) == 0 {
		return
	}
	p.section(yellow, "Pending")
	var entries []entry
	for _, d := range list {
		e := entry{target: d.Target, cells: difference(span{yellow, "…"}, d.Target, d.Key, nf.LayerLive, d.From, d.To)}
		e.cells = append(e.cells, cell{{yellow, "until " + until(d.Until)}}, origin(d.Source))
		e.notes = []note{{dim, "why", d.Reason}}
		entries = append(entries, e)
	}
	p.table(groups(entries))
}

// untils describe the events that end a refusal or a pending entry.
var untils = map[nf.Until]string{
	nf.UntilPrivilege:        "nfsync has the privilege",
	nf.UntilObservable:       "the value can be read",
	nf.UntilPolicyChange:     "a policy changes",
	nf.UntilNever:            "never, on this node",
	nf.UntilContainerStart:   "the container starts",
	nf.UntilContainerRestart: "the container restarts",
	nf.UntilNodeRestart:      "the node restarts",
	nf.UntilRulesRemoved:     "the rules are removed",
	nf.UntilKernelChange:     "another kernel is booted",
	nf.UntilModuleLoad:       "the module is loaded",
	nf.UntilHoldersGone:      "nothing uses it any more",
	nf.UntilModuleReload:     "the module is loaded again",
	nf.UntilEntriesDrained:   "enough entries have ended",
}

func until(u nf.Until) string { return cmp.Or(untils[u], clean(string(u))) }

func (p *page) warnings(list []nf.Warning) {
	if len(list) == 0 {
		return
	}
	p.section(yellow, "Warnings")
	wide := 0
	for _, w := range list {
		wide = max(wide, len(clean(w.Code)))
	}
	for _, same := range alikeWarnings(list) {
		label := "  " + p.paint(yellow, pad(clean(same[0].Code), wide))
		p.hanging(wide+4, label, warningText(same))
	}
}

// alikeWarnings folds the same warnings of many targets, as groups does with entries.
func alikeWarnings(list []nf.Warning) [][]nf.Warning {
	alike := map[nf.Warning][]nf.Warning{}
	same := func(w nf.Warning) nf.Warning { return nf.Warning{Code: w.Code, Key: w.Key, Message: w.Message} }
	for _, w := range list {
		alike[same(w)] = append(alike[same(w)], w)
	}
	var folded [][]nf.Warning
	for _, w := range list {
		all := alike[same(w)]
		switch {
		case len(all) <= foldAbove:
			folded = append(folded, []nf.Warning{w})
		case all[0] == w:
			folded = append(folded, all)
		}
	}
	return folded
}

// warningText returns the message, with the target unless that is the node, the key, and
// the policy's line.
func warningText(same []nf.Warning) string {
	w := same[0]
	var subject []string
	switch {
	case len(same) > 1:
		subject = append(subject, w.Target.String()+" and "+count(len(same)-1, "other"))
	case w.Target.Kind == nf.TargetContainer:
		subject = append(subject, w.Target.String())
	}
	if w.Key != "" {
		subject = append(subject, string(w.Key))
	}
	text := w.Message
	if subject != nil {
		text = strings.Join(subject, ", ") + ": " + text
	}
	if w.Source != nil && w.Source.File != "" {
		text += " (" + origin(*w.Source).plain() + ")"
	}
	return text
}

// planSummary writes one line.
func (p *page) planSummary(doc nf.Plan) {
	s := doc.Summary
	switch {
	case s.Changes+s.Refusals+s.Pending > 0:
		p.line(p.paint(bold, count(s.Changes, "change")), ", ", countOf(s.Refusals, "refused"), ", ",
			countOf(s.Pending, "pending"), ", ", countOf(s.InSync, "in sync"))
	case s.InSync == 0:
		p.line("Nothing is asked of node ", clean(doc.Node), ".")
	default:
		p.line("Node ", clean(doc.Node), " is ", p.paint(green, "in sync"), p.atRevision(doc.Revision), ": ", count(s.InSync, "key"), " as asked, nothing to change.")
	}
}

// next writes the commands that a reader may want to run now. apply describes the effect
// of applying; it is empty if there is nothing to apply.
func (p *page) next(apply string, refused []nf.Code) {
	var lines [][2]string
	if apply != "" {
		lines = append(lines, [2]string{cmp.Or(p.opt.Apply, "nfsync apply"), apply})
	}
	p.commands(append(lines, explainCommands(refused)...))
}

// explainCommands returns the commands that explain refusals. Their effect is described
// once.
func explainCommands(refused []nf.Code) [][2]string {
	var lines [][2]string
	does := "explains this refusal"
	for _, c := range refused {
		lines = append(lines, [2]string{"nfsync explain " + string(c), does})
		does = ""
	}
	return lines
}

// codes returns the codes of the refusals, each once, in the order of the rules.
func codes(list []nf.Refusal) []nf.Code {
	var found []nf.Code
	for _, c := range nf.Codes() {
		if slices.ContainsFunc(list, func(r nf.Refusal) bool { return r.Code == c }) {
			found = append(found, c)
		}
	}
	return found
}
