package agent

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/nf"
)

// node is a node whose containers have the entries that a test says, each of limit.
type node struct {
	apply.Machine
	entries    map[string]int64
	lists      int
	unreadable bool
	read       []string // the tables that were read
}

func (n *node) List(context.Context) (nf.Snapshot, error) {
	n.lists++
	s := nf.Snapshot{BootID: "boot"}
	for name := range n.entries {
		s.Containers = append(s.Containers, nf.Container{Runtime: nf.RuntimeNetns, ID: name, Name: name, State: nf.StateRunning, Instance: name})
	}
	nf.SortContainers(s.Containers)
	return s, nil
}

func (n *node) Tables(_ context.Context, listed nf.Snapshot) []nf.ConntrackTable {
	list := []nf.ConntrackTable{{Target: nf.Node, Instance: listed.BootID, Max: limit}}
	n.read = nil
	if n.unreadable {
		return nil
	}
	for i := range listed.Containers {
		c := &listed.Containers[i]
		n.read = append(n.read, c.ID)
		list = append(list, nf.ConntrackTable{Target: c.Target(), Instance: c.Instance, Count: n.entries[c.ID], Max: limit, Drops: &nf.Drops{}})
	}
	return list
}

// newNode returns tables that read a node, and what makes the time pass.
func newNode(entries map[string]int64) (*node, *Tables, func(time.Duration)) {
	n := &node{entries: entries}
	var elapsed time.Duration
	t := newTables()
	t.elapsed = func() time.Duration { return elapsed }
	t.now = func() time.Time { return noon.Add(elapsed) }
	t.use(n)
	return n, t, func(d time.Duration) { elapsed += d }
}

// TestTables: a table that is nearly empty is read each five minutes, the others each minute; what
// has ended is forgotten; a new instance begins anew; a lap lists for the tables.
func TestTables(t *testing.T) {
	n, tables, pass := newNode(map[string]int64{"busy": limit / 2, "full": limit, "quiet": 1})
	read := func(want string) {
		t.Helper()
		tables.read(t.Context())
		if got := strings.Join(n.read, " "); got != want {
			t.Errorf("read %s, want %s", got, want)
		}
		pass(time.Minute)
	}
	read("busy full quiet")
	for range 4 {
		read("busy full")
	}
	read("busy full quiet")
	r := tables.Report()
	var order []string
	for _, reading := range r.Tables {
		order = append(order, reading.Target.ID)
	}
	if got := strings.Join(order, " "); got != "full busy quiet " || r.Containers[nf.RuntimeNetns] != 3 || !r.Read {
		t.Errorf("the fullest first: %s, %+v", got, r.Containers)
	}
	if len(r.Filling) != 1 || r.Filling[0].Target.ID != "full" || !r.Filling[0].Full || r.Tables[0].FullAt == nil || r.Tables[1].FullAt != nil || !r.Tables[0].Fills || r.Tables[1].Fills {
		t.Errorf("%+v", r.Filling)
	}
	if n.lists != 1 {
		t.Errorf("listed %d times", n.lists)
	}

	delete(n.entries, "full")
	n.entries["new"] = 5
	if _, err := (lister{n, tables}).List(t.Context()); err != nil {
		t.Fatal(err)
	}
	read("busy new")
	if r := tables.Report(); len(r.Filling) != 0 || len(r.Tables) != 4 {
		t.Errorf("%+v", r)
	}
	s, _ := n.List(t.Context())
	s.Containers[0].Instance = "another one"
	tables.list(s)
	if read("busy"); len(tables.tables[web("busy")].history.minutes()) != 1 {
		t.Error("a new instance has the history of the old one")
	}
	lists := n.lists
	pass(listedAge)
	if read("busy new quiet"); n.lists != lists+1 {
		t.Errorf("listed %d times, want %d", n.lists, lists+1)
	}
}

// TestUnreadableTables: a table that cannot be read is forgotten after a few readings, and not
// after one.
func TestUnreadableTables(t *testing.T) {
	n, tables, pass := newNode(map[string]int64{"web-1": limit})
	for i, want := range []int{1, 1, 1, 1, 1, 0} {
		n.unreadable = i == 1 || i > 2
		tables.read(t.Context())
		pass(time.Minute)
		if r := tables.Report(); len(r.Filling) != want || r.Read != (want > 0) {
			t.Errorf("after %d readings: %+v", i+1, r)
		}
	}
}

func web(name string) nf.Target {
	return nf.Target{Kind: nf.TargetContainer, Runtime: nf.RuntimeNetns, ID: name}
}

// TestFillingOrder: full tables come first, then those that are full soonest, then those that are
// nearly full.
func TestFillingOrder(t *testing.T) {
	n, tables, pass := newNode(map[string]int64{})
	for minute := range 100 {
		n.entries["soon"] = int64(limit * minute / 110)
		n.entries["later"] = int64(limit * minute / 190)
		n.entries["nearly"], n.entries["full"] = limit*96/100, limit
		tables.read(t.Context())
		pass(time.Minute)
	}
	var order []string
	for _, f := range tables.Report().Filling {
		order = append(order, f.Target.ID+" "+f.When())
	}
	want := []string{"full is full since 2026-03-01 12:00:00 UTC", "soon will be full at 2026-03-01 13:50:00 UTC", "later will be full at 2026-03-01 15:10:00 UTC", "nearly is 96 % full"}
	if len(order) != 4 || order[0] != want[0] || order[3] != want[3] || !strings.HasPrefix(order[1], "soon will be full at 2026-03-01 13:") || !strings.HasPrefix(order[2], "later will be full at 2026-03-01 15:") {
		t.Errorf("%q, want about %q", order, want)
	}
}

// TestNoReader: without a reader nothing is read, and the condition is unknown.
func TestNoReader(t *testing.T) {
	tables := newTables()
	tables.read(t.Context())
	if r := tables.Report(); r.Read || tableFilling(r).condition(nf.TableFilling, "").Status != nf.ConditionUnknown {
		t.Errorf("%+v", r)
	}
}

// TestTablesMemory: the tables of a thousand containers take at most 10 MiB after a day.
func TestTablesMemory(t *testing.T) {
	entries := map[string]int64{}
	for i := range 1000 {
		entries[fmt.Sprintf("container-%d", i)] = limit * 3 / 10
	}
	before := heap()
	_, tables, pass := newNode(entries)
	for range 150 {
		tables.read(t.Context())
		pass(10 * time.Minute)
	}
	if took := heap() - before; took > 10<<20 {
		t.Errorf("the tables take %d KiB", took>>10)
	} else {
		t.Logf("the tables take %d KiB", took>>10)
	}
	if got := len(tables.tables[web("container-7")].history.day()); got != coarseSlots {
		t.Errorf("%d readings of the day", got)
	}
}

// heap returns the bytes that are in use.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
