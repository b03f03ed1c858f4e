package diff

import (
	"slices"

	"nfsync.dev/nfsync/internal/nf"
)

// ref names one key of one target.
type ref struct {
	target nf.Target
	key    nf.Key
}

// failureRef names one key of one target in one layer.
type failureRef struct {
	ref
	layer nf.Layer
}

// place is one target of the snapshot: the node, or a container.
type place struct {
	*nf.Namespace               // nil if the snapshot does not have the target
	container     *nf.Container // nil for the node
	// memory is what nfsync remembers of the target's keys. Of several entries for one key the
	// last one counts.
	memory []nf.MemoryKey
	// differences are those of the target, while a plan is made.
	differences []*difference
	// reach are the values that changes have brought which are not planned in full: those
	// between, and those that are supposed.
	reach []reached
}

// reached is the value of a key that planned changes have brought.
type reached struct {
	key   nf.Key
	value nf.Value
}

// placeKey names one key of a place.
type placeKey struct {
	at  *place
	key nf.Key
}

// remembered returns what nfsync remembers of a key.
func (p *place) remembered(k nf.Key) (*nf.MemoryKey, bool) {
	for i := range slices.Backward(p.memory) {
		if p.memory[i].Key == k {
			return &p.memory[i], true
		}
	}
	return nil, false
}

// hasSet reports whether nfsync remembers that it has set a key.
func (p *place) hasSet(k nf.Key) bool {
	m, known := p.remembered(k)
	return known && m.Set
}

// reached returns the value that the changes planned so far have brought; the other values are
// those of the snapshot.
func (p *place) reached(k nf.Key) (nf.Value, bool) {
	for _, d := range p.differences {
		if d.isReached && d.want.Key == k {
			return d.to, true
		}
	}
	for i := range p.reach {
		if p.reach[i].key == k {
			return p.reach[i].value, true
		}
	}
	return nf.Value{}, false
}

// setReached sets the value that changes have brought which are not planned in full.
func (p *place) setReached(k nf.Key, v nf.Value) {
	for i := range p.reach {
		if p.reach[i].key == k {
			p.reach[i].value = v
			return
		}
	}
	p.reach = append(p.reach, reached{k, v})
}

// World is a snapshot indexed for the rules. It follows changes that are made to the
// snapshot in place, so that the rules can be tried again while a plan is applied.
//
// Only one goroutine may use it at a time.
type World struct {
	snap *nf.Snapshot
	// node is the place of the node, and places are those of the containers, as the snapshot
	// has them. nowhere is that of a target which it does not have.
	node    place
	places  []place
	nowhere place
	// index holds the positions in places, by nameless target; nil before it is needed. last is
	// the position of the container that was looked up last: most steps ask several things of
	// one, and then of the next.
	index map[nf.Target]int
	last  int
	// order lists the containers' targets as the snapshot has them.
	order []nf.Target
	// saves are the levels of containers that the changes planned so far save.
	saves map[nf.Target]nf.Value
	// latches are the instances in which an earlier run saw tracking on.
	latches map[nf.Latch]bool
	// restarts are those that nfsync made or was about to make, by nameless target.
	restarts map[nf.Target][]nf.RestartDone
	// failures are what could not be made when it was last tried, by nameless target.
	failures map[failureRef]nf.Failure
	// broken says why a runtime could not be read, so that there may be
	// containers that the snapshot does not have.
	broken string
	// dependency are the modules that are wanted only because another one needs
	// them: modprobe(8) loads them at the next start.
	dependency map[string]bool
}

// NewWorld indexes a snapshot for the rules.
func NewWorld(s *nf.Snapshot) *World {
	n := len(s.Containers)
	w := &World{snap: s, broken: s.Broken(), node: place{Namespace: &s.Host}, places: make([]place, n), order: make([]nf.Target, n),
		saves: map[nf.Target]nf.Value{}, restarts: map[nf.Target][]nf.RestartDone{}, latches: map[nf.Latch]bool{}, dependency: map[string]bool{}, failures: map[failureRef]nf.Failure{}}
	for i := range s.Containers {
		c := &s.Containers[i]
		w.places[i] = place{Namespace: &c.Namespace, container: c}
		w.order[i] = c.Target()
	}
	w.addMemory(s.Memory.Keys)
	for _, l := range s.Memory.Latches {
		w.latches[nf.Latch{Target: l.Target.Nameless(), Instance: l.Instance}] = true
	}
	for _, f := range s.Memory.Failures {
		w.failures[failureRef{memoryRef(f.Target, f.Key), f.Layer}] = f
	}
	for _, done := range s.Memory.Restarts {
		t := done.Target.Nameless()
		w.restarts[t] = append(w.restarts[t], done)
	}
	return w
}

// addMemory gives each place its part of the memory, which is sorted by target in what nfsync
// has written.
func (w *World) addMemory(keys []nf.MemoryKey) {
	byTarget := func(a, b nf.MemoryKey) int { return a.Target.Nameless().Compare(b.Target.Nameless()) }
	if !slices.IsSortedFunc(keys, byTarget) {
		keys = slices.Clone(keys)
		slices.SortStableFunc(keys, byTarget)
	}
	var end int
	for first := 0; first < len(keys); first = end {
		t := keys[first].Target.Nameless()
		for end = first + 1; end < len(keys) && keys[end].Target.Nameless() == t; end++ {
		}
		if at := w.at(t); at.Namespace != nil {
			at.memory = keys[first:end]
		}
	}
}

// at returns the place of a target, whatever its name.
func (w *World) at(t nf.Target) *place {
	if t.Kind == nf.TargetNode && t.Nameless() == nf.Node {
		return &w.node
	}
	for _, i := range [...]int{w.last, w.last + 1, 0} {
		if i < len(w.order) && isSame(&w.order[i], &t) {
			w.last = i
			return &w.places[i]
		}
	}
	if w.index == nil {
		w.index = make(map[nf.Target]int, len(w.order))
		for i, other := range w.order {
			w.index[other.Nameless()] = i
		}
	}
	i, ok := w.index[t.Nameless()]
	if !ok {
		return &w.nowhere
	}
	w.last = i
	return &w.places[i]
}

// isSame reports whether two targets are the same but for their names.
func isSame(a, b *nf.Target) bool { return a.ID == b.ID && a.Runtime == b.Runtime && a.Kind == b.Kind }

// open returns the difference of a live value that is not decided yet; nil if there is none.
func (w *World) open(r ref) *difference {
	for _, d := range w.at(r.target).differences {
		if d.layer == nf.LayerLive && d.want.Key == r.key && !d.isDecided {
			return d
		}
	}
	return nil
}

func memoryRef(t nf.Target, k nf.Key) ref { return ref{t.Nameless(), k} }

// fact returns what was observed of a key, or what the plan so far has made of it.
func (w *World) fact(t nf.Target, k nf.Key) nf.Fact {
	p := w.at(t)
	if p.Namespace == nil {
		return nf.Fact{Key: k, Live: nf.Unknown("this node has no such container")}
	}
	if why := unseen(p.container); why != "" {
		return nf.Fact{Key: k, Live: nf.Unknown(why)}
	}
	f := w.observed(p, k)
	if v, ok := p.reached(k); ok {
		f.Live = v
	}
	if k == nf.KeyLevel || k == nf.KeyRestart {
		if v, ok := w.saves[t]; ok {
			f.Boot = &v
		}
	}
	return f
}

func (w *World) observed(p *place, k nf.Key) nf.Fact {
	if name, ok := k.Module(); ok {
		return nf.Fact{Key: k, Live: w.moduleValue(name)}
	}
	if k == nf.KeyRestart { // what it changes is the level
		f := w.observed(p, nf.KeyLevel)
		f.Key = k
		return f
	}
	f := p.Fact(k)
	if k == nf.KeyLevel {
		f.Live = w.levelValue(p, f.Live)
	}
	return f
}

// levelValue returns the level of a namespace: what the runtime knows of it or,
// where it knows none, what the rules use. On a node whose kernel latches it is at
// least stateful once tracking was seen on.
func (w *World) levelValue(p *place, live nf.Value) nf.Value {
	if p.runtimeLevel() {
		return live
	}
	if live.IsAbsent() {
		live = rulesLevel(p.Rules)
	}
	level, ok := live.Level()
	if ok && p.container == nil && w.latching() && level < nf.LevelStateful && w.tracking(nf.Node) == nf.TrackingOn {
		return nf.LevelStateful.Value()
	}
	return live
}

func rulesLevel(r *nf.Rules) nf.Value {
	if r == nil {
		return nf.Unknown("its rules were not read")
	}
	return r.Value()
}

// runtimeLevel reports whether the runtime of a container has a level for it: one
// that it saves for the next start, or that a mask keeps or may keep. Otherwise
// what the rules use is the level.
func (p *place) runtimeLevel() bool {
	return p.keepers().Level == nf.KeeperMask || p.keepers().Level == nf.KeeperUnknown || p.Namespace != nil && p.Fact(nf.KeyLevel).Boot != nil
}

// keepers says who keeps a namespace to its level and limit: nobody known of one
// that the snapshot does not have.
func (p *place) keepers() nf.Keepers {
	if p.Namespace == nil {
		return nf.Keepers{}
	}
	return p.Keepers
}

// instance returns the identity that ends with a restart of the target.
func (w *World) instance(t nf.Target) string {
	if p := w.at(t); p.container != nil {
		return p.container.Instance
	}
	return w.snap.BootID
}

// masked reports whether a mask of the kernel keeps the target's level.
func (w *World) masked(t nf.Target) bool { return w.at(t).keepers().Level == nf.KeeperMask }

// maxScope returns whose value the conntrack.max of a container is: as observed,
// else as memory has it for this kernel.
func (w *World) maxScope(t nf.Target) string {
	p := w.at(t)
	if p.container == nil {
		return nf.ScopeOwn
	}
	if s := p.container.MaxScope; s == nf.ScopeOwn || s == nf.ScopeNode {
		return s
	}
	if s, ok := w.snap.Memory.MaxScope[w.snap.Kernel.Release]; ok {
		return s
	}
	return nf.ScopeUnknown
}

// limit returns the conntrack.max in force in a namespace: 0 in a container means
// the node's value (nf_conntrack_core.c of the Virtuozzo 7 kernel).
func (w *World) limit(t nf.Target) nf.Value {
	v := w.fact(t, nf.KeyMax).Live
	n, ok := v.Number()
	if !t.IsNode() && (ok && n == 0 || w.maxScope(t) == nf.ScopeNode) {
		return w.fact(nf.Node, nf.KeyMax).Live
	}
	return v
}

// moduleValue returns a module's state with all its known parameters; absent if the
// kernel has no such module.
func (w *World) moduleValue(name string) nf.Value {
	m, ok := w.snap.Modules.Find(name)
	switch {
	case ok:
		params := map[string]string{}
		for p, v := range m.Parameters {
			params[p] = v.Value
		}
		return nf.Module(m.State, params)
	case w.snap.Modules.Complete:
		return nf.Absent()
	}
	return nf.Unknown(w.snap.Modules.Unknown)
}

// moduleState returns a module's state as the plan so far has made it; empty if it is
// absent or unknown.
func (w *World) moduleState(name string) string {
	state, _, _ := w.fact(nf.Node, nf.ModuleKey(name)).Live.Module()
	return state
}

// has reports whether the module is loaded or built in.
func (w *World) has(name string) bool {
	s := w.moduleState(name)
	return s == nf.ModuleLoaded || s == nf.ModuleBuiltin
}
