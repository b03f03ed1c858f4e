package view

import (
	"strings"

	"nfsync.dev/nfsync/internal/nf"
)

// Effectives is the output of show.
var Effectives = newKind(effectiveJSON, (*page).effective)

func effectiveJSON(e nf.Effective) any {
	e.Nodes = filled(e.Nodes)
	for i := range e.Nodes {
		n := &e.Nodes[i]
		n.Keys, n.Warnings = filled(n.Keys), filled(n.Warnings)
		for j := range n.Keys {
			n.Keys[j].Lost = filled(n.Keys[j].Lost)
		}
	}
	return e
}

func (p *page) effective(e nf.Effective) {
	above := foldAt(p.opt, len(e.Nodes) > 1)
	title := "Effective policy of " + count(len(e.Nodes), "node")
	if len(e.Nodes) == 1 {
		title = "Effective policy of node " + Clean(e.Nodes[0].Node)
	}
	p.line(p.paint(bold, title), p.spans(atRevision(e.Revision)))
	states := map[nf.KeyState]int{}
	for _, n := range e.Nodes {
		for _, k := range n.Keys {
			states[k.State]++
		}
	}
	p.chapter(snapshotChapter(above, e.Nodes))
	p.chapter(chapterOf(above, plain, "", eachNode(e.Nodes, func(n nf.NodeEffective) []nf.EffectiveKey { return n.Keys }), effectiveEntry))
	p.line()
	total := states[nf.KeyInSync] + states[nf.KeyDiffers] + states[nf.KeyRefused] + states[nf.KeyPending]
	p.line(p.paint(bold, count(total, "key")), ": ", countOf(states[nf.KeyInSync], "in sync"), ", ", count(states[nf.KeyDiffers], "difference"), ", ",
		countOf(states[nf.KeyRefused], "refused"), ", ", countOf(states[nf.KeyPending], "pending"))
}

// stateMarks are the glyphs of the states of keys. The word follows the glyph.
var stateMarks = map[nf.KeyState]span{
	nf.KeyInSync:  {green, "✓"},
	nf.KeyDiffers: {yellow, "~"},
	nf.KeyRefused: {red, "!"},
	nf.KeyPending: {yellow, "…"},
}

// effectiveEntry shows a key with its live value and what is wanted. The arrow of a key in sync is
// an equals sign.
func effectiveEntry(k nf.EffectiveKey) entry {
	mark := stateMarks[k.State]
	e := newEntry(mark, k.Target, k.Key, nf.LayerLive, k.Live, k.Wanted.Value)
	e.cells[columnTo] = cell{{plain, wish(k.Target, k.Key, k.Wanted)}}
	if k.State == nf.KeyInSync {
		e.cells[columnArrow] = cell{{dim, "="}}
	}
	state := string(k.State)
	if k.Code != "" {
		state = string(k.Code)
	}
	e.cells = append(e.cells, cell{{mark.style, state}})
	e.origin(k.Source)
	if !k.Saved.IsAbsent() && k.Saved != k.Wanted.Value {
		e.notes = append(e.notes, note{dim, "saved", value(k.Target, k.Key, k.Saved)})
	}
	if k.Reason != "" {
		e.notes = append(e.notes, note{dim, "why", k.Reason})
	}
	if k.Until != "" {
		e.notes = append(e.notes, note{dim, "until", UntilText(k.Until)})
	}
	var lost []string
	for _, r := range k.Lost {
		lost = append(lost, wish(k.Target, k.Key, r.Wish)+" by "+origin(r.Source).plain())
	}
	if lost != nil {
		e.notes = append(e.notes, note{dim, "over", strings.Join(lost, "; ")})
	}
	return e
}
