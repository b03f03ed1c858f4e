package state

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"nfsync.dev/nfsync/internal/nf"
)

const confirmationRemedy = "put a good copy in its place, or move it away: the next nfsync apply then takes back what waits for a confirmation"

// Made says that the changes of a run are made, and until when they wait for a confirmation.
type Made struct {
	Until time.Time `json:"until"` // by the clock, for people
	// Uptime is the same time, counted from the start of the node. Setting the clock does not
	// move it.
	Uptime time.Duration `json:"uptime"`
}

// Decision is what becomes of changes that are to be confirmed.
type Decision string

// The decisions.
const (
	Confirmed Decision = "confirmed" // they stay
	TakenBack Decision = "takenBack" // they are undone
)

// Confirmation is what the confirmation of a run saves, and afterwards what became of the run.
type Confirmation struct {
	Run      string     `json:"run"`
	Changes  int        `json:"changes"`            // that were made
	Memory   *nf.Memory `json:"memory,omitempty"`   // after the run
	LastGood *LastGood  `json:"lastGood,omitempty"` // null: it stays
	Position *Position  `json:"position,omitempty"` // null: it stays
	// Decision is empty as long as the run waits. At is when it was decided, and Receipt that of
	// the undoing.
	Decision Decision  `json:"decision,omitempty"`
	At       time.Time `json:"at,omitzero"`
	Receipt  string    `json:"receipt,omitempty"`
}

// WaitUntil makes durable that the changes of the open run are made and wait for a confirmation.
func (d *Dir) WaitUntil(m Made) error { return d.appendRecord(record{Format: format, Made: &m}) }

// ErrNotOpen is the error for a run that has ended.
var ErrNotOpen = errors.New("the run has ended")

// Decide makes durable what becomes of the changes of the open run, and returns what was decided:
// the first decision holds. The error is ErrNotOpen if another process has ended the run.
func (d *Dir) Decide(run string, want Decision) (decided Decision, err error) {
	err = d.appendNext(func(running openRun) (*record, error) {
		now, open, err := running()
		switch decided = now.Decision; {
		case err != nil:
			return nil, err
		case !open || now.ID != run:
			return nil, ErrNotOpen
		case decided != "":
			return nil, nil
		}
		decided = want
		return &record{Format: format, Decision: want}, nil
	})
	return decided, err
}

// Confirmation reads what the last run that was to be confirmed has left; one without a run if
// there is none.
func (d *Dir) Confirmation() (Confirmation, error) {
	var c Confirmation
	_, err := load(d.file(confirmationName), confirmationName, confirmationRemedy, &c)
	if c.Memory != nil {
		c.Memory.SetKinds()
	}
	return c, err
}

// SaveConfirmation replaces it.
func (d *Dir) SaveConfirmation(c Confirmation) error {
	if c.Memory != nil {
		m := *c.Memory
		m.Stuck = nil
		c.Memory = &m
	}
	return d.save(confirmationName, confirmationName, c)
}

// ConfirmationFile returns the path of the file that is replaced when changes begin to wait for a
// confirmation, and when that is decided.
func ConfirmationFile(path string) string { return filepath.Join(path, confirmationName) }

// Promote saves what the confirmation of the open run brings, and ends the run.
func (d *Dir) Promote(run string, now time.Time) error {
	c, err := d.Confirmation()
	if err != nil {
		return err
	}
	if c.Run != run || c.Memory == nil && c.Decision != Confirmed {
		return fmt.Errorf("cannot save what run %s brings: %s is of another run", run, d.file(confirmationName))
	}
	if c.Decision == "" {
		if err := d.promote(c); err != nil {
			return err
		}
		if err := d.SaveConfirmation(Confirmation{Run: run, Changes: c.Changes, Decision: Confirmed, At: now}); err != nil {
			return err
		}
	}
	return d.End()
}

func (d *Dir) promote(c Confirmation) error {
	if err := d.SaveMemory(*c.Memory); err != nil {
		return err
	}
	if c.LastGood != nil {
		if err := d.SaveLastGood(*c.LastGood); err != nil {
			return err
		}
	}
	if c.Position != nil {
		return d.SavePosition(*c.Position)
	}
	return nil
}
