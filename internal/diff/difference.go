package diff

import (
	"maps"
	"slices"
	"strconv"

	"nfsync.dev/nfsync/internal/nf"
)

// difference is one key of one target in one layer whose value is not what is
// wanted.
type difference struct {
	want  *nf.Want
	layer nf.Layer
	from  nf.Value
	to    nf.Value
	// waiting is the number of open differences that may lift the verdict.
	waiting int
	verdict *verdict
	// isDecided is set when the difference has become a change or a refusal.
	isDecided bool
	// isReached is set when a change to its live value is planned, and that is known.
	isReached bool
	// awaits reports whether the value is not there before a change of this plan brings it,
	// and is wanted in a range: it is decided then. See nf.Change.Range.
	awaits bool
	// intermediate is that of nf.Change.
	intermediate bool
	// restarted is the one restart that nfsync makes for a want, if the level is
	// another one although it was made or begun; else nil.
	restarted *nf.RestartDone
}

func (d *difference) ref() ref { return ref{d.want.Target, d.want.Key} }

// compare reports whether a value meets a wish, and returns the value that would.
func (w *World) compare(k nf.Key, wish nf.Wish, v nf.Value) (met bool, to nf.Value) {
	if _, isModule := k.Module(); isModule {
		return w.moduleMet(k, wish.Value, v), wish.Value
	}
	to = nearest(wish, v)
	n, isNumber := v.Number()
	if !isNumber {
		return wish.AtLeast == 0 && wish.AtMost == 0 && v == wish.Value && !v.IsAbsent(), to
	}
	if want, exact := wish.Value.Number(); exact {
		return n == w.rounded(k, want), to
	}
	if k == nf.KeyMax && n == 0 { // no limit at all: nf_conntrack_core.c
		return wish.AtMost == 0, to
	}
	return n >= wish.AtLeast && (wish.AtMost == 0 || n <= w.rounded(k, wish.AtMost)), to
}

// nearest returns the bound of a range that is nearest to a value.
func nearest(wish nf.Wish, v nf.Value) nf.Value {
	if !wish.Value.IsAbsent() {
		return wish.Value
	}
	n, known := v.Number()
	tooHigh := known && wish.AtMost != 0 && (n > wish.AtMost || n == 0)
	if wish.AtLeast == 0 || tooHigh {
		return nf.Number(wish.AtMost)
	}
	return nf.Number(wish.AtLeast)
}

// Decide returns a change of a range for the value that its key has by now: to the nearest
// bound or, if the value is in the range, to the value itself.
func (w *World) Decide(c nf.Change) nf.Change {
	wish := c.Range
	c.Range, c.From = nf.Wish{}, w.Value(c)
	met, to := w.compare(c.Key, wish, c.From)
	if met {
		to = c.From
	}
	c.To = to
	return c
}

// rounded returns a number as the kernel stores it: hash buckets are rounded up to a
// whole page of list heads (nf_ct_alloc_hashtable, nf_conntrack_core.c).
func (w *World) rounded(k nf.Key, n int64) int64 {
	step := w.snap.Capabilities.BucketStep
	if k != nf.KeyBuckets || step <= 1 {
		return n
	}
	return (n + step - 1) / step * step
}

// moduleMet reports whether a module is in the wanted state, with the wanted
// parameters. Built in counts as loaded. Absent counts as unloaded: a module whose
// file was removed, by an upgrade for instance, is absent once it is unloaded.
func (w *World) moduleMet(k nf.Key, want, have nf.Value) bool {
	wantState, wantParams, _ := want.Module()
	state, params, ok := have.Module()
	if !ok {
		return wantState == nf.ModuleUnloaded && have.IsAbsent()
	}
	running := state == nf.ModuleLoaded || state == nf.ModuleBuiltin
	if wantState == nf.ModuleUnloaded {
		return !running
	}
	return running && len(w.differing(k, wantParams, params)) == 0
}

// differing lists the wanted parameters that show another value, sorted. One
// that the kernel does not show (permission 0 in module_param) cannot differ.
func (w *World) differing(k nf.Key, want, have map[string]string) []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if value, shown := have[name]; shown && !sameParameter(want[name], value) && !w.sameTable(k, name, want[name], value) {
			names = append(names, name)
		}
	}
	return names
}

// sameTable compares the sizes of conntrack's hash tables, which the kernel
// rounds up as parameters too (nf_ct_alloc_hashtable is given a pointer to
// each, nf_conntrack_core.c and nf_conntrack_expect.c).
func (w *World) sameTable(k nf.Key, param, want, have string) bool {
	if k != nf.ModuleKey("nf_conntrack") || param != "hashsize" && param != "expect_hashsize" {
		return false
	}
	size, err := strconv.ParseInt(want, 0, 64) // kstrtouint with base 0
	return err == nil && strconv.FormatInt(w.rounded(nf.KeyBuckets, size), 10) == have
}

// lacking lists the parameters of a wanted module that it does not have, sorted:
// neither does its file name them, nor does the kernel show them. The kernel
// would only log them (unknown_module_param_cb, kernel/module/main.c).
func (w *World) lacking(k nf.Key, want nf.Value) []string {
	name, isModule := k.Module()
	if !isModule {
		return nil
	}
	m, ok := w.snap.Modules.Find(name)
	if !ok || m.Takes == nil {
		return nil
	}
	_, params, _ := want.Module()
	var names []string
	for _, p := range slices.Sorted(maps.Keys(params)) {
		if _, shown := m.Parameters[p]; !shown && !slices.Contains(m.Takes, nf.NormalizeModule(p)) {
			names = append(names, p)
		}
	}
	return names
}

// hidden lists the wanted parameters of a loaded module that the kernel does not
// show, sorted.
func hidden(want, have nf.Value) []string {
	state, params, ok := have.Module()
	if !ok || state == nf.ModuleUnloaded {
		return nil
	}
	_, wanted, _ := want.Module()
	var names []string
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		if _, shown := params[name]; !shown {
			names = append(names, name)
		}
	}
	return names
}

// sameParameter compares as the kernel prints: a boolean is Y or N there
// (param_get_bool, kernel/params.c).
func sameParameter(want, have string) bool {
	if want == have {
		return true
	}
	switch have {
	case "Y":
		return slices.Contains([]string{"1", "y", "true", "on"}, want)
	case "N":
		return slices.Contains([]string{"0", "n", "false", "off"}, want)
	}
	return false
}

// shown returns a module's value with only the parameters that the want names.
func shown(v, want nf.Value) nf.Value {
	state, params, ok := v.Module()
	if !ok {
		return v
	}
	_, wanted, _ := want.Module()
	named := map[string]string{}
	for name := range wanted {
		if value, known := params[name]; known && state != nf.ModuleUnloaded {
			named[name] = value
		}
	}
	return nf.Module(state, named)
}

// InSync reports whether the snapshot now holds what the change is to make.
func (w *World) InSync(c nf.Change) bool { return w.Reads(c, c.To) }

// Reads reports whether the snapshot now holds v for the change's key: a live
// value as the kernel keeps it, buckets rounded and a module with the parameters
// that v names; a boot value, and one that is absent or unknown, to the letter.
func (w *World) Reads(c nf.Change, v nf.Value) bool {
	have := w.Value(c)
	if c.Layer == nf.LayerBoot || v.IsAbsent() || v.IsUnknown() {
		return have == v
	}
	met, _ := w.compare(c.Key, nf.Exactly(v), have)
	return met
}

// Value returns what the snapshot now holds of a change's key in its layer. Of a
// live module only the parameters that the change names are in it; of a restart
// it is the level.
func (w *World) Value(c nf.Change) nf.Value {
	if c.Layer == nf.LayerBoot && c.Target.IsNode() {
		return w.bootValue(c.Key)
	}
	f := w.fact(c.Target, c.Key)
	switch {
	case c.Layer != nf.LayerBoot:
		return shown(f.Live, c.To)
	case f.Boot != nil:
		return *f.Boot
	case unseen(w.at(c.Target).container) != "":
		return f.Live // unknown, and why
	}
	return nf.Absent()
}
