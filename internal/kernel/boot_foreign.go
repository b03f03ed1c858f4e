package kernel

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"nfsync.dev/nfsync/internal/nf"
)

// Declarations are the lines of other boot files than nfsync's about the values and
// modules of the node.
type Declarations struct {
	modprobe modprobeConfig
	// listed are the lines that load modules, by the names that they have, in order.
	listed map[string][]nf.Declaration
	// sysctls are the lines of all files of sysctl.d, nfsync's among them, in the order in
	// which systemd-sysctl reads them; ownSysctls is the place of nfsync's file among them.
	sysctls    []sysctlLine
	ownSysctls int
	// oldSysctls are those of etc/sysctl.conf, which sysctl(8) reads last, unless
	// systemd-sysctl reads that file too.
	oldSysctls []sysctlLine
	// late are lines of other programs that set values later; rereads are the patterns of
	// modules after which sysctl.d is read again.
	late    []lateLine
	rereads []string
}

// Declared reads what other files than nfsync's own set for the next start:
// modules-load.d, modprobe.d, sysctl.d, etc/sysctl.conf and the kernel's command line, and
// the files of programs that set values later. A file that cannot be read declares nothing.
// The names of the files are those on the node: without Root.
func (fs FS) Declared() Declarations {
	tree := fs.modulesTree()
	d := Declarations{modprobe: modprobeConfig{fs.modprobeRules(), &tree}, listed: map[string][]nf.Declaration{}}
	for _, file := range fs.systemdFiles("modules-load.d") {
		if file != loadConf {
			data, _ := fs.readConf(file)
			d.parseLoad(data, "/"+file)
		}
	}
	data, _ := readFile(fs.proc("cmdline"))
	d.parseLoadCmdline(data)
	d.readSysctls(fs)
	d.readLate(fs)
	return d
}

// readSysctls reads the files of sysctl.d, and etc/sysctl.conf.
func (d *Declarations) readSysctls(fs FS) {
	d.ownSysctls = -1
	old, linked := fs.inRoot(oldSysctlConf), false
	for _, file := range fs.systemdFiles("sysctl.d") {
		if d.ownSysctls < 0 && file[strings.LastIndexByte(file, '/')+1:] >= ownSysctlName {
			d.ownSysctls = len(d.sysctls)
		}
		name := file
		if sameFile(fs.inRoot(file), old) {
			name, linked = oldSysctlConf, true
		}
		data, _ := fs.readConf(file)
		lines := parseSysctl(data, "/"+name)
		for i := range lines {
			lines[i].own = file == sysctlConf
		}
		d.sysctls = append(d.sysctls, lines...)
	}
	if d.ownSysctls < 0 {
		d.ownSysctls = len(d.sysctls)
	}
	if data, err := fs.readConf(oldSysctlConf); err == nil && !linked {
		d.oldSysctls = parseSysctl(data, "/"+oldSysctlConf)
	}
}

func sameFile(a, b string) bool {
	one, err := os.Stat(a)
	if err != nil {
		return false
	}
	other, err := os.Stat(b)
	return err == nil && os.SameFile(one, other)
}

// Keys lists the keys that lines name without a pattern, sorted. That of a module may
// be an alias.
func (d *Declarations) Keys() []nf.Key {
	keys := map[nf.Key]bool{}
	for name := range d.listed {
		keys[nf.ModuleKey(name)] = true
	}
	for _, r := range d.modprobe.rules {
		if isName(r.module) {
			keys[nf.ModuleKey(r.module)] = true
		}
		if len(d.bucketOptions(r)) > 0 {
			keys[nf.KeyBuckets] = true
		}
	}
	lines := slices.Concat(d.sysctls, d.oldSysctls)
	for _, l := range d.late {
		lines = append(lines, l.sysctlLine)
	}
	for _, l := range lines {
		if k, ok := sysctlPathKey(l.name); ok && !l.own {
			keys[k] = true
		}
	}
	return slices.Sorted(maps.Keys(keys))
}

// Of returns the lines that set a key, in the order in which they are read.
func (d *Declarations) Of(k nf.Key) []nf.Declaration {
	if name, ok := k.Module(); ok {
		return append(d.rulesOf(name), d.listed[name]...)
	}
	var lines []nf.Declaration
	if k == nf.KeyBuckets {
		for _, r := range d.modprobe.rules {
			lines = append(lines, d.bucketOptions(r)...)
		}
	}
	return append(lines, d.sysctlDeclared(k)...)
}

// parseLoad reads modules-load.d(5): a module a line, comments with # or ;.
func (d *Declarations) parseLoad(data []byte, file string) {
	for number, name := range systemdLines(data) {
		d.list(name, nf.Declaration{File: file, Line: number})
	}
}

// parseLoadCmdline reads the modules of the kernel's command line that
// systemd-modules-load(8) loads: modules-load=A,B or modules_load=A,B.
func (d *Declarations) parseLoadCmdline(data []byte) {
	for _, word := range cmdlineWords(string(data)) {
		name, value, _ := strings.Cut(word, "=")
		if strings.ReplaceAll(name, "_", "-") != "modules-load" {
			continue
		}
		for module := range strings.SplitSeq(value, ",") {
			d.list(module, nf.Declaration{File: cmdlineFile})
		}
	}
}

// list adds a line that loads a module, under the name of what it loads: the modules that
// alias lines have the name mean (kmod_module_new_from_lookup).
func (d *Declarations) list(name string, line nf.Declaration) {
	line.Directive, line.Value = nf.DirectiveLoad, nf.Module(nf.ModuleLoaded, nil)
	name = nf.NormalizeModule(name)
	names := d.modprobe.meanings(name)
	if len(names) == 0 {
		names = []string{name}
	}
	for _, name := range names {
		if isName(name) {
			d.listed[name] = append(d.listed[name], line)
		}
	}
}

// rulesOf returns what the rules of modprobe.d and of the command line do to a module at
// the next start. Of install lines the first one counts.
func (d *Declarations) rulesOf(module string) []nf.Declaration {
	var lines []nf.Declaration
	installed := false
	for _, r := range d.modprobe.rules {
		if !r.about(module) {
			continue
		}
		line := nf.Declaration{File: r.where, Line: r.line, Directive: r.command, Value: nf.Module(nf.ModuleUnloaded, nil)}
		switch r.command {
		case nf.DirectiveOptions:
			lines = append(lines, d.optionsOf(module, r)...)
			continue
		case nf.DirectiveAlias:
			if d.modprobe.aliased(module) {
				continue
			}
			line.Why = r.instead()
		case nf.DirectiveInstall:
			line.Why = fmt.Sprintf("says %q", r.says())
			if !neverLoads(r.rest) {
				line.Why += ", a command that may load it or not"
				line.Value = nf.Unknown(line.Why)
			}
			line.Overruled = installed
			installed = true
		}
		lines = append(lines, line)
	}
	return lines
}

// optionsOf returns what an options line does to a module: it sets parameters, or has the
// kernel refuse the module. What cannot be read of it is a line of its own.
func (d *Declarations) optionsOf(module string, r modprobeRule) []nf.Declaration {
	line := nf.Declaration{File: r.where, Line: r.line, Directive: r.command}
	if why := d.modprobe.tree.refusal(module, r.rest); why != "" {
		line.Value, line.Why = nf.Module(nf.ModuleUnloaded, nil), fmt.Sprintf("says %q: %s", r.says(), why)
		return []nf.Declaration{line}
	}
	params, unread := readableParameters(r.rest)
	var lines []nf.Declaration
	if len(params) > 0 {
		line.Value = nf.Module(nf.ModuleLoaded, params)
		lines = append(lines, line)
	}
	if len(unread) > 0 {
		line.Why = fmt.Sprintf("says %q, of which nfsync cannot read %s", r.says(), strings.Join(unread, " "))
		line.Value = nf.Unknown(line.Why)
		lines = append(lines, line)
	}
	return lines
}

// readableParameters returns the parameters that have a name and a value without blanks,
// and the other words.
func readableParameters(text string) (params map[string]string, unread []string) {
	params = map[string]string{}
	for _, p := range parseParameters(text) {
		value := strings.ToValidUTF8(p.value, "\uFFFD")
		if p.assigned && isName(p.name) && len(strings.Fields(value)) < 2 && strings.TrimSpace(value) == value {
			params[p.name] = value
			continue
		}
		word := strings.ToValidUTF8(p.name, "\uFFFD")
		if p.assigned {
			word += "=" + value
		}
		unread = append(unread, word)
	}
	return params, unread
}

// bucketOptions returns what an options line says about the number of buckets: the
// parameter hashsize of nf_conntrack (nf_conntrack_core.c). A line with which the kernel
// refuses the module is one about them too.
func (d *Declarations) bucketOptions(r modprobeRule) []nf.Declaration {
	if r.command != nf.DirectiveOptions || r.module != "nf_conntrack" {
		return nil
	}
	params, _ := readableParameters(r.rest)
	line := nf.Declaration{File: r.where, Line: r.line, Directive: r.command}
	if why := d.modprobe.tree.refusal(r.module, r.rest); why != "" {
		line.Why = fmt.Sprintf("says %q: %s", r.says(), why)
		line.Value = nf.Unknown(line.Why)
		return []nf.Declaration{line}
	}
	if n, ok := cNumber(params["hashsize"]); ok {
		line.Value = nf.Number(n)
		return []nf.Declaration{line}
	}
	return nil
}
