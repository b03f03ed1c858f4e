package diff

import (
	"strings"

	"nfsync.dev/nfsync/internal/nf"
)

// modulesLocked: a kernel without CONFIG_MODULES, kernel.modules_disabled, lockdown,
// or a line that bars this module. The parameters of a built-in module need no loading,
// and a module that became part of another one is missing.
func modulesLocked(w *World, d *difference) *verdict {
	name, ok := d.want.Key.Module()
	state, _, _ := d.from.Module()
	if !ok || d.layer != nf.LayerLive || state == nf.ModuleBuiltin && !stateDiffers(d) || d.from.IsAbsent() && w.mergedInto(name) != "" {
		return nil
	}
	m := w.snap.Modules
	if m.Support == nf.SupportNone {
		return no("this kernel cannot load or unload modules: %s", m.Reason).
			withRemedy("take %s out of the policy for this node", name)
	}
	if m.Support == nf.SupportLocked && (stateDiffers(d) || len(w.fixed(d)) > 0) {
		return no("modules cannot be loaded or unloaded any more: %s", m.Reason)
	}
	return w.barred(d)
}

// barred: blacklist, install, alias and refused options of modprobe.d(5); modprobe.blacklist= and
// module_blacklist= on the kernel's command line. A module that is loaded in spite of
// that is loaded.
func (w *World) barred(d *difference) *verdict {
	name, _ := d.want.Key.Module()
	bar := w.bar(name)
	if want, _, _ := d.to.Module(); bar == (nf.Bar{}) || want != nf.ModuleLoaded {
		return nil
	}
	v := no("%s is kept from being loaded: %s", name, bar)
	if bar.Line == 0 {
		return v.withRemedy("take that word off the kernel's command line and restart the node, or want %s unloaded", name)
	}
	v.until = nf.UntilModuleLoad
	return v.withRemedy("remove line %d of %s, or want %s unloaded", bar.Line, bar.File, name)
}

// stateDiffers reports whether the module is to be loaded or unloaded, and not only
// given other parameters.
func stateDiffers(d *difference) bool {
	state, _, ok := d.from.Module()
	running := ok && state != nf.ModuleUnloaded
	want, _, _ := d.to.Module()
	return running != (want == nf.ModuleLoaded)
}

// builtin: a module in the kernel image cannot be unloaded. A parameter whose file is
// read-only is taken from the kernel command line; the others are set in sysfs, as those of a
// loaded module.
func builtin(w *World, d *difference) *verdict {
	if state, _, _ := d.from.Module(); state != nf.ModuleBuiltin {
		return nil
	}
	name, _ := d.want.Key.Module()
	if stateDiffers(d) {
		return no("%s is built into this kernel and cannot be unloaded", name)
	}
	fixed := w.fixed(d)
	if len(fixed) == 0 {
		return nil
	}
	return no("%s is built into this kernel, which takes %s from its command line only", name, strings.Join(fixed, ", ")).
		withRemedy("set it on the kernel command line as %s.PARAMETER=VALUE and restart, or take it out of the policy", name)
}

// needsLoaded: the dependencies of a module must be loaded before it.
func (w *World) needsLoaded(name string, d *difference) *verdict {
	if want, _, _ := d.to.Module(); want != nf.ModuleLoaded || !stateDiffers(d) {
		return nil
	}
	m, ok := w.snap.Modules.Find(name)
	if !ok {
		return nil
	}
	var first string
	for _, dep := range m.Deps {
		if w.has(dep) || w.moduleState(dep) == "" {
			continue
		}
		if first == "" || w.bar(dep) != (nf.Bar{}) && w.bar(first) == (nf.Bar{}) { // one that no plan can load is the better reason
			first = dep
		}
	}
	if first == "" {
		return nil
	}
	return w.unmet(name, first).waitFor(ref{nf.Node, nf.ModuleKey(first)})
}

// unmet returns the verdict on a module that needs another one.
func (w *World) unmet(name, dep string) *verdict {
	v := no("%s needs the module %s, which is not loaded", name, dep)
	if bar := w.bar(dep); bar != (nf.Bar{}) {
		v.reason += ": " + bar.String()
		v.withRemedy("let %s be loaded, or take %s out of the policy", dep, name)
	}
	return v
}

// bar returns the line that keeps a module from being loaded; zero if none does.
func (w *World) bar(name string) nf.Bar {
	if m, ok := w.snap.Modules.Find(name); ok {
		return m.Barred
	}
	return nf.Bar{}
}

// fixed lists the differing parameters of a loaded or built-in module whose files are
// read-only.
func (w *World) fixed(d *difference) []string {
	name, _ := d.want.Key.Module()
	m, ok := w.snap.Modules.Find(name)
	_, want, _ := d.to.Module()
	if !ok || m.State == nf.ModuleUnloaded {
		return nil
	}
	_, have, _ := d.from.Module()
	var fixed []string
	for _, p := range w.differing(d.want.Key, want, have) {
		if !m.Parameters[p].Writable {
			fixed = append(fixed, p)
		}
	}
	return fixed
}

// reloadRequired: a module_param without write permission is set at load only.
func reloadRequired(w *World, d *difference) *verdict {
	if _, ok := d.want.Key.Module(); !ok || d.layer != nf.LayerLive || stateDiffers(d) {
		return nil
	}
	fixed := w.fixed(d)
	if len(fixed) == 0 {
		return nil
	}
	name, _ := d.want.Key.Module()
	return no("%s is loaded, and takes %s only when it is loaded", name, strings.Join(fixed, ", "))
}
