package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// What is stored: at most keepReceipts, and none that is older than keepReceiptsFor when a newer one
// is saved, but always the newest few: a node that changes rarely, or whose clock was wrong, has
// some too.
const (
	keepReceipts    = 100
	keepReceiptsFor = 90 * 24 * time.Hour
	keepReceiptsMin = 10
)

const (
	receiptSuffix = ".json"
	receiptKind   = "receipt"
	receiptStamp  = "20060102T150405Z"
	receiptRemedy = "put a good copy in its place, or move it away: nothing else needs it"
)

// NextReceipt returns the id of the next run: a number that rises by one with each,
// whatever the clock says, and the time, for people.
func (d *Dir) NextReceipt(now time.Time) (string, error) {
	names, err := d.receipts()
	if err != nil {
		return "", err
	}
	number := 0
	if len(names) > 0 {
		number = ReceiptNumber(names[len(names)-1])
	}
	return fmt.Sprintf("%08d-%s", number+1, now.UTC().Format(receiptStamp)), nil
}

// SaveReceipt saves a receipt, and removes those that are not kept any more.
func (d *Dir) SaveReceipt(id string, receipt any) error {
	if err := d.save(receiptsName+"/"+id+receiptSuffix, receiptKind, receipt); err != nil {
		return err
	}
	names, err := d.receipts()
	if err != nil {
		return err
	}
	oldest := ReceiptTime(id).Add(-keepReceiptsFor)
	for i, name := range names {
		if newer := len(names) - i - 1; newer >= keepReceipts || newer >= keepReceiptsMin && ReceiptTime(name).Before(oldest) {
			err = errors.Join(err, os.Remove(d.file(receiptsName+"/"+name)))
		}
	}
	return err
}

// ReceiptTime returns when the run of a receipt began, by its id or file name; now, if that does not
// say it.
func ReceiptTime(name string) time.Time {
	_, stamp, _ := strings.Cut(strings.TrimSuffix(name, receiptSuffix), "-")
	t, err := time.Parse(receiptStamp, stamp)
	if err != nil {
		return time.Now() // not nfsync's own: its age is not known
	}
	return t
}

// ReceiptIDs lists the ids of the receipts below a state directory, the newest first. It takes no
// lock and makes nothing.
func ReceiptIDs(path string) ([]string, error) {
	names, err := receiptNames(filepath.Join(path, receiptsName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	slices.Reverse(names)
	for i := range names {
		names[i] = strings.TrimSuffix(names[i], receiptSuffix)
	}
	return names, err
}

// ReadReceipt reads a receipt below a state directory into receipt. It is false if there is none.
func ReadReceipt(path, id string, receipt any) (bool, error) {
	return load(filepath.Join(path, receiptsName, id+receiptSuffix), receiptKind, receiptRemedy, receipt)
}

// receipts lists the receipts' file names, the oldest first.
func (d *Dir) receipts() ([]string, error) { return receiptNames(d.file(receiptsName)) }

func receiptNames(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot list the receipts: %w", err)
	}
	var names []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), receiptSuffix) && ReceiptNumber(e.Name()) > 0 {
			names = append(names, e.Name())
		}
	}
	slices.SortFunc(names, func(a, b string) int { return ReceiptNumber(a) - ReceiptNumber(b) })
	return names, nil
}

// ReceiptNumber returns the number of a receipt by its id or file name; 0 for another one.
func ReceiptNumber(name string) int {
	var n int
	if _, err := fmt.Sscanf(name, "%d-", &n); err != nil {
		return 0
	}
	return n
}
