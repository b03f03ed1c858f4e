package state

import (
	"path/filepath"
	"slices"
	"time"

	"nfsync.dev/nfsync/internal/nf"
)

const (
	fightsName     = "fights"
	fightsRemedy   = "put a good copy in its place, or move it away: nfsync then counts again which values something else changes back"
	failuresName   = "failures"
	failuresRemedy = "put a good copy in its place, or move it away: nfsync then tries again what has failed"
)

// Fight is a value that something else changes back.
type Fight struct {
	Target nf.Target `json:"target"`
	Key    nf.Key    `json:"key"`
	Layer  nf.Layer  `json:"layer"`
	// Asked is what is wanted. Another want is another fight.
	Asked nf.Wish `json:"asked"`
	// Instance is that of the target when nfsync last changed it back.
	Instance string `json:"instance"`
	// Flips are the times at which nfsync has changed it back, or tried to, the oldest first.
	Flips []time.Time `json:"flips"`
	// Left is when nfsync has given up; null: it has not.
	Left *time.Time `json:"left"`
}

// Fights reads the fights.
func (d *Dir) Fights() ([]Fight, error) {
	var list []Fight
	_, err := load(filepath.Join(d.path, fightsName), fightsName, fightsRemedy, &list)
	for i := range list {
		list[i].Asked = list[i].Asked.As(list[i].Key)
	}
	return list, err
}

// SaveFights replaces the fights.
func (d *Dir) SaveFights(list []Fight) error { return d.save(fightsName, fightsName, list) }

// Failure is what could not be made of one target: the changes that failed, and those that
// were undone or not tried because of them. None of them is tried again while the plan has them
// as they were.
type Failure struct {
	Target   nf.Target      `json:"target"`
	Instance string         `json:"instance"` // of the target
	Revision string         `json:"revision"`
	Receipt  string         `json:"receipt"`
	At       time.Time      `json:"at"`
	Changes  []FailedChange `json:"changes"`
	// Unconfirmed reports that the changes were made and taken back, because nobody has confirmed
	// them. Another revision does not make up for that.
	Unconfirmed bool `json:"unconfirmed,omitempty"`
}

// FailedChange is a change of a target that failed, as it was planned.
type FailedChange struct {
	Key   nf.Key   `json:"key"`
	Layer nf.Layer `json:"layer"`
	From  nf.Value `json:"from"`
	To    nf.Value `json:"to"`
	// Why is empty if the change was undone or not tried, because another one failed.
	Why string `json:"why,omitempty"`
}

// Failures reads what has failed.
func (d *Dir) Failures() ([]Failure, error) {
	var list []Failure
	_, err := load(filepath.Join(d.path, failuresName), failuresName, failuresRemedy, &list)
	for i := range list {
		for j := range list[i].Changes {
			c := &list[i].Changes[j]
			c.From, c.To = c.From.As(c.Key), c.To.As(c.Key)
		}
	}
	return list, err
}

// SaveUnconfirmed saves what was taken back of a run, in place of that of an earlier one.
func (d *Dir) SaveUnconfirmed(list []Failure) error {
	all, err := d.Failures()
	if err != nil {
		return err
	}
	all = slices.DeleteFunc(all, func(f Failure) bool { return f.Unconfirmed })
	return d.SaveFailures(append(all, list...))
}

// SaveFailures replaces what has failed.
func (d *Dir) SaveFailures(list []Failure) error {
	return d.save(failuresName, failuresName, list)
}
