package adopt

import (
	"fmt"
	"slices"

	"nfsync.dev/nfsync/internal/diff"
	"nfsync.dev/nfsync/internal/nf"
)

// settle leaves out the candidates that a plan would not find in sync, until the plan is empty.
func (d *describer) settle() {
	d.empty()
	d.dropModulesOfLevels()
	d.empty()
	for _, c := range d.candidates {
		if c.why != "" {
			d.left = append(d.left, Left{d.snap.Node.Name, c.Target, c.Key, c.Wish.Value, c.why})
		}
	}
}

// empty leaves candidates out until the plan is empty.
func (d *describer) empty() {
	for d.leaveOut(diff.Plan(d.wants(func(*candidate) bool { return true }), d.snap)) {
	}
}

// wants returns the candidates that are not left out, of those that are taken.
func (d *describer) wants(take func(*candidate) bool) (w nf.Wants) {
	for i, c := range d.candidates {
		if c.why == "" && take(c) {
			c.Source.Line = i + 1 // entries of the plan name their want by it
			w.List = append(w.List, c.Want)
		}
	}
	return w
}

// dropModulesOfLevels drops the modules that the levels ask for by themselves.
func (d *describer) dropModulesOfLevels() {
	plan := diff.Plan(d.wants(func(c *candidate) bool { _, isModule := c.Key.Module(); return !isModule }), d.snap)
	asked := map[nf.Key]bool{}
	for _, s := range plan.InSync {
		asked[s.Key] = s.Target.IsNode()
	}
	d.candidates = slices.DeleteFunc(d.candidates, func(c *candidate) bool {
		_, isModule := c.Key.Module()
		return isModule && c.why == "" && asked[c.Key]
	})
}

// leaveOut leaves out the candidates that a plan has entries for. It reports whether there are any.
func (d *describer) leaveOut(p nf.Plan) bool {
	var loads, saves []string // modules of levels
	found := false
	leave := func(line int, key nf.Key, layer nf.Layer, why string) {
		found = true
		c := d.candidates[line-1]
		module, isModule := key.Module()
		switch {
		case !isModule || c.Key != nf.KeyLevel:
			c.why = why
		case layer == nf.LayerBoot:
			saves = append(saves, module)
		default:
			loads = append(loads, module)
		}
	}
	for _, c := range p.Changes {
		leave(c.Source.Line, c.Key, c.Layer, whyChange(c))
	}
	for _, r := range p.Refusals {
		leave(r.Source.Line, r.Key, r.Layer, fmt.Sprintf("wanting it would be refused (%s): %s", r.Code, r.Reason))
	}
	for _, e := range p.Pending {
		leave(e.Source.Line, e.Key, nf.LayerLive, "wanting it would wait: "+e.Reason)
	}
	if why := whyModules(loads, saves); why != "" {
		d.leaveHighest(why)
	}
	return found
}

// leaveHighest leaves out all levels that are the highest: the modules of it are not as a policy
// would want them.
func (d *describer) leaveHighest(why string) {
	highest := nf.LevelUnset
	for _, c := range d.candidates {
		if c.why == "" {
			highest = max(highest, c.level)
		}
	}
	for _, c := range d.candidates {
		if c.why == "" && c.Key == nf.KeyLevel && c.level == highest {
			c.why = why
		}
	}
}

func whyChange(c nf.Change) string {
	if c.Layer == nf.LayerBoot {
		return "wanting it would save it for the next start"
	}
	return fmt.Sprintf("wanting it would change it from %s to %s", c.Key.Text(c.From), c.Key.Text(c.To))
}

// maxModules is how many modules a comment names.
const maxModules = 3

// whyModules says what a level would do with modules; empty if that is nothing.
func whyModules(loads, saves []string) string {
	names := func(list []string) string {
		slices.Sort(list)
		return nf.FirstFew(slices.Compact(list), maxModules)
	}
	switch {
	case len(loads) > 0 && len(saves) > 0:
		return fmt.Sprintf("wanting it would load %s, and save %s for the next start", names(loads), names(saves))
	case len(loads) > 0:
		return "wanting it would load " + names(loads)
	case len(saves) > 0:
		return fmt.Sprintf("wanting it would save the modules %s for the next start", names(saves))
	}
	return ""
}
