package kernel

import (
	"errors"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"nfsync.dev/nfsync/internal/nf"
)

// confDirs are the directories in which systemd and modprobe(8) read configuration
// files. A file of an earlier directory replaces those of the same name in later ones,
// or masks them as a link to /dev/null (sysctl.d(5), modprobe.d(5)).
var confDirs = []string{"etc", "run", "usr/local/lib", "usr/lib", "lib"}

// confFiles lists the *.conf files of a kind (sysctl.d) below Root, in the order of
// their names, in which they are read.
func (fs FS) confFiles(kind string) []string {
	files := map[string]string{}
	for _, dir := range confDirs {
		entries, _ := os.ReadDir(fs.root(dir, kind))
		for _, e := range entries {
			if _, replaced := files[e.Name()]; !replaced && strings.HasSuffix(e.Name(), ".conf") {
				files[e.Name()] = path.Join(dir, kind, e.Name())
			}
		}
	}
	var list []string
	for _, name := range slices.Sorted(maps.Keys(files)) {
		list = append(list, files[name])
	}
	return list
}

// readConf reads a file that confFiles has listed. An absolute link is followed below
// FS.Root.
func (fs FS) readConf(name string) ([]byte, error) {
	path := fs.root(name)
	if to, err := os.Readlink(path); err == nil && filepath.IsAbs(to) {
		path = fs.root(to)
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, nil // /dev/null, which masks, or a pipe, whose end may not come
	}
	return readFile(path)
}

// Declarations are the lines of other boot files than nfsync's about the values and
// modules of the node.
type Declarations struct {
	exact map[nf.Key][]nf.Declaration
	// modules are install lines and values sysctl lines whose names are patterns. A
	// pattern does not set a value that a line names itself, or that is excluded
	// (sysctl.d(5)).
	modules, values []pattern
	excluded        []string
}

// pattern is a line about every name that it matches.
type pattern struct {
	glob string
	line nf.Declaration
}

// Declared reads what other files than nfsync's own set for the next start: modules-load.d,
// the options, blacklist and install lines of modprobe.d, sysctl.d and etc/sysctl.conf. A
// file that cannot be read declares nothing, nor does a line that is not understood. The
// names of the files are those on the node: without Root.
func (fs FS) Declared() Declarations {
	d := Declarations{exact: map[nf.Key][]nf.Declaration{}}
	for _, kind := range []struct {
		dir, own string
		parse    func([]byte, string)
	}{{"modules-load.d", loadConf, d.parseLoad}, {"modprobe.d", modprobeConf, d.parseModprobe}, {"sysctl.d", sysctlConf, d.parseSysctl}} {
		for _, file := range fs.confFiles(kind.dir) {
			if file == kind.own || fs.isSysctlConf(file) {
				continue
			}
			if data, err := fs.readConf(file); err == nil {
				kind.parse(data, "/"+file)
			}
		}
	}
	if data, err := fs.readConf(oldSysctlConf); err == nil {
		d.parseSysctl(data, "/"+oldSysctlConf)
	}
	return d
}

// oldSysctlConf is the file that sysctl(8) reads last. systemd-sysctl reads it only if
// a link in sysctl.d names it.
const oldSysctlConf = "etc/sysctl.conf"

// isSysctlConf reports whether a file is etc/sysctl.conf under another name.
func (fs FS) isSysctlConf(name string) bool {
	a, err := os.Stat(fs.root(name))
	b, other := os.Stat(fs.root(oldSysctlConf))
	return errors.Join(err, other) == nil && os.SameFile(a, b)
}

// Keys lists the keys that lines name without a pattern, sorted. That of a module may
// be an alias.
func (d *Declarations) Keys() []nf.Key { return slices.Sorted(maps.Keys(d.exact)) }

// Of returns the lines that set a key, in the order in which they are read, with those
// of sysctl.d marked that are overruled.
func (d *Declarations) Of(k nf.Key) []nf.Declaration {
	lines := overrule(slices.Clone(d.exact[k]))
	if name, ok := k.Module(); ok {
		return append(lines, matching(d.modules, name)...)
	}
	file, ok := sysctlFile(k)
	excludes := func(glob string) bool { return matches(glob, netfilterPath+file) }
	if !ok || len(lines) > 0 || slices.ContainsFunc(d.excluded, excludes) {
		return lines
	}
	lines = matching(d.values, netfilterPath+file)
	for i := range lines { // patterns do not set what a line, or nfsync's file, names
		lines[i].Overruled = true
	}
	return lines
}

// overrule marks the lines that a later one overrules. In sysctl.d the last line wins,
// and the files, with nfsync's, are read in the order of their names (sysctl.d(5)).
// sysctl(8) reads sysctl.conf after all others, systemd-sysctl does not read it.
func overrule(lines []nf.Declaration) []nf.Declaration {
	var later, laterOld bool
	for i, line := range slices.Backward(lines) {
		switch {
		case path.Base(path.Dir(line.File)) == "sysctl.d":
			lines[i].Overruled = later || path.Base(line.File) < path.Base(sysctlConf)
			later = true
		case line.File == "/"+oldSysctlConf:
			lines[i].Overruled = laterOld
			laterOld = true
		}
	}
	return lines
}

func matching(patterns []pattern, name string) []nf.Declaration {
	var lines []nf.Declaration
	for _, p := range patterns {
		if matches(p.glob, name) {
			lines = append(lines, p.line)
		}
	}
	return lines
}

func matches(glob, name string) bool {
	match, err := path.Match(glob, name)
	return err == nil && match
}

func isGlob(name string) bool { return strings.ContainsAny(name, "*?[") }

func (d *Declarations) add(k nf.Key, file string, line int, v nf.Value) {
	d.exact[k] = append(d.exact[k], nf.Declaration{File: file, Line: line, Value: v})
}

// parseLoad reads modules-load.d(5): a module a line, comments with # or ;.
func (d *Declarations) parseLoad(data []byte, file string) {
	for i, line := range strings.Split(string(data), "\n") {
		if name := strings.TrimSpace(line); isName(name) {
			d.add(nf.ModuleKey(name), file, i+1, nf.Module(nf.ModuleLoaded, nil))
		}
	}
}

// parseModprobe reads modprobe.d(5). Options say how a module is loaded, not whether. A
// blacklist keeps out a module unless it is named, also if modules-load.d lists it. Of
// the commands of install only those that do nothing are understood.
func (d *Declarations) parseModprobe(data []byte, file string) {
	unloaded := nf.Module(nf.ModuleUnloaded, nil)
	for _, r := range parseModprobeConf(data, file) {
		switch {
		case r.command == "options" && isName(r.module):
			d.addOptions(r)
		case r.command == "blacklist" && isName(r.module):
			d.add(nf.ModuleKey(r.module), file, r.line, unloaded)
		case r.command != "install" || !doesNothing(r.rest):
		case isGlob(r.module):
			d.modules = append(d.modules, pattern{r.module, nf.Declaration{File: file, Line: r.line, Value: unloaded}})
		case isName(r.module):
			d.add(nf.ModuleKey(r.module), file, r.line, unloaded)
		}
	}
}

// addOptions adds the parameters of an options line. hashsize of nf_conntrack is its
// number of buckets (nf_conntrack_core.c).
func (d *Declarations) addOptions(r modprobeRule) {
	params := map[string]string{}
	for _, word := range cmdlineWords(r.rest) {
		p, value, ok := strings.Cut(strings.ToValidUTF8(word, "\uFFFD"), "=")
		if ok && isName(p) && len(strings.Fields(value)) < 2 && strings.TrimSpace(value) == value {
			params[p] = value
		}
	}
	if len(params) == 0 {
		return
	}
	d.add(nf.ModuleKey(r.module), r.where, r.line, nf.Module(nf.ModuleLoaded, params))
	if n, ok := cNumber(params["hashsize"]); ok && r.module == "nf_conntrack" {
		d.add(nf.KeyBuckets, r.where, r.line, nf.Number(n))
	}
}

func doesNothing(command string) bool {
	return slices.Contains([]string{"/bin/false", "/bin/true", "/usr/bin/false", "/usr/bin/true", "false", "true"}, command)
}

// netfilterPath is the directory of conntrack's values below /proc/sys.
const netfilterPath = "net/netfilter/"

// parseSysctl reads sysctl.d(5) and sysctl.conf(5): "NAME = VALUE", with a leading - if
// it may fail. "-PATTERN" excludes names from patterns.
func (d *Declarations) parseSysctl(data []byte, file string) {
	for i, line := range strings.Split(string(data), "\n") {
		text := strings.TrimSpace(line)
		if text == "" || text[0] == '#' || text[0] == ';' {
			continue
		}
		text, minus := strings.CutPrefix(text, "-")
		name, value, assigned := strings.Cut(text, "=")
		name = sysctlPath(strings.TrimSpace(name))
		value = strings.TrimSpace(value)
		k, known := sysctlPathKey(name)
		switch {
		case !assigned && minus:
			d.excluded = append(d.excluded, name)
		case value == "":
		case isGlob(name):
			d.values = append(d.values, pattern{name, nf.Declaration{File: file, Line: i + 1, Value: sysctlValue(value)}})
		case known:
			d.add(k, file, i+1, sysctlValue(value))
		}
	}
}

// sysctlPath returns a name as a path. The first of / and . in it is the separator; the
// other one is then a character of names (sysctl.d(5)).
func sysctlPath(name string) string {
	if i := strings.IndexAny(name, "./"); i < 0 || name[i] == '/' {
		return name
	}
	return strings.NewReplacer(".", "/", "/", ".").Replace(name)
}

// sysctlPathKey returns the key of a path below /proc/sys. net/nf_conntrack_max is the
// same value as net/netfilter/nf_conntrack_max (nf_conntrack_standalone.c).
func sysctlPathKey(name string) (nf.Key, bool) {
	if name == "net/nf_conntrack_max" {
		return nf.KeyMax, true
	}
	file, below := strings.CutPrefix(name, netfilterPath)
	if !below || !isName(file) {
		return "", false
	}
	return nf.SysctlFileKey(file)
}

// sysctlValue returns a value as the kernel reads it; a text if it is no number.
func sysctlValue(text string) nf.Value {
	if n, ok := cNumber(text); ok {
		return nf.Number(n)
	}
	return nf.Text(strings.ToValidUTF8(text, "\uFFFD"))
}

// cNumber reads an integer as the kernel does, with the bases of C: 010 is
// eight (simple_strtoul in proc_get_long, kernel/sysctl.c).
func cNumber(text string) (int64, bool) {
	digits, negative := strings.CutPrefix(text, "-")
	base := 10
	if hex, ok := strings.CutPrefix(strings.ToLower(digits), "0x"); ok {
		digits, base = hex, 16
	} else if len(digits) > 1 && digits[0] == '0' {
		base = 8
	}
	n, err := strconv.ParseUint(digits, base, 63)
	if negative {
		return -int64(n), err == nil
	}
	return int64(n), err == nil
}
