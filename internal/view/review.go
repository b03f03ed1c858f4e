package view

import (
	"iter"

	"nfsync.dev/nfsync/internal/nf"
)

// Reviews is the output of plan with a base.
var Reviews = newKind(reviewJSON, outlined(reviewOutline)).with(reportFormats(reviewOutline, reviewSuites, "plan")...)

func reviewJSON(r nf.Review) any {
	r.Nodes = filled(r.Nodes)
	for i := range r.Nodes {
		n := &r.Nodes[i]
		n.Brings, n.Ends, n.Anyway = filledDifferences(n.Brings), filledDifferences(n.Ends), filledDifferences(n.Anyway)
		n.Pending, n.Warnings = filled(n.Pending), filled(n.Warnings)
	}
	return r
}

func filledDifferences(d nf.Differences) nf.Differences {
	return nf.Differences{Changes: filled(d.Changes), Refusals: filled(d.Refusals)}
}

func reviewOutline(r nf.Review, opt Options) outline {
	name := "Review for " + count(len(r.Nodes), "node")
	if len(r.Nodes) == 1 {
		name = "Review for node " + Clean(r.Nodes[0].Node)
	}
	o := outline{title: append(cell{{bold, name}}, atRevision(r.Revision)...), summary: reviewSummary(r)}
	if r.Base != "" {
		o.intro = []cell{{{dim, "since revision " + Clean(r.Base)}}}
	}
	var refusals []nf.Refusal
	for _, n := range r.Nodes {
		refusals = append(refusals, n.Brings.Refusals...)
	}
	o.commands = explained(refusals)
	changes := func(of func(nf.NodeReview) nf.Differences, so func(nf.Change) bool) iter.Seq2[string, nf.Change] {
		return eachNode(r.Nodes, func(n nf.NodeReview) []nf.Change { return only(of(n).Changes, so) })
	}
	refused := func(of func(nf.NodeReview) nf.Differences) iter.Seq2[string, nf.Refusal] {
		return eachNode(r.Nodes, func(n nf.NodeReview) []nf.Refusal { return of(n).Refusals })
	}
	all := func(nf.Change) bool { return true }
	c := contents{above: foldAt(opt, len(r.Nodes) > 1)}
	since := func(state string, ch chapter) chapter { ch.since = state; return ch }
	c.add(since(sinceNew, snapshotChapter(c.above, r.Nodes))) // SARIF wants a state of each entry, or of none
	c.add(since(sinceNew, refusalChapter(c.above, red, "New refusals", refused(brings))))
	c.add(since(sinceNew, changeChapter(c.above, yellow, "New changes that disrupt, or are one-way", changes(brings, isRisky))))
	exposures := eachNode(r.Nodes, func(n nf.NodeReview) []nf.Warning { return only(n.Warnings, isExposure) })
	c.add(since(sinceUnchanged, warningChapter(c.above, exposures))) // with or without the change: it is in every plan
	c.add(since(sinceNew, changeChapter(c.above, plain, "New changes", changes(brings, not(isRisky)))))
	c.add(since(sinceEnded, changeChapter(c.above, plain, "Changes no longer made", changes(ends, all))))
	c.add(since(sinceEnded, chapterOf(c.above, green, "Refusals that this solves", refused(ends), solvedEntry)))
	c.add(since(sinceUnchanged, chapterOf(c.above, dim, "Different anyway: refused", refused(anyway), solvedEntry)))
	c.add(since(sinceUnchanged, changeChapter(c.above, dim, "Different anyway: changes", changes(anyway, all))))
	o.chapters = c.chapters
	return o
}

func brings(n nf.NodeReview) nf.Differences { return n.Brings }
func ends(n nf.NodeReview) nf.Differences   { return n.Ends }
func anyway(n nf.NodeReview) nf.Differences { return n.Anyway }

// eachNode returns the elements of a list of each node. The name of the only one is left out.
func eachNode[N of, T any](nodes []N, list func(N) []T) iter.Seq2[string, T] {
	return func(yield func(string, T) bool) {
		for _, n := range nodes {
			name := n.Taken().Node
			if len(nodes) == 1 {
				name = ""
			}
			for _, e := range list(n) {
				if !yield(name, e) {
					return
				}
			}
		}
	}
}

// solvedEntry is a refusal that a reader need not act on: without its remedy.
func solvedEntry(r nf.Refusal) entry {
	e := refusalEntry(r)
	e.notes, e.advice, e.severity = nil, nil, severityNotice
	return e
}

func reviewSummary(r nf.Review) []cell {
	s := r.Summary
	var risky []nf.Change
	for _, n := range r.Nodes {
		risky = append(risky, only(n.Brings.Changes, isRisky)...)
	}
	return []cell{
		{{bold, "This change brings " + count(s.Brings.Changes, "change")}, {yellow, RiskyCount(risky)},
			{plain, " and " + count(s.Brings.Refusals, "refusal") + ", and ends " + count(s.Ends.Changes, "change") + " and " + count(s.Ends.Refusals, "refusal") + "."}},
		{{plain, "Different anyway: " + count(s.Anyway.Changes, "change") + ", " + count(s.Anyway.Refusals, "refusal") + ". " +
			count(s.Nodes, "node") + ": " + countOf(s.Affected, "affected") + ", " + countOf(s.Failed, "with an error") + "."}},
	}
}
