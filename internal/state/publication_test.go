package state_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"nfsync.dev/nfsync/internal/state"
)

// TestPublication: what was published is read again for its branch only, and a damaged file is none.
func TestPublication(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	d, err := state.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if p := d.Publication("u", "b"); p != nil {
		t.Errorf("at first: %+v", p)
	}
	want := state.Publication{URL: "u", Branch: "b", Digest: "d", At: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), Commits: []string{"c1", "c2"}}
	if err := d.SavePublication(want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&want, d.Publication("u", "b")); diff != "" {
		t.Error(diff)
	}
	if d.Publication("v", "b") != nil || d.Publication("u", "c") != nil {
		t.Error("it is that of another branch")
	}
	if err := os.Truncate(filepath.Join(path, "publication"), 20); err != nil {
		t.Fatal(err)
	}
	if p := d.Publication("u", "b"); p != nil {
		t.Errorf("damaged: %+v", p)
	}
	if err := d.SavePublication(want); err != nil || d.Publication("u", "b") == nil {
		t.Errorf("after damage: %v", err)
	}
}

// TestLockPublication: one process publishes at a time; the other one waits as long as it may.
func TestLockPublication(t *testing.T) {
	d, err := state.Open(filepath.Join(t.TempDir(), "state"))
	if err != nil {
		t.Fatal(err)
	}
	unlock, err := d.LockPublication(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := d.LockPublication(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	time.AfterFunc(50*time.Millisecond, unlock)
	again, err := d.LockPublication(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	again()
}
