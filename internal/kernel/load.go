package kernel

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/pmorjan/kmod"
	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/nf"
)

// compressedFile makes finit_module(2) decompress the file itself
// (MODULE_INIT_COMPRESSED_FILE of include/uapi/linux/module.h, Linux 5.17).
const compressedFile = 4

// settleTime is the time in which a module that something else loads must become
// ready.
const settleTime = 5 * time.Second

// LoadModule loads exactly the named module, with these parameters and those that
// modprobe.d(5) and the kernel's command line set for it. Its dependencies must be
// loaded: each module is a change of its own. A module that is already loaded is no
// error, and keeps its parameters. LoadModule returns once the module is ready.
func (fs FS) LoadModule(ctx context.Context, name string, params map[string]string) error {
	name = nf.NormalizeModule(name)
	if err := fs.load(ctx, name, params); err != nil {
		return fmt.Errorf("cannot load module %s: %w", name, err)
	}
	return nil
}

func (fs FS) load(ctx context.Context, name string, params map[string]string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	tree := fs.modulesTree()
	live, err := fs.procModules()
	switch {
	case errors.Is(err, os.ErrNotExist):
		return explained("the kernel has no module support", unix.ENOSYS)
	case err != nil:
		return err
	}
	if live[name].ready() {
		return nil
	}
	path, err := loadable(&tree, live, name)
	if err != nil {
		return err
	}
	modprobe := modprobeConfig{fs.modprobeRules(), &tree}
	if bar := modprobe.bar(name); bar != (nf.Bar{}) {
		return errors.New(bar.String())
	}
	asked, err := parameterString(path, params)
	if err != nil {
		return err
	}
	text := strings.TrimSpace(modprobeOptions(modprobe.rules, name) + " " + asked)
	if err := fs.initModule(name, path, text); err != nil && !errors.Is(err, unix.EEXIST) {
		return fs.explainInit(name, err)
	}
	return fs.awaitReady(ctx, name)
}

// loadable returns the file of a module whose dependencies are loaded.
func loadable(t *tree, live map[string]procModule, name string) (string, error) {
	if t.builtin[name] {
		return "", errors.New("it is built into the kernel")
	}
	file, ok := t.files[name]
	if !ok {
		if t.depErr != nil {
			return "", t.depErr
		}
		return "", fmt.Errorf("%s does not have it: %w", t.file("modules.dep"), os.ErrNotExist)
	}
	var missing []string
	for _, dep := range file.deps() {
		if !live[dep].ready() && !t.builtin[dep] {
			missing = append(missing, dep)
		}
	}
	if len(missing) > 0 {
		return "", fmt.Errorf("it needs %s, not loaded", strings.Join(missing, ", "))
	}
	return t.path(file), nil
}

// parameterString returns the parameters as the kernel parses them (parse_args in
// kernel/params.c). The kernel has no escape for a quotation mark and ignores names
// that the module does not have: both are errors here.
func parameterString(path string, params map[string]string) (string, error) {
	if len(params) == 0 {
		return "", nil
	}
	known, err := offers(path)
	if err != nil {
		return "", err
	}
	var words []string
	for _, name := range slices.Sorted(maps.Keys(params)) {
		if known != nil && !slices.Contains(known, nf.NormalizeModule(name)) {
			return "", fmt.Errorf("it has no parameter %s", name)
		}
		value := params[name]
		if strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r == '"' || r == 0x7f }) {
			return "", fmt.Errorf("the value of parameter %s holds white space, a quotation mark or a control character", name)
		}
		words = append(words, name+"="+value)
	}
	return strings.Join(words, " "), nil
}

// initModule loads the module through kmod. kmod loads only this one file: aliases and
// configuration are resolved here (kmod prefers an alias to a real name, and reads only
// /etc/modprobe.conf), and the dependencies that it would load are loaded already. Its
// parser of modules.dep panics at a blank line: if it does not come to the file, the
// file is loaded without it.
func (fs FS) initModule(name, path, params string) error {
	done := false
	var result error
	init := func(file, params string, _ int) error {
		if base, _ := moduleName(file); base != name {
			return nil
		}
		done, result = true, initFile(path, strings.TrimSpace(params))
		return result
	}
	kmodLoad(fs.root("lib/modules"), name, params, init)
	if !done {
		return initFile(path, params)
	}
	return result
}

// kmodLoad loads a module through kmod. Its errors are ignored: init sees more.
func kmodLoad(dir, name, params string, init kmod.InitFunc) {
	defer func() { _ = recover() }()
	k, err := kmod.New(kmod.SetRootDir(dir), kmod.SetConfigFile(""), kmod.SetIgnoreAlias(),
		kmod.SetIgnoreBuiltin(), kmod.SetIgnoreStatus(), kmod.SetInitFunc(init))
	if err == nil {
		_ = k.Load(name, params, 0)
	}
}

// initFile loads one file: as it is if the kernel can read it, else decompressed
// here.
func initFile(path, params string) error {
	suffix := compression(path)
	if format := ModuleDecompression.Ask(nil); suffix == "" || format.Can == nf.Yes && algorithms[suffix] == format.Detail {
		flags := 0
		if suffix != "" {
			flags = compressedFile
		}
		err := finitModule(path, params, flags)
		// The kernel decompresses only part of each format, xz with CRC32 for
		// instance; it returns EINVAL for the rest.
		if suffix == "" || !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.EOPNOTSUPP) {
			return err
		}
	}
	data, err := readModule(path)
	if err != nil {
		return err
	}
	return unix.InitModule(data, params)
}

func finitModule(path, params string, flags int) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.FinitModule(int(f.Fd()), params, flags)
}

// awaitReady waits until /proc/modules shows the module as Live.
func (fs FS) awaitReady(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		live, err := fs.procModules()
		if err != nil {
			return err
		}
		m, listed := live[name]
		switch {
		case m.ready():
			return nil
		case !listed:
			return fmt.Errorf("the kernel reported success, but %s does not list it", fs.proc("modules"))
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("it is still %s: %w", strings.ToLower(m.state), ctx.Err())
		case <-tick.C:
		}
	}
}

// UnloadModule unloads exactly the named module, without waiting for one that is in
// use: delete_module(2) with O_NONBLOCK. A module that is not loaded is no error.
func (fs FS) UnloadModule(name string) error {
	name = nf.NormalizeModule(name)
	err := unix.DeleteModule(name, unix.O_NONBLOCK)
	if errors.Is(err, unix.ENOENT) {
		fact, _, factErr := fs.Module(name)
		switch {
		case factErr != nil:
			err = factErr
		case fact.State == nf.ModuleBuiltin:
			err = errors.New("it is built into the kernel")
		default:
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("cannot unload module %s: %w", name, fs.explainDelete(name, err))
	}
	return nil
}

// SetParameter writes /sys/module/MODULE/parameters/NAME. The kernel may change the
// value (it rounds hashsize): read it back.
func (fs FS) SetParameter(module, name, value string) error {
	module = nf.NormalizeModule(module)
	if !isName(module) || !isName(name) {
		return fmt.Errorf("cannot set parameter %q of module %q: not a name", name, module)
	}
	f, err := os.OpenFile(fs.sys("module", module, "parameters", name), os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("cannot set parameter %s of module %s: %w", name, module, err)
	}
	_, err = f.WriteString(value)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("cannot set parameter %s of module %s to %q: %w", name, module, value, err)
	}
	return nil
}
