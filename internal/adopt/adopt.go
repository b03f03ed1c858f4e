// Package adopt writes policies that want of nodes what is there already.
package adopt

import (
	"cmp"
	"slices"

	"nfsync.dev/nfsync/internal/diff"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/spec"
)

// Options say what is described.
type Options struct {
	// All describes values that are the kernel's defaults too.
	All bool
	// Filter selects targets and keys. A key that it names is described even if it has the kernel's
	// default.
	Filter nf.Filter
}

// Policy is a policy, and what it does not want although it is there.
type Policy struct {
	spec.Policy
	Left []Left
}

// Left is an observed value that no policy wants. If it has no key, it is of the whole target.
type Left struct {
	Node   string
	Target nf.Target
	Key    nf.Key
	Value  nf.Value
	Why    string
}

// Nodes returns policies of these nodes. A plan that is made with them from the same snapshots
// is empty: what would be in it is left out. Containers with the same values share a policy.
func Nodes(list []nf.Snapshot, opt Options) []Policy {
	var all []Policy
	for _, s := range newest(list) {
		for _, p := range node(s, opt) {
			all = add(all, p)
		}
	}
	if len(all) == 0 && len(list) > 0 { // the filter selects nothing that is there
		d := describer{snap: &list[0]}
		all = d.group()
	}
	name(all)
	return all
}

// newest returns the newest snapshot of each node, in the order of their names.
func newest(list []nf.Snapshot) []*nf.Snapshot {
	var nodes []*nf.Snapshot
	for i := range list {
		nodes = append(nodes, &list[i])
	}
	slices.SortStableFunc(nodes, func(a, b *nf.Snapshot) int {
		return cmp.Or(nf.CompareNames(a.Node.Name, b.Node.Name), b.TakenAt.Compare(a.TakenAt))
	})
	return slices.CompactFunc(nodes, func(a, b *nf.Snapshot) bool { return a.Node.Name == b.Node.Name })
}

// candidate is a want that may be in a policy.
type candidate struct {
	nf.Want
	level nf.Level // that it asks for, if its key is the level
	why   string   // it is left out; empty if it is not
}

// describer describes one node.
type describer struct {
	opt        Options
	snap       *nf.Snapshot
	world      *diff.World
	remembered map[nf.Target]map[nf.Key]bool // what nfsync has asked for before, by nameless target
	candidates []*candidate                  // ordered by target and key
	left       []Left
}

// node returns the policies of one node.
func node(s *nf.Snapshot, opt Options) []Policy {
	sorted := *s
	sorted.Containers = slices.Clone(s.Containers)
	nf.SortContainers(sorted.Containers)
	d := &describer{opt: opt, snap: &sorted, world: diff.NewWorld(&sorted)}
	d.remembered = map[nf.Target]map[nf.Key]bool{}
	for _, m := range s.Memory.Keys {
		t := m.Target.Nameless()
		if d.remembered[t] == nil {
			d.remembered[t] = map[nf.Key]bool{}
		}
		d.remembered[t][m.Key] = true
	}
	d.modules()
	d.namespace(nf.Node, &d.snap.Host)
	for i := range d.snap.Containers {
		d.container(&d.snap.Containers[i])
	}
	slices.SortStableFunc(d.candidates, func(a, b *candidate) int {
		return cmp.Or(a.Target.Compare(b.Target), cmp.Compare(a.Key, b.Key))
	})
	d.settle()
	return d.group()
}

// container describes one container.
func (d *describer) container(c *nf.Container) {
	if c.Unobservable != "" {
		if d.selects(c.Target()) {
			d.left = append(d.left, Left{Node: d.snap.Node.Name, Target: c.Target(), Why: "nothing is known of it: " + c.Unobservable})
		}
		return
	}
	d.namespace(c.Target(), &c.Namespace)
}

// selects reports whether the filter selects a target, whatever its key.
func (d *describer) selects(t nf.Target) bool {
	return nf.Filter{Targets: d.opt.Filter.Targets}.Match(t, nf.KeyLevel)
}

// namespace describes the level and the conntrack values of a target.
func (d *describer) namespace(t nf.Target, n *nf.Namespace) {
	d.level(t)
	for _, f := range n.Facts {
		switch {
		case !f.Key.Conntrack():
		case f.Live.IsUnknown():
			d.leave(t, f.Key, f.Live, f.Live.Why())
		case f.Live.IsAbsent(), !d.isWorthIt(t, f):
		case !t.IsNode() && (f.Key == nf.KeyBuckets || f.Key == nf.KeyExpectMax):
			d.leave(t, f.Key, f.Live, "a policy sets it on the node only")
		default:
			if why := inexpressible(f.Key, f.Live); why != "" {
				d.leave(t, f.Key, f.Live, why)
				continue
			}
			d.propose(t, f.Key, f.Live)
		}
	}
}

// level describes the level of a target: of a container that does not run the saved one.
func (d *describer) level(t nf.Target) {
	_, c, _ := d.snap.Find(t)
	layer := nf.LayerLive
	if c != nil && (c.State == nf.StateStopped || c.State == nf.StateMounted) {
		layer = nf.LayerBoot
	}
	v := d.world.Value(nf.Change{Target: t, Key: nf.KeyLevel, Layer: layer})
	switch _, ok := v.Level(); {
	case ok:
		d.propose(t, nf.KeyLevel, v)
	case v.IsUnknown():
		d.leave(t, nf.KeyLevel, v, v.Why())
	case !v.IsAbsent():
		d.leave(t, nf.KeyLevel, v, "it is none of the levels that a policy can want")
	}
}

// modules describes the modules that are saved for the next start or, if all is described, every
// loaded one of netfilter.
func (d *describer) modules() {
	for i := range d.snap.Modules.List {
		m := &d.snap.Modules.List[i]
		v := nf.Module(m.State, nil)
		saved := m.Boot != nil && *m.Boot == v
		if saved || d.takesAll() && m.State == nf.ModuleLoaded && isNetfilter(m.Name) {
			d.propose(nf.Node, nf.ModuleKey(m.Name), v)
		}
	}
}

// takesAll reports whether values that are the kernel's defaults are described too.
func (d *describer) takesAll() bool { return d.opt.All || len(d.opt.Filter.Keys) > 0 }

func (d *describer) propose(t nf.Target, k nf.Key, v nf.Value) {
	if d.opt.Filter.Match(t, k) {
		level, _ := v.Level()
		d.candidates = append(d.candidates, &candidate{Want: nf.Want{Target: t, Key: k, Wish: nf.Exactly(v), Restart: restartOf(t, k)}, level: level})
	}
}

func restartOf(t nf.Target, k nf.Key) nf.Restart {
	if t.IsNode() || k != nf.KeyLevel {
		return ""
	}
	return nf.RestartRefuse
}

func (d *describer) leave(t nf.Target, k nf.Key, v nf.Value, why string) {
	if d.opt.Filter.Match(t, k) {
		d.left = append(d.left, Left{d.snap.Node.Name, t, k, v, why})
	}
}
