package policytree

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/format/config"

	"nfsync.dev/nfsync/internal/openfile"
)

// disk is a directory as a Tree. A root confines it, even if files are replaced meanwhile.
type disk struct {
	root       *os.Root
	submodules map[string]bool // their paths below the directory
}

// ReadDir is Read for a directory on disk.
func ReadDir(path string, emit func(name string, data []byte) error) (Found, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return Found{}, err
	}
	defer root.Close()
	return Read(&disk{root, submodulesBelow(path)}, emit)
}

func (d *disk) Entries(dir Entry) ([]Entry, error) {
	f, err := d.root.Open(onDisk(dir))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	list, err := f.ReadDir(-1)
	if err != nil {
		return nil, err
	}
	entries := make([]Entry, len(list))
	for i, e := range list {
		entries[i] = dir.Below(e.Name(), kindOf(e.Type()))
		if entries[i].Kind == Dir && d.isSubmodule(entries[i]) {
			entries[i].Kind = Submodule
		}
	}
	return entries, nil
}

func onDisk(e Entry) string {
	if e.Path == "" {
		return "."
	}
	return filepath.FromSlash(e.Path)
}

func kindOf(mode fs.FileMode) Kind {
	switch {
	case mode.IsRegular():
		return File
	case mode.IsDir():
		return Dir
	case mode&fs.ModeSymlink != 0:
		return Link
	}
	return Special
}

// isSubmodule reports whether git would store a directory as a submodule: it is the worktree
// of another repository, or .gitmodules names it and it is empty because it is not checked
// out.
func (d *disk) isSubmodule(dir Entry) bool {
	if isHidden(dir.name()) {
		return false
	}
	if _, err := d.root.Lstat(filepath.Join(onDisk(dir), ".git")); err == nil {
		return true
	}
	if !d.submodules[dir.Path] {
		return false
	}
	f, err := d.root.Open(onDisk(dir))
	if err != nil {
		return false // the walk reports it
	}
	defer f.Close()
	names, _ := f.Readdirnames(1)
	return len(names) == 0
}

func (d *disk) Read(file Entry, most int64) ([]byte, error) {
	f, err := openfile.In(d.root, onDisk(file))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := openfile.ReadAll(f, most)
	if _, large := errors.AsType[openfile.TooLargeError](err); large {
		return nil, ErrTooLarge
	}
	return data, err
}

const maxModulesFile = 1 << 20

// submodulesBelow returns the paths, from a directory on, of the submodules that .gitmodules
// names at the root of the directory's repository. What git cannot read names none.
func submodulesBelow(dir string) map[string]bool {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil
	}
	if resolved, err := filepath.EvalSymlinks(dir); err == nil {
		dir = resolved
	}
	root := RepositoryOf(dir)
	if root == "" {
		return nil
	}
	text, err := openfile.Read(filepath.Join(root, ".gitmodules"), maxModulesFile)
	if err != nil {
		return nil
	}
	modules := config.New()
	if err := config.NewDecoder(bytes.NewReader(text)).Decode(modules); err != nil {
		return nil
	}
	paths := map[string]bool{}
	for _, s := range modules.Section("submodule").Subsections {
		at, err := filepath.Rel(dir, filepath.Join(root, s.Option("path")))
		if err == nil && at != ".." && !strings.HasPrefix(at, "../") {
			paths[filepath.ToSlash(at)] = true
		}
	}
	return paths
}

// RepositoryOf returns the root of the repository that a directory is in; "" if there is none.
func RepositoryOf(dir string) string {
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Lstat(filepath.Join(dir, ".git")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			return ""
		}
	}
}
