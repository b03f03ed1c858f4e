package diff

import (
	"fmt"
	"slices"

	"nfsync.dev/nfsync/internal/nf"
)

// considerBoot compares a want of the node with what nfsync's own boot files bring at
// the next start. live is the live value of the key.
func (p *planner) considerBoot(want *nf.Want, live nf.Value) {
	w := p.world
	if !w.hasBoot(want, live) {
		return
	}
	from := w.bootValue(want.Key)
	if want.Wish.IsRange() && live.IsAbsent() && from.IsAbsent() && w.declared(want.Key) == nil {
		p.todo = append(p.todo, &difference{want: want, layer: nf.LayerBoot, from: from, to: nearest(want.Wish, live), awaits: true})
		return
	}
	if met, to := w.bootMeets(want, from, live); !met {
		p.differ(want, nf.LayerBoot, from, to)
	}
}

// hasBoot reports whether a want is compared with the boot files.
func (w *World) hasBoot(want *nf.Want, live nf.Value) bool {
	return w.snap.Capabilities.BootFiles && want.Target.IsNode() && len(want.Rivals) == 0 && w.boots(want, live)
}

// boots reports whether a boot file is to have the key. It is not if the module is
// built in, absent or cannot be loaded as wanted, or if this kernel does not have the
// value.
func (w *World) boots(want *nf.Want, live nf.Value) bool {
	k := want.Key
	if name, ok := k.Module(); ok {
		m, found := w.snap.Modules.Find(name)
		return found && m.State != nf.ModuleBuiltin && !w.dependency[m.Name] && w.snap.Modules.Support != nf.SupportNone && w.loadable(m, want)
	}
	file, ok := k.Sysctl()
	if !ok || live.IsUnknown() {
		return false
	}
	if !live.IsAbsent() {
		return !w.fact(nf.Node, k).ReadOnly
	}
	m, found := w.snap.Modules.Find(w.owner(file))
	return found && m.State == nf.ModuleUnloaded
}

// loadable reports whether the module could be loaded as wanted, with its
// dependencies. It is true for one that is wanted unloaded.
func (w *World) loadable(m *nf.ModuleFact, want *nf.Want) bool {
	if state, _, _ := want.Wish.Value.Module(); state == nf.ModuleUnloaded {
		return true
	}
	for _, dep := range m.Deps {
		if w.bar(dep) != (nf.Bar{}) {
			return false
		}
	}
	return m.Barred == (nf.Bar{}) && len(w.lacking(want.Key, want.Wish.Value)) == 0
}

// bootValue returns what nfsync's own boot files hold for a key of the node.
func (w *World) bootValue(k nf.Key) nf.Value {
	if why := w.snap.Capabilities.BootUnknown; why != "" {
		return nf.Unknown(why)
	}
	var v *nf.Value
	if name, ok := k.Module(); ok {
		if m, found := w.snap.Modules.Find(name); found {
			v = m.Boot
		}
	} else {
		v = w.snap.Host.Fact(k).Boot
	}
	if v == nil {
		return nf.Absent()
	}
	return *v
}

// bootMeets reports whether a boot value meets a want, and returns the value that
// would. For a range that the live value meets it is that value, so that the next
// start changes nothing. Nothing is saved for a range if the next start brings a value in
// it anyway, or may bring a higher one.
func (w *World) bootMeets(want *nf.Want, boot, live nf.Value) (bool, nf.Value) {
	if _, isModule := want.Key.Module(); isModule {
		return boot == want.Wish.Value, want.Wish.Value
	}
	if met, to := w.compare(want.Key, want.Wish, live); !met {
		live = to
	}
	if !want.Wish.Value.IsAbsent() {
		return boot == want.Wish.Value, want.Wish.Value
	}
	if boot.IsAbsent() && !w.nextStartOutside(want) {
		return true, live
	}
	met, _ := w.compare(want.Key, want.Wish, boot)
	return met, live
}

// nextStartOutside reports whether the next start is known to bring a value outside the
// range that is wanted, if nfsync saves none: a line of another file says so, or the live
// value is outside, or was until nfsync set it. Any other live value counts as the
// kernel's own.
func (w *World) nextStartOutside(want *nf.Want) bool {
	if d := w.declared(want.Key); d != nil {
		met, _ := w.compare(want.Key, want.Wish, d.Value)
		return !met
	}
	met, _ := w.compare(want.Key, want.Wish, w.fact(nf.Node, want.Key).Live)
	return !met || w.node.hasSet(want.Key)
}

// declared returns the line of another file than nfsync's own that sets a sysctl of the node
// at the next start; nil if there is none.
func (w *World) declared(k nf.Key) *nf.Declaration {
	lines := w.snap.Host.Fact(k).Declared
	for i := range slices.Backward(lines) {
		if !lines[i].Overruled {
			return &lines[i]
		}
	}
	return nil
}

// declaredElsewhere names the lines of other boot files that set a wanted key
// of the node to something else.
func (w *World) declaredElsewhere(want *nf.Want) []nf.Warning {
	if !w.snap.Capabilities.BootFiles || !want.Target.IsNode() || len(want.Rivals) > 0 {
		return nil
	}
	lines := w.snap.Host.Fact(want.Key).Declared
	var bar nf.Bar // the refusal names it
	if name, ok := want.Key.Module(); ok {
		lines = nil
		if m, found := w.snap.Modules.Find(name); found {
			lines, bar = m.Declared, m.Barred
		}
	}
	var list []nf.Warning
	for _, d := range lines {
		met, _ := w.compare(want.Key, want.Wish, d.Value)
		if met || d.Overruled || optionsOnly(want, d) || d.File == bar.File && d.Line == bar.Line {
			continue
		}
		list = append(list, nf.Warning{Code: nf.WarnDeclaredElsewhere, Target: nf.Node, Key: want.Key, Source: sourceOf(want),
			Message: fmt.Sprintf("%s %s, and the policy wants %s: nfsync does not edit that file, and the next start may apply it", d.Place(), effect(d), want.Wish)})
	}
	return list
}

// effect says what a line does.
func effect(d nf.Declaration) string {
	switch {
	case d.Value.IsUnknown():
		return d.Value.Why()
	case d.Why != "":
		return fmt.Sprintf("sets %s (%s)", d.Value, d.Why)
	}
	return "sets " + d.Value.String()
}

// optionsOnly reports whether a line only sets parameters of a module that is wanted
// unloaded: options of modprobe.d(5) loads nothing.
func optionsOnly(want *nf.Want, d nf.Declaration) bool {
	wanted, _, _ := want.Wish.Value.Module()
	return d.Directive == nf.DirectiveOptions && wanted == nf.ModuleUnloaded
}
