package apply

import (
	"cmp"
	"maps"
	"slices"

	"nfsync.dev/nfsync/internal/nf"
)

// remember is the memory after the run: what was in sync, what was applied, and
// nothing any more of containers that no longer exist.
func (r *run) remember() nf.Memory {
	m := newMemory(r.memory)
	there := r.present()
	m.forget(there)
	for _, s := range r.planned.InSync {
		m.put(nf.MemoryKey{Target: s.Target, Key: s.Key, Asked: s.Asked, Applied: s.Value, Instance: r.node.planned(s.Target)})
	}
	for _, a := range r.attempts {
		m.applied(r.node, a)
	}
	if r.learned != "" {
		m.learn(r.node.snap.Kernel.Release, r.learned)
	}
	m.latch(r.node, there)
	m.dropRestarts(r.wants)
	if !r.stopped && !slices.ContainsFunc(r.attempts, func(a *attempt) bool { return a.bad() }) {
		m.Revision = r.in.Revision
	}
	return m.sorted()
}

// bad reports whether the attempt keeps its revision from being the last good
// one.
func (a *attempt) bad() bool {
	return slices.Contains([]Outcome{Failed, Undone, Kept, Stuck}, a.result.Outcome)
}

// memory is an nf.Memory whose keys can be found by target and key.
type memory struct {
	nf.Memory
	keys map[memoryPlace]nf.MemoryKey
}

type memoryPlace struct {
	target nf.Target // nameless
	key    nf.Key
}

func placeOf(t nf.Target, k nf.Key) memoryPlace { return memoryPlace{t.Nameless(), k} }

// newMemory copies, so that what the run began with can be compared.
func newMemory(old nf.Memory) *memory {
	m := &memory{old, map[memoryPlace]nf.MemoryKey{}}
	m.MaxScope = maps.Clone(old.MaxScope)
	m.Latches = slices.Clone(old.Latches)
	m.Restarts = slices.Clone(old.Restarts)
	for _, k := range old.Keys {
		m.keys[placeOf(k.Target, k.Key)] = k
	}
	return m
}

// put remembers a key; that nfsync itself has set it is not forgotten.
func (m *memory) put(k nf.MemoryKey) {
	at := placeOf(k.Target, k.Key)
	k.Set = k.Set || m.keys[at].Set
	m.keys[at] = k
}

// applied remembers a change that was made and stays. A restart is remembered
// as the level that it has brought.
func (m *memory) applied(n *node, a *attempt) {
	if a.result.Outcome != Applied && (a.result.Outcome != Kept || !n.world.InSync(subject(a.Change))) {
		return
	}
	if n.endedWithInstance(a.Change) && a.Key != nf.KeyRestart {
		m.put(nf.MemoryKey{Target: a.Target, Key: a.Key, Asked: a.Asked, Applied: a.To, Instance: n.planned(a.Target), Set: a.touched})
		return
	}
	key := subject(a.Change).Key
	// One want is met in both layers: what it is now counts, not what it will be.
	if was, known := m.keys[placeOf(a.Target, key)]; known && a.Layer == nf.LayerBoot && was.Asked == a.Asked && was.Instance == n.instances[a.Target.Nameless()] {
		was.Set = was.Set || a.touched
		m.put(was)
		return
	}
	m.put(nf.MemoryKey{Target: a.Target, Key: key, Asked: a.Asked, Applied: n.value(a.Change), Instance: n.instances[a.Target.Nameless()], Set: a.touched})
}

func (m *memory) learn(kernel, scope string) {
	if m.MaxScope == nil {
		m.MaxScope = map[string]string{}
	}
	m.MaxScope[kernel] = scope
}

// present is who is there, as far as the run can tell.
type present struct {
	instances map[nf.Target]string // by nameless target
	broken    bool                 // a runtime, which then names none of its containers
	runtimes  []string             // those that were looked for; empty: all
}

func (r *run) present() present {
	s := r.node.snap
	p := present{map[nf.Target]string{nf.Node: s.BootID}, s.Broken() != "", r.in.Runtimes}
	for i := range s.Containers {
		p.instances[s.Containers[i].Target().Nameless()] = s.Containers[i].Instance
	}
	return p
}

// gone reports whether it is certain that a target no longer exists.
func (p present) gone(t nf.Target) bool {
	looked := len(p.runtimes) == 0 || slices.Contains(p.runtimes, t.Runtime)
	_, lives := p.instances[t.Nameless()]
	return looked && !p.broken && !lives
}

// ended reports whether it is certain that an instance of a target has ended.
func (p present) ended(t nf.Target, instance string) bool {
	now, lives := p.instances[t.Nameless()]
	return lives && now != "" && now != instance || p.gone(t)
}

// forget drops what is remembered of containers that are gone.
func (m *memory) forget(there present) {
	maps.DeleteFunc(m.keys, func(_ memoryPlace, k nf.MemoryKey) bool { return there.gone(k.Target) })
	m.Restarts = slices.DeleteFunc(m.Restarts, func(d nf.RestartDone) bool { return there.gone(d.Target) })
}

// dropRestarts drops the restarts that were made for another level than is asked
// now. Where none is asked, or policies do not agree on one, they stay: a policy
// that comes and goes is no reason for a second restart.
func (m *memory) dropRestarts(wants nf.Wants) {
	asked := map[nf.Target]nf.Wish{}
	for _, w := range wants.List {
		if w.Key == nf.KeyLevel && len(w.Rivals) == 0 {
			asked[w.Target.Nameless()] = w.Wish
		}
	}
	m.Restarts = slices.DeleteFunc(m.Restarts, func(d nf.RestartDone) bool {
		now, ok := asked[d.Target.Nameless()]
		return ok && now != d.Asked
	})
}

func (m *memory) sorted() nf.Memory {
	m.Keys = slices.SortedFunc(maps.Values(m.keys), func(a, b nf.MemoryKey) int {
		return cmp.Or(a.Target.Compare(b.Target), cmp.Compare(a.Key, b.Key))
	})
	return m.Memory
}
