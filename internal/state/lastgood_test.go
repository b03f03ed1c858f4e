package state_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"nfsync.dev/nfsync/internal/state"
	"nfsync.dev/nfsync/internal/state/statetest"
)

func someLastGood() state.LastGood {
	return state.LastGood{Revision: "4b825dc6", URL: "https://example.org/policies.git", Branch: "main", Signer: "<ada@example.org>",
		Since: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
		Files: []state.PolicyFile{{Name: "a.yaml", Text: "\ufeff# é <&>\r\n\tx: \"1\"\n"}, {Name: "b/c.yml"}}}
}

func somePositions() []state.Position {
	return []state.Position{
		{URL: "https://example.org/a.git", Branch: "main", Commit: "1111"},
		{URL: "https://example.org/a.git", Branch: "test", Commit: "2222"},
		{URL: "https://example.org/b.git", Branch: "main", Commit: "3333"},
	}
}

// The policies come back byte for byte: diagnostics name their lines and columns.
func TestLastGood(t *testing.T) {
	path := filepath.Join(t.TempDir(), "nfsync")
	if g, err := state.ReadLastGood(path); err != nil || g.Revision != "" {
		t.Fatalf("no directory: %v, %v", g, err)
	}
	d := open(t, path, &statetest.Disk{})
	if g, err := d.LastGood(); err != nil || g.Revision != "" {
		t.Fatalf("no file: %v, %v", g, err)
	}
	must(t, d.SaveLastGood(state.LastGood{Revision: "older", Files: []state.PolicyFile{{Name: "gone.yaml"}}}))
	must(t, d.SaveLastGood(someLastGood()))
	got, err := state.ReadLastGood(path)
	must(t, err)
	if diff := cmp.Diff(someLastGood(), got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What is too large to be laid out for people is whole all the same.
func TestLargeLastGood(t *testing.T) {
	path := t.TempDir()
	d := open(t, path, &statetest.Disk{})
	large := someLastGood()
	large.Files[1].Text = strings.Repeat("# é <&>\n", 1<<17)
	must(t, d.SaveLastGood(large))
	if got, err := d.LastGood(); err != nil || !cmp.Equal(large, got) {
		t.Errorf("it is not what was saved: %v", err)
	}
	text, err := os.ReadFile(filepath.Join(path, "lastgood"))
	must(t, err)
	must(t, os.WriteFile(filepath.Join(path, "lastgood"), text[:len(text)/2], 0o600))
	if _, err := d.LastGood(); !errors.Is(err, state.ErrDamaged) {
		t.Errorf("cut off: %v", err)
	}
}

// Each URL and branch has one position, which a new one replaces.
func TestPositions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "nfsync")
	if list, err := state.ReadPositions(path); err != nil || len(list) > 0 {
		t.Fatalf("no directory: %v, %v", list, err)
	}
	disk := &statetest.Disk{}
	d := open(t, path, disk)
	want := somePositions()
	for _, i := range []int{2, 0, 1} {
		must(t, d.SavePosition(want[i]))
	}
	want[1].Commit = "4444"
	must(t, d.SavePosition(want[1]))
	got, err := d.Positions()
	must(t, err)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	syncs := disk.Syncs
	must(t, d.SavePosition(want[0]))
	if disk.Syncs != syncs {
		t.Error("a position that is known already was written again")
	}
}

// Where the positions are damaged a new one does not make them look whole.
func TestPositionOnDamage(t *testing.T) {
	path := t.TempDir()
	d := open(t, path, &statetest.Disk{})
	file := filepath.Join(path, "positions")
	must(t, os.WriteFile(file, []byte("garbage"), 0o600))
	if err := d.SavePosition(somePositions()[0]); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("got %v", err)
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "garbage" {
		t.Errorf("it was overwritten: %q, %v", text, err)
	}
}

// A position under a URL with secrets is replaced by that of the URL without them.
func TestPositionWithSecrets(t *testing.T) {
	d := open(t, filepath.Join(t.TempDir(), "nfsync"), &statetest.Disk{})
	must(t, d.SavePosition(state.Position{URL: "https://s3cret@example.com/a?token=s3cret", Branch: "main", Commit: "c1"}))
	want := state.Position{URL: "https://example.com/a", Branch: "main", Commit: "c2"}
	must(t, d.SavePosition(want))
	if got, err := d.Positions(); err != nil || len(got) != 1 || got[0] != want {
		t.Errorf("the positions are %+v, %v", got, err)
	}
}

// HEAD names one branch of a URL, and a run that names its branch does not change which one.
func TestPositionOfHead(t *testing.T) {
	d := open(t, filepath.Join(t.TempDir(), "nfsync"), &statetest.Disk{})
	const a, b = "https://example.com/a", "https://example.com/b"
	for _, p := range []state.Position{
		{URL: a, Branch: "main", Commit: "c1", Head: true}, {URL: b, Branch: "main", Commit: "c1", Head: true},
		{URL: a, Branch: "test", Commit: "c2"}, {URL: a, Branch: "main", Commit: "c3"},
	} {
		must(t, d.SavePosition(p))
	}
	check := func(want ...state.Position) {
		t.Helper()
		if got, err := d.Positions(); err != nil || !slices.Equal(got, want) {
			t.Errorf("the positions are %+v, %v, want %+v", got, err, want)
		}
	}
	ofB := state.Position{URL: b, Branch: "main", Commit: "c1", Head: true}
	check(state.Position{URL: a, Branch: "main", Commit: "c3", Head: true}, state.Position{URL: a, Branch: "test", Commit: "c2"}, ofB)
	must(t, d.SavePosition(state.Position{URL: a, Branch: "test", Commit: "c2", Head: true}))
	check(state.Position{URL: a, Branch: "main", Commit: "c3"}, state.Position{URL: a, Branch: "test", Commit: "c2", Head: true}, ofB)
}
