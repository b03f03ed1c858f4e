package kernel

import (
	"errors"
	"maps"
	"os"
	"slices"

	"nfsync.dev/nfsync/internal/nf"
)

// inventory is all evidence of modules, read once.
type inventory struct {
	fs       FS
	live     map[string]procModule // /proc/modules
	liveErr  error
	none     bool            // the kernel has no module support
	tree     tree            // lib/modules/RELEASE
	sysfs    map[string]bool // the directories of /sys/module
	sysfsErr error
	// builtin are the built-in modules where modules.builtin cannot be read, with
	// the file that shows each.
	builtin    map[string]string
	kconfigErr error // the configuration was needed, and could not be read
	modprobe   modprobeConfig
}

func (fs FS) inventory() *inventory {
	inv := &inventory{fs: fs, tree: fs.modulesTree(), builtin: map[string]string{}}
	inv.modprobe = modprobeConfig{fs.modprobeRules(), &inv.tree}
	inv.live, inv.liveErr = fs.procModules()
	inv.sysfs, inv.sysfsErr = fs.sysfsModules()
	if errors.Is(inv.liveErr, os.ErrNotExist) {
		// A procfs that is not mounted, or with subset=pid, has neither file.
		_, err := os.Stat(fs.proc("sys/kernel/osrelease"))
		inv.none = err == nil
	}
	if inv.none || inv.tree.builtinErr != nil {
		inv.builtinFallback()
	}
	return inv
}

func (fs FS) sysfsModules() (map[string]bool, error) {
	entries, err := os.ReadDir(fs.sys("module"))
	names := map[string]bool{}
	for _, e := range entries {
		names[e.Name()] = true
	}
	return names, err
}

// builtinFallback finds built-in modules without modules.builtin.
func (inv *inventory) builtinFallback() {
	config, path, err := inv.fs.readKconfig()
	if err == nil {
		for name := range config.modules() {
			inv.builtin[name] = path
		}
		return
	}
	inv.kconfigErr = err
	for name := range inv.fs.kallsymsBuiltin() {
		inv.addBuiltin(name, inv.fs.proc("kallsyms"))
	}
	for file, name := range functionalEvidence {
		if _, err := os.Stat(inv.fs.proc(file)); err == nil {
			inv.addBuiltin(name, inv.fs.proc(file))
		}
	}
}

// addBuiltin adds a module that the kernel has as built in, unless it has a file: then
// it may have been loaded a moment ago.
func (inv *inventory) addBuiltin(name, evidence string) {
	_, hasFile := inv.tree.files[name]
	if _, known := inv.builtin[name]; !known && !hasFile {
		inv.builtin[name] = evidence
	}
}

// functionalEvidence are files below /proc that every network namespace has if the
// kernel has the module.
var functionalEvidence = map[string]string{
	"net/ip_tables_names":                     "ip_tables",
	"net/ip6_tables_names":                    "ip6_tables",
	"net/arp_tables_names":                    "arp_tables",
	"net/stat/nf_conntrack":                   "nf_conntrack",
	"net/ip_vs":                               "ip_vs",
	"sys/net/bridge/bridge-nf-call-arptables": "br_netfilter",
}

// updated reports whether the kernel was updated, and the installed one not booted: all
// files of the running kernel's tree are missing for that one reason.
func (inv *inventory) updated() bool { return inv.tree.installed != nil && !inv.none }

// problems says why a module that is not in the inventory may still exist.
func (inv *inventory) problems() []string {
	var problems []string
	if !inv.none {
		for _, err := range []error{inv.liveErr, inv.tree.depErr} {
			if err != nil {
				problems = append(problems, err.Error())
			}
		}
	}
	if inv.tree.builtinErr != nil && inv.kconfigErr != nil && !inv.updated() {
		problems = append(problems, inv.tree.builtinErr.Error(), inv.kconfigErr.Error())
	}
	return problems
}

// names lists every name that any evidence has, sorted.
func (inv *inventory) names() []string {
	names := slices.Collect(maps.Keys(inv.sysfs))
	names = slices.AppendSeq(names, maps.Keys(inv.live))
	names = slices.AppendSeq(names, maps.Keys(inv.tree.files))
	names = slices.AppendSeq(names, maps.Keys(inv.tree.builtin))
	names = slices.AppendSeq(names, maps.Keys(inv.builtin))
	slices.Sort(names)
	return slices.Compact(names)
}

// fact returns what the evidence shows of one module; false if it shows nothing.
func (inv *inventory) fact(name string) (nf.ModuleFact, bool) {
	fact := nf.ModuleFact{Name: name}
	fact.State, fact.Evidence = inv.state(name)
	if fact.State == nf.ModuleBuiltin || fact.State == "" {
		return fact, fact.State != ""
	}
	fact.Deps = inv.tree.deps(name, inv.barred)
	if fact.State == nf.ModuleLoaded {
		fact.Refs = -1
		if m, listed := inv.live[name]; listed {
			fact.Refs, fact.Holders, fact.Permanent = m.refs, m.holders, m.permanent
		}
		return fact, true
	}
	fact.Barred = inv.modprobe.bar(name)
	return fact, true
}

func (inv *inventory) barred(name string) bool { return inv.modprobe.bar(name) != (nf.Bar{}) }

// state returns the state of a module by the first evidence that has it.
func (inv *inventory) state(name string) (state, evidence string) {
	if m, listed := inv.live[name]; listed {
		if m.ready() {
			return nf.ModuleLoaded, inv.fs.proc("modules")
		}
		return nf.ModuleUnloaded, inv.fs.proc("modules")
	}
	initstate, err := inv.initstate(name)
	if err == nil {
		if initstate == "live" {
			return nf.ModuleLoaded, inv.fs.sys("module", name, "initstate")
		}
		return nf.ModuleUnloaded, inv.fs.sys("module", name, "initstate")
	}
	if inv.tree.builtin[name] {
		return nf.ModuleBuiltin, inv.tree.file("modules.builtin")
	}
	if path, ok := inv.builtin[name]; ok {
		return nf.ModuleBuiltin, path
	}
	if _, hasFile := inv.tree.files[name]; hasFile {
		if inv.liveErr == nil || inv.none || inv.sysfsErr == nil && !inv.sysfs[name] {
			return nf.ModuleUnloaded, inv.tree.file("modules.dep")
		}
		return "", "" // it may be loaded: neither file that shows that can be read
	}
	if inv.sysfs[name] && errors.Is(err, os.ErrNotExist) {
		return nf.ModuleBuiltin, inv.fs.sys("module", name)
	}
	return "", ""
}

// initstate reads /sys/module/NAME/initstate. Built-in modules do not have it: they
// have a directory only for their parameters or version.
func (inv *inventory) initstate(name string) (string, error) {
	if !inv.sysfs[name] {
		return "", os.ErrNotExist
	}
	state, err := readString(inv.fs.sys("module", name, "initstate"))
	if errors.Is(err, os.ErrNotExist) {
		// It may have been unloaded since /sys/module was listed.
		if _, err := os.Stat(inv.fs.sys("module", name)); err != nil {
			delete(inv.sysfs, name)
		}
	}
	return state, err
}
