package web

import (
	"cmp"
	"fmt"
	"slices"
	"sync"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/view"
)

// The most receipts that are shown, and the most changes of each.
const (
	maxReceipts = 8
	maxResults  = 20
)

type (
	pageReceipts struct {
		List  []pageReceipt
		Total string
		Error string // they cannot be listed
	}
	pageReceipt struct {
		ID, Revision, Error string // Error: it cannot be read
		Verdict             pageMark
		Counts              []pageMark
		At                  pageTime
		Took, Decided       string
		Results             []pageResult
		More                int
	}
	pageResult struct {
		Mark                        pageMark
		Place, Key, Layer, From, To string
		Why                         string
	}
)

// receiptCache keeps what the page shows of receipts, so that each is read once. They do not change, but
// for those whose changes are to be confirmed.
type receiptCache struct {
	mu   sync.Mutex
	read map[string]apply.Receipt // with no more results than are shown
	more map[string]int
}

// recent returns the newest receipts.
func (c *receiptCache) recent(p *Page, t times) pageReceipts {
	c.mu.Lock()
	defer c.mu.Unlock()
	ids, err := p.ReceiptIDs()
	if err != nil {
		return pageReceipts{Error: view.Clean(err.Error())}
	}
	page := pageReceipts{Total: grouped(int64(len(ids)))}
	ids = ids[:min(len(ids), maxReceipts)]
	for id := range c.read {
		if !slices.Contains(ids, id) {
			delete(c.read, id)
			delete(c.more, id)
		}
	}
	for _, id := range ids {
		r, more, err := c.get(p, id)
		if err != nil {
			page.List = append(page.List, pageReceipt{ID: view.Clean(id), Error: view.Clean(err.Error()), Verdict: pageMark{red, "unreadable"}})
			continue
		}
		page.List = append(page.List, receiptOf(t, r, more))
	}
	return page
}

// get returns a receipt with its first results, and the number of the others.
func (c *receiptCache) get(p *Page, id string) (apply.Receipt, int, error) {
	if r, ok := c.read[id]; ok {
		return r, c.more[id], nil
	}
	r, err := p.Receipt(id)
	if err != nil {
		return r, 0, err
	}
	results := slices.Concat(r.Recovered, r.Results)
	more := max(len(results)-maxResults, 0)
	verdict := r.Summary
	r = apply.Receipt{ID: r.ID, Revision: r.Revision, StartedAt: r.StartedAt, FinishedAt: r.FinishedAt, Interrupted: r.Interrupted, ConfirmUntil: r.ConfirmUntil, Decided: r.Decided,
		TakenBack: r.TakenBack, Results: slices.Clone(results[:len(results)-more]), Stuck: slices.Clone(r.Stuck[:min(len(r.Stuck), 1)]), Summary: verdict}
	if r.ConfirmUntil == nil {
		if c.read == nil {
			c.read, c.more = map[string]apply.Receipt{}, map[string]int{}
		}
		c.read[id], c.more[id] = r, more
	}
	return r, more, nil
}

func receiptOf(t times, r apply.Receipt, more int) pageReceipt {
	x := pageReceipt{ID: view.Clean(r.ID), Revision: shortCommit(r.Revision), Verdict: verdictMark(r), At: t.of(r.StartedAt), More: more}
	if d := r.FinishedAt.Sub(r.StartedAt); d > 0 {
		x.Took = took(d)
	}
	switch {
	case r.TakenBack != "":
		x.Decided = "took back the changes of run " + view.Clean(r.TakenBack)
	case r.ConfirmUntil != nil:
		x.Decided = "to be confirmed until " + t.of(*r.ConfirmUntil).Full + ": " + view.Clean(cmp.Or(r.Decided, "they wait"))
	}
	x.Counts = receiptCounts(r.Summary)
	for _, result := range r.Results {
		x.Results = append(x.Results, resultOf(result))
	}
	return x
}

func verdictMark(r apply.Receipt) pageMark {
	v := r.Verdict()
	class := map[apply.Verdict]string{apply.Clean: green, apply.Incomplete: yellow}[v]
	if r.Interrupted && v == apply.Clean {
		return pageMark{yellow, "interrupted"}
	}
	return pageMark{cmp.Or(class, red), string(v)}
}

func receiptCounts(s apply.Summary) []pageMark {
	var list []pageMark
	for _, c := range []struct {
		n    int
		word string
	}{{s.Applied, "applied"}, {s.Failed, "failed"}, {s.Undone, "undone"}, {s.Kept, "kept"}, {s.Stuck, "stuck"}, {s.Gone, "gone"}, {s.Skipped, "skipped"}, {s.Refusals + s.Refused, "refused"}, {s.Pending, "pending"}} {
		if c.n > 0 {
			list = append(list, pageMark{"", fmt.Sprintf("%s %s", grouped(int64(c.n)), c.word)})
		}
	}
	return list
}

func resultOf(r apply.Result) pageResult {
	class := map[apply.Outcome]string{apply.Applied: green, apply.Kept: yellow, apply.Undone: yellow, apply.Gone: quiet, apply.Skipped: quiet}[r.Outcome]
	x := pageResult{Mark: pageMark{cmp.Or(class, red), view.Clean(string(r.Outcome))}, Place: view.Clean(r.Target.String()), Key: view.Clean(string(r.Key)),
		From: valueText(r.Target, r.Key, r.From), To: valueText(r.Target, r.Key, r.To), Why: view.Clean(cmp.Or(r.Error, r.Reason))}
	if r.Layer == nf.LayerBoot {
		x.Layer = string(r.Layer)
	}
	return x
}
