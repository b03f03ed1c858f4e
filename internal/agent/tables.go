package agent

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/nf"
)

// TableReader reads conntrack tables.
type TableReader interface {
	// List lists the node's containers.
	List(ctx context.Context) (nf.Snapshot, error)
	// Tables reads the tables of the node and of the containers of a listing. It leaves out
	// those that cannot be read.
	Tables(ctx context.Context, listed nf.Snapshot) []nf.ConntrackTable
}

// listedAge is how old the listing of a lap may be. Then the tables list the containers
// themselves, which may run programs.
const listedAge = 15 * time.Minute

// Tables keeps the readings of the conntrack tables of the node and its containers, in memory
// only: the history of a day begins anew with the agent. It reads beside the laps.
type Tables struct {
	interval time.Duration        // between two readings
	now      func() time.Time     // for what people read
	elapsed  func() time.Duration // since the start, by a clock that only goes forward
	changed  func(TableReport)    // called after each reading

	mu     sync.Mutex // of what follows
	reader TableReader
	listed nf.Snapshot // its containers have no facts
	at     time.Duration
	report TableReport
	given  map[string]givenAt // containers that hooks have given, by their instances

	reading sync.Mutex           // held by the goroutine that reads, while it changes what follows
	tables  map[nf.Target]*table // by nameless target
}

// TableReport is what the last readings have found.
type TableReport struct {
	Read bool // at least one table was read
	// Tables are the last readings, the fullest first.
	Tables []TableReading
	// Filling are the tables that fill: those that are full first, then by the time at which they will be.
	Filling []nf.FillingTable
	// Containers counts the containers of each runtime.
	Containers map[string]int
}

// TableReading is the last reading of a table.
type TableReading struct {
	nf.ConntrackTable
	Fills  bool       // it is one of TableReport.Filling
	FullAt *time.Time // as nf.FillingTable has it
}

func newTables() *Tables {
	start := time.Now()
	return &Tables{interval: readEvery, now: time.Now, elapsed: func() time.Duration { return time.Since(start) }, tables: map[nf.Target]*table{}}
}

// Report returns what the last readings have found.
func (t *Tables) Report() TableReport {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.report
}

// run reads the tables once began is closed, and then at each interval, until ctx ends.
func (t *Tables) run(ctx context.Context, began <-chan struct{}) {
	select {
	case <-ctx.Done():
		return
	case <-began:
	}
	clock := time.NewTicker(t.interval)
	defer clock.Stop()
	for ctx.Err() == nil {
		t.read(ctx)
		select {
		case <-ctx.Done():
		case <-clock.C:
		}
	}
}

// use makes the tables be read by reader from now on.
func (t *Tables) use(reader TableReader) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.reader = reader
}

// lister is the machine of a lap. It stores what the lap has listed for the tables.
type lister struct {
	apply.Machine
	tables *Tables
}

func (l lister) List(ctx context.Context) (nf.Snapshot, error) {
	s, err := l.Machine.List(ctx)
	if err == nil {
		l.tables.claim(&s)
		l.tables.list(s)
	}
	return s, err
}

// give stores a container that a hook has given, until its runtime lists it.
func (t *Tables) give(c nf.Container) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.given == nil {
		t.given = map[string]givenAt{}
	}
	t.given[c.Instance] = givenAt{c, t.elapsed()}
}

// givenAt is a container that a hook has given, and when.
type givenAt struct {
	container nf.Container
	at        time.Duration // of elapsed
}

// maxGiven is how long a container that a hook has given is waited for.
const maxGiven = time.Minute

// claim makes named namespaces of a listing the containers that hooks have given: the state of their runtime
// does not say yet that they are.
func (t *Tables) claim(s *nf.Snapshot) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for instance, g := range t.given {
		i := slices.IndexFunc(s.Containers, func(c nf.Container) bool { return c.Instance == instance })
		switch {
		case i >= 0 && isFileOf(&s.Containers[i], &g.container):
			c := g.container
			c.Namespace, c.Excluded = s.Containers[i].Namespace, s.Containers[i].Excluded
			s.Containers[i] = c
		case i >= 0 || t.elapsed()-g.at > maxGiven:
			delete(t.given, instance)
		}
	}
	nf.SortContainers(s.Containers)
}

// Label is Label of the machine, if it has it.
func (l lister) Label(ctx context.Context, listed *nf.Snapshot) {
	apply.Label(ctx, l.Machine, listed)
}

// identities returns containers without their facts.
func identities(containers []nf.Container) []nf.Container {
	kept := make([]nf.Container, len(containers))
	for i, c := range containers {
		kept[i] = nf.Container{Runtime: c.Runtime, ID: c.ID, Name: c.Name, State: c.State, Instance: c.Instance, Entry: c.Entry, Excluded: c.Excluded,
			Namespace: nf.Namespace{Keepers: c.Keepers}}
	}
	return kept
}

// haveOther reports whether one of the instances was listed before under another id, so that its
// container has several names.
func (t *Tables) haveOther(containers []nf.Container) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return haveOther(t.listed.Containers, containers)
}

// known returns the containers of the last listing. Nobody changes them.
func (t *Tables) known() []nf.Container {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.listed.Containers
}

// haveOther reports whether one of the instances is in the list under another id.
func haveOther(list, containers []nf.Container) bool {
	return slices.ContainsFunc(containers, func(c nf.Container) bool {
		return slices.ContainsFunc(list, func(o nf.Container) bool {
			return o.Instance == c.Instance && o.Instance != "" && o.Target() != c.Target() && !isFileOf(&o, &c)
		})
	})
}

// isFileOf reports whether a named namespace, which no runtime had claimed when it was listed, is that of a
// container of a runtime.
func isFileOf(o, c *nf.Container) bool {
	return o.Runtime == nf.RuntimeNetns && c.Runtime != nf.RuntimeNetns && o.Instance == c.Instance
}

// instances returns what reports whether an instance was in the last listing; nil if there was none.
func (t *Tables) instances() func(instance string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.listed.BootID == "" {
		return nil
	}
	list := t.listed.Containers // nobody changes it: another one takes its place
	return func(instance string) bool {
		return slices.ContainsFunc(list, func(c nf.Container) bool { return c.Instance == instance })
	}
}

// addListed adds containers to the listing.
func (t *Tables) addListed(s nf.Snapshot) {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := slices.DeleteFunc(slices.Clone(t.listed.Containers), func(o nf.Container) bool {
		return slices.ContainsFunc(s.Containers, func(c nf.Container) bool { return c.Target() == o.Target() })
	})
	t.listed.Containers = append(all, identities(s.Containers)...)
	nf.SortContainers(t.listed.Containers)
}

// list stores a listing without its facts, and returns it.
func (t *Tables) list(s nf.Snapshot) nf.Snapshot {
	kept := nf.Snapshot{BootID: s.BootID, Containers: identities(s.Containers)}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.listed, t.at = kept, t.elapsed()
	return kept
}

// listing returns the last listing, or a new one if that is too old, and the reader; nil if there
// is none.
func (t *Tables) listing(ctx context.Context) (nf.Snapshot, TableReader) {
	t.mu.Lock()
	reader, listed, age := t.reader, t.listed, t.elapsed()-t.at
	t.mu.Unlock()
	if reader == nil || listed.BootID != "" && age <= listedAge {
		return listed, reader
	}
	s, err := reader.List(ctx)
	if err != nil {
		return listed, reader // a lap says that the containers cannot be listed
	}
	return t.list(s), reader
}

// read reads the tables that are due.
func (t *Tables) read(ctx context.Context) {
	listed, reader := t.listing(ctx)
	if reader == nil || ctx.Err() != nil {
		return
	}
	t.forget(listed)
	due := listed
	due.Containers = slices.DeleteFunc(slices.Clone(listed.Containers), func(c nf.Container) bool { return !t.isDue(&c) })
	readings := reader.Tables(ctx, due)
	if ctx.Err() != nil {
		return
	}
	report := t.addReadings(listed, due, readings)
	t.mu.Lock()
	t.report = report
	t.mu.Unlock()
	if t.changed != nil {
		t.changed(report)
	}
}

// addReadings adds readings of the tables that were due, and returns what the last ones have found.
func (t *Tables) addReadings(listed, due nf.Snapshot, readings []nf.ConntrackTable) TableReport {
	t.reading.Lock()
	defer t.reading.Unlock()
	t.missed(due)
	now, elapsed := t.now(), t.elapsed()
	for _, r := range readings {
		key := r.Target.Nameless()
		if t.tables[key] == nil {
			t.tables[key] = &table{}
		}
		t.tables[key].read(r, now, elapsed)
	}
	maps.DeleteFunc(t.tables, func(_ nf.Target, known *table) bool { return known.missed >= goneAfter })
	return t.newReport(listed)
}

// isDue reports whether the table of a container is to be read now.
func (t *Tables) isDue(c *nf.Container) bool {
	known := t.tables[c.Target().Nameless()]
	return known == nil || t.elapsed()+t.interval/2 >= known.due
}

// missed counts a reading that is due as not made, until it is.
func (t *Tables) missed(due nf.Snapshot) {
	targets := []nf.Target{nf.Node}
	for i := range due.Containers {
		targets = append(targets, due.Containers[i].Target().Nameless())
	}
	for _, target := range targets {
		if known := t.tables[target]; known != nil {
			known.missed++
		}
	}
}

// forget drops the tables of instances that have ended.
func (t *Tables) forget(listed nf.Snapshot) {
	t.reading.Lock()
	defer t.reading.Unlock()
	instances := map[nf.Target]string{nf.Node: listed.BootID}
	for i := range listed.Containers {
		c := &listed.Containers[i]
		instances[c.Target().Nameless()] = c.Instance
	}
	for target, known := range t.tables {
		if instance, ok := instances[target]; !ok || instance != known.reading.Instance {
			delete(t.tables, target)
		}
	}
}

func (t *Tables) newReport(listed nf.Snapshot) TableReport {
	r := TableReport{Read: len(t.tables) > 0, Filling: []nf.FillingTable{}, Containers: map[string]int{}}
	for _, c := range listed.Containers {
		r.Containers[c.Runtime]++
	}
	for _, known := range t.tables {
		reading := TableReading{ConntrackTable: known.reading, Fills: known.fills}
		if known.fills {
			f := known.filling()
			reading.FullAt = f.FullAt
			r.Filling = append(r.Filling, f)
		}
		r.Tables = append(r.Tables, reading)
	}
	slices.SortFunc(r.Tables, func(a, b TableReading) int {
		return cmp.Or(cmp.Compare(b.filled(), a.filled()), cmp.Compare(b.Count, a.Count), a.Target.Compare(b.Target))
	})
	slices.SortFunc(r.Filling, compareFilling)
	return r
}

// filled returns how full a table is, from 0 to 1; 0 if it has no limit.
func (r TableReading) filled() float64 {
	if r.Max <= 0 {
		return 0
	}
	return float64(r.Count) / float64(r.Max)
}

// compareFilling orders tables by urgency: full ones, then by the time at which they will be full, then
// those that do not rise.
func compareFilling(a, b nf.FillingTable) int {
	rank := func(f nf.FillingTable) int {
		switch {
		case f.Full:
			return 0
		case f.FullAt != nil:
			return 1
		}
		return 2
	}
	if order := cmp.Compare(rank(a), rank(b)); order != 0 || a.FullAt == nil || b.FullAt == nil {
		return cmp.Or(order, a.Target.Compare(b.Target))
	}
	return cmp.Or(a.FullAt.Compare(*b.FullAt), a.Target.Compare(b.Target))
}
