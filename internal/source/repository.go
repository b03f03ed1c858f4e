package source

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	git "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// Repository is a bare repository of this machine, with one branch, to which nfsync writes.
type Repository struct {
	repo   *git.Repository
	branch plumbing.ReferenceName
}

// CreateRepository makes an empty repository, whose HEAD names the branch, in a directory
// that is empty or does not exist.
func CreateRepository(dir, branch string) (*Repository, error) {
	ref := plumbing.NewBranchReferenceName(branch)
	repo, err := git.PlainInitWithOptions(dir, &git.PlainInitOptions{Bare: true, InitOptions: git.InitOptions{DefaultBranch: ref}})
	if err != nil {
		return nil, fmt.Errorf("cannot make the repository %s: %w", dir, err)
	}
	return &Repository{repo, ref}, nil
}

// Commit adds a commit to the branch and returns its hash. files is its whole tree, by
// slash-separated path.
func (r *Repository) Commit(files map[string][]byte, message, author, email string, at time.Time) (string, error) {
	hash, err := r.commit(files, message, object.Signature{Name: author, Email: email, When: at})
	if err != nil {
		return "", fmt.Errorf("cannot commit: %w", err)
	}
	return hash.String(), nil
}

func (r *Repository) commit(files map[string][]byte, message string, who object.Signature) (plumbing.Hash, error) {
	tree, err := r.tree(files, "")
	if err != nil {
		return plumbing.ZeroHash, err
	}
	c := &object.Commit{Author: who, Committer: who, Message: message, TreeHash: tree}
	switch head, err := r.repo.Reference(r.branch, false); {
	case err == nil:
		c.ParentHashes = []plumbing.Hash{head.Hash()}
	case !errors.Is(err, plumbing.ErrReferenceNotFound):
		return plumbing.ZeroHash, err
	}
	hash, err := r.store(c)
	if err != nil {
		return hash, err
	}
	return hash, r.repo.Storer.SetReference(plumbing.NewHashReference(r.branch, hash))
}

// tree stores the tree of the files below a directory, which ends in a slash or is empty.
func (r *Repository) tree(files map[string][]byte, dir string) (plumbing.Hash, error) {
	entries := map[string]object.TreeEntry{}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		rest, below := strings.CutPrefix(name, dir)
		if !below {
			continue
		}
		first, _, isDir := strings.Cut(rest, "/")
		if _, done := entries[first]; done {
			continue
		}
		e := object.TreeEntry{Name: first, Mode: filemode.Regular}
		var err error
		if isDir {
			e.Mode = filemode.Dir
			e.Hash, err = r.tree(files, path.Join(dir, first)+"/")
		} else {
			e.Hash, err = r.blob(files[name])
		}
		if err != nil {
			return plumbing.ZeroHash, err
		}
		entries[first] = e
	}
	t := &object.Tree{Entries: slices.Collect(maps.Values(entries))}
	slices.SortFunc(t.Entries, func(a, b object.TreeEntry) int {
		return strings.Compare(sortName(a.Name, a.Mode), sortName(b.Name, b.Mode))
	})
	return r.store(t)
}

func (r *Repository) blob(data []byte) (plumbing.Hash, error) {
	o := r.repo.Storer.NewEncodedObject()
	o.SetType(plumbing.BlobObject)
	w, err := o.Writer()
	if err != nil {
		return plumbing.ZeroHash, err
	}
	_, err = w.Write(data)
	if err = errors.Join(err, w.Close()); err != nil {
		return plumbing.ZeroHash, err
	}
	return r.repo.Storer.SetEncodedObject(o)
}

func (r *Repository) store(o interface {
	Encode(plumbing.EncodedObject) error
}) (plumbing.Hash, error) {
	encoded := r.repo.Storer.NewEncodedObject()
	if err := o.Encode(encoded); err != nil {
		return plumbing.ZeroHash, err
	}
	return r.repo.Storer.SetEncodedObject(encoded)
}
