package state

import (
	"errors"
	"path/filepath"

	"nfsync.dev/nfsync/internal/nf"
)

const recoverRemedy = "check the node with `nfsync plan`; `nfsync recover --accept` sets the file aside and takes the state as it is now"

// Stuck returns the changes that could be neither made nor undone, and are not settled.
func (d *Dir) Stuck() ([]nf.StuckChange, error) { return readStuck(d.path) }

func readStuck(path string) ([]nf.StuckChange, error) {
	var list []nf.StuckChange
	if _, err := load(filepath.Join(path, stuckName), stuckName, recoverRemedy, &list); err != nil {
		return nil, err
	}
	for i := range list {
		list[i].SetKinds()
	}
	return list, nil
}

// SaveStuck replaces the stuck changes. None means that all are settled.
func (d *Dir) SaveStuck(list []nf.StuckChange) error { return d.save(stuckName, stuckName, list) }

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
