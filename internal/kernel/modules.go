package kernel

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"nfsync.dev/nfsync/internal/nf"
)

// Modules lists every module of this kernel. It adds the parameters of the modules that
// are asked for by name or alias, or of all, and which parameters the files of the asked
// modules offer; with all, those of netfilter's modules, since reading every file is
// slow. The list does not depend on what is asked.
//
// The first of these that has a module shows its state, and is its Evidence:
// /proc/modules, /sys/module/X/initstate, modules.builtin, modules.dep, /sys/module/X
// without initstate (built in). If modules.builtin cannot be read the configuration of
// the kernel is read instead, and if that cannot be read either, /proc/kallsyms and the
// files that some modules register below /proc. A kernel without module support has only
// these.
//
// A module that is being loaded or unloaded counts as unloaded: it can be neither used
// nor changed, and the next observation finds it settled.
//
// Of a kernel without module support only the names of kconfigModules, which are
// netfilter's, and those with a directory in /sys/module are known.
func (fs FS) Modules(ask []string, all bool) nf.Modules {
	inv := fs.inventory()
	m := nf.Modules{Aliases: map[string]string{}}
	m.Support, m.Reason = inv.support()
	problems := inv.problems()
	aliases, err := inv.tree.readAliases()
	if inv.updated() {
		m.Installed = inv.tree.installed
	} else if err != nil && !inv.none {
		problems = append(problems, err.Error())
	}
	m.Complete, m.Unknown = len(problems) == 0, strings.Join(problems, "; ")
	for _, name := range inv.names() {
		if fact, ok := inv.fact(name); ok {
			m.List = append(m.List, fact)
		}
	}
	for alias, name := range aliases {
		if _, ok := m.Find(name); ok {
			m.Aliases[alias] = name
		}
	}
	if all {
		for i := range m.List {
			fact := &m.List[i]
			fact.Parameters = fs.parameters(fact.Name)
			if inv.tree.isNetfilter(fact.Name) {
				fact.Takes = inv.takes(fact.Name)
			}
		}
	}
	for _, name := range ask {
		if fact, ok := m.Find(name); ok {
			fact.Parameters = fs.parameters(fact.Name)
			fact.Takes = inv.takes(fact.Name)
		}
	}
	return m
}

// Refresh reads again what changes of a module while the kernel runs: its state,
// references, holders and parameters. The rest is that of was, as Modules
// returned it. It is false where the kernel has no such module any more; an error
// says that this cannot be determined.
func (fs FS) Refresh(was nf.ModuleFact) (nf.ModuleFact, bool, error) {
	if was.State == nf.ModuleBuiltin {
		was.Parameters = fs.parameters(was.Name)
		return was, true, nil
	}
	live, err := fs.procModules()
	m, listed := live[was.Name]
	if err != nil || !listed && was.State == nf.ModuleLoaded {
		return fs.Module(was.Name) // its file may be gone, and nothing is left of it then
	}
	was.State, was.Evidence = nf.ModuleUnloaded, cmp.Or(was.Evidence, fs.proc("modules"))
	was.Refs, was.Holders, was.Permanent = 0, nil, false
	if m.ready() {
		was.State, was.Evidence, was.Barred = nf.ModuleLoaded, fs.proc("modules"), nf.Bar{}
		was.Refs, was.Holders, was.Permanent = m.refs, m.holders, m.permanent
	}
	was.Parameters = fs.parameters(was.Name)
	return was, true, nil
}

// Module reads one module from all evidence, by its own name, with its parameters but
// not those that its file offers. It is false if the kernel has no such module; an error
// says that this cannot be determined.
func (fs FS) Module(name string) (nf.ModuleFact, bool, error) {
	name = nf.NormalizeModule(name)
	inv := fs.inventory()
	if fact, ok := inv.fact(name); ok {
		fact.Parameters = fs.parameters(name)
		return fact, true, nil
	}
	if problems := inv.problems(); len(problems) > 0 {
		return nf.ModuleFact{}, false, fmt.Errorf("cannot determine whether there is a module %s: %s", name, strings.Join(problems, "; "))
	}
	return nf.ModuleFact{}, false, nil
}

// parameters returns the parameters of a module that can be read; nil if there are none.
// Many are write-only, or not in sysfs.
func (fs FS) parameters(module string) map[string]nf.Parameter {
	dir := fs.sys("module", module, "parameters")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	params := map[string]nf.Parameter{}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm()&0o444 == 0 {
			continue
		}
		data, err := readFile(path)
		if err != nil {
			continue
		}
		value := strings.ToValidUTF8(strings.TrimSuffix(string(data), "\n"), "\uFFFD")
		params[e.Name()] = nf.Parameter{Value: value, Writable: info.Mode().Perm()&0o222 != 0}
	}
	if len(params) == 0 {
		return nil
	}
	return params
}
