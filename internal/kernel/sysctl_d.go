package kernel

import (
	"path"
	"slices"
	"strconv"
	"strings"

	"nfsync.dev/nfsync/internal/nf"
)

// oldSysctlConf is the file that sysctl(8) reads last. systemd-sysctl reads it only if
// a link in sysctl.d names it.
const oldSysctlConf = "etc/sysctl.conf"

// netfilterPath is the directory of conntrack's values below /proc/sys.
const netfilterPath = "net/netfilter/"

// sysctlLine is a line of a file of sysctl.d.
type sysctlLine struct {
	name     string // as a path; a pattern if it has a value
	value    string
	assigned bool // otherwise "-NAME": no pattern sets the name
	file     string
	line     int
	own      bool // of nfsync's own file
}

// parseSysctl reads sysctl.d(5) and sysctl.conf(5): "NAME = VALUE", with a leading - if
// it may fail. "-NAME" excludes a name from patterns.
func parseSysctl(data []byte, file string) []sysctlLine {
	var lines []sysctlLine
	for number, text := range systemdLines(data) {
		text, minus := strings.CutPrefix(text, "-")
		name, value, assigned := strings.Cut(text, "=")
		if assigned || minus {
			lines = append(lines, sysctlLine{name: sysctlPath(strings.TrimSpace(name)), value: strings.TrimSpace(value), assigned: assigned, file: file, line: number})
		}
	}
	return lines
}

// sysctlPath returns a name as a path. The first of / and . in it is the separator; the
// other one is then a character of names (sysctl.d(5)). Slashes at the start and double
// ones do not count (sysctl_normalize in sysctl-util.c).
func sysctlPath(name string) string {
	if i := strings.IndexAny(name, "./"); i >= 0 && name[i] == '.' {
		name = strings.NewReplacer(".", "/", "/", ".").Replace(name)
	}
	return strings.TrimPrefix(path.Clean("/"+name), "/")
}

// sysctlPaths returns the paths of the files below /proc/sys that are the value of a
// key. net/nf_conntrack_max is the same value as net/netfilter/nf_conntrack_max
// (nf_conntrack_standalone.c).
func sysctlPaths(k nf.Key) []string {
	file, ok := sysctlFileName(k)
	if !ok {
		return nil
	}
	if k == nf.KeyMax {
		return []string{netfilterPath + file, "net/" + file}
	}
	return []string{netfilterPath + file}
}

// sysctlPathKey returns the key of a path below /proc/sys.
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

// lastWriter returns the line that has the last word on a value that has these paths;
// false if no line is about it. The lines are those of all files, in the order in which
// systemd-sysctl reads them (sysctl.c): a line replaces an earlier one of the same name
// and takes its turn, unless it says the same. What is left is written in order. A
// pattern does not set a name that a line has.
func lastWriter(lines []sysctlLine, paths []string) (sysctlLine, bool) {
	var kept []sysctlLine
	for _, l := range lines {
		i := slices.IndexFunc(kept, func(k sysctlLine) bool { return k.name == l.name })
		switch {
		case i >= 0 && kept[i].value == l.value && kept[i].assigned == l.assigned:
			continue
		case i >= 0:
			kept = slices.Delete(kept, i, i+1)
		}
		kept = append(kept, l)
	}
	named := func(path string) bool {
		return slices.ContainsFunc(kept, func(k sysctlLine) bool { return k.name == path })
	}
	var last, unset sysctlLine // what sets the value, and what keeps others from it
	for _, l := range kept {
		switch {
		case !l.assigned && slices.Contains(paths, l.name):
			unset = l
		case l.assigned && slices.ContainsFunc(paths, func(p string) bool { return l.name == p || isGlob(l.name) && !named(p) && globs(l.name, p) }):
			if _, isNumber := sysctlValue(l.value).Number(); isNumber || l.own {
				last = l
			} else {
				unset = l // the kernel refuses it
			}
		}
	}
	if last.name == "" {
		last = unset
	}
	return last, last.name != ""
}

// about reports whether a line names one of the paths, or has a pattern of it.
func (l sysctlLine) about(paths []string) bool {
	return slices.ContainsFunc(paths, func(p string) bool {
		return l.name == p || l.assigned && isGlob(l.name) && globs(l.name, p)
	})
}

// globs reports whether a path matches a pattern of glob(3), with alternatives in
// braces.
func globs(pattern, name string) bool {
	before, rest, open := strings.Cut(pattern, "{")
	list, after, closed := strings.Cut(rest, "}")
	if !open || !closed {
		return fnmatch(pattern, name)
	}
	for alternative := range strings.SplitSeq(list, ",") {
		if globs(before+alternative+after, name) {
			return true
		}
	}
	return false
}

// sysctlDeclared returns the lines of other files about a key, in the order in which
// they are read, with those marked that have not the last word: nfsync's own file has
// it, if it is to have the key, or another line.
func (d *Declarations) sysctlDeclared(k nf.Key) []nf.Declaration {
	paths := sysctlPaths(k)
	if paths == nil {
		return nil
	}
	winner, _ := lastWriter(d.withOwn(paths[0]), paths)
	var list []nf.Declaration
	for _, l := range d.sysctls {
		if l.about(paths) && !l.own {
			list = append(list, l.declaration(l != winner))
		}
	}
	sets := func(l sysctlLine) bool { return l.assigned && l.about(paths) }
	for i, l := range d.oldSysctls {
		if sets(l) {
			list = append(list, l.declaration(slices.ContainsFunc(d.oldSysctls[i+1:], sets)))
		}
	}
	return append(list, d.lateDeclared(paths)...)
}

// withOwn returns the lines of all files, and among them, in its place, one of nfsync's
// own file that sets the path: the line that it has, or one that says what no other does.
func (d *Declarations) withOwn(path string) []sysctlLine {
	if slices.ContainsFunc(d.sysctls, func(l sysctlLine) bool { return l.own && l.name == path }) {
		return d.sysctls
	}
	own := sysctlLine{name: path, value: "what nfsync will save", assigned: true, own: true}
	return slices.Insert(slices.Clone(d.sysctls), d.ownSysctls, own)
}

// declaration returns the line as one that others have written.
func (l sysctlLine) declaration(overruled bool) nf.Declaration {
	d := nf.Declaration{File: l.file, Line: l.line, Overruled: overruled}
	switch {
	case !l.assigned:
		d.Why = "excludes it, so that no earlier line sets it"
		d.Value = nf.Unknown(d.Why)
	case l.value == "":
		d.Why = "has no value, so that no earlier line sets it"
		d.Value = nf.Unknown(d.Why)
	default:
		d.Value = sysctlValue(l.value)
	}
	return d
}

// sysctlValue returns a value as the kernel reads it, which ignores what follows the
// first blank (proc_dointvec in kernel/sysctl.c); a text if it is no number.
func sysctlValue(text string) nf.Value {
	first, _, _ := strings.Cut(text, " ")
	first, _, _ = strings.Cut(first, "\t")
	if n, ok := cNumber(first); ok {
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
