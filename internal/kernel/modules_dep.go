package kernel

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"nfsync.dev/nfsync/internal/nf"
)

// tree holds the files that depmod(8) and the build of the kernel wrote below
// lib/modules/RELEASE.
type tree struct {
	dir     string
	files   map[string]moduleFile // modules.dep
	builtin map[string]bool       // modules.builtin
	pre     map[string][]string   // modules.softdep: modules to load before
	// The errors of files that could not be read or are damaged: they do not prove
	// absence.
	depErr, builtinErr error
	// installed are the releases that lib/modules has if it does not have the running one.
	installed []string
	// types are the types of parameters by module, of the files that were read.
	types map[string]map[string]string
}

// moduleFile is one line of modules.dep.
type moduleFile struct {
	path  string // absolute, or relative to lib/modules/RELEASE
	needs string // the paths of its dependencies, as in the line
}

func (t *tree) path(f moduleFile) string {
	if filepath.IsAbs(f.path) {
		return f.path
	}
	return filepath.Join(t.dir, f.path)
}

// isNetfilter reports whether a module's file is in a directory of netfilter:
// net/netfilter, net/ipv4/netfilter and the like.
func (t *tree) isNetfilter(name string) bool {
	return strings.Contains("/"+t.files[name].path, "/netfilter/")
}

// modulesTree reads the tree of the running kernel.
func (fs FS) modulesTree() tree {
	t := tree{dir: fs.root("lib/modules", fs.release())}
	data, err := readFile(t.file("modules.dep"))
	files, damaged := parseDep(data)
	t.files, t.depErr = files, err
	if damaged > 0 {
		t.depErr = fmt.Errorf("%s is damaged at line %d", t.file("modules.dep"), damaged)
	}
	if errors.Is(err, os.ErrNotExist) {
		if t.installed = fs.installedReleases(); t.installed != nil {
			t.depErr = fmt.Errorf("the kernel was updated: %s has the modules of %s, and no longer those of the running kernel %s; restart the node into the installed kernel",
				fs.root("lib/modules"), strings.Join(t.installed, ", "), fs.release())
		}
	}
	data, t.builtinErr = readFile(t.file("modules.builtin"))
	t.builtin = parseBuiltin(data)
	data, _ = readFile(t.file("modules.softdep")) // old versions of depmod(8) did not write it
	t.pre = parseSoftdep(data)
	return t
}

// installedReleases lists the releases of the kernels that have modules.
func (fs FS) installedReleases() []string {
	var releases []string
	entries, _ := os.ReadDir(fs.root("lib/modules"))
	for _, e := range entries {
		if _, err := os.Stat(fs.root("lib/modules", e.Name(), "modules.dep")); err == nil {
			releases = append(releases, e.Name())
		}
	}
	return releases
}

// readAliases returns the exact aliases of all modules of the tree: of those with a
// file and, since Linux 5.2, of built-in ones.
func (t *tree) readAliases() (map[string]string, error) {
	aliases := map[string]string{}
	data, err := readFile(t.file("modules.alias"))
	parseAlias(data, aliases)
	builtin, _ := readFile(t.file("modules.builtin.modinfo"))
	parseBuiltinAlias(builtin, aliases)
	return aliases, err
}

func (t *tree) file(name string) string { return filepath.Join(t.dir, name) }

// parseDep reads modules.dep (modules.dep(5)): "path: path path", a module and its
// dependencies. Blank lines and comments are skipped. damaged is the number of the first
// other line, 0 if there is none: without its line a module looks as if it did not exist.
// A file that does not end with a line feed was cut off.
func parseDep(data []byte) (files map[string]moduleFile, damaged int) {
	files = map[string]moduleFile{}
	number := 0
	for line := range strings.Lines(string(data)) {
		number++
		text := strings.TrimSpace(line)
		if text == "" || text[0] == '#' {
			continue
		}
		path, needs, ok := strings.Cut(text, ":")
		name, isModule := moduleName(path)
		if !ok || !isModule || line[len(line)-1] != '\n' {
			if damaged == 0 {
				damaged = number
			}
			continue
		}
		if _, dup := files[name]; !dup {
			files[name] = moduleFile{path: path, needs: needs}
		}
	}
	return files, damaged
}

// deps lists the direct and indirect dependencies of the module in the order in which
// they are loaded: modules.dep has them in reverse.
func (f moduleFile) deps() []string {
	fields := strings.Fields(f.needs)
	slices.Reverse(fields)
	deps := fields[:0]
	for _, path := range fields {
		if name, ok := moduleName(path); ok {
			deps = append(deps, name)
		}
	}
	return deps
}

// moduleName returns the name of the module in a file: kernel/net/8021q.ko.xz is
// 8021q.
func moduleName(path string) (string, bool) {
	base := path[strings.LastIndexByte(path, '/')+1:]
	name, suffix, ok := strings.Cut(base, ".ko")
	if _, known := algorithms[suffix]; !ok || !isName(name) || suffix != "" && !known {
		return "", false
	}
	return nf.NormalizeModule(name), true
}

// isName reports whether s can be the name of a module in a policy.
func isName(s string) bool {
	const characters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"
	return s != "" && strings.Trim(s, characters) == ""
}

// parseBuiltin reads modules.builtin: a path a line, as if each module had a file.
func parseBuiltin(data []byte) map[string]bool {
	names := map[string]bool{}
	for line := range bytes.Lines(data) {
		if name, ok := moduleName(strings.TrimSpace(string(line))); ok {
			names[name] = true
		}
	}
	return names
}

// parseAlias adds the exact aliases of modules.alias (modules.alias(5)):
// "alias NAME MODULE". Patterns, and names that no policy can hold
// (pci:v00001234…), are left out. The first line of a name wins: modprobe(8)
// would load all of them, but a key is one module.
func parseAlias(data []byte, aliases map[string]string) {
	for line := range strings.Lines(string(data)) {
		rest, ok := strings.CutPrefix(line, "alias ")
		if !ok {
			continue
		}
		alias, module, _ := strings.Cut(strings.TrimSpace(rest), " ")
		addAlias(aliases, alias, strings.TrimSpace(module))
	}
}

// parseBuiltinAlias adds the aliases of modules that are built in, from
// modules.builtin.modinfo: "MODULE.TAG=VALUE", each ended by a NUL
// (Documentation/kbuild/kbuild.rst, since Linux 5.2).
func parseBuiltinAlias(data []byte, aliases map[string]string) {
	for record := range bytes.SplitSeq(data, []byte{0}) {
		key, value, _ := bytes.Cut(record, []byte("="))
		if module, ok := bytes.CutSuffix(key, []byte(".alias")); ok {
			addAlias(aliases, string(value), string(module))
		}
	}
}

func addAlias(aliases map[string]string, alias, module string) {
	if !isName(alias) || !isName(module) {
		return
	}
	alias, module = nf.NormalizeModule(alias), nf.NormalizeModule(module)
	if _, dup := aliases[alias]; !dup && alias != module {
		aliases[alias] = module
	}
}

// parseSoftdep reads the lines "softdep MODULE pre: A B post: C" of modules.softdep
// (modprobe.d(5)) and returns the modules to load before each.
func parseSoftdep(data []byte) map[string][]string {
	pre := map[string][]string{}
	for line := range bytes.Lines(data) {
		fields := strings.Fields(string(line))
		if len(fields) < 3 || fields[0] != "softdep" || !isName(fields[1]) {
			continue
		}
		before := false
		for _, f := range fields[2:] {
			switch {
			case f == "pre:" || f == "post:":
				before = f == "pre:"
			case before && isName(f):
				name := nf.NormalizeModule(fields[1])
				pre[name] = append(pre[name], nf.NormalizeModule(f))
			}
		}
	}
	return pre
}

// softDependent returns the modules with soft dependencies, in modules.softdep or in
// modprobe.d.
func (fs FS) softDependent(tree *tree) map[string]bool {
	names := map[string]bool{}
	data, _ := readFile(tree.file("modules.softdep"))
	addSoft(names, data)
	for _, file := range fs.modprobeFiles() {
		data, _ := fs.readConf(file)
		addSoft(names, data)
	}
	return names
}

// addSoft adds the modules of the lines "softdep MODULE pre: A post: B".
func addSoft(names map[string]bool, data []byte) {
	for _, line := range joinedLines(data) {
		command, rest := cutWord(line)
		name, rest := cutWord(rest)
		isDependency := func(word string) bool { return word != "pre:" && word != "post:" }
		words := strings.Fields(rest)
		if name, ok := underscores(name); ok && command == "softdep" && len(words) > 0 && !isDependency(words[0]) && slices.ContainsFunc(words, isDependency) {
			names[name] = true
		}
	}
}

// deps lists the modules to load before the named one, in order: its dependencies in
// modules.dep, and before each of these its "pre" modules in modules.softdep, if they
// exist. An alias in a softdep is left out: it may mean several modules, some for missing
// hardware. Built-in modules are left out, and so is a barred "pre" module: modprobe(8)
// goes on without it.
func (t *tree) deps(name string, barred func(string) bool) []string {
	var order []string
	seen := map[string]bool{name: true} // softdeps can be circular
	var add func(string)
	before := func(name string) {
		for _, soft := range t.pre[name] {
			if _, exists := t.files[soft]; exists && !barred(soft) {
				add(soft)
			}
		}
		for _, dep := range t.files[name].deps() {
			add(dep)
		}
	}
	add = func(name string) {
		if seen[name] {
			return
		}
		seen[name] = true
		before(name)
		if !t.builtin[name] {
			order = append(order, name)
		}
	}
	before(name)
	return order
}
