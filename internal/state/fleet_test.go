package state_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/state"
)

const channel, coordinator = "main", "UCOORDINATOR"

func rolloutAt(generation uint64, revision string) nf.RolloutDocument {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	return nf.RolloutDocument{Kind: nf.KindRolloutDocument, Channel: channel, Generation: generation, Revision: revision, State: nf.RolloutRolling, UpdatedAt: at, StepEnded: &at}
}

func openState(t *testing.T) (*state.Dir, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "state")
	d, err := state.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return d, path
}

func accept(d *state.Dir, doc nf.RolloutDocument) (state.Fleet, error) {
	return d.ChangeFleet(context.Background(), channel, coordinator, func(f *state.Fleet) error { return f.Accept(doc, doc.UpdatedAt) })
}

// TestFleetNeverGoesBack: an older document, or another one of the same generation, changes nothing, also
// after a restart.
func TestFleetNeverGoesBack(t *testing.T) {
	d, path := openState(t)
	for _, doc := range []nf.RolloutDocument{rolloutAt(4, "c1"), rolloutAt(4, "c1"), rolloutAt(9, "c2")} {
		if _, err := accept(d, doc); err != nil {
			t.Fatalf("generation %d: %v", doc.Generation, err)
		}
	}
	again, err := state.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, doc := range []nf.RolloutDocument{rolloutAt(8, "c3"), rolloutAt(0, "c3"), rolloutAt(9, "c3")} {
		_, err := accept(again, doc)
		e, ok := errors.AsType[*state.OlderError](err)
		if !ok || e.Had != 9 || e.Has != doc.Generation || !strings.Contains(err.Error(), "write a newer one") {
			t.Errorf("generation %d of %s: %v", doc.Generation, doc.Revision, err)
		}
	}
	known, err := again.Fleet(channel, coordinator)
	if diff := cmp.Diff(rolloutAt(9, "c2"), known.Document); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
}

// TestFleetOfAnOlderVersion: what an older nfsync has not read of a document makes it no other one. The proof says that it is the same.
func TestFleetOfAnOlderVersion(t *testing.T) {
	d, _ := openState(t)
	full := rolloutAt(9, "c2")
	full.Proof = "9.digest.signature"
	older := full
	older.StepEnded = nil
	for _, doc := range []nf.RolloutDocument{older, full} {
		known, err := accept(d, doc)
		if diff := cmp.Diff(doc, known.Document); err != nil || diff != "" {
			t.Errorf("%v\n%s", err, diff)
		}
	}
	other := older
	other.Proof = "9.another.signature"
	if _, err := accept(d, other); err == nil {
		t.Error("another document of the same generation is taken")
	}
}

// TestFleetOfAnotherChannel: what is known of one fleet says nothing of another.
func TestFleetOfAnotherChannel(t *testing.T) {
	d, _ := openState(t)
	if _, err := accept(d, rolloutAt(9, "c2")); err != nil {
		t.Fatal(err)
	}
	for _, of := range [][2]string{{"other", coordinator}, {channel, "UOTHER"}} {
		f, err := d.Fleet(of[0], of[1])
		if err != nil || f.Document.Generation != 0 || f.Channel != of[0] || f.CoordinatorKey != of[1] {
			t.Errorf("%v: %+v, %v", of, f, err)
		}
	}
}

func TestGrantNeverGoesBack(t *testing.T) {
	d, _ := openState(t)
	for _, g := range []struct {
		generation uint64
		older      bool
	}{{3, false}, {3, false}, {2, true}, {4, false}} {
		_, err := d.ChangeFleet(t.Context(), channel, coordinator, func(f *state.Fleet) error {
			return f.AcceptGrant(nf.RestartGrant{Generation: g.generation})
		})
		if _, older := errors.AsType[*state.OlderError](err); older != g.older || !older && err != nil {
			t.Errorf("generation %d: %v", g.generation, err)
		}
	}
}

// TestDamagedFleet: what is damaged is never taken for a node that has had no document.
func TestDamagedFleet(t *testing.T) {
	d, path := openState(t)
	if _, err := accept(d, rolloutAt(9, "c2")); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(path, "fleet")
	if err := os.Truncate(name, 40); err != nil {
		t.Fatal(err)
	}
	if _, err := accept(d, rolloutAt(1, "c1")); !errors.Is(err, state.ErrDamaged) || !strings.Contains(err.Error(), "move it away") {
		t.Errorf("damaged: %v", err)
	}
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	if _, err := accept(d, rolloutAt(1, "c1")); err != nil {
		t.Errorf("moved away: %v", err)
	}
}

// TestFleetIsChangedByOneProcess: no change of two at the same time is lost.
func TestFleetIsChangedByOneProcess(t *testing.T) {
	d, path := openState(t)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			dir, err := state.Open(path)
			if err == nil {
				_, err = dir.ChangeFleet(context.Background(), channel, coordinator, func(f *state.Fleet) error {
					f.Grant++
					return nil
				})
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if f, err := d.Fleet(channel, coordinator); err != nil || f.Grant != 20 {
		t.Errorf("%d of 20 changes, %v", f.Grant, err)
	}
}
