package kernel

import (
	"path"
	"slices"
	"strings"

	"nfsync.dev/nfsync/internal/nf"
)

// modprobeRule is one line of modprobe.d, or one word of the kernel's command line,
// about a module.
type modprobeRule struct {
	command string // an nf.Directive
	module  string // alias, install: a pattern
	rest    string // options: the parameters; install: the command; alias: the module that the name means
	text    string // as written; of a list of modules only the one
	where   string // the file, as named on the node: without Root
	line    int    // in it, from 1; 0 of the command line
}

// modprobeRules reads every rule of modprobe.d(5) that is not nfsync's own, in the order
// of modprobe(8): files by name, the command line last. nfsync's own file is for the next
// start only: it may hold an earlier want.
func (fs FS) modprobeRules() []modprobeRule {
	var rules []modprobeRule
	for _, file := range fs.modprobeFiles() {
		if file != modprobeConf {
			data, _ := fs.readConf(file) // modprobe(8) too ignores a file that it cannot read
			rules = append(rules, parseModprobeConf(data, "/"+file)...)
		}
	}
	data, _ := readFile(fs.proc("cmdline"))
	return append(rules, parseCmdline(data)...)
}

// parseModprobeConf reads the alias, blacklist, install and options lines of a file as
// libkmod does (kmod_config_parse in libkmod-config.c): a line that begins with # is a
// comment, blanks and tabs separate words, and a carriage return is part of a word.
func parseModprobeConf(data []byte, file string) []modprobeRule {
	var rules []modprobeRule
	for number, line := range joinedLines(data) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		if r, ok := parseModprobeLine(line); ok {
			r.text, r.where, r.line = strings.TrimSpace(line), file, number
			rules = append(rules, r)
		}
	}
	return rules
}

// joinedLines iterates over the lines of a file, each with its number, from 1, as
// getline_wrapped of libkmod-util.c reads them: a backslash joins the next line without a
// blank in between, or is removed before any other character. A line ends for C at a NUL.
func joinedLines(data []byte) func(func(int, string) bool) {
	return func(yield func(int, string) bool) {
		var line []byte
		first, number := 1, 1
		for i := 0; i < len(data); i++ {
			c := data[i]
			switch {
			case c == '\\' && i+1 == len(data):
				line = append(line, 0xff) // EOF as a character
				continue
			case c == '\\':
				i++
				if data[i] == '\n' {
					number++
					continue
				}
				line = append(line, data[i])
				continue
			case c != '\n':
				line = append(line, c)
				continue
			}
			number++
			if !yield(first, cString(line)) {
				return
			}
			line, first = nil, number
		}
		yield(first, cString(line))
	}
}

func cString(b []byte) string {
	s, _, _ := strings.Cut(string(b), "\x00")
	return s
}

// parseModprobeLine reads one line. It is false for a line that is not about loading a
// module, or that modprobe(8) ignores as bad: an install or options line with nothing
// after the name, for example.
func parseModprobeLine(line string) (modprobeRule, bool) {
	command, rest := cutWord(line)
	name, rest := cutWord(rest)
	name, ok := underscores(name)
	if !ok || name == "" {
		return modprobeRule{}, false
	}
	r := modprobeRule{command: command, module: name, rest: rest}
	switch command {
	case nf.DirectiveBlacklist:
		r.rest = ""
	case nf.DirectiveAlias:
		r.rest, _ = cutWord(rest)
		r.rest, ok = underscores(r.rest)
		return r, ok && r.rest != ""
	case nf.DirectiveInstall:
		return r, rest != ""
	case nf.DirectiveOptions:
		r.rest = strings.ReplaceAll(rest, "\t", " ") // kmod_config_add_options
		return r, rest != ""
	default:
		return modprobeRule{}, false
	}
	return r, true
}

// cutWord returns the first word, and what follows the one blank or tab after it
// (strtok_r(3)).
func cutWord(s string) (word, rest string) {
	s = strings.TrimLeft(s, " \t")
	if i := strings.IndexAny(s, " \t"); i >= 0 {
		return s[:i], s[i+1:]
	}
	return s, ""
}

// underscores returns a name or pattern with _ for -, but not within brackets. It is
// false if the brackets are not in pairs (underscores in libkmod-util.c).
func underscores(name string) (string, bool) {
	changed, inside := []byte(name), false
	for i, c := range changed {
		switch {
		case c == '[':
			inside = true
		case c == ']' && !inside:
			return "", false
		case c == ']':
			inside = false
		case c == '-' && !inside:
			changed[i] = '_'
		}
	}
	return string(changed), !inside
}

// fnmatch reports whether a name matches a pattern of fnmatch(3) or glob(3).
func fnmatch(pattern, name string) bool {
	match, err := path.Match(shellBrackets.Replace(pattern), name)
	return err == nil && match
}

// shellBrackets writes for package path what it writes differently in brackets: [!a], and
// a - that is no range.
var shellBrackets = strings.NewReplacer("[!-", `[^\-`, "[^-", `[^\-`, "[!", "[^", "[-", `[\-`, "-]", `\-]`)

func isGlob(name string) bool { return strings.ContainsAny(name, "*?[") }

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
		directive, isList := map[string]string{modprobeBlacklist: nf.DirectiveBlacklist, kernelBlacklist: nf.DirectiveKernel}[name]
		if isList {
			for module := range strings.SplitSeq(value, ",") {
				module = nf.NormalizeModule(module)
				rules = append(rules, modprobeRule{command: directive, module: module, text: name + "=" + module, where: cmdlineFile})
			}
			continue
		}
		if module, _, ok := strings.Cut(name, "."); ok && isName(module) {
			rules = append(rules, modprobeRule{command: nf.DirectiveOptions, module: nf.NormalizeModule(module), rest: word[len(module)+1:], text: word, where: cmdlineFile})
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
		case i == len(text) || !quoted && strings.IndexByte(" \t\n\v\f\r", text[i]) >= 0:
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
		if r.command == nf.DirectiveOptions && r.module == module {
			options = append(options, r.rest)
		}
	}
	return strings.Join(options, " ")
}

// modprobeConfig is what decides how a module is loaded: the rules, and the parameters
// that the modules take.
type modprobeConfig struct {
	rules []modprobeRule
	tree  *tree
}

// bar returns the rule that keeps a module from being loaded, or has it loaded by a
// command, which nfsync does not run; zero if there is none. (modprobe(8) ignores a
// blacklist for a module that is named on its command line. nfsync does not: the
// administrator who wrote the blacklist did not name it.)
func (c *modprobeConfig) bar(module string) nf.Bar {
	for _, r := range c.rules {
		if !r.about(module) {
			continue
		}
		bars, why := r.command != nf.DirectiveOptions && r.command != nf.DirectiveAlias, ""
		switch r.command {
		case nf.DirectiveOptions:
			why = c.tree.refusal(module, r.rest)
			bars = why != ""
		case nf.DirectiveAlias:
			bars, why = !c.aliased(module), r.instead()
		}
		if bars {
			return nf.Bar{File: r.where, Line: r.line, Says: r.says(), Why: why}
		}
	}
	return nf.Bar{}
}

// about reports whether a rule concerns a module. Options and blacklists name it;
// install and alias can have a pattern (fnmatch(3) in libkmod-module.c and
// libkmod-config.c).
func (r modprobeRule) about(module string) bool {
	if r.command == nf.DirectiveInstall || r.command == nf.DirectiveAlias {
		return fnmatch(r.module, module)
	}
	return r.module == module
}

// aliased reports whether an alias line has the name of the module mean the module
// itself. Of a name that has alias lines modprobe(8) loads what they say and nothing
// else, even if a module has that name (kmod_lookup_alias_from_config).
func (c *modprobeConfig) aliased(name string) bool {
	return slices.Contains(c.meanings(name), name)
}

// meanings returns the modules that alias lines have a name mean. A module of the name
// off does not exist: it is the convention for nothing.
func (c *modprobeConfig) meanings(name string) []string {
	var names []string
	for _, r := range c.rules {
		if r.command == nf.DirectiveAlias && r.about(name) {
			names = append(names, r.rest)
		}
	}
	return names
}

// instead says what an alias line loads instead of a module.
func (r modprobeRule) instead() string {
	if r.rest == "off" {
		return "modprobe loads nothing by that name"
	}
	return "modprobe loads " + strings.ToValidUTF8(r.rest, "\uFFFD") + " instead"
}

// says returns the rule as it is written.
func (r modprobeRule) says() string { return strings.ToValidUTF8(r.text, "\uFFFD") }

// harmless are the programs that do not load a module, whatever their arguments.
var harmless = []string{"true", "false", ":", "exit", "echo", "printf", "logger", "sleep"}

// neverLoads reports whether the command of an install line certainly loads no module.
// /bin/sh runs it (module_do_install_commands in libkmod-module.c): every simple command
// of it must be a harmless one.
func neverLoads(command string) bool {
	if strings.Contains(command, "`") || strings.Contains(command, "$(") {
		return false
	}
	// The & after > is part of a redirection, and ends no command.
	command = strings.ReplaceAll(command, ">&", ">")
	for simple := range strings.FieldsFuncSeq(command, func(r rune) bool { return strings.ContainsRune(";&|\n", r) }) {
		words := strings.Fields(simple)
		if len(words) == 0 {
			continue
		}
		if strings.HasPrefix(words[0], "#") {
			break // a comment, to the end
		}
		name := words[0]
		for _, dir := range []string{"/bin/", "/usr/bin/"} {
			name = strings.TrimPrefix(name, dir)
		}
		if !slices.Contains(harmless, name) {
			return false
		}
		if slices.ContainsFunc(words, func(w string) bool { return strings.HasPrefix(w, "#") }) {
			break
		}
	}
	return true
}
