package state

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// keepReceipts is the number of receipts that are stored.
const keepReceipts = 100

const receiptSuffix = ".json"

// NextReceipt returns the id of the next run: a number that rises by one with each,
// whatever the clock says, and the time, for people.
func (d *Dir) NextReceipt(now time.Time) (string, error) {
	names, err := d.receipts()
	if err != nil {
		return "", err
	}
	number := 0
	if len(names) > 0 {
		number = receiptNumber(names[len(names)-1])
	}
	return fmt.Sprintf("%08d-%s", number+1, now.UTC().Format("20060102T150405Z")), nil
}

// SaveReceipt saves a receipt and removes all but the newest hundred.
func (d *Dir) SaveReceipt(id string, receipt any) error {
	if err := d.save(receiptsName+"/"+id+receiptSuffix, "receipt", receipt); err != nil {
		return err
	}
	names, err := d.receipts()
	if err != nil {
		return err
	}
	for len(names) > keepReceipts {
		err = errors.Join(err, os.Remove(d.file(receiptsName+"/"+names[0])))
		names = names[1:]
	}
	return err
}

// receipts lists the receipts' file names, the oldest first.
func (d *Dir) receipts() ([]string, error) {
	entries, err := os.ReadDir(d.file(receiptsName))
	if err != nil {
		return nil, fmt.Errorf("cannot list the receipts: %w", err)
	}
	var names []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), receiptSuffix) && receiptNumber(e.Name()) > 0 {
			names = append(names, e.Name())
		}
	}
	slices.SortFunc(names, func(a, b string) int { return receiptNumber(a) - receiptNumber(b) })
	return names, nil
}

// receiptNumber returns the number of a receipt by its file name; 0 for another file.
func receiptNumber(name string) int {
	var n int
	if _, err := fmt.Sscanf(name, "%d-", &n); err != nil {
		return 0
	}
	return n
}
