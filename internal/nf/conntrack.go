package nf

import (
	"fmt"
	"time"
)

// Drops counts what a network namespace has lost to a full conntrack table.
type Drops struct {
	// Dropped are packets of new connections that the kernel has dropped: the counter drop.
	Dropped uint64 `json:"dropped"`
	// Evicted are entries that the kernel has removed early to make room: early_drop.
	Evicted uint64 `json:"evicted"`
}

// ConntrackTable is one reading of the conntrack table of a target.
type ConntrackTable struct {
	Target   Target
	Instance string // of the container; the boot id for the node
	Count    int64  // entries
	Max      int64  // the limit in force; 0: none
	// Drops counts since the namespace was made; nil if it was not read.
	Drops *Drops
}

// FillingTable is a conntrack table that is full, or will be soon.
type FillingTable struct {
	Target Target `json:"target"`
	Count  int64  `json:"count"`
	Max    int64  `json:"max"`
	Full   bool   `json:"full"` // it is full now
	// FullAt is when it will be full at this rate, or when it was first seen full; null if it is
	// nearly full and does not grow.
	FullAt *time.Time `json:"fullAt"`
	Since  time.Time  `json:"since"` // when it was first found to fill
	// Lost is what was lost since it began to lose; null if that is nothing, or not counted.
	Lost *Lost `json:"lost"`
}

// Lost is what a full conntrack table has lost since a time.
type Lost struct {
	Drops
	Since time.Time `json:"since"`
}

// When returns when the table is full, after its name: "is full", "will be full at …".
func (f FillingTable) When() string {
	switch {
	case f.Full && f.FullAt != nil:
		return "is full since " + Clock(*f.FullAt)
	case f.FullAt != nil:
		return "will be full at " + Clock(*f.FullAt)
	}
	return fmt.Sprintf("is %d %% full", f.Count*100/max(f.Max, 1))
}

// Losses returns what the table has lost, and since when; empty if that is nothing.
func (f FillingTable) Losses() string {
	if f.Lost == nil {
		return ""
	}
	return fmt.Sprintf("%d packets dropped and %d entries evicted since %s", f.Lost.Dropped, f.Lost.Evicted, Clock(f.Lost.Since))
}

// Clock returns a time for people.
func Clock(t time.Time) string { return t.UTC().Format(time.DateTime) + " UTC" }
