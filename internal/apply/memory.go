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
	m.forget(r.node.snap)
	for _, s := range r.planned.InSync {
		m.put(nf.MemoryKey{Target: s.Target, Key: s.Key, Asked: s.Asked, Applied: s.Value, Instance: r.node.instances[s.Target]})
	}
	for _, a := range r.attempts {
		m.applied(r.node, a)
	}
	if r.learned != "" {
		m.learn(r.node.snap.Kernel.Release, r.learned)
	}
	if !r.stopped && !slices.ContainsFunc(r.attempts, func(a *attempt) bool { return a.bad() }) {
		m.Revision = r.in.Revision
	}
	return m.sorted()
}

// bad tells whether the attempt keeps its revision from being the last good
// one.
func (a *attempt) bad() bool {
	return slices.Contains([]Outcome{Failed, Undone, Kept, Stuck}, a.result.Outcome)
}

// memory is an nf.Memory whose keys can be found by target and key.
type memory struct {
	nf.Memory
	keys map[memoryPlace]nf.MemoryKey
}

// memoryPlace leaves a container's name out: renamed, it is the same one.
type memoryPlace struct {
	kind, runtime, id string
	key               nf.Key
}

func placeOf(t nf.Target, k nf.Key) memoryPlace { return memoryPlace{t.Kind, t.Runtime, t.ID, k} }

// newMemory copies, so that what the run began with can be compared.
func newMemory(old nf.Memory) *memory {
	m := &memory{old, map[memoryPlace]nf.MemoryKey{}}
	m.MaxScope = maps.Clone(old.MaxScope)
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

// applied remembers a change that was made and stays.
func (m *memory) applied(n *node, a *attempt) {
	if a.result.Outcome != Applied && (a.result.Outcome != Kept || !n.world.InSync(a.Change)) {
		return
	}
	// One want is met in both layers: what it is now counts, not what it will be.
	if was, known := m.keys[placeOf(a.Target, a.Key)]; known && a.Layer == nf.LayerBoot && was.Asked == a.Asked && was.Instance == n.instances[a.Target] {
		was.Set = was.Set || a.touched
		m.put(was)
		return
	}
	m.put(nf.MemoryKey{Target: a.Target, Key: a.Key, Asked: a.Asked, Applied: n.value(a.Change), Instance: n.instances[a.Target], Set: a.touched})
}

func (m *memory) learn(kernel, scope string) {
	if m.MaxScope == nil {
		m.MaxScope = map[string]string{}
	}
	m.MaxScope[kernel] = scope
}

// forget drops the keys of containers that no longer exist. A runtime that is
// broken names none of its containers, and then nothing is dropped.
func (m *memory) forget(s *nf.Snapshot) {
	if slices.ContainsFunc(s.Warnings, func(w nf.Warning) bool { return w.Code == nf.WarnRuntimeBroken }) {
		return
	}
	lives := map[memoryPlace]bool{placeOf(nf.Node, ""): true}
	for i := range s.Containers {
		lives[placeOf(s.Containers[i].Target(), "")] = true
	}
	maps.DeleteFunc(m.keys, func(at memoryPlace, _ nf.MemoryKey) bool {
		at.key = ""
		return !lives[at]
	})
}

func (m *memory) sorted() nf.Memory {
	m.Keys = slices.SortedFunc(maps.Values(m.keys), func(a, b nf.MemoryKey) int {
		return cmp.Or(a.Target.Compare(b.Target), cmp.Compare(a.Key, b.Key))
	})
	return m.Memory
}
