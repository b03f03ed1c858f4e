package state

import (
	"path/filepath"
	"time"

	"nfsync.dev/nfsync/internal/nf"
)

const (
	fightsName   = "fights"
	fightsRemedy = "put a good copy in its place, or move it away: nfsync then counts again which values something else changes back"
	failedName   = "failed"
	failedRemedy = "put a good copy in its place, or move it away: nfsync then tries the revision again"
)

// Fight is a value that something else changes back.
type Fight struct {
	Target nf.Target `json:"target"`
	Key    nf.Key    `json:"key"`
	Layer  nf.Layer  `json:"layer"`
	// To is what is wanted. Another want is another fight.
	To nf.Value `json:"to"`
	// Flips are the times at which nfsync has changed it back, the oldest first.
	Flips []time.Time `json:"flips"`
	// Left is when nfsync has given up; null: it has not.
	Left *time.Time `json:"left"`
}

// Fights reads the fights.
func (d *Dir) Fights() ([]Fight, error) {
	var list []Fight
	_, err := load(filepath.Join(d.path, fightsName), fightsName, fightsRemedy, &list)
	for i := range list {
		list[i].To = list[i].To.As(list[i].Key)
	}
	return list, err
}

// SaveFights replaces the fights.
func (d *Dir) SaveFights(list []Fight) error { return d.save(fightsName, fightsName, list) }

// Failed is an apply that failed. The same plan is not tried again.
type Failed struct {
	Plan     string    `json:"plan"` // its id; empty: there is none
	Revision string    `json:"revision"`
	Receipt  string    `json:"receipt"`
	Why      string    `json:"why"`
	At       time.Time `json:"at"`
	// Unconfirmed reports that its changes were taken back. A run of another plan does not make up
	// for that.
	Unconfirmed bool `json:"unconfirmed,omitempty"`
}

// Failed reads the apply that failed last; one without a plan if there is none.
func (d *Dir) Failed() (Failed, error) {
	var f Failed
	_, err := load(filepath.Join(d.path, failedName), failedName, failedRemedy, &f)
	return f, err
}

// SaveFailed replaces the apply that failed last.
func (d *Dir) SaveFailed(f Failed) error { return d.save(failedName, failedName, f) }
