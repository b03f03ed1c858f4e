package state_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"nfsync.dev/nfsync/internal/durable"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/state"
	"nfsync.dev/nfsync/internal/state/statetest"
)

var (
	web     = nf.Target{Kind: nf.TargetContainer, Runtime: nf.RuntimeNetns, ID: "web", Name: "web"}
	ftp     = nf.Module(nf.ModuleLoaded, nil)
	ipset   = nf.Module(nf.ModuleLoaded, map[string]string{"max_sets": "512"})
	compare = cmp.Options{cmp.Comparer(func(a, b nf.Value) bool { return a == b })}
)

func someMemory() nf.Memory {
	return nf.Memory{
		Revision: "abc",
		Keys: []nf.MemoryKey{
			{Target: nf.Node, Key: nf.ModuleKey("nf_conntrack_ftp"), Asked: nf.Exactly(ftp), Applied: ftp, Instance: "boot", Set: true},
			{Target: nf.Node, Key: nf.ModuleKey("ip_set"), Asked: nf.Exactly(ipset), Applied: ipset},
			{Target: web, Key: nf.KeyMax, Asked: nf.Wish{AtLeast: 7}, Applied: nf.Number(9), Instance: "4026532000"},
			{Target: web, Key: nf.KeyLevel, Asked: nf.Exactly(nf.LevelFull.Value()), Applied: nf.Unknown("no namespace <of its own>")},
		},
		MaxScope: map[string]string{"6.18.0": "node"},
	}
}

func someRun() state.Run {
	return state.Run{ID: "00000001-x", BootID: "boot", Intents: []state.Intent{
		{Change: nf.Change{Target: nf.Node, Key: nf.ModuleKey("nf_conntrack_ftp"), Layer: nf.LayerLive,
			From: nf.Module(nf.ModuleUnloaded, nil), To: ftp, Asked: nf.Exactly(ftp)}, Asked: nf.Exactly(ftp), Instance: "boot"},
		{Change: nf.Change{Target: web, Key: nf.TimeoutKey("udp"), Layer: nf.LayerLive,
			From: nf.Number(30), To: nf.Number(60), Asked: nf.Exactly(nf.Number(60))}, Asked: nf.Exactly(nf.Number(60)), Instance: "4026532000"},
	}}
}

func someStuck() []nf.StuckChange {
	return []nf.StuckChange{{Target: nf.Node, Key: nf.ModuleKey("nf_conntrack_ftp"), Layer: nf.LayerLive, From: nf.Module(nf.ModuleUnloaded, nil), To: ftp,
		Reads: ftp, Run: "00000001-x", Instance: "boot", BootID: "boot", Why: "the kernel said EBUSY"}}
}

func open(t *testing.T, path string, disk durable.Disk) *state.Dir {
	t.Helper()
	d, err := state.OpenOn(path, disk)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A missing file is empty; what was written comes back the same, module states
// as module states.
func TestRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "nfsync")
	if m, err := state.ReadMemory(path); err != nil || !cmp.Equal(m, nf.Memory{}, compare) {
		t.Fatalf("no directory: %v, %v", m, err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("reading has made the directory: %v", err)
	}
	d := open(t, path, &statetest.Disk{})
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("mode %v, %v; want 0700", info.Mode(), err)
	}
	empty, err := d.Memory()
	must(t, err)
	stuck, err := d.Stuck()
	must(t, err)
	if _, open, err := d.Unfinished(); open || err != nil || len(stuck) > 0 || !cmp.Equal(empty, nf.Memory{}, compare) {
		t.Errorf("a new directory is not empty: %v %v %v %v", open, err, stuck, empty)
	}

	must(t, d.SaveMemory(someMemory()))
	must(t, d.SaveStuck(someStuck()))
	must(t, d.Begin(someRun()))
	memory, err := d.Memory()
	must(t, err)
	stuck, err = d.Stuck()
	must(t, err)
	run, open, err := d.Unfinished()
	must(t, err)
	want := someMemory()
	want.Stuck = someStuck()
	if diff := cmp.Diff(want, memory, compare); diff != "" {
		t.Errorf("memory (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(someStuck(), stuck, compare); diff != "" {
		t.Errorf("stuck (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(someRun(), run, compare); diff != "" || !open {
		t.Errorf("run, open %v (-want +got):\n%s", open, diff)
	}

	must(t, d.Finishing())
	must(t, d.End())
	if _, open, err := d.Unfinished(); open || err != nil {
		t.Errorf("after its end the run is open: %v, %v", open, err)
	}
	must(t, d.Begin(someRun()))
	if _, open, err := d.Unfinished(); !open || err != nil {
		t.Errorf("the next run has not begun: %v, %v", open, err)
	}
}

// Whatever happens to a file: reading it fails, names the file and says what to
// do, or gives what was written. A journal whose run has ended may read as not
// ended, since its end is looked at the machine again.
func TestDamage(t *testing.T) {
	for _, name := range []string{"memory", "stuck", "journal", "lastgood", "positions"} {
		path := t.TempDir()
		d := open(t, path, &statetest.Disk{})
		must(t, d.SaveMemory(someMemory()))
		must(t, d.SaveStuck(someStuck()))
		must(t, d.Begin(someRun()))
		must(t, d.SaveLastGood(someLastGood()))
		for _, p := range somePositions() {
			must(t, d.SavePosition(p))
		}
		file := filepath.Join(path, name)
		good, err := os.ReadFile(file)
		must(t, err)
		for what, bad := range damaged(good) {
			must(t, os.WriteFile(file, bad, 0o600))
			var same bool
			switch name {
			case "memory":
				var m nf.Memory
				m, err = state.ReadMemory(path)
				m.Stuck = nil // has a file of its own
				same = cmp.Equal(m, someMemory(), compare)
			case "stuck":
				var s []nf.StuckChange
				s, err = d.Stuck()
				same = cmp.Equal(s, someStuck(), compare)
			case "journal":
				var r state.Run
				var unfinished bool
				r, unfinished, err = d.Unfinished()
				same = unfinished && cmp.Equal(r, someRun(), compare)
			case "lastgood":
				var g state.LastGood
				g, err = d.LastGood()
				same = cmp.Equal(g, someLastGood())
			case "positions":
				var list []state.Position
				list, err = d.Positions()
				same = cmp.Equal(list, somePositions())
			}
			if err == nil && !same {
				t.Errorf("%s, %s: it was read as something else", name, what)
			}
			if err != nil && !strings.Contains(err.Error(), file) {
				t.Errorf("%s, %s: %q does not name the file", name, what, err)
			}
			if err == nil && what != "a torn end" {
				t.Errorf("%s, %s: no error", name, what)
			}
			if errors.Is(err, state.ErrDamaged) && !strings.Contains(err.Error(), "; put a good copy") && !strings.Contains(err.Error(), "; check the node") {
				t.Errorf("%s, %s: %q has no remedy", name, what, err)
			}
		}
	}
}

func damaged(good []byte) map[string][]byte {
	all := map[string][]byte{
		"empty":           {},
		"one zero":        {0},
		"zeros":           make([]byte, len(good)),
		"garbage":         []byte("\x7fELF\x02\x01\x01"),
		"other JSON":      []byte("{}\n"),
		"null":            []byte("null\n"),
		"twice":           append(slices.Clone(good), good...),
		"garbage after":   append(slices.Clone(good), "garbage\n"...),
		"the first bytes": good[1:],
		"another version": []byte(strings.Replace(string(good), `"format": 3`, `"format": 1`, 1)),
		"another kind":    []byte(strings.Replace(string(good), `"kind": "`, `"kind": "x`, 1)),
	}
	if good[0] != '{' { // the journal
		delete(all, "another version") // see TestJournalVersion
		delete(all, "another kind")
	}
	for n := 1; n < len(good)-1; n++ {
		all[fmt.Sprintf("cut at %d", n)] = good[:n]
	}
	for i := range len(good) * 8 {
		bad := slices.Clone(good)
		bad[i/8] ^= 1 << (i % 8)
		all[fmt.Sprintf("bit %d", i)] = bad
	}
	return all
}

// What a crash can leave of the end's record is no end; a flipped bit in it is
// damage at its offset.
func TestJournalTail(t *testing.T) {
	path := t.TempDir()
	d := open(t, path, &statetest.Disk{})
	must(t, d.Begin(someRun()))
	file := filepath.Join(path, "journal")
	begin, err := os.ReadFile(file)
	must(t, err)
	must(t, d.End())
	whole, err := os.ReadFile(file)
	must(t, err)
	end := whole[len(begin):]
	lost := append(slices.Clone(begin), make([]byte, len(end))...)
	lost[len(lost)-1] = '\n'

	torn := map[string][]byte{"nothing": begin, "zeros": append(slices.Clone(begin), make([]byte, 4096)...), "a lost page": lost}
	for n := 1; n < len(end); n++ {
		torn[fmt.Sprintf("%d bytes", n)] = whole[:len(begin)+n]
	}
	for what, data := range torn {
		must(t, os.WriteFile(file, data, 0o600))
		if _, open, err := d.Unfinished(); !open || err != nil {
			t.Errorf("%s of the end: open %v, %v", what, open, err)
		}
		must(t, d.End())
		if got, err := os.ReadFile(file); err != nil || string(got) != string(whole) {
			t.Errorf("%s of the end: the journal is %q after its end, %v", what, got, err)
		}
	}
	for i := range len(end) * 8 {
		bad := slices.Clone(whole)
		bad[len(begin)+i/8] ^= 1 << (i % 8)
		must(t, os.WriteFile(file, bad, 0o600))
		_, unfinished, err := d.Unfinished()
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("at byte %d", len(begin))) {
			t.Errorf("bit %d of the end: unfinished %v, %v; want the offset %d", i, unfinished, err, len(begin))
		}
	}
}

// Intents that became clear later take the place of the earlier ones, and those of another
// instance are added; those of a record that was cut off are not there.
func TestIntend(t *testing.T) {
	path := t.TempDir()
	d := open(t, path, &statetest.Disk{})
	must(t, d.Begin(someRun()))
	clearer := someRun().Intents[1]
	clearer.From = nf.Number(77)
	must(t, d.Intend([]state.Intent{clearer}))
	want := someRun()
	want.Intents[1] = clearer
	next := clearer
	next.Instance = "another"
	must(t, d.Intend([]state.Intent{next}))
	want.Intents = append(want.Intents, next)
	got, unfinished, err := d.Unfinished()
	if diff := cmp.Diff(want, got, compare); diff != "" || !unfinished || err != nil {
		t.Errorf("unfinished %v, %v (-want +got):\n%s", unfinished, err, diff)
	}
	file := filepath.Join(path, "journal")
	whole, err := os.ReadFile(file)
	must(t, err)
	must(t, os.WriteFile(file, whole[:len(whole)-1], 0o600))
	got, unfinished, err = d.Unfinished()
	want.Intents = want.Intents[:len(want.Intents)-1]
	if diff := cmp.Diff(want, got, compare); diff != "" || !unfinished || err != nil {
		t.Errorf("cut off: unfinished %v, %v (-want +got):\n%s", unfinished, err, diff)
	}
	must(t, d.End())
	if _, unfinished, err := d.Unfinished(); unfinished || err != nil {
		t.Errorf("after the end: %v, %v", unfinished, err)
	}
}

// A format that this program does not know is not damage, and is not set aside.
func TestJournalVersion(t *testing.T) {
	path := t.TempDir()
	d := open(t, path, &statetest.Disk{})
	const text = `{"format":1,"begin":{"id":"1","bootID":"b","intents":null}}`
	sum := crc32.Checksum([]byte(text), crc32.MakeTable(crc32.Castagnoli))
	line := fmt.Appendf(nil, "%08x %d %s\n", sum, len(text), text)
	must(t, os.WriteFile(filepath.Join(path, "journal"), line, 0o600))
	_, _, err := d.Unfinished()
	if err == nil || errors.Is(err, state.ErrDamaged) || !strings.Contains(err.Error(), "version 1") {
		t.Errorf("got %v", err)
	}
	if err := d.SetAside(); err == nil {
		t.Error("it was set aside")
	}
}

func TestSetAside(t *testing.T) {
	path := t.TempDir()
	d := open(t, path, &statetest.Disk{})
	for _, name := range []string{"journal", "stuck"} {
		must(t, os.WriteFile(filepath.Join(path, name), []byte("garbage"), 0o600))
	}
	must(t, d.SetAside())
	_, unfinished, err := d.Unfinished()
	must(t, err)
	stuck, err := d.Stuck()
	must(t, err)
	if unfinished || len(stuck) > 0 {
		t.Errorf("left: %v, %v", unfinished, stuck)
	}
	for _, name := range []string{"journal.damaged", "stuck.damaged"} {
		if _, err := os.Stat(filepath.Join(path, name)); err != nil {
			t.Error(err)
		}
	}
}

// What cannot be read is an error, never an empty start.
func TestUnreadable(t *testing.T) {
	path := t.TempDir()
	d := open(t, path, &statetest.Disk{})
	for _, name := range []string{"memory", "stuck", "journal", "lastgood", "positions"} {
		must(t, os.Mkdir(filepath.Join(path, name), 0o700)) // reading it is EISDIR
	}
	_, memoryErr := d.Memory()
	_, stuckErr := d.Stuck()
	_, _, journalErr := d.Unfinished()
	_, lastGoodErr := d.LastGood()
	_, positionsErr := d.Positions()
	for name, err := range map[string]error{"memory": memoryErr, "stuck": stuckErr, "journal": journalErr, "lastgood": lastGoodErr, "positions": positionsErr} {
		if err == nil || !strings.Contains(err.Error(), filepath.Join(path, name)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// At whatever call a save is stopped, by a crash or a power cut, who reads finds
// the old file or the new one; once it has returned, the new one.
func TestCrashBetweenAnyTwoCalls(t *testing.T) {
	before, after := nf.Memory{Revision: "before"}, nf.Memory{Revision: strings.Repeat("after", 1000)}
	statetest.PowerCuts(func(disk *statetest.Disk, cut func(string, func()) bool) {
		path := t.TempDir()
		d := open(t, path, disk)
		must(t, d.SaveMemory(before))
		must(t, d.Begin(someRun()))
		finished := cut(path, func() {
			must(t, d.SaveMemory(after))
			must(t, d.End())
		})
		got, err := state.ReadMemory(path)
		must(t, err)
		_, unfinished, err := d.Unfinished()
		must(t, err)
		switch {
		case got.Revision != before.Revision && got.Revision != after.Revision:
			t.Fatalf("the memory is %q", got.Revision)
		case finished && (unfinished || got.Revision != after.Revision):
			t.Fatalf("what had been written is lost: %v, %q", unfinished, got.Revision)
		case !unfinished && got.Revision != after.Revision:
			t.Fatal("the end is there before what was written before it")
		}
	})
}

// A reader beside a writer never sees half a file.
func TestReadWhileWriting(t *testing.T) {
	path := t.TempDir()
	d := open(t, path, &statetest.Disk{})
	must(t, d.SaveMemory(someMemory()))
	done := make(chan error)
	go func() {
		var err error
		for i := 0; i < 200 && err == nil; i++ {
			m := someMemory()
			m.Revision = strings.Repeat("x", i*37)
			err = d.SaveMemory(m)
		}
		done <- err
	}()
	for {
		m, err := state.ReadMemory(path)
		if err != nil || len(m.Keys) != len(someMemory().Keys) {
			t.Fatalf("read %v, %v", m, err)
		}
		select {
		case err := <-done:
			must(t, err)
			return
		default:
		}
	}
}

// Receipts keep their order when the clock is set back, and the oldest go.
func TestReceipts(t *testing.T) {
	path := t.TempDir()
	d := open(t, path, &statetest.Disk{})
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for range 105 {
		id, err := d.NextReceipt(now)
		must(t, err)
		must(t, d.SaveReceipt(id, map[string]string{"id": id}))
		now = now.Add(-time.Hour)
	}
	entries, err := os.ReadDir(filepath.Join(path, "receipts"))
	must(t, err)
	if len(entries) != 100 || !strings.HasPrefix(entries[0].Name(), "00000006-") || !strings.HasPrefix(entries[99].Name(), "00000105-") {
		t.Errorf("%d receipts, %s to %s", len(entries), entries[0], entries[len(entries)-1])
	}
	var envelope struct{ Data struct{ ID string } }
	text, err := os.ReadFile(filepath.Join(path, "receipts", entries[99].Name()))
	must(t, err)
	if err := json.Unmarshal(text, &envelope); err != nil || envelope.Data.ID+".json" != entries[99].Name() {
		t.Errorf("receipt %s: %v", text, err)
	}
}

// What is older than ninety days goes, but never the newest ten; the ids rise all the same.
func TestReceiptsOfLongAgo(t *testing.T) {
	dir, newest := t.TempDir(), ""
	d := open(t, dir, &statetest.Disk{})
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	save := func(n int, step time.Duration) (ids []string) {
		for range n {
			id, err := d.NextReceipt(now)
			must(t, err)
			must(t, d.SaveReceipt(id, map[string]string{"id": id}))
			now = now.Add(step)
			newest = id
		}
		ids, err := state.ReceiptIDs(dir)
		must(t, err)
		return ids
	}
	if ids := save(30, 24*time.Hour); len(ids) != 30 || ids[0] != newest {
		t.Errorf("within ninety days: %v", ids)
	}
	now = now.Add(365 * 24 * time.Hour)
	if ids := save(1, time.Hour); len(ids) != 10 || state.ReceiptNumber(ids[0]) != 31 || state.ReceiptNumber(ids[9]) != 22 {
		t.Errorf("a year later: %v", ids)
	}
	if ids := save(15, time.Hour); len(ids) != 16 || state.ReceiptNumber(ids[15]) != 31 {
		t.Errorf("and then: %v", ids)
	}
	now = now.Add(-10 * 365 * 24 * time.Hour) // the clock is set back
	if ids := save(1, time.Hour); len(ids) != 17 || state.ReceiptNumber(ids[0]) != 47 {
		t.Errorf("the clock was set back: %v", ids)
	}
	found, err := state.ReadReceipt(dir, newest, &map[string]string{})
	if !found || err != nil {
		t.Errorf("%v, %v", found, err)
	}
}

// What a killed run has left beside its record goes, whatever its name, and nothing else.
func TestRemoveLeftovers(t *testing.T) {
	path := t.TempDir()
	d := open(t, path, &statetest.Disk{})
	left := []string{".memory.123.tmp", ".journal.9.tmp", "receipts/.00000007-20261130T120000Z.json.55.tmp", "reserve"}
	stays := []string{"memory.tmp", ".hidden", "receipts/00000006-20261130T120000Z.json"}
	for _, name := range slices.Concat(left, stays) {
		must(t, os.WriteFile(filepath.Join(path, name), []byte("x"), 0o600))
	}
	must(t, d.RemoveLeftovers())
	for _, name := range left {
		if _, err := os.Stat(filepath.Join(path, name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range stays {
		if _, err := os.Stat(filepath.Join(path, name)); err != nil {
			t.Error(err)
		}
	}
}

// TestOpenAtOnce: several processes open the directory and save, while a run removes leftovers.
func TestOpenAtOnce(t *testing.T) {
	path := t.TempDir()
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 30 {
				d, err := state.Open(path)
				if err == nil {
					err = d.SaveSuspension(&nf.Suspension{Reason: "x"})
				}
				if err == nil {
					err = d.RemoveLeftovers()
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	if entries, err := os.ReadDir(path); err != nil || len(entries) != 2 { // the receipts and the suspension
		t.Errorf("%v, %v", entries, err)
	}
}
