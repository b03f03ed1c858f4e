package state

import (
	"errors"

	"nfsync.dev/nfsync/internal/nf"
)

const recoverRemedy = "check the node with `nfsync plan`; `nfsync recover --accept` sets the file aside and takes the state as it is now"

// Stuck records the failed undos of one run, until a person accepts them.
type Stuck struct {
	Run    string       `json:"run"`
	BootID string       `json:"bootID"` // of that run
	Left   []StuckValue `json:"left"`
}

// StuckValue is one value that could not be put back to Intent.From.
type StuckValue struct {
	Intent
	Reads nf.Value `json:"reads"` // what it was after the attempt
	Why   string   `json:"why"`
}

// Stuck reads the stuck record. Left is empty if nothing is left.
func (d *Dir) Stuck() (Stuck, error) {
	var s Stuck
	if _, err := load(d.file(stuckName), stuckName, recoverRemedy, &s); err != nil {
		return Stuck{}, err
	}
	for i := range s.Left {
		s.Left[i].Intent = s.Left[i].withKinds()
		s.Left[i].Reads = s.Left[i].Reads.As(s.Left[i].Key)
	}
	return s, nil
}

// SaveStuck replaces the stuck record. An empty one means that a person has accepted the
// state.
func (d *Dir) SaveStuck(s Stuck) error { return d.save(stuckName, stuckName, s) }

// SetAside renames the journal and the stuck record, where damaged, so that
// nfsync can go on without them.
func (d *Dir) SetAside() error {
	_, _, journalErr := d.Unfinished()
	_, stuckErr := d.Stuck()
	return errors.Join(d.setAside(journalName, journalErr), d.setAside(stuckName, stuckErr))
}

func (d *Dir) setAside(name string, err error) error {
	if !errors.Is(err, ErrDamaged) {
		return err
	}
	return d.disk.Rename(d.file(name), d.file(name+".damaged"))
}
