package diff

import (
	"fmt"
	"slices"

	"nfsync.dev/nfsync/internal/nf"
	"pgregory.net/rapid"
)

// oracle is a little machine that knows what a kernel does and
// nothing of the rules.
type oracle struct {
	*nf.Snapshot
	allow map[nf.Target]bool // containers that may be restarted
	// stubborn are those whose starts do not bring what is saved.
	stubborn map[nf.Target]bool
}

func newOracle(t *rapid.T, s *nf.Snapshot, w nf.Wants) oracle {
	o := oracle{clone(t, s), map[nf.Target]bool{}, map[nf.Target]bool{}}
	for _, want := range w.List {
		o.allow[want.Target] = o.allow[want.Target] || want.Restart == nf.RestartAllow
	}
	for i := range s.Containers {
		o.stubborn[s.Containers[i].Target()] = rapid.IntRange(0, 3).Draw(t, "stubborn") == 0
	}
	return o
}

// take makes one change and says what a kernel, or a careful operator, has
// against it.
func (o oracle) take(c nf.Change) error {
	if name, ok := c.Key.Module(); ok && c.Layer == nf.LayerBoot {
		return o.takeBootModule(name, c)
	} else if ok {
		return o.takeModule(name, c)
	}
	n, ct, ok := o.Find(c.Target)
	switch {
	case !ok:
		return fmt.Errorf("no target %s", c.Target)
	case ct != nil && ct.Unobservable != "":
		return fmt.Errorf("a blind change in %s", c.Target)
	case ct != nil && c.Key == nf.KeyLevel:
		return o.takeLevel(ct, c)
	case ct != nil && c.Key == nf.KeyRestart:
		return o.takeRestart(ct, c)
	case ct != nil && ct.State != nf.StateRunning && ct.State != nf.StatePaused:
		return fmt.Errorf("a change in %s, which is %s", c.Target, ct.State)
	case c.Layer == nf.LayerBoot:
		setFact(n, c.Key, func(f *nf.Fact) { f.Boot = bootPointer(c.To) })
		return nil
	case c.Key.Conntrack() && module(o.Snapshot, "nf_conntrack").State == nf.ModuleUnloaded:
		return fmt.Errorf("%s has no file before its module is loaded", c.Key)
	case n.Fact(c.Key).ReadOnly:
		return fmt.Errorf("%s is read-only", c.Key)
	}
	if c.Key == nf.KeyMax {
		if err := o.takeMax(n, ct, c); err != nil {
			return err
		}
	}
	to := c.To
	if v, ok := to.Number(); ok && c.Key == nf.KeyBuckets {
		to = nf.Number((v + 511) / 512 * 512)
	}
	live(n, c.Key, to)
	if ct == nil && c.Key == nf.KeyMax { // where the limit is the node's, containers show it
		for i := range o.Containers {
			if o.Containers[i].MaxScope == nf.ScopeNode && !o.Containers[i].Fact(nf.KeyMax).Live.IsAbsent() {
				live(&o.Containers[i].Namespace, nf.KeyMax, c.To)
			}
		}
	}
	return nil
}

// takeBootModule: nothing may keep a module from the next start that holds
// something now.
func (o oracle) takeBootModule(name string, c nf.Change) error {
	m := module(o.Snapshot, name)
	if state, _, _ := c.To.Module(); state == nf.ModuleUnloaded && m.State == nf.ModuleLoaded {
		return fmt.Errorf("%s is loaded, and kept from the next start", name)
	}
	m.Boot = bootPointer(c.To)
	return nil
}

func bootPointer(v nf.Value) *nf.Value {
	if v.IsAbsent() {
		return nil
	}
	return &v
}

// takeMax: nobody ends below the entries that he has, no container above the
// node.
func (o oracle) takeMax(n *nf.Namespace, ct *nf.Container, c nf.Change) error {
	to, _ := c.To.Number()
	from, known := n.Fact(nf.KeyMax).Live.Number()
	lower := known && (from == 0 || to < from)
	if count, ok := n.Count.Number(); ok && lower && count > to {
		return fmt.Errorf("%s below its own %d entries", c.Target, count)
	}
	if ct != nil {
		node, ok := o.Host.Fact(nf.KeyMax).Live.Number()
		if ok && (node != 0 && to > node || node == 0 && ct.Runtime == nf.RuntimeVZ) {
			return fmt.Errorf("%s at %d above the node's %d", c.Target, to, node)
		}
		return nil
	}
	for i := range o.Containers {
		other := &o.Containers[i]
		max, ok := other.Fact(nf.KeyMax).Live.Number()
		if lower && other.State == "starting" {
			return fmt.Errorf("%s may get any limit up to the node's of before", other.ID)
		}
		if lower && ok && other.MaxScope != nf.ScopeNode && max > to {
			return fmt.Errorf("the node at %d below %s at %d", to, other.ID, max)
		}
		if count, ok := other.Count.Number(); ok && lower && (other.MaxScope != nf.ScopeOwn || max == 0) && count > to {
			return fmt.Errorf("the node at %d below the %d entries of %s", to, count, other.ID)
		}
	}
	return nil
}

func (o oracle) takeModule(name string, c nf.Change) error {
	m := module(o.Snapshot, name)
	to, _, _ := c.To.Module()
	if to == nf.ModuleLoaded {
		if m.Barred != (nf.Bar{}) {
			return fmt.Errorf("%s is barred", name)
		}
		for _, dep := range m.Deps {
			if module(o.Snapshot, dep).State == nf.ModuleUnloaded {
				return fmt.Errorf("%s before %s, which it needs", name, dep)
			}
		}
		m.State = nf.ModuleLoaded
		for _, dep := range m.Deps {
			d := module(o.Snapshot, dep)
			d.Holders, d.Refs = append(slices.Clone(d.Holders), name), d.Refs+1
		}
		if name == "nf_conntrack" {
			o.conntrackAppears()
		}
		return nil
	}
	if m.State == nf.ModuleBuiltin || m.Refs > 0 {
		return fmt.Errorf("%s is %s with %d references", name, m.State, m.Refs)
	}
	if name == "nf_conntrack" {
		if err := o.conntrackGoes(); err != nil {
			return err
		}
	}
	o.unload(m)
	return nil
}

func (o oracle) unload(m *nf.ModuleFact) {
	m.State = nf.ModuleUnloaded
	for _, dep := range m.Deps {
		d := module(o.Snapshot, dep)
		d.Refs--
		d.Holders = slices.DeleteFunc(slices.Clone(d.Holders), func(h string) bool { return h == m.Name })
	}
}

func (o oracle) conntrackAppears() {
	appear := func(n *nf.Namespace) {
		live(n, nf.KeyMax, nf.Number(65536))
		live(n, nf.KeyBuckets, nf.Number(65536))
		live(n, nf.TimeoutKey("udp"), nf.Number(30))
		n.Count = nf.Number(0)
	}
	appear(&o.Host)
	for i := range o.Containers {
		if o.Containers[i].State == nf.StateRunning || o.Containers[i].State == nf.StatePaused {
			appear(&o.Containers[i].Namespace)
		}
	}
}

func (o oracle) conntrackGoes() error {
	spaces := []*nf.Namespace{&o.Host}
	for i := range o.Containers {
		switch o.Containers[i].State {
		case nf.StateStopped, nf.StateMounted:
			continue
		case nf.StateSuspended, "starting":
			return fmt.Errorf("nobody knows what %s will want", o.Containers[i].ID)
		}
		if o.Containers[i].Unobservable != "" {
			return fmt.Errorf("nobody knows what %s tracks", o.Containers[i].ID)
		}
		spaces = append(spaces, &o.Containers[i].Namespace)
	}
	for _, n := range spaces {
		if count, ok := n.Count.Number(); ok && count > 0 {
			return fmt.Errorf("%d live entries", count)
		}
		dropConntrack(n)
	}
	return nil
}
