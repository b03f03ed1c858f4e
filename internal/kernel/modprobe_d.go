package kernel

import (
	"slices"
	"strings"

	"nfsync.dev/nfsync/internal/nf"
)

// modprobeRule is one line of modprobe.d, or one word of the kernel's command line,
// about a module.
type modprobeRule struct {
	command string // options, blacklist or install; of the command line also modprobeBlacklist and kernelBlacklist
	module  string // install: a pattern
	rest    string
	where   string // the file, as named on the node: without Root
	line    int    // in it, from 1; 0 of the command line
}

// modprobeRules reads every rule of modprobe.d(5) that is not nfsync's own, in the order
// of modprobe(8): files by name, the command line last. nfsync's own file is for the next
// start only: it may hold an earlier want.
func (fs FS) modprobeRules() []modprobeRule {
	var rules []modprobeRule
	for _, file := range fs.confFiles("modprobe.d") {
		if file != modprobeConf {
			data, _ := fs.readConf(file) // modprobe(8) too ignores a file that it cannot read
			rules = append(rules, parseModprobeConf(data, "/"+file)...)
		}
	}
	data, _ := readFile(fs.proc("cmdline"))
	return append(rules, parseCmdline(data)...)
}

// parseModprobeConf reads options, blacklist and install lines. A line that ends with a
// backslash continues in the next one.
func parseModprobeConf(data []byte, file string) []modprobeRule {
	var rules []modprobeRule
	var text string
	first, n := 1, 0
	for line := range strings.Lines(string(data) + "\n") {
		n++
		if part, goesOn := strings.CutSuffix(line, "\\\n"); goesOn {
			text += part + " "
			continue
		}
		if r, ok := parseModprobeLine(text + line); ok {
			r.where, r.line = file, first
			rules = append(rules, r)
		}
		text, first = "", n+1
	}
	return rules
}

func parseModprobeLine(line string) (modprobeRule, bool) {
	fields := strings.Fields(line)
	if len(fields) < 2 || !slices.Contains([]string{"options", "blacklist", "install"}, fields[0]) {
		return modprobeRule{}, false
	}
	return modprobeRule{command: fields[0], module: nf.NormalizeModule(fields[1]), rest: strings.Join(fields[2:], " ")}, true
}

// The words of the kernel's command line that keep modules out.
const (
	modprobeBlacklist = "modprobe.blacklist"
	kernelBlacklist   = "module_blacklist"
)

// cmdlineFile is the file with the kernel's command line.
const cmdlineFile = "/proc/cmdline"

// parseCmdline reads the words of the kernel's command line about modules:
// MODULE.PARAMETER[=VALUE] and modprobe.blacklist=A,B for modprobe(8),
// module_blacklist=A,B for the kernel itself (kernel/module/main.c).
func parseCmdline(data []byte) []modprobeRule {
	var rules []modprobeRule
	for _, word := range cmdlineWords(string(data)) {
		name, value, _ := strings.Cut(word, "=")
		if name == modprobeBlacklist || name == kernelBlacklist {
			for module := range strings.SplitSeq(value, ",") {
				rules = append(rules, modprobeRule{command: name, module: nf.NormalizeModule(module), where: cmdlineFile})
			}
			continue
		}
		if module, _, ok := strings.Cut(name, "."); ok && isName(module) {
			rules = append(rules, modprobeRule{command: "options", module: nf.NormalizeModule(module), rest: word[len(module)+1:], where: cmdlineFile})
		}
	}
	return rules
}

// cmdlineWords splits the kernel's command line at white space outside quotation marks,
// up to "--", after which the words are for init (next_arg in lib/cmdline.c).
func cmdlineWords(text string) []string {
	var words []string
	start, quoted := 0, false
	for i := range len(text) + 1 {
		switch {
		case i < len(text) && text[i] == '"':
			quoted = !quoted
		case i == len(text) || !quoted && strings.IndexByte(" \t\n", text[i]) >= 0:
			if word := text[start:i]; word == "--" {
				return words
			} else if word != "" {
				words = append(words, word)
			}
			start = i + 1
		}
	}
	return words
}

// modprobeOptions returns the parameters that modprobe.d and the command line set for a
// module.
func modprobeOptions(rules []modprobeRule, module string) string {
	var options []string
	for _, r := range rules {
		if r.command == "options" && r.module == module && r.rest != "" {
			options = append(options, r.rest)
		}
	}
	return strings.Join(options, " ")
}

// modprobeBar returns the rule that keeps a module from being loaded, or has it loaded
// by a command, which nfsync does not run; zero if there is none. (modprobe(8) ignores a
// blacklist for a module that is named on its command line. nfsync does not: the
// administrator who wrote the blacklist did not name it.)
func modprobeBar(rules []modprobeRule, module string) nf.Bar {
	for _, r := range rules {
		if r.bars(module) {
			return nf.Bar{File: r.where, Line: r.line, Says: strings.ToValidUTF8(r.String(), "\uFFFD")}
		}
	}
	return nf.Bar{}
}

func (r modprobeRule) bars(module string) bool {
	switch r.command {
	case "blacklist", modprobeBlacklist, kernelBlacklist:
		return r.module == module
	case "install":
		return matches(r.module, module)
	}
	return false
}

// String returns the rule as it is written, of a list of modules only the one.
func (r modprobeRule) String() string {
	switch {
	case r.line == 0 && r.command != "options":
		return r.command + "=" + r.module
	case r.rest == "":
		return r.command + " " + r.module
	}
	return r.command + " " + r.module + " " + r.rest
}
