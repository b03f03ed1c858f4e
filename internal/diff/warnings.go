package diff

import (
	"fmt"
	"slices"

	"nfsync.dev/nfsync/internal/nf"
)

// warnings returns the warnings that follow from the wants and the facts together.
func (w *World) warnings(wants []nf.Want) []nf.Warning {
	var list []nf.Warning
	var unenforced []*nf.Want
	for i := range wants {
		want := &wants[i]
		list = append(list, w.declaredElsewhere(want)...)
		if name, ok := want.Key.Module(); ok {
			list = append(list, w.moduleWarning(name, want)...)
		}
		if want.Key != nf.KeyLevel {
			continue
		}
		list = append(list, w.leftover(want)...)
		if met, _ := w.meets(want, w.fact(want.Target, nf.KeyLevel).Live); met && !w.masked(want.Target) && len(want.Rivals) == 0 {
			unenforced = append(unenforced, want)
		}
	}
	list = append(list, w.nodeTracking(wants)...)
	list = append(list, notEnforced(unenforced)...)
	list = append(list, w.otherUsers(wants)...)
	saved := w.savedLevels(wants)
	return slices.Concat(list, saved, w.forgotten(wants, saved))
}

// sourceOf returns a copy of the line that asks for a want: a warning that points into the list
// of the wants would keep all of them in memory.
func sourceOf(want *nf.Want) *nf.Source {
	source := want.Source
	return &source
}

// savedLevels warns of levels that the next cold start brings although they are neither live
// nor wanted, and stay saved after the changes of this plan. Of a container whose level no
// policy names it warns only if nfsync has set that.
func (w *World) savedLevels(wants []nf.Want) []nf.Warning {
	levels := map[nf.Target]*nf.Want{}
	for i := range wants {
		if want := &wants[i]; want.Key == nf.KeyLevel {
			levels[want.Target.Nameless()] = want
		}
	}
	var list []nf.Warning
	for _, t := range w.order {
		f, c := w.fact(t, nf.KeyLevel), w.at(t).container
		if !w.masked(t) || isStopped(c) || f.Boot == nil || f.Boot.IsUnknown() || f.Live.IsUnknown() || *f.Boot == f.Live {
			continue
		}
		warning := nf.Warning{Code: nf.WarnSavedLevel, Target: t, Key: nf.KeyLevel}
		want, asked := levels[t.Nameless()]
		switch {
		case asked && len(want.Rivals) == 0 && *f.Boot == want.Wish.Value:
			continue
		case asked:
			warning.Source = sourceOf(want)
			warning.Message = fmt.Sprintf("its next cold start brings the level %s, which is saved, and is neither the live one (%s) nor the wanted one", *f.Boot, f.Live)
		case !w.at(t).hasSet(nf.KeyLevel):
			continue
		default:
			warning.Message = fmt.Sprintf("its next cold start brings the level %s, which is saved, although %s is live: nfsync set the level of this container, and no policy names it any more", *f.Boot, f.Live)
		}
		list = append(list, warning)
	}
	return list
}

// nodeTracking warns of a node that tracks connections: a flood from outside can fill
// its table.
func (w *World) nodeTracking(wants []nf.Want) []nf.Warning {
	const danger = "a flood of connections can then fill its table"
	tracking := w.tracking(nf.Node)
	for i := range wants {
		want := &wants[i]
		level, ok := want.Wish.Value.Level()
		if !want.Target.IsNode() || want.Key != nf.KeyLevel || !ok {
			continue
		}
		var message string
		switch {
		case level >= nf.LevelStateful:
			message = fmt.Sprintf("the policy lets the node itself track connections (%s): %s", level, danger)
		case w.latching() && tracking == nf.TrackingUnknown:
			message = "cannot determine whether the node itself tracks connections: a rule that was removed may have turned it on until the node restarts, and " + danger
		default:
			continue
		}
		return []nf.Warning{{Code: nf.WarnNodeTracking, Target: nf.Node, Key: nf.KeyLevel, Source: sourceOf(want), Message: message}}
	}
	if tracking != nf.TrackingOn {
		return nil
	}
	evidence := "seen on in an earlier run"
	if t := w.snap.Host.Tracking; t != nil && t.State == nf.TrackingOn {
		evidence = t.Evidence
	}
	return []nf.Warning{{Code: nf.WarnNodeTracking, Target: nf.Node,
		Message: fmt.Sprintf("the node itself tracks connections (%s): %s", evidence, danger)}}
}

// notEnforced warns that nothing enforces a level without a mask: anybody with
// CAP_NET_ADMIN in the namespace can add a rule that uses more.
func notEnforced(wants []*nf.Want) []nf.Warning {
	if len(wants) == 0 {
		return nil
	}
	others := ""
	if n := len(wants) - 1; n > 0 {
		others = ", here and in " + count(n, "more container")
	}
	return []nf.Warning{{Code: nf.WarnNotEnforced, Target: wants[0].Target, Key: nf.KeyLevel, Source: sourceOf(wants[0]),
		Message: "nothing in this kernel enforces the level" + others + ": nfsync reports rules that use more"}}
}

// leftover warns of entries that stay until they time out after the last rule that
// tracks was removed.
func (w *World) leftover(want *nf.Want) []nf.Warning {
	ceiling, _ := want.Wish.Value.Level()
	have, ok := w.fact(want.Target, nf.KeyLevel).Live.Level()
	n, counted := w.at(want.Target).Count.Number()
	if w.latching() || !ok || !counted || n == 0 || have >= nf.LevelStateful || ceiling >= nf.LevelStateful {
		return nil
	}
	return []nf.Warning{{Code: nf.WarnLeftoverEntries, Target: want.Target, Key: nf.KeyLevel, Source: sourceOf(want),
		Message: fmt.Sprintf("%d conntrack entries are left although no rule here tracks: they end with their timeouts", n)}}
}

// moduleWarning warns of a module that is wanted unloaded and does not exist.
func (w *World) moduleWarning(name string, want *nf.Want) []nf.Warning {
	state, _, _ := want.Wish.Value.Module()
	if state != nf.ModuleUnloaded || len(want.Rivals) > 0 || !w.moduleValue(name).IsAbsent() {
		return nil
	}
	message := fmt.Sprintf("this kernel has no module %s, so it cannot be loaded anyway", name)
	if into := w.mergedInto(name); into != "" {
		message = fmt.Sprintf("%s is no module of its own any more: it became part of %s, which this want does not unload", name, into)
	}
	return []nf.Warning{{Code: nf.WarnModuleAbsent, Target: nf.Node, Key: want.Key, Source: sourceOf(want), Message: message}}
}

// otherUsers warns of modules that track connections without a rule that nfsync sees.
func (w *World) otherUsers(wants []nf.Want) []nf.Warning {
	var below bool
	for i := range wants {
		want := &wants[i]
		level, ok := want.Wish.Value.Level()
		below = below || want.Key == nf.KeyLevel && ok && level < nf.LevelStateful
	}
	if !below {
		return nil
	}
	var list []nf.Warning
	for _, name := range []string{"openvswitch", "ip_vs", "act_ct"} {
		if w.moduleState(name) == nf.ModuleLoaded {
			list = append(list, nf.Warning{Code: nf.WarnOtherUser, Target: nf.Node, Key: nf.ModuleKey(name),
				Message: fmt.Sprintf("the module %s is loaded, and can track connections without a rule that nfsync sees", name)})
		}
	}
	return list
}

// endedWith reports whether a remembered value ended with the instance that it was
// set in: a new namespace starts with the kernel's values.
func (w *World) endedWith(m *nf.MemoryKey) bool {
	now := w.instance(m.Target)
	return !m.Target.IsNode() && m.Key.Conntrack() && now != "" && m.Instance != now
}

// forgotten warns of keys that nfsync has set and no policy names any more: they are
// left as they are. It does not warn of a module that another loaded module needs.
// Nor does it warn of a level about which saved says all.
func (w *World) forgotten(wants []nf.Want, saved []nf.Warning) []nf.Warning {
	if len(w.snap.Memory.Keys) == 0 {
		return nil
	}
	wanted := make(map[placeKey]bool, len(wants)+len(saved))
	for i := range wants {
		wanted[placeKey{w.at(wants[i].Target), wants[i].Key}] = true
	}
	for i := range saved {
		wanted[placeKey{w.at(saved[i].Target), nf.KeyLevel}] = true
	}
	var list []nf.Warning
	for i := range w.snap.Memory.Keys {
		m := &w.snap.Memory.Keys[i]
		if at := w.at(m.Target); !m.Set || at.Namespace == nil || wanted[placeKey{at, w.presentKey(m)}] || w.endedWith(m) || w.needed(m.Key) {
			continue
		}
		list = append(list, nf.Warning{Code: nf.WarnNoLongerWanted, Target: m.Target, Key: m.Key,
			Message: fmt.Sprintf("nfsync set this to %s, and no policy names it any more: it is left as it is", m.Key.Text(m.Applied))})
	}
	return list
}

// presentKey returns the present key of a remembered one: a module can have become an
// alias of another one, as nf_conntrack_ipv4 has in Linux 4.19.
func (w *World) presentKey(m *nf.MemoryKey) nf.Key {
	if name, ok := m.Key.Module(); ok {
		if f, found := w.snap.Modules.Find(name); found {
			return nf.ModuleKey(f.Name)
		}
	}
	return m.Key
}

// needed reports whether a key is a loaded module that another loaded one needs.
func (w *World) needed(k nf.Key) bool {
	name, _ := k.Module()
	f, ok := w.snap.Modules.Find(name)
	if !ok || f.State != nf.ModuleLoaded {
		return false
	}
	return slices.ContainsFunc(w.snap.Modules.List, func(m nf.ModuleFact) bool {
		return m.State == nf.ModuleLoaded && (slices.Contains(m.Deps, f.Name) || slices.Contains(f.Holders, m.Name))
	})
}
