package source

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"

	"nfsync.dev/nfsync/internal/policytree"
)

// CleanPath returns a policy path in the form of the tree: clean, without a leading slash,
// "" for the root. The error for a path that leaves the repository is a *TreeError.
func CleanPath(p string) (string, error) {
	clean := path.Clean(strings.TrimLeft(p, "/"))
	switch {
	case clean == ".":
		return "", nil
	case !fs.ValidPath(clean):
		return "", treeError(p, "the policy path leaves the repository")
	}
	return clean, nil
}

// treeReader reads the policy files of a commit.
type treeReader struct {
	objects *objects
	emit    func(File) error
}

// read passes the policy files below a path of the commit's tree to emit, and returns the
// paths of files that look like policies and are not read. The error for entries that nfsync
// does not read is a *TreeError with the commit; that for a path that is not a directory is a
// *TreeError without it.
func (r *treeReader) read(c *commit, below string) (unread []string, err error) {
	dir, err := r.find(c, below)
	if err != nil {
		return nil, err
	}
	found, err := policytree.Read(&subtree{r, dir, below}, func(name string, data []byte) error {
		return r.emit(File{Name: path.Join(below, name), Data: data})
	})
	if err == nil && len(found.Problems) > 0 {
		err = &TreeError{Problems: found.Problems}
		for i := range found.Problems {
			found.Problems[i].Path = path.Join(below, found.Problems[i].Path)
		}
	}
	if treeErr, ok := errors.AsType[*TreeError](err); ok {
		treeErr.Commit = c.hash.String()
	}
	for _, name := range found.Unread {
		unread = append(unread, path.Join(below, name))
	}
	return unread, err
}

// subtree is the policy path of a commit as a policytree.Tree.
type subtree struct {
	*treeReader
	root plumbing.Hash
	path string
}

func (t *subtree) Entries(dir policytree.Entry) ([]policytree.Entry, error) {
	hash := plumbing.Hash(dir.ID)
	if dir.Path == "" {
		hash = t.root
	}
	list, err := t.tree(hash, path.Join(t.path, dir.Path))
	if err != nil {
		return nil, err
	}
	entries := make([]policytree.Entry, len(list))
	for i, e := range list {
		entries[i] = dir.Below(e.name, kinds[e.mode])
		entries[i].ID = e.hash
	}
	return entries, nil
}

func (t *subtree) Read(file policytree.Entry, most int64) ([]byte, error) {
	hash := plumbing.Hash(file.ID)
	// go-git would load the whole object to tell its size.
	if size, err := t.objects.size(hash); err == nil && size > most {
		return nil, policytree.ErrTooLarge
	}
	data, err := t.objects.load(plumbing.BlobObject, hash, most)
	if _, large := errors.AsType[*sizeError](err); large {
		err = policytree.ErrTooLarge
	}
	return data, err
}

// kinds are the kinds of entries by the modes that parseMode returns.
var kinds = map[filemode.FileMode]policytree.Kind{
	filemode.Regular:   policytree.File,
	filemode.Dir:       policytree.Dir,
	filemode.Symlink:   policytree.Link,
	filemode.Submodule: policytree.Submodule,
}

// find returns the tree of the policy path.
func (r *treeReader) find(c *commit, below string) (plumbing.Hash, error) {
	at := c.tree
	if below == "" {
		return at, nil
	}
	parts := strings.Split(below, "/")
	for i, part := range parts {
		here := path.Join(parts[:i+1]...)
		entries, err := r.tree(at, path.Join(parts[:i]...))
		if err != nil {
			return at, err
		}
		e := entry(entries, part)
		if e == nil {
			missing := treeError(here, fmt.Sprintf("commit %s has no such directory", c.hash))
			missing.Missing = true
			return at, missing
		}
		if e.mode != filemode.Dir {
			return at, treeError(here, fmt.Sprintf("it is %s, not a directory", kind(e.mode)))
		}
		at = e.hash
	}
	return at, nil
}

func entry(entries []treeEntry, name string) *treeEntry {
	for i := range entries {
		if entries[i].name == name {
			return &entries[i]
		}
	}
	return nil
}

// tree reads the tree of a directory.
func (r *treeReader) tree(h plumbing.Hash, dir string) ([]treeEntry, error) {
	entries, err := r.objects.tree(h)
	if malformed, ok := errors.AsType[*formatError](err); ok {
		return nil, treeError(cmp.Or(dir, "."), malformed.Error())
	}
	return entries, err
}

func kind(m filemode.FileMode) string {
	switch m {
	case filemode.Symlink:
		return "a symbolic link"
	case filemode.Submodule:
		return "a submodule"
	case filemode.Dir:
		return "a directory"
	}
	return "a file"
}
