package view

import (
	"fmt"
	"slices"
	"strings"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/nf"
)

// StoredReceipts is the output of receipts without an id, the Receipts document.
var StoredReceipts = newKind(receiptListJSON, (*page).storedReceipts)

// StoredReceipt is the output of receipts with an id: the Receipt document, with its id and times in
// text.
var StoredReceipt = newKind(receiptJSON, (*page).storedReceipt)

type receiptsJSON struct {
	header
	apply.StoredReceipts
}

func receiptListJSON(list apply.StoredReceipts) any {
	list.Receipts, list.Unreadable = filled(list.Receipts), filled(list.Unreadable)
	return receiptsJSON{headerOf(nf.KindReceipts), list}
}

// verdictStyles are the styles of the verdicts.
var verdictStyles = map[apply.Verdict]string{apply.Clean: green, apply.Incomplete: yellow, apply.RolledBack: red, apply.Unsettled: bold + ";" + red}

// shownCommit is how many digits of a commit a line of a list has.
const shownCommit = 12

// storedReceipts writes a line for each receipt, the newest first.
func (p *page) storedReceipts(list apply.StoredReceipts) {
	type row struct{ id, text string }
	var rows []row
	for _, r := range list.Receipts {
		text := fmt.Sprintf("%s  %s  %s  %s", nf.Clock(r.StartedAt), pad(Clean(r.Revision[:min(len(r.Revision), shownCommit)]), shownCommit),
			p.paint(verdictStyles[r.Verdict], pad(Clean(string(r.Verdict)), len(apply.RolledBack))), strings.Join(counted(r.Summary), ", "))
		if r.Interrupted {
			text += ", " + p.paint(yellow, "interrupted")
		}
		rows = append(rows, row{r.ID, text})
	}
	for _, r := range list.Unreadable {
		rows = append(rows, row{r.ID, p.paint(red, "unreadable: ") + Clean(r.Error)})
	}
	if rows == nil {
		p.line("No apply has left a receipt.")
		return
	}
	slices.SortStableFunc(rows, func(a, b row) int { return strings.Compare(b.id, a.id) })
	for _, r := range rows {
		p.line(p.paint(bold, Clean(r.id)), "  ", r.text)
	}
}

func (p *page) storedReceipt(r apply.Receipt) {
	p.line(p.paint(bold, "Receipt "+Clean(r.ID)), ", from ", nf.Clock(r.StartedAt), " to ", nf.Clock(r.FinishedAt), ": ", p.paint(verdictStyles[r.Verdict()], string(r.Verdict())))
	p.outline(receiptOutline(r, p.opt))
}

// Forgotten is the output of forget, the Forgotten document.
var Forgotten = newKind(forgottenKeysJSON, (*page).forgotten)

type forgottenJSON struct {
	header
	apply.Forgotten
}

func forgottenKeysJSON(f apply.Forgotten) any {
	f.Keys = filled(f.Keys)
	return forgottenJSON{headerOf(nf.KindForgotten), f}
}

func (p *page) forgotten(f apply.Forgotten) {
	for _, k := range f.Keys {
		p.line("Forgotten: ", Clean(k.Target.String()), " ", Clean(string(k.Key)), p.paint(dim, ", last asked "+wish(k.Target, k.Key, k.Asked)+", last read "+value(k.Target, k.Key, k.Applied)))
	}
	p.line("The values stay as they are.")
}
