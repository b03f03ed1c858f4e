package apply

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/state"
)

// StoredReceipts lists the receipts that are stored, the newest first. Its slices are never nil.
type StoredReceipts struct {
	Receipts   []StoredReceipt     `json:"receipts"`
	Unreadable []UnreadableReceipt `json:"unreadable"`
}

// StoredReceipt is a receipt in a list.
type StoredReceipt struct {
	ID          string    `json:"id"`
	Node        string    `json:"node"`
	Revision    string    `json:"revision"`
	StartedAt   time.Time `json:"startedAt"`
	FinishedAt  time.Time `json:"finishedAt"`
	Interrupted bool      `json:"interrupted"`
	Verdict     Verdict   `json:"verdict"`
	Summary     Summary   `json:"summary"`
}

// UnreadableReceipt is a receipt that cannot be read.
type UnreadableReceipt struct {
	ID    string `json:"id"`
	Error string `json:"error"`
}

// ListReceipts lists the receipts below a state directory. One that cannot be read does not hide
// the others.
func ListReceipts(dir string) (StoredReceipts, error) {
	list := StoredReceipts{[]StoredReceipt{}, []UnreadableReceipt{}}
	ids, err := state.ReceiptIDs(dir)
	if err != nil {
		return list, err
	}
	for _, id := range ids {
		r, err := readReceipt(dir, id)
		if err != nil {
			list.Unreadable = append(list.Unreadable, UnreadableReceipt{id, err.Error()})
			continue
		}
		list.Receipts = append(list.Receipts, StoredReceipt{id, r.Node, r.Revision, r.StartedAt, r.FinishedAt, r.Interrupted, r.Verdict(), r.Summary})
	}
	return list, nil
}

// LatestReceipt is the name of the newest receipt for FindReceipt.
const LatestReceipt = "latest"

// ErrNoReceipt is the error for a receipt that is not there, or not the only one of that name.
var ErrNoReceipt = errors.New("there is no such receipt")

// FindReceipt returns the receipt that a person names: by its id or the beginning of it, if only one
// begins so, by its number, or LatestReceipt.
func FindReceipt(dir, name string) (Receipt, error) {
	ids, err := state.ReceiptIDs(dir)
	if err != nil {
		return Receipt{}, err
	}
	id, err := findID(ids, name)
	if err != nil {
		return Receipt{}, err
	}
	r, err := readReceipt(dir, id)
	if err == nil && r.ConfirmUntil != nil {
		r.Decided = decided(dir, ids, r.ID)
	}
	return r, err
}

// decided says what became of the changes of a run that were to be confirmed; empty while they
// wait. ids are those of the receipts, the newest first.
func decided(dir string, ids []string, id string) string {
	run, open, err := state.ReadUnfinished(dir)
	open = open && run.ID == id
	switch {
	case err != nil:
		return "whether they were confirmed is unknown: " + err.Error()
	case open && run.Decision == "":
		return ""
	case open && run.Decision == state.TakenBack:
		return "they were not confirmed in time, and are being taken back"
	}
	for _, later := range ids[:max(slices.Index(ids, id), 0)] {
		if r, err := readReceipt(dir, later); err == nil && r.TakenBack == id {
			return "they were not confirmed in time, and were taken back (receipt " + later + ")"
		}
	}
	return "they were confirmed"
}

// findID returns the id that a person names. ids are the newest first.
func findID(ids []string, name string) (string, error) {
	if name == LatestReceipt && len(ids) > 0 {
		return ids[0], nil
	}
	number, notNumber := strconv.Atoi(name)
	is := func(id string) bool { return id == name || notNumber == nil && state.ReceiptNumber(id) == number }
	if i := slices.IndexFunc(ids, is); i >= 0 {
		return ids[i], nil
	}
	var begin []string
	for _, id := range ids {
		if strings.HasPrefix(id, name) {
			begin = append(begin, id)
		}
	}
	switch len(begin) {
	case 0:
		return "", fmt.Errorf("%w: %q", ErrNoReceipt, name)
	case 1:
		return begin[0], nil
	}
	const most = 5
	return "", fmt.Errorf("%w: several begin with %q: %s", ErrNoReceipt, name, nf.FirstFew(begin, most))
}

func readReceipt(dir, id string) (Receipt, error) {
	var r Receipt
	found, err := state.ReadReceipt(dir, id, &r)
	if err == nil && !found {
		err = fmt.Errorf("%w: %q", ErrNoReceipt, id) // it was removed just now
	}
	r.setKinds()
	return r, err
}

// setKinds gives the values of a receipt that was read from JSON the kinds of their keys: see
// nf.Value.As.
func (r *Receipt) setKinds() {
	for _, list := range [][]Result{r.Recovered, r.Results} {
		for i := range list {
			c := &list[i].Change
			c.From, c.To = c.From.As(c.Key), c.To.As(c.Key)
		}
	}
	for i := range r.Refusals {
		f := &r.Refusals[i]
		f.From, f.To = f.From.As(f.Key), f.To.As(f.Key)
		for j := range f.Rivals {
			f.Rivals[j].Wish = f.Rivals[j].Wish.As(f.Key)
		}
	}
	for i := range r.Pending {
		p := &r.Pending[i]
		p.From, p.To = p.From.As(p.Key), p.To.As(p.Key)
	}
	for i := range r.Stuck {
		r.Stuck[i].SetKinds()
	}
}
