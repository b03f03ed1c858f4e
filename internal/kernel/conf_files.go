package kernel

import (
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	securejoin "github.com/cyphar/filepath-securejoin"
)

// confDirs are the directories in which systemd and modprobe(8) read configuration
// files. A file of an earlier directory replaces those of the same name in later ones,
// or masks them as a link to /dev/null (sysctl.d(5), modprobe.d(5)).
var confDirs = []string{"etc", "run", "usr/local/lib", "usr/lib", "lib"}

// systemdFiles lists the *.conf files of a kind (sysctl.d) below Root, in the order of
// their names, in which systemd reads them. It ignores hidden files. Whatever else has
// the name of a file masks it, a directory too (conf-files.c).
func (fs FS) systemdFiles(kind string) []string {
	return fs.confFiles(kind, hasSuffix(".conf"))
}

func hasSuffix(suffix string) func(os.DirEntry) bool {
	return func(e os.DirEntry) bool {
		return !strings.HasPrefix(e.Name(), ".") && strings.HasSuffix(e.Name(), suffix)
	}
}

// modprobeFiles lists the files of modprobe.d that modprobe(8) reads, in order: *.conf
// and *.alias. It ignores hidden files and directories (conf_files_filter_out in
// libkmod-config.c).
func (fs FS) modprobeFiles() []string {
	return fs.confFiles("modprobe.d", func(e os.DirEntry) bool {
		suffix := path.Ext(e.Name())
		return !strings.HasPrefix(e.Name(), ".") && !e.IsDir() && (suffix == ".conf" || suffix == ".alias")
	})
}

func (fs FS) confFiles(kind string, reads func(os.DirEntry) bool) []string {
	files := map[string]string{}
	for _, dir := range confDirs {
		entries, _ := os.ReadDir(fs.inRoot(path.Join(dir, kind)))
		for _, e := range entries {
			if _, replaced := files[e.Name()]; !replaced && reads(e) {
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

// inRoot returns the path of a file of the node. Every link on the way is followed as the
// node has it, below Root.
func (fs FS) inRoot(name string) string {
	if path.Clean(fs.Root) == "/" { // as the kernel follows them
		return path.Join("/", name)
	}
	path, err := securejoin.SecureJoin(fs.Root, name)
	if err != nil { // a loop, which the open(2) of the plain path finds too
		return fs.root(name)
	}
	return path
}

// readConf reads a configuration file of the node.
func (fs FS) readConf(name string) ([]byte, error) {
	path := fs.inRoot(name)
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, nil // /dev/null, which masks, or a pipe, whose end may not come
	}
	return readFile(path)
}

// systemdLines iterates over the lines of a file, each with the number of line feeds
// before it, plus one. To systemd a line also ends at a carriage return or a NUL
// (read_line_full in fileio.c), and blanks around it do not count.
func systemdLines(data []byte) func(func(int, string) bool) {
	return func(yield func(int, string) bool) {
		for i, line := range strings.Split(string(data), "\n") {
			for part := range strings.FieldsFuncSeq(line, func(r rune) bool { return r == '\r' || r == 0 }) {
				text := strings.TrimSpace(part)
				if text != "" && text[0] != '#' && text[0] != ';' && !yield(i+1, text) {
					return
				}
			}
		}
	}
}
