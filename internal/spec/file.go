package spec

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/openfile"
)

// File is one file to be parsed. Name is its path as errors show it.
type File struct {
	Name string
	Data []byte
}

// maxPolicyFile is the most that a policy file may hold, in bytes.
const maxPolicyFile = 1 << 20

// ReadDir reads the policy files (*.yaml and *.yml) of a directory and of those
// below it, or one file of any name. The names of the files begin with path. A
// file that is not allowed, such as a symbolic link, is a diagnostic; one that cannot
// be read is an error.
func ReadDir(path string) ([]File, []Diagnostic, error) {
	var w walk
	if err := w.read(path); err != nil {
		return nil, nil, fmt.Errorf("cannot read policies: %w", err)
	}
	slices.SortFunc(w.files, func(a, b File) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(w.diagnostics, compareDiagnostics)
	return w.files, Limit(w.diagnostics), nil
}

// walk is a walk over the files of a directory, with the files and errors that it has
// found.
type walk struct {
	open        func(name string) (*os.File, error)
	dir         string // what the names of the files begin with
	files       []File
	diagnostics []Diagnostic
}

func (w *walk) read(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		w.dir, w.open = filepath.Dir(path), func(string) (*os.File, error) { return openfile.Regular(path) }
		return w.file(filepath.Base(path), info.Mode())
	}
	// A root confines the walk to it, even if files are replaced meanwhile.
	root, err := os.OpenRoot(path)
	if err != nil {
		return err
	}
	defer root.Close()
	w.dir, w.open = path, func(name string) (*os.File, error) { return openfile.In(root, name) }
	return fs.WalkDir(root.FS(), ".", w.visit)
}

func (w *walk) visit(name string, entry fs.DirEntry, err error) error {
	switch {
	case err != nil:
		return err
	case entry.IsDir() && entry.Name() == ".git":
		return fs.SkipDir // git's own, never part of a commit
	case entry.IsDir():
		return nil
	case entry.Type()&fs.ModeSymlink == 0 && !nf.IsPolicyFile(name):
		return nil
	}
	return w.file(name, entry.Type())
}

func (w *walk) shown(name string) string { return filepath.ToSlash(filepath.Join(w.dir, name)) }

func (w *walk) file(name string, mode fs.FileMode) error {
	switch {
	case mode&fs.ModeSymlink != 0:
		w.refuse(RuleForbiddenFile, name, "a symbolic link is not allowed among policies", "put the file itself here")
		return nil
	case !mode.IsRegular():
		w.refuse(RuleForbiddenFile, name, "not a regular file", "")
		return nil
	}
	file, err := w.open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	data, err := openfile.ReadAll(file, maxPolicyFile)
	if _, large := errors.AsType[openfile.TooLargeError](err); large {
		w.refuse(RuleTooLarge, name, tooLarge(maxPolicyFile), "split it into several files")
		return nil
	}
	if err != nil {
		return err
	}
	w.files = append(w.files, File{Name: w.shown(name), Data: data})
	return nil
}

func (w *walk) refuse(rule Rule, name, message, hint string) {
	w.diagnostics = append(w.diagnostics, Diagnostic{Rule: rule, File: w.shown(name), Line: 1, Column: 1, Message: message, Hint: hint})
}

func tooLarge(limit int) string {
	return fmt.Sprintf("the file is larger than %d MiB", limit>>20)
}
