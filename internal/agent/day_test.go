package agent

import (
	"testing"
	"time"

	"nfsync.dev/nfsync/internal/nf"
)

// TestDays: a day ends with the present, has what was read in it, and gaps where nothing was.
func TestDays(t *testing.T) {
	n, tables, pass := newNode(map[string]int64{"web-1": 100, "idle": 0})
	at := func(count int64) {
		n.entries["web-1"] = count
		tables.read(t.Context())
	}
	at(100)
	pass(coarseSlot)
	at(200)
	pass(3 * coarseSlot)
	at(400)
	days := tables.Days([]nf.Target{nf.Node, web("web-1"), web("idle"), web("unknown")})
	if len(days) != 1 {
		t.Errorf("%d days: those of tables that were always empty, or are not known, are among them", len(days))
	}
	d := days[web("web-1")]
	for i, want := range map[int]int64{DaySlots - 1: 400, DaySlots - 2: NoCount, DaySlots - 3: NoCount, DaySlots - 4: 200, DaySlots - 5: 100, DaySlots - 6: NoCount, 0: NoCount} {
		if d[i] != want {
			t.Errorf("%d: %d, want %d", i, d[i], want)
		}
	}
	pass(coarseSlot)
	if d := tables.Days([]nf.Target{web("web-1")})[web("web-1")]; d[DaySlots-1] != NoCount || d[DaySlots-2] != 400 {
		t.Errorf("the time goes on without a reading: %v", d[DaySlots-6:])
	}
	pass(48 * time.Hour)
	if d := tables.Days([]nf.Target{web("web-1")})[web("web-1")]; d[0] != NoCount || d[DaySlots-1] != NoCount {
		t.Error("a reading of two days ago is in the day")
	}
}

// TestDaysWhileReading: who draws and who reads at the same time are no race.
func TestDaysWhileReading(t *testing.T) {
	_, tables, _ := newNode(map[string]int64{"web-1": limit})
	done := make(chan bool)
	go func() {
		defer close(done)
		for range 200 {
			tables.read(t.Context())
		}
	}()
	for range 200 {
		tables.Days([]nf.Target{web("web-1")})
		tables.Report()
	}
	<-done
}
