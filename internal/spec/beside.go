package spec

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"nfsync.dev/nfsync/internal/openfile"
	"nfsync.dev/nfsync/internal/policytree"
)

// Repository is the git repository that a policy path is in, or the policy path alone, with the
// files that documents there name.
type Repository struct {
	root   *os.Root
	what   string // what the root is, for messages
	shown  string // the policy path, as the names of its files begin
	within string // the policy path in the repository, with slashes
}

// OpenRepository opens the repository of a policy path. It must be closed.
func OpenRepository(dir string) (*Repository, error) {
	real, err := filepath.Abs(dir)
	if err == nil {
		real, err = filepath.EvalSymlinks(real)
	}
	if err != nil {
		return nil, err
	}
	top := policytree.RepositoryOf(real)
	what := "the repository " + top
	if top == "" {
		top, what = real, real+", which is in no git repository"
	}
	within, err := filepath.Rel(top, real)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(top)
	if err != nil {
		return nil, err
	}
	return &Repository{root, what, filepath.ToSlash(filepath.Clean(dir)), filepath.ToSlash(within)}, nil
}

// Close closes the repository. It was only read.
func (r *Repository) Close() { _ = r.root.Close() }

// Read reads a file of at most that many bytes. Its name begins as those of the files that ReadDir
// returns, and may lead out of the policy path, but not out of the repository, and through no
// symbolic link.
func (r *Repository) Read(name string, most int64) (File, error) {
	below, err := r.below(name)
	if err != nil {
		return File{}, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	f, err := openfile.In(r.root, filepath.FromSlash(below))
	if err != nil {
		return File{}, renamed(err, "open", name)
	}
	defer f.Close()
	data, err := openfile.ReadAll(f, most)
	return File{Name: name, Data: data}, renamed(err, "read", name)
}

// renamed returns an error of a file with the name by which people know it.
func renamed(err error, op, name string) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return &fs.PathError{Op: op, Path: name, Err: e.Err}
	}
	return err
}

// below returns the path of a file in the repository.
func (r *Repository) below(name string) (string, error) {
	rel, err := filepath.Rel(filepath.FromSlash(r.shown), filepath.FromSlash(name))
	if err != nil {
		return "", err
	}
	below := path.Join(r.within, filepath.ToSlash(rel))
	if !filepath.IsLocal(below) {
		return "", errors.New("it is outside " + r.what)
	}
	for i, b := range []byte(below + "/") {
		if b != '/' {
			continue
		}
		if info, err := r.root.Lstat(below[:i]); err == nil && info.Mode()&fs.ModeSymlink != 0 {
			return "", errors.New("a symbolic link, which is not followed here")
		}
	}
	return below, nil
}
