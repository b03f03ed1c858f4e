package diff

import (
	"cmp"
	"slices"
	"strings"

	"nfsync.dev/nfsync/internal/nf"
)

// Plan compares the wants with a snapshot.
func Plan(wants nf.Wants, s *nf.Snapshot) nf.Plan {
	p, _ := plan(wants, s)
	return p.plan
}

// plan makes a plan, and returns the wants that it is for: the modules that a level needs are
// among them.
func plan(wants nf.Wants, s *nf.Snapshot) (*planner, []nf.Want) {
	w := NewWorld(s)
	p := &planner{world: w, bounds: wants.Restarts, awaited: map[ref]bool{}, plan: nf.Plan{
		APIVersion: nf.APIVersion, Kind: nf.KindPlan, Node: s.Node.Name, Revision: wants.Revision,
		Changes: []nf.Change{}, Refusals: []nf.Refusal{}, Pending: []nf.Pending{}, Warnings: []nf.Warning{}, InSync: []nf.Settled{},
	}}
	observed, vanished := w.observedWants(wants.List)
	if slices.ContainsFunc(observed, func(want nf.Want) bool { return want.Target.IsNode() }) {
		observed = slices.Clone(observed) // those of the node may get rivals
	}
	modules, moduleWarnings := expand(w, observed)
	all := withModules(observed, modules)
	p.todo = make([]*difference, 0, len(all))
	for i := range all {
		p.consider(&all[i])
	}
	p.planRestarts()
	p.decide()
	p.plan.Stuck = slices.DeleteFunc(slices.Clone(s.Memory.Stuck), func(c nf.StuckChange) bool { return !c.Holds(s) })
	p.plan.Warnings = append(p.plan.Warnings, slices.Concat(wants.Warnings, s.Warnings, vanished, moduleWarnings, w.warnings(all), p.bootOrder(all))...)
	p.finish()
	p.plan.ID = w.id(all, &p.plan)
	return p, all
}

// withModules returns the wants with these for modules, first, in place of their own.
func withModules(wants, modules []nf.Want) []nf.Want {
	isModule := func(want nf.Want) bool { _, ok := want.Key.Module(); return ok }
	if len(modules) == 0 && !slices.ContainsFunc(wants, isModule) {
		return wants
	}
	all := make([]nf.Want, 0, len(modules)+len(wants))
	all = append(all, modules...)
	for i := range wants {
		if !isModule(wants[i]) {
			all = append(all, wants[i])
		}
	}
	return all
}

// observedWants returns the wants whose target the snapshot has. Any other target
// vanished after the containers were listed: nothing can differ or be refused
// there. If there is no other one, the list is the given one.
func (w *World) observedWants(wants []nf.Want) (list []nf.Want, warnings []nf.Warning) {
	if w.hasAll(wants) {
		return wants, nil
	}
	warned := map[nf.Target]bool{}
	list = make([]nf.Want, 0, len(wants))
	for i := range wants {
		want := &wants[i]
		if p := w.at(want.Target); p.Namespace != nil {
			list = append(list, *want)
			if p.container != nil {
				list[len(list)-1].Target = p.container.Target() // under the name that it has by now
			}
			continue
		}
		if !warned[want.Target] {
			warned[want.Target] = true
			warnings = append(warnings, nf.Warning{Code: nf.WarnVanished, Target: want.Target,
				Message: "it vanished before it could be observed: it is left out"})
		}
	}
	return list, warnings
}

// hasAll reports whether the snapshot has the targets of all wants, under their names.
func (w *World) hasAll(wants []nf.Want) bool {
	for i := range wants {
		p := w.at(wants[i].Target)
		if p.Namespace == nil || p.container != nil && p.container.Name != wants[i].Target.Name {
			return false
		}
	}
	return true
}

// planner collects the differences and decides each once.
type planner struct {
	world *World
	plan  nf.Plan
	// bounds limit the restarts of one run; restartable are the levels that one may bring.
	bounds      nf.Restarts
	restartable []*difference
	// todo are the differences in the order in which they are tried.
	todo []*difference
	// waiters are the differences to try again when that of a key is decided.
	waiters map[ref][]*difference
	// awaited are the live values whose changes are planned, and decided only when they
	// are there.
	awaited map[ref]bool
}

// consider finds what differs for one want.
func (p *planner) consider(want *nf.Want) {
	switch {
	case want.Key == nf.KeyAboveLevel:
		if len(want.Rivals) > 0 {
			p.differ(want, nf.LayerLive, nf.Absent(), want.Wish.Value)
		}
	case want.Key == nf.KeyLevel && p.world.at(want.Target).runtimeLevel() && len(want.Rivals) == 0:
		p.considerMask(want)
	case p.waitsForStart(want):
		p.pend(want, p.world.fact(want.Target, want.Key).Live, nf.UntilContainerStart, "the container is "+p.world.at(want.Target).container.State)
	default:
		p.considerLive(want)
	}
}

func (p *planner) differ(want *nf.Want, layer nf.Layer, from, to nf.Value) {
	awaits := layer == nf.LayerLive && want.Wish.IsRange() && from.IsAbsent()
	p.todo = append(p.todo, &difference{want: want, layer: layer, from: from, to: to, awaits: awaits})
}

// waitsForStart reports whether the want has to wait for its container to start.
func (p *planner) waitsForStart(want *nf.Want) bool {
	c := p.world.at(want.Target).container
	return asleep(c) && c.Unobservable == "" && want.Key.Conntrack() && len(want.Rivals) == 0
}

func (p *planner) considerLive(want *nf.Want) {
	w := p.world
	from := w.fact(want.Target, want.Key).Live
	lacking := w.lacking(want.Key, want.Wish.Value)
	if names := hidden(want.Wish.Value, from); len(names) > 0 && len(lacking) == 0 {
		from = nf.Unknown("the kernel does not show the parameter " + strings.Join(names, ", "))
	}
	met, to := w.meets(want, from)
	met = met && len(lacking) == 0
	p.considerBoot(want, from)
	from = shown(from, want.Wish.Value)
	if met && len(want.Rivals) == 0 && !w.followsNode(want) {
		p.settle(want, from)
		return
	}
	p.differ(want, nf.LayerLive, from, to)
}

// followsNode reports whether the limit of a container is that of the node. It is
// judged once it is decided what the node's will be.
func (w *World) followsNode(want *nf.Want) bool {
	if want.Key != nf.KeyMax || want.Target.IsNode() {
		return false
	}
	v := w.fact(want.Target, nf.KeyMax).Live
	n, ok := v.Number()
	return ok && n == 0 || !v.IsUnknown() && w.maxScope(want.Target) == nf.ScopeNode
}

// meets reports whether a value meets a want, and returns the value that would. A
// level that no mask keeps is a ceiling.
func (w *World) meets(want *nf.Want, v nf.Value) (bool, nf.Value) {
	if want.Key == nf.KeyLevel && !w.masked(want.Target) {
		ceiling, _ := want.Wish.Value.Level()
		have, ok := v.Level()
		return ok && have <= ceiling, want.Wish.Value
	}
	return w.compare(want.Key, want.Wish, v)
}

func (p *planner) settle(want *nf.Want, v nf.Value) {
	p.plan.InSync = append(p.plan.InSync, nf.Settled{Target: want.Target, Key: want.Key, Asked: want.Wish, Value: v})
}

func (p *planner) pend(want *nf.Want, from nf.Value, until nf.Until, reason string) {
	_, to := p.world.compare(want.Key, want.Wish, from)
	p.plan.Pending = append(p.plan.Pending, nf.Pending{Target: want.Target, Key: want.Key, From: from, To: to,
		Until: until, Reason: reason, Source: want.Source})
}

func (p *planner) refuse(d *difference, v *verdict) {
	p.plan.Refusals = append(p.plan.Refusals, d.refusal(v))
}

func (d *difference) refusal(v *verdict) nf.Refusal {
	return nf.Refusal{Target: d.want.Target, Key: d.want.Key, Layer: d.layer, From: d.from, To: d.to,
		Code: v.code, Reason: v.reason, Remedy: v.remedy, Until: v.until, Source: d.want.Source, Asked: d.want.Wish, Rivals: d.want.Rivals}
}

// reach notes the value that a change brings.
func (p *planner) reach(d *difference) {
	if d.intermediate {
		p.world.at(d.want.Target).setReached(d.want.Key, d.to)
		return
	}
	d.isReached = true
}

func (p *planner) change(d *difference) {
	var wish nf.Wish
	if d.awaits {
		wish = d.want.Wish
	}
	switch {
	case d.awaits && d.layer == nf.LayerLive: // what its value will be is not known
		p.awaited[d.ref()] = true
	case d.layer == nf.LayerLive:
		p.reach(d)
	case d.want.Key == nf.KeyLevel:
		p.world.saves[d.want.Target] = d.to
	}
	p.plan.Changes = append(p.plan.Changes, nf.Change{Target: d.want.Target, Key: d.want.Key, Layer: d.layer, From: d.from, To: d.to, Range: wish, Intermediate: d.intermediate,
		OneWay: d.oneWay(), Disruptive: d.want.Key == nf.KeyRestart, Cause: p.world.cause(d.want), Source: d.want.Source, LastFailure: p.world.lastFailure(d), Asked: d.want.Wish,
		Instance: p.world.instance(d.want.Target)})
}

// finish counts, and sorts all but the changes by target and key.
func (p *planner) finish() {
	slices.SortStableFunc(p.plan.Refusals, func(a, b nf.Refusal) int {
		return cmp.Or(a.Target.Compare(b.Target), cmp.Compare(a.Key, b.Key), cmp.Compare(b.Layer, a.Layer)) // live first
	})
	slices.SortStableFunc(p.plan.Pending, func(a, b nf.Pending) int {
		return cmp.Or(a.Target.Compare(b.Target), cmp.Compare(a.Key, b.Key))
	})
	p.plan.Summary = nf.Summary{Changes: len(p.plan.Changes), Refusals: len(p.plan.Refusals),
		Pending: len(p.plan.Pending), InSync: len(p.plan.InSync)}
}
