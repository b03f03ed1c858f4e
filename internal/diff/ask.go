package diff

import (
	"slices"

	"nfsync.dev/nfsync/internal/nf"
)

// Ask returns what must be observed to plan these wants: the keys that are wanted of
// each container, and what the rules need besides.
func Ask(wants nf.Wants) nf.Ask {
	ask := nf.Ask{Keys: make(map[nf.Target][]nf.Key, countTargets(wants.List))}
	for i := range wants.List {
		w := &wants.List[i]
		ask.Declared = ask.Declared || w.Target.IsNode()
		if name, ok := w.Key.Module(); ok {
			state, params, _ := w.Wish.Value.Module()
			if len(params) > 0 {
				ask.Modules = append(ask.Modules, name)
			}
			// Unloading must not lose the rules of any namespace.
			ask.Rules = ask.Rules || state == nf.ModuleUnloaded
			continue
		}
		if !w.Target.IsNode() {
			ask.Keys[w.Target] = append(ask.Keys[w.Target], w.Key)
		}
		// Lowering the node's limit must not go below what a container has.
		ask.Limits = ask.Limits || w.Target.IsNode() && w.Key == nf.KeyMax
		ask.Rules = ask.Rules || unloadsAbove(w)
	}
	slices.Sort(ask.Modules)
	ask.Modules = slices.Compact(ask.Modules)
	return ask
}

// countTargets returns how many targets wants have that are sorted by target.
func countTargets(wants []nf.Want) int {
	n := 0
	for i := range wants {
		if i == 0 || wants[i].Target != wants[i-1].Target {
			n++
		}
	}
	return n
}

func unloadsAbove(w *nf.Want) bool {
	keep, _ := w.Wish.Value.Text()
	return w.Key == nf.KeyAboveLevel && keep == "unload"
}
