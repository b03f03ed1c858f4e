package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/openfile"
	"nfsync.dev/nfsync/internal/spec"
)

// stdin is standard input, as a file to read.
const stdin = "-"

// inputPath returns the path of a file to read.
func inputPath(name string) string {
	if name == stdin {
		return openfile.Stdin
	}
	return name
}

// checkStdin returns an error if more than one of several files to read is standard input.
func checkStdin(names ...string) error {
	seen := false
	for _, name := range names {
		if inputPath(name) != openfile.Stdin {
			continue
		}
		if seen {
			return usageError{errors.New("standard input is named twice, and can be read once")}
		}
		seen = true
	}
	return nil
}

// readPath reads the policies below a directory, or those of a file or a stream. In a
// directory, files of other names are ignored. A file that was named is not: to
// ignore it would report success.
func (a *app) readPath(name string) (spec.Read, error) {
	path := inputPath(name)
	info, err := os.Stat(path)
	if err == nil && info.Mode().IsRegular() && !nf.IsPolicyFile(path) && !openfile.IsStream(path) {
		return spec.Read{}, fmt.Errorf("cannot read policies: the name of %s does not end in .yaml or .yml", path)
	}
	read, err := spec.ReadDir(path)
	a.sayUnread(read.Unread)
	return read, err
}

// maxUnread is how many files are named that look like policies and are not read.
const maxUnread = 10

// sayUnread warns of files that look like policies and are not read.
func (a *app) sayUnread(list []string) {
	for i, name := range list {
		if i == maxUnread {
			a.say(slog.LevelWarn, fmt.Sprintf("%d more files look like policies and are not read", len(list)-i), "")
			return
		}
		a.say(slog.LevelWarn, name+" looks like a policy and is not read: its name does not end in .yaml or .yml", "rename it, or name it in .nfsyncignore")
	}
}

// emptyFlag adds the flag that allows a path without policies.
func (a *app) emptyFlag(f *pflag.FlagSet) {
	f.BoolVar(&a.allowEmpty, "allow-empty", false, "it is no error if there is no policy at all")
}

// fullFlag adds the flag that lists what is alike for each target.
func (a *app) fullFlag(f *pflag.FlagSet) {
	f.BoolVar(&a.full, "full", false, "list what many containers have in common for each of them")
}

// maxDocument is the most that a snapshot or a saved plan may hold, in bytes:
// many times what a node with 10,000 containers gives.
const maxDocument = 256 << 20

// readDocument reads a snapshot or a configuration.
func readDocument(name string) (spec.File, error) {
	path := inputPath(name)
	f, err := openfile.Input(path)
	if err != nil {
		return spec.File{}, err
	}
	defer f.Close()
	if path == openfile.Stdin {
		path = spec.StdinName
	}
	data, err := openfile.ReadAll(f, maxDocument)
	return spec.File{Name: path, Data: data}, err
}

// checkDirs returns an error for a directory that a flag names and that does not exist, of a
// verb that looks at this node: it would read as a node without containers or modules.
func (a *app) checkDirs(verb *cobra.Command) error {
	if !looksAtNode(verb) && verb.Name() != "doctor" {
		return nil
	}
	for _, name := range []string{"netns-dir", "root"} {
		flag := a.flags.Lookup(name)
		if !flag.Changed {
			continue
		}
		dir := flag.Value.String()
		info, err := os.Stat(dir)
		if err == nil && !info.IsDir() {
			err = &fs.PathError{Op: "open", Path: dir, Err: syscall.ENOTDIR}
		}
		if err != nil {
			return fmt.Errorf("--%s: %w", name, err)
		}
	}
	return nil
}
