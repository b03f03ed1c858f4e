package diff

import (
	"strings"

	"nfsync.dev/nfsync/internal/nf"
)

// modulesLocked: a kernel without CONFIG_MODULES, kernel.modules_disabled, lockdown,
// or a line that bars this module.
func modulesLocked(w *World, d *difference) *verdict {
	if _, ok := d.want.Key.Module(); !ok || d.layer != nf.LayerLive {
		return nil
	}
	m := w.snap.Modules
	if m.Support == nf.SupportNone {
		v := no("this kernel cannot load or unload modules: %s", m.Reason)
		return v.withRemedy("boot a kernel whose modules are as the policy wants them, or take the module out of the policy")
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

// builtin: a module in the kernel image cannot be unloaded, and takes its parameters
// from the kernel command line.
func builtin(w *World, d *difference) *verdict {
	if state, _, _ := d.from.Module(); state != nf.ModuleBuiltin {
		return nil
	}
	name, _ := d.want.Key.Module()
	if want, params, _ := d.to.Module(); want == nf.ModuleLoaded {
		_, have, _ := d.from.Module()
		return no("%s is built into this kernel, which takes %s from its command line only", name, strings.Join(w.differing(d.want.Key, params, have), ", ")).
			withRemedy("set it on the kernel command line as %s.PARAMETER=VALUE and restart, or take it out of the policy", name)
	}
	return no("%s is built into this kernel and cannot be unloaded", name)
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

// fixed lists the differing parameters that only a reload sets.
func (w *World) fixed(d *difference) []string {
	name, _ := d.want.Key.Module()
	m, ok := w.snap.Modules.Find(name)
	_, want, _ := d.to.Module()
	if !ok || m.State != nf.ModuleLoaded {
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
