package state_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/state"
	"nfsync.dev/nfsync/internal/state/statetest"
)

var waitingRun = state.Run{ID: "7", BootID: "b", ConfirmWithin: time.Minute, Plan: "p", Revision: "r", Intents: []state.Intent{}}

func openDir(t *testing.T, path string, disk *statetest.Disk) *state.Dir {
	t.Helper()
	d, err := state.OpenOn(path, disk)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// The records of a run that is to be confirmed are read back. The first limit and the first decision
// hold, and a run that has ended takes none.
func TestConfirmationRecords(t *testing.T) {
	path := t.TempDir()
	d := openDir(t, path, &statetest.Disk{})
	if err := d.Begin(waitingRun); err != nil {
		t.Fatal(err)
	}
	made := state.Made{Until: time.Date(2026, 3, 1, 12, 1, 0, 0, time.UTC), Uptime: time.Hour}
	if err := errors.Join(d.WaitUntil(made), d.WaitUntil(state.Made{})); err != nil {
		t.Fatal(err)
	}
	run, open, err := state.ReadUnfinished(path)
	if err != nil || !open || run.ConfirmWithin != time.Minute || run.Plan != "p" || run.Revision != "r" || run.Made == nil || *run.Made != made || run.Decision != "" {
		t.Errorf("%+v, %v, %v", run, open, err)
	}
	if _, err := d.Decide("8", state.Confirmed); !errors.Is(err, state.ErrNotOpen) {
		t.Errorf("another run: %v", err)
	}
	for range 2 {
		if got, err := d.Decide("7", state.TakenBack); err != nil || got != state.TakenBack {
			t.Error(got, err)
		}
	}
	if got, err := d.Decide("7", state.Confirmed); err != nil || got != state.TakenBack {
		t.Error(got, err)
	}
	if run, _, err := d.Unfinished(); err != nil || run.Decision != state.TakenBack {
		t.Errorf("%+v, %v", run, err)
	}
	if err := d.End(); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Decide("7", state.Confirmed); !errors.Is(err, state.ErrNotOpen) {
		t.Errorf("an ended run: %v", err)
	}
}

// Of several processes that decide at once, one wins, and all know which.
func TestDecideAtOnce(t *testing.T) {
	path := t.TempDir()
	d := openDir(t, path, &statetest.Disk{})
	for range 20 {
		if err := d.Begin(waitingRun); err != nil {
			t.Fatal(err)
		}
		got := make(chan state.Decision, 8)
		var all sync.WaitGroup
		for i := range cap(got) {
			want := []state.Decision{state.Confirmed, state.TakenBack}[i%2]
			all.Go(func() {
				other, err := state.Look(path)
				if err == nil {
					var decided state.Decision
					decided, err = other.Decide("7", want)
					got <- decided
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		close(got)
		run, _, err := d.Unfinished()
		if err != nil {
			t.Fatal(err)
		}
		for decided := range got {
			if decided != run.Decision {
				t.Errorf("one knows of %s, and the journal has %s", decided, run.Decision)
			}
		}
	}
}

// A power cut at any call leaves a confirmation that is durable or none: a run that is no longer open
// has saved all that it brings.
func TestPromotePowerCut(t *testing.T) {
	statetest.PowerCuts(func(disk *statetest.Disk, cut func(string, func()) bool) {
		path := t.TempDir()
		d := openDir(t, path, disk)
		kept := state.Confirmation{Run: "7", Changes: 2, Memory: &nf.Memory{Revision: "new"}, LastGood: &state.LastGood{Revision: "new"},
			Position: &state.Position{URL: "u", Branch: "main", Commit: "new"}}
		err := errors.Join(d.Begin(waitingRun), d.SaveConfirmation(kept), d.WaitUntil(state.Made{Uptime: time.Hour}))
		if err != nil {
			t.Fatal(err)
		}
		cut(path, func() {
			if _, err := d.Decide("7", state.Confirmed); err != nil {
				t.Error(err)
			}
			if err := d.Promote("7", time.Unix(1, 0).UTC()); err != nil {
				t.Error(err)
			}
		})
		d = openDir(t, path, disk)
		run, open, err := d.Unfinished()
		if err != nil {
			t.Fatal(err)
		}
		if open && run.Decision == "" {
			return // it still waits
		}
		if open {
			if err := d.Promote("7", time.Unix(1, 0).UTC()); err != nil {
				t.Fatal(err)
			}
		}
		memory, err1 := d.Memory()
		good, err2 := d.LastGood()
		list, err3 := d.Positions()
		left, err4 := d.Confirmation()
		if err := errors.Join(err1, err2, err3, err4); err != nil || memory.Revision != "new" || good.Revision != "new" || len(list) != 1 || left.Decision != state.Confirmed || left.Memory != nil {
			t.Errorf("%+v, %+v, %+v, %+v, %v", memory, good, list, left, err)
		}
	})
}
