package diff

import (
	"cmp"
	"slices"

	"nfsync.dev/nfsync/internal/nf"
)

// The ranks order the differences of one target; the rules do the rest.
const (
	rankModule  = iota // a module, before the keys that it brings
	rankRaise          // a bigger table before a higher limit
	rankSet            // any other key
	rankLower          // a smaller table after a lower limit
	rankBoot           // the boot layer
	rankOneWay         // a change that is never undone comes last
	rankRestart        // a restart comes after everything live
	rankKeepOut        // keeping a module out at the next start, after its unloading
)

func (d *difference) rank() int {
	_, isModule := d.want.Key.Module()
	switch {
	case d.want.Key == nf.KeyRestart:
		return rankRestart
	case d.keepsOut():
		return rankKeepOut
	case d.layer == nf.LayerBoot && !d.oneWay():
		return rankBoot
	case d.oneWay():
		return rankOneWay
	case isModule:
		return rankModule
	case d.want.Key == nf.KeyBuckets && nf.Lowers(d.from, d.to):
		return rankLower
	case d.want.Key == nf.KeyBuckets:
		return rankRaise
	}
	return rankSet
}

// keepsOut reports whether the difference is in the boot layer and keeps a module
// from being loaded at the next start.
func (d *difference) keepsOut() bool {
	state, _, ok := d.to.Module()
	return ok && d.layer == nf.LayerBoot && state == nf.ModuleUnloaded
}

// oneWay reports whether the change is never undone. A module that is unloaded
// loses what it held, a parameter that is set loses its old value, and a saved level
// without a name (of IPTABLES= lines) cannot be saved again.
func (d *difference) oneWay() bool {
	switch d.want.Key {
	case nf.KeyRestart:
		return true
	case nf.KeyLevel:
		_, named := d.from.Level()
		return !named && d.layer == nf.LayerBoot
	}
	if _, ok := d.want.Key.Module(); !ok || d.layer != nf.LayerLive {
		return false
	}
	to, _, _ := d.to.Module()
	return to == nf.ModuleUnloaded || !stateDiffers(d)
}

func compareRank(a, b *difference) int {
	if order := a.want.Target.Compare(b.want.Target); order != 0 {
		return order
	}
	return cmp.Or(cmp.Compare(a.rank(), b.rank()), cmp.Compare(a.want.Key, b.want.Key), cmp.Compare(a.layer, b.layer))
}

// decide makes each difference a change or a refusal: first those that can be
// undone, then the others.
func (p *planner) decide() {
	p.waiters = map[ref][]*difference{}
	slices.SortStableFunc(p.todo, compareRank)
	p.spread()
	p.plan.Changes = make([]nf.Change, 0, len(p.todo))
	reversible := make([]*difference, 0, len(p.todo))
	var oneWay []*difference
	for _, d := range p.todo {
		if d.rank() < rankOneWay {
			reversible = append(reversible, d)
		} else {
			oneWay = append(oneWay, d)
		}
	}
	p.decideAll(reversible)
	p.decideAll(oneWay)
}

// spread gives each place its differences, which are sorted by target.
func (p *planner) spread() {
	var end int
	for first := 0; first < len(p.todo); first = end {
		t := p.todo[first].want.Target
		for end = first + 1; end < len(p.todo) && p.todo[end].want.Target == t; end++ {
		}
		p.world.at(t).differences = p.todo[first:end:end]
	}
}

// decideAll tries each difference. One that is forbidden only while another is
// undecided waits for that one and is tried again after it: so the rules themselves
// make the order safe. Of differences that wait for each other the first, that of
// the node, takes an intermediate step or is refused.
func (p *planner) decideAll(list []*difference) {
	queue := list
	next := 0
	for {
		for len(queue) > 0 {
			d := queue[0]
			queue = queue[1:len(queue):len(queue)]
			if more := p.try(d); len(more) > 0 {
				queue = append(queue, more...)
			}
		}
		for next < len(list) && list[next].waiting == 0 {
			next++
		}
		if next == len(list) {
			return
		}
		d := list[next]
		if step := p.intermediate(d); step != nil {
			p.change(step)
			d.from = step.to
			queue = p.release(d.ref())
			continue
		}
		p.refuse(d, d.verdict)
		queue = p.decided(d)
	}
}

// intermediate returns a change of the node's limit, from no limit to one above those of its
// containers, without which neither it nor they could be lowered: the kernel takes no limit
// for a container while the node has none. It is nil unless the node's own change is
// possible in the end. The verdict of d then says why it is not.
func (p *planner) intermediate(d *difference) *difference {
	w := p.world
	if from, known := d.from.Number(); !d.lowersNode(w) || !known || from != 0 {
		return nil
	}
	step := *d
	step.to, step.intermediate, step.verdict = nf.Number(w.highest(d)), true, nil
	if w.judge(&step) != nil {
		return nil
	}
	defer w.suppose(d.ref(), step.to)()
	for _, r := range d.verdict.waits {
		other := w.open(r)
		if other == nil || w.judge(other) != nil {
			return nil
		}
		defer w.suppose(r, other.to)()
	}
	last := *d
	last.from = step.to
	if v := w.judge(&last); v != nil {
		d.verdict = v // what forbids it also once the containers are lowered
		return nil
	}
	return &step
}

// suppose sets the value that planned changes have brought, and returns a function that takes
// that back.
func (w *World) suppose(r ref, v nf.Value) (back func()) {
	at := w.at(r.target)
	before := slices.Clone(at.reach)
	at.setReached(r.key, v)
	return func() { at.reach = before }
}

// highest returns the highest of a wanted limit of the node, the limits of its containers and
// their numbers of entries, as far as they are known.
func (w *World) highest(d *difference) int64 {
	most, _ := d.to.Number()
	for _, t := range append([]nf.Target{nf.Node}, w.order...) {
		limit, _ := w.fact(t, nf.KeyMax).Live.Number()
		count, _ := w.at(t).Count.Number()
		most = max(most, limit, count)
	}
	return most
}

// try judges one difference and returns those to try again.
func (p *planner) try(d *difference) []*difference {
	w := p.world
	if d.awaits && d.layer == nf.LayerBoot {
		if w.open(d.ref()) != nil {
			p.wait(d, []ref{d.ref()})
			return nil
		}
		if !p.awaited[d.ref()] { // the live value stays absent
			return p.decided(d)
		}
	}
	if w.followsNode(d.want) && len(d.want.Rivals) == 0 {
		if node := (ref{nf.Node, nf.KeyMax}); w.open(node) != nil {
			p.wait(d, []ref{node})
			d.verdict = w.judge(d)
			return nil
		}
		if met, _ := w.meets(d.want, w.limit(d.want.Target)); met {
			p.settle(d.want, d.from)
			return p.decided(d)
		}
	}
	v := w.judge(d)
	if v == nil {
		p.change(d)
		return p.decided(d)
	}
	if open := w.stillOpen(v.waits); len(open) > 0 {
		d.verdict = v
		p.wait(d, open)
		return nil
	}
	p.refuse(d, v)
	return p.decided(d)
}

func (w *World) stillOpen(refs []ref) []ref {
	var open []ref
	for _, r := range refs {
		if w.open(r) != nil {
			open = append(open, r)
		}
	}
	return open
}

func (p *planner) wait(d *difference, refs []ref) {
	d.waiting = len(refs)
	for _, r := range refs {
		p.waiters[r] = append(p.waiters[r], d)
	}
}

// decided closes a difference and returns those that waited for it alone.
func (p *planner) decided(d *difference) []*difference {
	d.waiting, d.isDecided = 0, true
	if d.layer != nf.LayerLive {
		return nil
	}
	return p.release(d.ref())
}

// release returns the differences that waited for a key alone.
func (p *planner) release(r ref) (ready []*difference) {
	if len(p.waiters) == 0 {
		return nil
	}
	for _, other := range p.waiters[r] {
		if other.waiting == 0 { // already decided
			continue
		}
		if other.waiting--; other.waiting == 0 {
			ready = append(ready, other)
		}
	}
	delete(p.waiters, r)
	return ready
}

// Check tries the rules again just before a change is made, on what the snapshot
// holds now. It returns nil if they allow the change.
func (w *World) Check(c nf.Change) *nf.Refusal {
	want := nf.Want{Target: c.Target, Key: c.Key, Wish: nf.Exactly(c.To), Source: c.Source}
	d := &difference{want: &want, layer: c.Layer, from: w.Value(c), to: c.To}
	v := w.judge(d)
	if v == nil {
		return nil
	}
	r := d.refusal(v)
	return &r
}
