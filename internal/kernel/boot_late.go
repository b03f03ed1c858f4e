package kernel

import (
	"cmp"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"nfsync.dev/nfsync/internal/nf"
)

// lateLine is a line of another program that sets a value after systemd-sysctl has set
// those of sysctl.d.
type lateLine struct {
	sysctlLine
	by        string // what sets it
	overruled bool   // sysctl.d is read again afterwards
}

// readLate reads the files of programs that are known to set sysctls when or after the
// machine starts, as far as these files show it.
func (d *Declarations) readLate(fs FS) {
	d.late = slices.Concat(fs.ufwSysctls(), fs.tunedSysctls())
	d.readUnits(fs)
	d.readUdevRules(fs)
	for _, file := range []string{"etc/rc.local", "etc/rc.d/rc.local"} {
		data, _ := fs.readConf(file)
		for number, text := range systemdLines(data) {
			d.late = append(d.late, fs.commandSysctls(text, "/"+file, number)...)
		}
	}
}

// ufwSysctls reads the file that ufw loads with its rules, unless ufw is not enabled:
// IPT_SYSCTL of /etc/default/ufw (ufw-init-functions).
func (fs FS) ufwSysctls() []lateLine {
	if strings.EqualFold(fs.shellVariable("etc/ufw/ufw.conf", "ENABLED"), "no") {
		return nil
	}
	file := cmp.Or(fs.shellVariable("etc/default/ufw", "IPT_SYSCTL"), "/etc/ufw/sysctl.conf")
	return fs.fileSysctls(file, "ufw sets it when it starts")
}

// shellVariable returns the value of NAME=VALUE in a file of a shell; empty if it is not
// there.
func (fs FS) shellVariable(file, name string) string {
	data, _ := fs.readConf(file)
	last := ""
	for _, text := range systemdLines(data) {
		if value, ok := strings.CutPrefix(text, name+"="); ok {
			last = strings.Trim(value, `"'`)
		}
	}
	return last
}

// fileSysctls returns the lines of a file of sysctl.conf(5) that something loads. Those of
// nfsync's own file are not others'.
func (fs FS) fileSysctls(file, by string) []lateLine {
	if strings.TrimPrefix(file, "/") == sysctlConf {
		return nil
	}
	data, _ := fs.readConf(file)
	var late []lateLine
	for _, l := range parseSysctl(data, file) {
		if l.assigned && l.value != "" {
			late = append(late, lateLine{sysctlLine: l, by: by})
		}
	}
	return late
}

// tunedSysctls reads the sections [sysctl] of the active profile of tuned and of those
// that it includes. Afterwards tuned sets the values of /etc/sysctl.d again, unless
// reapply_sysctl of tuned-main.conf(5) is off.
func (fs FS) tunedSysctls() []lateLine {
	reapply := true
	data, _ := fs.readConf("etc/tuned/tuned-main.conf")
	for _, l := range parseSysctl(data, "") {
		if l.name == "reapply_sysctl" {
			reapply = !slices.Contains([]string{"0", "false", "no", "off"}, strings.ToLower(l.value))
		}
	}
	data, _ = fs.readConf("etc/tuned/active_profile")
	var lines []lateLine
	read := map[string]bool{}
	for _, name := range strings.Fields(string(data)) {
		lines = append(lines, fs.tunedProfile(name, read)...)
	}
	for i, l := range lines {
		again := func(later lateLine) bool { return later.name == l.name }
		lines[i].overruled = reapply || slices.ContainsFunc(lines[i+1:], again)
	}
	return lines
}

// tunedProfile reads a profile, after those that it includes. A file of /etc replaces that
// of /usr/lib.
func (fs FS) tunedProfile(name string, read map[string]bool) []lateLine {
	if read[name] || strings.Contains(name, "/") {
		return nil
	}
	read[name] = true
	for _, dir := range []string{"etc/tuned/profiles", "etc/tuned", "usr/lib/tuned/profiles", "usr/lib/tuned"} {
		file := path.Join(dir, name, "tuned.conf")
		data, err := fs.readConf(file)
		if err != nil {
			continue
		}
		var included, own []lateLine
		section := ""
		for number, text := range systemdLines(data) {
			key, value, _ := strings.Cut(text, "=")
			key, value = strings.TrimSpace(key), strings.Trim(strings.TrimSpace(value), `"'`)
			switch {
			case text[0] == '[':
				section = strings.Trim(text, "[]")
			case section == "main" && key == "include":
				for _, other := range strings.FieldsFunc(value, func(r rune) bool { return strings.ContainsRune(",; \t", r) }) {
					included = append(included, fs.tunedProfile(strings.TrimPrefix(other, "-"), read)...)
				}
			case section == "sysctl" && value != "":
				own = append(own, lateLine{sysctlLine: sysctlLine{name: sysctlPath(key), value: value, assigned: true, file: "/" + file, line: number}, by: "tuned sets it with its active profile"})
			}
		}
		return append(included, own...)
	}
	return nil
}

// readUnits reads the commands of the units of services that set sysctls (systemd.unit(5),
// systemd.service(5)).
func (d *Declarations) readUnits(fs FS) {
	units := fs.confFiles("systemd/system", hasSuffix(".service"))
	for _, file := range units {
		data, _ := fs.readConf(file)
		for number, text := range systemdLines(data) {
			if key, command, ok := strings.Cut(text, "="); ok && strings.HasPrefix(key, "ExecStart") {
				d.late = append(d.late, fs.commandSysctls(command, "/"+file, number)...)
			}
		}
	}
}

// udevAssignment is one KEY{ATTRIBUTE}OPERATOR"VALUE" of a rule (udev(7)).
var udevAssignment = regexp.MustCompile(`([A-Z]+)(?:\{([^}]*)\})?\s*(==|!=|\+=|:=|=)\s*"((?:[^"\\]|\\.)*)"`)

// readUdevRules reads the rules of udev(7) that set sysctls, or have them set.
func (d *Declarations) readUdevRules(fs FS) {
	for _, file := range fs.confFiles("udev/rules.d", hasSuffix(".rules")) {
		data, _ := fs.readConf(file)
		for number, text := range joinedLines(data) {
			if maySet(text) && !strings.HasPrefix(strings.TrimSpace(text), "#") {
				d.udevRule(fs, text, "/"+file, number)
			}
		}
	}
}

// maySet reports whether a rule of udev may set a value: most of them name devices, and need not
// be taken apart.
func maySet(rule string) bool {
	return strings.Contains(rule, "SYSCTL") || strings.Contains(rule, "RUN") || strings.Contains(rule, "hashsize")
}

func (d *Declarations) udevRule(fs FS, rule, file string, line int) {
	sets := func(name, value string) {
		d.late = append(d.late, lateLine{sysctlLine{name: name, value: value, assigned: true, file: file, line: line}, "udev sets it", false})
	}
	module := ""
	for _, m := range udevAssignment.FindAllStringSubmatch(rule, -1) {
		key, attribute, operator, value := m[1], m[2], m[3], m[4]
		switch {
		case key == "KERNEL" && operator == "==" && strings.Contains(rule, `"module"`):
			module = value
		case key == "SYSCTL" && operator == "=":
			sets(sysctlPath(attribute), value)
		case key == "ATTR" && operator == "=" && attribute == "parameters/hashsize" && module == "nf_conntrack":
			sets(netfilterPath+"nf_conntrack_buckets", value)
		case key == "RUN" && rereads(value) && module != "":
			d.rereads = append(d.rereads, module)
		case key == "RUN":
			d.late = append(d.late, fs.commandSysctls(value, file, line)...)
		}
	}
}

// rereads reports whether a command has nfsync's own file of sysctl.d read again.
func rereads(command string) bool {
	words := shellWords(command)
	i := slices.IndexFunc(words, func(w string) bool { b := path.Base(w); return b == "sysctl" || b == "systemd-sysctl" })
	if i < 0 {
		return false
	}
	given := slices.DeleteFunc(slices.Clone(words[i+1:]), func(w string) bool { return strings.HasPrefix(w, "-") })
	return slices.Contains(words[i:], "/"+sysctlConf) || slices.Contains(words[i:], "--system") ||
		path.Base(words[i]) == "systemd-sysctl" && len(given) == 0
}

// Rereads reports whether a rule of udev has nfsync's own values set once a module is
// loaded, as sysctl.d(5) recommends.
func (d *Declarations) Rereads(module string) bool {
	return slices.ContainsFunc(d.rereads, func(pattern string) bool {
		for alternative := range strings.SplitSeq(pattern, "|") {
			if fnmatch(alternative, module) {
				return true
			}
		}
		return false
	})
}

// echoed is a shell's way to set a value without sysctl(8).
var echoed = regexp.MustCompile(`echo\s+["']?(\w+)["']?\s*>+\s*(/[\w./-]+)`)

// setPath returns the path of a value below /proc/sys. hashsize of nf_conntrack is the
// number of buckets too (nf_conntrack_core.c).
func setPath(file string) (string, bool) {
	if file == "/sys/module/nf_conntrack/parameters/hashsize" {
		return netfilterPath + "nf_conntrack_buckets", true
	}
	return strings.CutPrefix(file, "/proc/sys/")
}

// commandSysctls returns what a command sets by sysctl(8) or systemd-sysctl(8), values on
// its command line and those of the files that it names, and what it writes with echo.
func (fs FS) commandSysctls(command, file string, line int) []lateLine {
	if !strings.Contains(command, "sysctl") && !strings.Contains(command, "echo") {
		return nil // as nearly all
	}
	var late []lateLine
	sets := func(name, value string) {
		late = append(late, lateLine{sysctlLine{name: name, value: value, assigned: true, file: file, line: line}, "a command sets it", false})
	}
	for _, m := range echoed.FindAllStringSubmatch(command, -1) {
		if name, ok := setPath(m[2]); ok {
			sets(name, m[1])
		}
	}
	loaded := fmt.Sprintf("%s:%d has it loaded", file, line)
	program, loads := "", false
	for _, word := range shellWords(command) {
		name, value, assigns := strings.Cut(word, "=")
		switch base := path.Base(word); {
		case base == "sysctl" || base == "systemd-sysctl":
			program, loads = base, base == "systemd-sysctl"
		case program == "":
		case strings.Trim(word, ";&|") == "":
			program = ""
		case strings.HasPrefix(word, "--load="):
			late = append(late, fs.fileSysctls(value, loaded)...)
		case strings.HasPrefix(word, "--"):
			loads = loads || word == "--load"
		case strings.HasPrefix(word, "-"):
			if flags, after, ok := strings.Cut(word[1:], "p"); ok && program == "sysctl" && strings.Trim(flags, "eNnqr") == "" {
				loads = true
				late = append(late, fs.fileSysctls(after, loaded)...)
			}
		case loads:
			late = append(late, fs.fileSysctls(word, loaded)...)
		case assigns:
			sets(sysctlPath(name), value)
		}
	}
	return late
}

// shellWords splits a command into words, without quotation marks: what a shell is given
// to run is then split too. ; & and | are words.
func shellWords(command string) []string {
	return strings.Fields(strings.NewReplacer(`"`, " ", "'", " ", `\`, " ", ";", " ; ", "&&", " ; ", "||", " ; ", "|", " ; ").Replace(command))
}

// lateDeclared returns the lines about the paths of a key that are set late.
func (d *Declarations) lateDeclared(paths []string) []nf.Declaration {
	var list []nf.Declaration
	for _, l := range d.late {
		if l.about(paths) {
			line := l.declaration(l.overruled)
			line.Why = l.by
			list = append(list, line)
		}
	}
	return list
}
