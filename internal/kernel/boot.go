package kernel

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"nfsync.dev/nfsync/internal/nf"
)

// nfsync's own boot files, below FS.Root. Only nfsync writes them, each as a whole.
// Nothing overrides a file in /etc of the same name. Of the sysctl.d files those with
// a name after 90-nfsync.conf win.
const (
	loadConf     = "etc/modules-load.d/nfsync.conf"
	modprobeConf = "etc/modprobe.d/nfsync.conf"
	sysctlConf   = "etc/sysctl.d/" + ownSysctlName

	ownSysctlName = "90-nfsync.conf"
)

// BootFiles lists nfsync's own boot files, by their absolute names on a node.
func BootFiles() []string { return []string{"/" + loadConf, "/" + modprobeConf, "/" + sysctlConf} }

// bootHeader is the first lines of each of them.
const bootHeader = `# nfsync wrote this file and owns it: it replaces it whole, and removes it when
# nothing is left to say. Do not edit it, change the policies.
`

// barCommand is the command that modprobe(8) runs instead of loading a module.
const barCommand = "/bin/false"

// BootValues returns what nfsync's own boot files bring at the next start of the
// node, by key:
//
//   - a module that etc/modules-load.d/nfsync.conf lists is loaded, with the
//     parameters of its options line in etc/modprobe.d/nfsync.conf
//     (modules-load.d(5), modprobe.d(5))
//   - a module with a line "install NAME /bin/false" there is unloaded, even if it is
//     listed: the listing then runs that command. modprobe(8) ignores the line of a module
//     with soft dependencies (ignorecmd in libkmod-module.c). Such a module needs the lines
//     "alias NAME off", for its name, and "blacklist NAME", for its aliases, too
//   - a line "net.netfilter.NAME = N" of etc/sysctl.d/90-nfsync.conf is that
//     number (sysctl.d(5)); systemd-sysctl sets it after the listed modules are
//     loaded. net.netfilter.nf_conntrack_buckets is writable so since Linux 4.7
//     (3183ab8997a4 "netfilter: conntrack: allow increasing bucket size via
//     sysctl too"); before, the line does nothing.
//
// A module that has become an alias of another one counts as that one.
//
// An absent file has no values. A file that cannot be read, is not a regular file, or
// has a line that nfsync would not write is an error with file and line: what the next
// start brings is then unknown.
func (fs FS) BootValues() (map[nf.Key]nf.Value, error) {
	own, err := fs.readBoot()
	if err != nil {
		return nil, err
	}
	return own.values(), nil
}

// SetBoot sets the value of a key in nfsync's own boot files: the state of a module,
// with parameters if it is to be loaded, or a number. An absent value removes the key.
//
// Each file is replaced as a whole and atomically; a file without values is removed. A
// module that is in two files is added to modules-load.d last and removed from it first:
// a crash in between leaves files that do not load it.
func (fs FS) SetBoot(k nf.Key, v nf.Value) error {
	own, err := fs.readBoot()
	var files []string
	if err == nil {
		files, err = own.set(k, v)
	}
	for _, file := range files {
		if err == nil {
			err = fs.writeBoot(file, own.render(file))
		}
	}
	if err != nil {
		return fmt.Errorf("cannot save %s for the next start: %w", k, err)
	}
	return nil
}

// ownBoot is the content of nfsync's own boot files.
type ownBoot struct {
	listed  map[string]bool              // modules-load.d
	options map[string]map[string]string // modprobe.d: parameters by module
	barred  map[string]bool              // modprobe.d: install NAME /bin/false
	off     map[string]bool              // modprobe.d: alias NAME off
	black   map[string]bool              // modprobe.d: blacklist NAME
	sysctls map[string]int64             // by name of the file below net/netfilter
	// soft are the modules with soft dependencies.
	soft map[string]bool
}

func (o *ownBoot) values() map[nf.Key]nf.Value {
	values := map[nf.Key]nf.Value{}
	for name := range o.listed {
		values[nf.ModuleKey(name)] = nf.Module(nf.ModuleLoaded, o.options[name])
	}
	for name := range o.barred {
		if !o.soft[name] || o.off[name] && o.black[name] {
			values[nf.ModuleKey(name)] = nf.Module(nf.ModuleUnloaded, nil)
		}
	}
	for file, n := range o.sysctls {
		if k, ok := nf.SysctlFileKey(file); ok {
			values[k] = nf.Number(n)
		}
	}
	return values
}

// set changes one key and returns the files to write, in order.
func (o *ownBoot) set(k nf.Key, v nf.Value) ([]string, error) {
	if name, ok := k.Module(); ok {
		return o.setModule(name, v)
	}
	file, ok := sysctlFileName(k)
	n, number := v.Number()
	switch {
	case !ok || !isName(file):
		return nil, errors.New("no boot file keeps such a key")
	case v.IsAbsent():
		delete(o.sysctls, file)
	case !number || n < 0:
		return nil, fmt.Errorf("%s is not a number of zero or more", v)
	default:
		o.sysctls[file] = n
	}
	return []string{sysctlConf}, nil
}

func (o *ownBoot) setModule(name string, v nf.Value) ([]string, error) {
	state, params, _ := v.Module()
	if !isName(name) || !v.IsAbsent() && state != nf.ModuleLoaded && state != nf.ModuleUnloaded {
		return nil, fmt.Errorf("a boot file cannot make a module %s", v)
	}
	for p, value := range params {
		// libkmod removes backslashes, and the kernel quotation marks.
		if !isName(p) || strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r == '"' || r == '\\' || r == 0x7f }) {
			return nil, fmt.Errorf("the value of parameter %s cannot be written to a modprobe.d file", p)
		}
	}
	delete(o.listed, name)
	delete(o.barred, name)
	delete(o.options, name)
	switch state {
	case nf.ModuleUnloaded:
		o.barred[name] = true
	case nf.ModuleLoaded:
		o.listed[name] = true
		if len(params) > 0 {
			o.options[name] = params
		}
		return []string{modprobeConf, loadConf}, nil
	}
	return []string{loadConf, modprobeConf}, nil
}

// render returns the content of one of the files; empty if it has no values.
func (o *ownBoot) render(file string) []byte {
	var lines []string
	switch file {
	case loadConf:
		lines = slices.Sorted(maps.Keys(o.listed))
	case modprobeConf:
		for _, name := range slices.Sorted(maps.Keys(o.barred)) {
			lines = append(lines, "install "+name+" "+barCommand)
			if o.soft[name] {
				lines = append(lines, "alias "+name+" off", "blacklist "+name)
			}
		}
		for _, name := range slices.Sorted(maps.Keys(o.options)) {
			line := "options " + name
			for _, p := range slices.Sorted(maps.Keys(o.options[name])) {
				line += " " + p + "=" + o.options[name][p]
			}
			lines = append(lines, line)
		}
	case sysctlConf:
		for _, name := range slices.Sorted(maps.Keys(o.sysctls)) {
			lines = append(lines, fmt.Sprintf("net.netfilter.%s = %d", name, o.sysctls[name]))
		}
	}
	if len(lines) == 0 {
		return nil
	}
	return []byte(bootHeader + strings.Join(lines, "\n") + "\n")
}

// writeBoot writes one of nfsync's own boot files durably, or removes it if data is
// nil. It does not touch a file that has that content. Root must exist.
func (fs FS) writeBoot(name string, data []byte) error {
	path := fs.root(name)
	if data == nil {
		return fs.Writer.Remove(path)
	}
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, data) {
		return nil
	}
	if _, err := os.Stat(fs.Root); err != nil {
		return err
	}
	if err := fs.Writer.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return fs.Writer.Replace(path, data, 0o644)
}

func (fs FS) readBoot() (*ownBoot, error) {
	own := newOwnBoot()
	for _, file := range []struct {
		name string
		line func(string) error
	}{{loadConf, own.parseListed}, {modprobeConf, own.parseModprobe}, {sysctlConf, own.parseSysctl}} {
		data, err := fs.readOwn(file.name)
		if err == nil {
			err = parseOwn(data, "/"+file.name, file.line)
		}
		if err != nil {
			return nil, err
		}
	}
	// A crash between two files leaves the parameters of a module that is not
	// listed. The next write drops them.
	maps.DeleteFunc(own.options, func(name string, _ map[string]string) bool { return !own.listed[name] })
	tree := fs.modulesTree()
	own.renameAliases(&tree)
	own.soft = fs.softDependent(&tree)
	return own, nil
}

func newOwnBoot() *ownBoot {
	return &ownBoot{listed: map[string]bool{}, options: map[string]map[string]string{}, barred: map[string]bool{}, off: map[string]bool{}, black: map[string]bool{}, sysctls: map[string]int64{}}
}

// renameAliases gives modules that have become an alias since they were written their
// present name: listing the alias loads that module with the options of the alias. An
// install line of the alias does not concern that module. The next write has the new
// names only.
func (o *ownBoot) renameAliases(tree *tree) {
	var aliases map[string]string
	for _, name := range slices.Concat(slices.Sorted(maps.Keys(o.listed)), slices.Sorted(maps.Keys(o.barred))) {
		if _, exists := tree.files[name]; exists || tree.builtin[name] {
			continue
		}
		if aliases == nil {
			aliases, _ = tree.readAliases() // if they cannot be read, no name is an alias
		}
		if real, ok := aliases[name]; ok {
			o.rename(name, real)
		}
	}
}

func (o *ownBoot) rename(alias, real string) {
	if o.listed[alias] && !o.listed[real] && !o.barred[real] {
		o.listed[real] = true
		if params, ok := o.options[alias]; ok {
			o.options[real] = params
		}
	}
	delete(o.listed, alias)
	delete(o.options, alias)
	delete(o.barred, alias)
}

// readOwn reads one of nfsync's own files; nil if it is absent.
func (fs FS) readOwn(name string) ([]byte, error) {
	path := fs.root(name)
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("/%s is not a plain file, so nfsync has not written it: move it away", name)
	}
	return readFile(path)
}

// parseOwn calls parse with each line that is neither empty nor a comment, and adds
// file and line to its error.
func parseOwn(data []byte, file string, parse func(string) error) error {
	for i, line := range bytes.Split(data, []byte("\n")) {
		text := strings.TrimSpace(string(line))
		if text == "" || text[0] == '#' {
			continue
		}
		if err := parse(text); err != nil {
			return fmt.Errorf("%s:%d: %w in %q: nfsync has not written this; correct the line, or remove the file", file, i+1, err, text)
		}
	}
	return nil
}

func (o *ownBoot) parseListed(line string) error {
	name := nf.NormalizeModule(line)
	switch {
	case !isName(name):
		return errors.New("no module's name")
	case o.listed[name]:
		return errors.New("a module is named again")
	}
	o.listed[name] = true
	return nil
}

func (o *ownBoot) parseModprobe(line string) error {
	fields := strings.Fields(line)
	if len(fields) < 2 || !isName(fields[1]) {
		return errors.New("neither options nor install")
	}
	name := nf.NormalizeModule(fields[1])
	_, again := o.options[name]
	switch {
	case fields[0] == "blacklist" && len(fields) == 2 && o.barred[name] && !o.black[name]:
		o.black[name] = true
		return nil
	case len(fields) < 3:
		return errors.New("neither options nor install")
	case fields[0] == "alias" && len(fields) == 3 && fields[2] == "off" && o.barred[name] && !o.off[name]:
		o.off[name] = true
		return nil
	case fields[0] == "install" && len(fields) == 3 && fields[2] == barCommand && !o.barred[name]:
		o.barred[name] = true
		return nil
	case fields[0] != "options" || again:
		return errors.New("not the only options or install line of its module")
	}
	params := map[string]string{}
	for _, word := range fields[2:] {
		p, value, ok := strings.Cut(word, "=")
		if _, twice := params[p]; !ok || twice || !isName(p) || strings.Contains(value, "\\") {
			return fmt.Errorf("%q is not a parameter with a value, or the second one of its name", word)
		}
		params[p] = value
	}
	o.options[name] = params
	return nil
}

func (o *ownBoot) parseSysctl(line string) error {
	key, value, ok := strings.Cut(line, "=")
	name, below := strings.CutPrefix(strings.TrimSpace(key), "net.netfilter.")
	if _, known := nf.SysctlFileKey(name); !ok || !below || !known || !isName(name) {
		return errors.New("no value of net.netfilter")
	}
	text := strings.TrimSpace(value)
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || strconv.FormatInt(n, 10) != text {
		return errors.New("no plain decimal number")
	}
	if _, twice := o.sysctls[name]; twice {
		return errors.New("a value is named again")
	}
	o.sysctls[name] = n
	return nil
}
