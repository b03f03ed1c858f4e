package apply

import (
	"cmp"
	"maps"
	"slices"

	"nfsync.dev/nfsync/internal/nf"
)

// remember returns the memory after the run: with what was in sync and what was
// applied, without containers that no longer exist.
func (r *run) remember() nf.Memory {
	m := newMemory(r.memory)
	now := r.existing()
	m.forget(now)
	for _, s := range r.planned.InSync {
		m.put(nf.MemoryKey{Target: s.Target, Key: s.Key, Asked: s.Asked, Applied: s.Value, Instance: r.node.plannedInstance(s.Target)})
	}
	for _, s := range r.again {
		m.put(nf.MemoryKey{Target: s.Target, Key: s.Key, Asked: s.Asked, Applied: s.Value, Instance: r.node.instances[s.Target.Nameless()]})
	}
	for _, a := range r.attempts {
		m.applied(r.node, a)
	}
	if r.maxScope != "" {
		m.learn(r.node.snap.Kernel.Release, r.maxScope)
	}
	m.Failures = r.failures(now)
	m.latch(r.node, now)
	m.settleRestarts(r.node, r.attempts, now)
	m.dropRestarts(r.wants, r.node)
	if r.in.Only == nil && r.in.Filter.IsZero() && !r.stopped && !slices.ContainsFunc(r.attempts, func(a *attempt) bool { return a.unsound() }) {
		m.Revision = r.in.Revision
	}
	return m.sorted()
}

// unsound reports whether the attempt keeps its revision from being remembered as
// applied.
func (a *attempt) unsound() bool {
	return slices.Contains([]Outcome{Failed, Undone, Kept, Stuck}, a.result.Outcome)
}

// memory is an nf.Memory with its keys indexed by target and key.
type memory struct {
	nf.Memory
	keys map[memoryPlace]nf.MemoryKey
}

type memoryPlace struct {
	target nf.Target // nameless
	key    nf.Key
}

func placeOf(t nf.Target, k nf.Key) memoryPlace { return memoryPlace{t.Nameless(), k} }

// newMemory returns a copy, so that it can be compared with what the run began
// with.
func newMemory(old nf.Memory) *memory {
	m := &memory{old, make(map[memoryPlace]nf.MemoryKey, len(old.Keys))}
	m.MaxScope = maps.Clone(old.MaxScope)
	m.Latches = slices.Clone(old.Latches)
	m.Restarts = slices.Clone(old.Restarts)
	for _, k := range old.Keys {
		m.keys[placeOf(k.Target, k.Key)] = k
	}
	return m
}

// put remembers a key. Once nfsync has set a key, Set stays.
func (m *memory) put(k nf.MemoryKey) {
	at := placeOf(k.Target, k.Key)
	k.Set = k.Set || m.keys[at].Set
	m.keys[at] = k
}

// applied remembers a change that was made and stays. A restart is remembered as
// the level that it brought.
func (m *memory) applied(n *node, a *attempt) {
	if a.result.Outcome != Applied && (a.result.Outcome != Kept || !n.world.InSync(asLevel(a.Change))) {
		return
	}
	if n.endedWithInstance(a) && a.Key != nf.KeyRestart {
		m.put(nf.MemoryKey{Target: a.Target, Key: a.Key, Asked: a.Asked, Applied: a.To, Instance: a.instance, Set: a.touched})
		return
	}
	key := asLevel(a.Change).Key
	// The live layer has met the same want: its value counts, not the saved one.
	if was, known := m.keys[placeOf(a.Target, key)]; known && a.Layer == nf.LayerBoot && was.Asked == a.Asked && was.Instance == n.instances[a.Target.Nameless()] {
		was.Set = was.Set || a.touched
		m.put(was)
		return
	}
	m.put(nf.MemoryKey{Target: a.Target, Key: key, Asked: a.Asked, Applied: n.world.Value(a.Change), Instance: n.instances[a.Target.Nameless()], Set: a.touched})
}

func (m *memory) learn(kernel, scope string) {
	if m.MaxScope == nil {
		m.MaxScope = map[string]string{}
	}
	m.MaxScope[kernel] = scope
}

// existing are the targets that exist, as far as the run has observed.
type existing struct {
	instances map[nf.Target]string // by nameless target
	up        map[nf.Target]bool   // the containers that were seen to run
	broken    bool                 // some containers are not listed
	runtimes  []string             // that were listed; empty: all
}

func (r *run) existing() existing {
	e := existingIn(r.node.snap, r.in.Runtimes)
	e.broken = e.broken || r.in.Only != nil
	return e
}

func existingIn(s *nf.Snapshot, runtimes []string) existing {
	n := len(s.Containers)
	e := existing{make(map[nf.Target]string, n+1), make(map[nf.Target]bool, n), s.Broken() != "", runtimes}
	e.instances[nf.Node] = s.BootID
	for i := range s.Containers {
		c := &s.Containers[i]
		id := c.Target().Nameless()
		e.instances[id], e.up[id] = c.Instance, c.Up()
	}
	return e
}

// vanished reports whether it is certain that a target no longer exists.
func (e existing) vanished(t nf.Target) bool {
	listed := len(e.runtimes) == 0 || slices.Contains(e.runtimes, t.Runtime)
	_, exists := e.instances[t.Nameless()]
	return listed && !e.broken && !exists
}

// ended reports whether it is certain that an instance of a target has ended.
func (e existing) ended(t nf.Target, instance string) bool {
	now, exists := e.instances[t.Nameless()]
	return exists && now != "" && now != instance || e.vanished(t)
}

// settled reports whether it is certain that nothing is left of a stuck change: its target
// has vanished or, for a live value, is another instance. A restart is settled when its
// container runs.
func (e existing) settled(c nf.StuckChange) bool {
	if c.Key == nf.KeyRestart {
		return e.vanished(c.Target) || e.up[c.Target.Nameless()]
	}
	return e.vanished(c.Target) || c.Layer == nf.LayerLive && (e.ended(c.Target, c.Instance) || c.BootID != e.instances[nf.Node])
}

// forget drops what is remembered of containers that have vanished.
func (m *memory) forget(now existing) {
	maps.DeleteFunc(m.keys, func(_ memoryPlace, k nf.MemoryKey) bool { return now.vanished(k.Target) })
	m.Restarts = slices.DeleteFunc(m.Restarts, func(d nf.RestartDone) bool { return now.vanished(d.Target) })
}

// settleRestarts notes what was seen after the restarts that were made, and drops those of
// instances that have not ended: no program of an earlier run is at work, since it
// would hold the lock.
func (m *memory) settleRestarts(n *node, attempts []*attempt, now existing) {
	for _, a := range attempts {
		i := slices.IndexFunc(m.Restarts, func(d nf.RestartDone) bool { return d.Target.Nameless() == a.Target.Nameless() })
		if a.restarted && i >= 0 {
			d := &m.Restarts[i]
			d.State, d.Became, d.Level = nf.RestartMade, n.instances[a.Target.Nameless()], n.world.Value(a.Change)
		}
	}
	m.Restarts = slices.DeleteFunc(m.Restarts, func(d nf.RestartDone) bool {
		return d.Instance == now.instances[d.Target.Nameless()] && n.unobservable(d.Target) == ""
	})
}

// dropRestarts drops the restarts that were made for another level than the one
// that is wanted now. Where none is wanted, or policies disagree, they stay: a
// policy that is removed and added again is no reason for a second restart. So they do
// where the container is unobservable: other policies may select it under the name that
// it has then.
func (m *memory) dropRestarts(wants nf.Wants, n *node) {
	asked := map[nf.Target]nf.Wish{}
	for _, w := range wants.List {
		if w.Key == nf.KeyLevel && len(w.Rivals) == 0 {
			asked[w.Target.Nameless()] = w.Wish
		}
	}
	m.Restarts = slices.DeleteFunc(m.Restarts, func(d nf.RestartDone) bool {
		now, ok := asked[d.Target.Nameless()]
		return ok && now != d.Asked && n.unobservable(d.Target) == ""
	})
}

func (m *memory) sorted() nf.Memory {
	places := slices.Collect(maps.Keys(m.keys))
	slices.SortFunc(places, func(a, b memoryPlace) int { return cmp.Or(a.target.Compare(b.target), cmp.Compare(a.key, b.key)) })
	m.Keys = make([]nf.MemoryKey, len(places))
	for i, at := range places {
		m.Keys[i] = m.keys[at]
	}
	return m.Memory
}
