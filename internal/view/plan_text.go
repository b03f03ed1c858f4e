package view

import (
	"cmp"
	"iter"
	"slices"
	"strings"
	"time"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/nf"
)

func planOutline(doc nf.Plan, opt Options) outline {
	c := contents{above: foldAt(opt, false)}
	c.addPlans([]nodePlan{{plan: &doc}})
	o := outline{title: title("Plan for node ", doc.Node, doc.Revision), chapters: c.chapters, summary: planSummary(doc, opt.Part), brief: true}
	if len(o.chapters) == 0 {
		return o
	}
	if len(doc.Changes) > 0 {
		effect := "makes the changes"
		if opt.Elsewhere {
			effect += ", on " + Clean(doc.Node)
		}
		o.commands = [][2]string{{cmp.Or(opt.Apply, "nfsync apply"), effect}}
	}
	o.commands = append(o.commands, explained(doc.Refusals)...)
	return o
}

// nodePlan is a plan with the name of its node; the name is empty in a document of one node.
type nodePlan struct {
	node string
	plan *nf.Plan
}

// each returns the elements of a list of plans, with the node of each.
func each[T any](plans []nodePlan, list func(*nf.Plan) []T) iter.Seq2[string, T] {
	return func(yield func(string, T) bool) {
		for _, n := range plans {
			for _, e := range list(n.plan) {
				if !yield(n.node, e) {
					return
				}
			}
		}
	}
}

// addPlans adds the lists of plans: what is refused, and what disrupts or cannot be taken back,
// comes first.
func (c *contents) addPlans(plans []nodePlan) {
	changes := func(so func(nf.Change) bool) iter.Seq2[string, nf.Change] {
		return those(each(plans, func(d *nf.Plan) []nf.Change { return d.Changes }), so)
	}
	warnings := func(so func(nf.Warning) bool) iter.Seq2[string, nf.Warning] {
		return those(each(plans, func(d *nf.Plan) []nf.Warning { return d.Warnings }), so)
	}
	c.add(chapterOf(c.above, red, stuckTitle, each(plans, func(d *nf.Plan) []nf.StuckChange { return d.Stuck }), stuckEntry))
	c.add(refusalChapter(c.above, red, "Refused", each(plans, func(d *nf.Plan) []nf.Refusal { return d.Refusals })))
	c.add(changeChapter(c.above, yellow, "Disruptive, or one-way", changes(isRisky)))
	c.add(warningChapter(c.above, warnings(isExposure)))
	c.add(changeChapter(c.above, plain, changesTitle, changes(not(isRisky))))
	c.add(pendingChapter(c.above, each(plans, func(d *nf.Plan) []nf.Pending { return d.Pending })))
	c.add(warningChapter(c.above, warnings(not(isExposure))))
}

// isRisky reports whether a change interrupts something, or cannot be taken back.
func isRisky(c nf.Change) bool { return c.Disruptive || c.OneWay }

// isExposure reports whether a warning is of a table that can be filled up from outside.
func isExposure(w nf.Warning) bool { return w.Code == nf.WarnNodeTracking }

// only returns the elements of a list that are so.
func only[E any](list []E, so func(E) bool) []E {
	var those []E
	for _, e := range list {
		if so(e) {
			those = append(those, e)
		}
	}
	return those
}

// those returns the elements of nodes that are so.
func those[E any](list iter.Seq2[string, E], so func(E) bool) iter.Seq2[string, E] {
	return func(yield func(string, E) bool) {
		for node, e := range list {
			if so(e) && !yield(node, e) {
				return
			}
		}
	}
}

func not[E any](so func(E) bool) func(E) bool { return func(e E) bool { return !so(e) } }

const stuckTitle = "Stuck: nothing is changed there until nfsync recover --accept"

// stuckEntry is a change that holds back its target.
func stuckEntry(c nf.StuckChange) entry {
	e := newEntry(outcomes[apply.Stuck], c.Target, c.Key, c.Layer, c.From, c.To)
	e.cells = append(e.cells, cell{{plain, "read " + value(c.Target, c.Key, c.Reads)}})
	e.notes = []note{{dim, "why", c.Why}, {dim, "run", Clean(c.Run)}}
	e.rule, e.severity = string(nf.TargetStuck), severityError
	return e
}

// title returns the first line: the kind of document, its node and its revision.
func title(what, node, revision string) cell {
	return append(cell{{bold, what + Clean(node)}}, atRevision(revision)...)
}

// atRevision returns the commit that the policies are of, or nothing.
func atRevision(revision string) cell {
	if revision == "" {
		return nil
	}
	return cell{{dim, " at revision " + Clean(revision)}}
}

// heading starts a part of the page, with a title if there is one.
func (p *page) heading(style, title string) {
	p.line()
	if title != "" {
		p.line(p.paint(strings.Trim(bold+";"+style, ";"), title))
	}
}

// changeChapter returns a chapter with changes.
func changeChapter(above int, style, title string, list iter.Seq2[string, nf.Change]) chapter {
	return foldedChapter(above, style, title, list, changeEntry, func(c nf.Change) (nf.Target, nf.Change) {
		at := c.Target
		c.Target, c.Instance = nf.Target{Kind: at.Kind}, ""
		return at, c
	})
}

func changeEntry(c nf.Change) entry {
	e := newEntry(glyph(c.From, c.To), c.Target, c.Key, c.Layer, c.From, c.To)
	e.rule, e.severity, e.source = changeRule(c)
	if c.Range.IsRange() {
		e.cells[columnTo] = cell{{plain, c.Range.String()}}
	} else {
		e.cells[columnTo] = append(e.cells[columnTo], bounds(c.Asked))
	}
	e.origin(c.Source)
	e.cells = append(e.cells, cell{{dim, string(c.Cause)}}, marks(c))
	e.notes = append(unknownNow(c.From), decidedLater(c)...)
	if f := c.LastFailure; f != nil {
		e.notes = append(e.notes, note{yellow, "note", "failed when last tried, at " + f.At.UTC().Format(time.DateTime) + " UTC: " + f.Why + " (receipt " + f.Receipt + ")"})
	}
	return e
}

// The rules of changes.
const (
	ruleChange     = "change"
	ruleRestart    = "restart"
	ruleOneWay     = "one-way"
	ruleDisruptive = "disruptive"
	rulePending    = "pending"
)

func changeRule(c nf.Change) (string, severity, nf.Source) {
	switch {
	case c.Key == nf.KeyRestart:
		return ruleRestart, severityWarning, c.Source
	case c.OneWay:
		return ruleOneWay, severityWarning, c.Source
	case c.Disruptive:
		return ruleDisruptive, severityWarning, c.Source
	}
	return ruleChange, severityNotice, c.Source
}

// decidedLater returns a note when a change of a range is decided, if that is not known.
func decidedLater(c nf.Change) []note {
	switch {
	case !c.Range.IsRange():
		return nil
	case c.Layer == nf.LayerBoot:
		return []note{{dim, "note", "saved only if the live value is outside the range once its module is loaded"}}
	}
	return []note{{dim, "note", "read once its module is loaded, and changed only if it is outside the range then"}}
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
func marks(c nf.Change, more ...string) cell {
	var words []string
	if c.OneWay {
		words = append(words, "one-way")
	}
	if c.Disruptive {
		words = append(words, "disruptive")
	}
	if c.Intermediate {
		words = append(words, "intermediate")
	}
	words = append(words, more...)
	if words == nil {
		return nil
	}
	return cell{{yellow, "[" + strings.Join(words, ", ") + "]"}}
}

// refusalChapter returns a chapter with refusals.
func refusalChapter(above int, style, title string, list iter.Seq2[string, nf.Refusal]) chapter {
	type shown struct {
		node                   bool
		key                    nf.Key
		layer                  nf.Layer
		from, to               nf.Value
		code                   nf.Code
		reason, remedy, rivals string
		until                  nf.Until
		source                 nf.Source
		asked                  nf.Wish
	}
	return foldedChapter(above, style, title, list, refusalEntry, func(r nf.Refusal) (nf.Target, shown) {
		rivals := ""
		for _, rival := range r.Rivals {
			rivals += strings.Join([]string{string(rival.Key), r.Key.WishText(rival.Wish), rival.Source.Name, rival.Source.String(), ""}, "\n")
		}
		return r.Target, shown{r.Target.IsNode(), r.Key, r.Layer, r.From, r.To, r.Code, r.Reason, r.Remedy, rivals, r.Until, r.Source, r.Asked}
	})
}

func refusalEntry(r nf.Refusal) entry {
	e := newEntry(span{red, "!"}, r.Target, r.Key, r.Layer, r.From, r.To)
	e.rule, e.severity, e.source = string(r.Code), severityError, r.Source
	e.cells = append(e.cells, cell{{red, string(r.Code)}})
	switch {
	case len(r.Rivals) > 0:
		e.rivals(r)
	case r.Code == nf.TargetStuck: // what is stuck is listed with its reason
		e.origin(r.Source)
	default:
		e.origin(r.Source)
		e.notes = []note{{dim, "why", r.Reason}}
	}
	e.advice = []note{{dim, "remedy", r.Remedy}, {dim, "until", UntilText(r.Until)}}
	return e
}

// rivals shows each of the wishes that are in conflict, with its line, in place of one value and
// the reason, which names the same lines.
func (e *entry) rivals(r nf.Refusal) {
	first := nf.Rival{Wish: r.Asked, Source: r.Source}
	if first.Wish == (nf.Wish{}) { // the refusal was read from a document
		first.Wish = nf.Exactly(r.To)
	}
	var wishes []string
	for _, rival := range append([]nf.Rival{first}, r.Rivals...) {
		text := wish(r.Target, cmp.Or(rival.Key, r.Key), rival.Wish)
		if rival.Key != "" {
			text = string(rival.Key) + " " + text
		}
		if !slices.Contains(wishes, text) {
			wishes = append(wishes, text)
		}
		e.lines = append(e.lines, rival.Source)
		e.notes = append(e.notes, note{dim, "wants", text + " by " + origin(rival.Source).plain()})
	}
	e.cells[columnTo] = cell{{plain, strings.Join(wishes, " or ")}}
}

func wish(t nf.Target, k nf.Key, w nf.Wish) string {
	if w.IsRange() {
		return w.String()
	}
	return value(t, k, w.Value)
}

// pendingChapter returns a chapter with what is pending.
func pendingChapter(above int, list iter.Seq2[string, nf.Pending]) chapter {
	return foldedChapter(above, yellow, "Pending", list, pendingEntry, func(d nf.Pending) (nf.Target, nf.Pending) {
		at := d.Target
		d.Target = nf.Target{Kind: at.Kind}
		return at, d
	})
}

func pendingEntry(d nf.Pending) entry {
	e := newEntry(span{yellow, "…"}, d.Target, d.Key, nf.LayerLive, d.From, d.To)
	e.rule, e.source = rulePending, d.Source
	e.cells = append(e.cells, cell{{yellow, "until " + UntilText(d.Until)}})
	e.origin(d.Source)
	e.notes = []note{{dim, "why", d.Reason}}
	return e
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
	nf.UntilRecovered:        "a person accepts the present state",
}

// UntilText returns the event that ends a refusal, or that a difference waits for, in words.
func UntilText(u nf.Until) string { return cmp.Or(untils[u], Clean(string(u))) }

// planSummary returns one line, of a part of a plan or of a whole one.
func planSummary(doc nf.Plan, part bool) []cell {
	s := doc.Summary
	switch {
	case s.Changes+s.Refusals+s.Pending > 0:
	case part && s.InSync == 0:
		return []cell{{{plain, "Nothing that is selected is asked of node " + Clean(doc.Node) + "."}}}
	case part:
		return []cell{{{plain, "What is selected of node " + Clean(doc.Node) + " is "}, {green, "in sync"}, {plain, ": " + count(s.InSync, "key") + " as asked."}}}
	default:
		return []cell{inSync(doc.Node, doc.Revision, s.InSync, "nothing to change")}
	}
	return []cell{countsOf(s, doc.Changes)}
}

// countsOf returns the numbers of a plan, and how many of its changes are risky.
func countsOf(s nf.Summary, changes []nf.Change) cell {
	return cell{{bold, count(s.Changes, "change")}, {yellow, RiskyCount(changes)},
		{plain, ", " + countOf(s.Refusals, "refused") + ", " + countOf(s.Pending, "pending") + ", " + countOf(s.InSync, "in sync")}}
}

// RiskyCount returns the numbers of restarts and of other one-way changes of a list, as
// " (2 restarts, 1 one-way)"; "" if there is none.
func RiskyCount(changes []nf.Change) string {
	restarts, oneWay := 0, 0
	for _, c := range changes {
		switch {
		case c.Key == nf.KeyRestart:
			restarts++
		case c.OneWay:
			oneWay++
		}
	}
	var parts []string
	if restarts > 0 {
		parts = append(parts, count(restarts, "restart"))
	}
	if oneWay > 0 {
		parts = append(parts, countOf(oneWay, "one-way"))
	}
	if parts == nil {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

// inSync returns the summary for a node that is as it is asked to be.
func inSync(node, revision string, keys int, effect string) cell {
	if keys == 0 {
		return cell{{plain, "Nothing is asked of node " + Clean(node) + "."}}
	}
	line := append(cell{{plain, "Node " + Clean(node) + " is "}, {green, "in sync"}}, atRevision(revision)...)
	return append(line, span{plain, ": " + count(keys, "key") + " as asked, " + effect + "."})
}

// explained returns the commands that explain refusals, in the order of the rules. What
// explaining does is said once.
func explained(refusals []nf.Refusal) (lines [][2]string) {
	effect := "explains this refusal"
	for _, c := range nf.Codes() {
		if slices.ContainsFunc(refusals, func(r nf.Refusal) bool { return r.Code == c }) {
			lines = append(lines, [2]string{"nfsync explain " + string(c), effect})
			effect = ""
		}
	}
	return lines
}
