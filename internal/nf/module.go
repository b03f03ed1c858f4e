package nf

import (
	"cmp"
	"fmt"
	"slices"
)

// Modules are the modules of a kernel, and whether any other one is known to be absent.
type Modules struct {
	// Support is loadable, none (a kernel built without module support) or
	// locked (modules_disabled, lockdown), with the reason.
	Support string `json:"support"`
	Reason  string `json:"reason,omitempty"`
	// Complete reports whether all evidence was read: a name that is neither in List
	// nor in Aliases does not exist on this node. Otherwise that is unknown, and
	// Unknown says why.
	Complete bool   `json:"complete"`
	Unknown  string `json:"unknown,omitempty"`
	// Installed are the releases of the kernels whose modules lib/modules has, if it does
	// not have those of the running kernel: the kernel was updated and the installed one
	// not booted.
	Installed []string `json:"installed,omitempty"`
	// List holds every module that is loaded, built in or can be loaded,
	// sorted by name.
	List []ModuleFact `json:"list"`
	// Aliases are the exact aliases of modules.alias: nf_conntrack_ipv4 is
	// nf_conntrack since Linux 4.19.
	Aliases map[string]string `json:"aliases,omitempty"`
}

// The kinds of module support.
const (
	SupportLoadable = "loadable"
	SupportNone     = "none"
	SupportLocked   = "locked"
)

// ModuleFact holds the facts of one kernel module.
type ModuleFact struct {
	Name     string `json:"name"`
	State    string `json:"state"`              // loaded, builtin or unloaded
	Evidence string `json:"evidence,omitempty"` // the file that shows it
	// Refs is the reference count, with the holders; -1 if unknown.
	Refs    int      `json:"refs,omitempty"`
	Holders []string `json:"holders,omitempty"` // modules that use it
	Deps    []string `json:"deps,omitempty"`    // modules that it needs, to be loaded first, in order
	// Parameters are those of /sys/module/NAME/parameters that could be read,
	// where they were asked for.
	Parameters map[string]Parameter `json:"parameters,omitempty"`
	// Takes are the names of the parameters that the module's file offers, with _ for
	// -, sorted; nil if unknown. They are read of modules that were asked by name and,
	// if everything is asked, of netfilter's.
	Takes []string `json:"takes,omitzero"`
	// Barred is the line that keeps an unloaded module from being loaded; zero if
	// none does.
	Barred Bar `json:"barred,omitzero"`
	// Permanent reports whether the module can never be unloaded.
	Permanent bool `json:"permanent,omitempty"`
	// Boot is the state that nfsync's own boot files bring at the next start; nil if
	// they do not name the module.
	Boot *Value `json:"boot,omitempty"`
	// Declared are lines of other boot files that name the module.
	Declared []Declaration `json:"declared,omitempty"`
	// Rereads reports whether something reads sysctl.d again once the module is loaded: a
	// rule of udev(7).
	Rereads bool `json:"rereads,omitempty"`
}

// Bar is a line of modprobe.d(5) that is not nfsync's, or a word of the kernel's
// command line, that keeps a module from being loaded.
type Bar struct {
	File string `json:"file"`
	Line int    `json:"line,omitempty"` // from 1; 0 of the kernel's command line
	Says string `json:"says"`
	Why  string `json:"why,omitempty"` // what the line does, where it does not show that
}

// String returns the place, the line and what it does.
func (b Bar) String() string {
	text := fmt.Sprintf("%s says %q", place(b.File, b.Line), b.Says)
	if b.Why != "" {
		text += ": " + b.Why
	}
	return text
}

// Parameter is a module's parameter. A writable one can be set while the
// module is loaded.
type Parameter struct {
	Value    string `json:"value"`
	Writable bool   `json:"writable,omitempty"`
}

// Find returns the module of that name, with - and _ the same, or the one that
// the name is an alias of. A real module's name wins over an alias, as
// modprobe(8) has it.
func (m *Modules) Find(name string) (*ModuleFact, bool) {
	name = NormalizeModule(name)
	if f, ok := m.find(name); ok {
		return f, true
	}
	if real, ok := m.Aliases[name]; ok {
		return m.find(real)
	}
	return nil, false
}

// Set adds a module to the list, in order, or replaces it.
func (m *Modules) Set(f ModuleFact) {
	i, ok := m.search(f.Name)
	if ok {
		m.List[i] = f
		return
	}
	m.List = slices.Insert(m.List, i, f)
}

// Remove removes a module from the list.
func (m *Modules) Remove(name string) {
	if i, ok := m.search(NormalizeModule(name)); ok {
		m.List = slices.Delete(m.List, i, i+1)
	}
}

func (m *Modules) search(name string) (int, bool) {
	return slices.BinarySearchFunc(m.List, name, func(f ModuleFact, name string) int { return cmp.Compare(f.Name, name) })
}

func (m *Modules) find(name string) (*ModuleFact, bool) {
	i, ok := m.search(name)
	if !ok {
		return nil, false
	}
	return &m.List[i], true
}

// Value returns the module's state as a value, with the named parameters that it has.
func (f *ModuleFact) Value(params []string) Value {
	values := map[string]string{}
	for _, p := range params {
		if v, ok := f.Parameters[p]; ok {
			values[p] = v.Value
		}
	}
	return Module(f.State, values)
}
