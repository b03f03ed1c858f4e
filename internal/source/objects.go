package source

import (
	"errors"
	"fmt"
	"io"

	"github.com/go-git/go-billy/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/storage/filesystem"
)

// The largest size of an object, in bytes, by kind.
const (
	maxCommit = 1 << 20
	maxTree   = 8 << 20 // some 200,000 entries
)

// objectCacheSize bounds the cache of the bases of deltas.
const objectCacheSize = 16 * cache.MiByte

// objects reads the objects of a repository on disk. It hashes each object and compares
// the hash with the object's name.
type objects struct {
	s        *filesystem.Storage
	borrowed []*filesystem.Storage // other repositories whose objects it uses
}

// openStorage opens the repository in fs. go-git loads an object above maxTree, the largest
// limit here, only when its content is read, after its size is checked.
func openStorage(fs billy.Filesystem) *filesystem.Storage {
	return filesystem.NewStorageWithOptions(fs, cache.NewObjectLRU(objectCacheSize), filesystem.Options{
		KeepDescriptors: true, LargeObjectThreshold: maxTree,
	})
}

func (o *objects) close() {
	for _, s := range append(o.borrowed, o.s) {
		_ = s.Close() // it was only read
	}
}

// find calls f for each store until its error is not that the object is missing.
func (o *objects) find(f func(*filesystem.Storage) error) error {
	err := f(o.s)
	for _, s := range o.borrowed {
		if !errors.Is(err, plumbing.ErrObjectNotFound) {
			break
		}
		err = f(s)
	}
	return err
}

// has reports whether the object is stored. The objects that it names may be missing.
func (o *objects) has(h plumbing.Hash) bool {
	return o.find(func(s *filesystem.Storage) error { return s.HasEncodedObject(h) }) == nil
}

// size returns the size of an object in bytes.
func (o *objects) size(h plumbing.Hash) (size int64, err error) {
	err = o.find(func(s *filesystem.Storage) (err error) {
		size, err = s.EncodedObjectSize(h)
		return err
	})
	return size, err
}

// object returns an object, whose content is not checked.
func (o *objects) object(h plumbing.Hash) (stored plumbing.EncodedObject, err error) {
	err = o.find(func(s *filesystem.Storage) (err error) {
		stored, err = s.EncodedObject(plumbing.AnyObject, h)
		return err
	})
	return stored, err
}

// shallow returns the commits whose parents are not stored.
func (o *objects) shallow() (map[plumbing.Hash]bool, error) {
	list, err := o.s.Shallow()
	if err != nil {
		return nil, err
	}
	set := map[plumbing.Hash]bool{}
	for _, h := range list {
		set[h] = true
	}
	return set, nil
}

// sizeError is the error for an object that is too large for its kind.
type sizeError struct {
	kind       plumbing.ObjectType
	hash       plumbing.Hash
	size, most int64
}

func (e *sizeError) Error() string {
	return fmt.Sprintf("the %s %s has %d bytes; nfsync reads at most %d", e.kind, e.hash, e.size, e.most)
}

// load returns the content of an object. The error is a *sizeError if it is larger than most, and
// a *damageError if it is missing or does not match its hash or kind.
func (o *objects) load(t plumbing.ObjectType, h plumbing.Hash, most int64) ([]byte, error) {
	stored, err := o.object(h)
	if err != nil {
		return nil, &damageError{fmt.Errorf("%s %s: %w", t, h, err)}
	}
	if stored.Type() == t && stored.Size() > most {
		return nil, &sizeError{t, h, stored.Size(), most}
	}
	content, err := readObject(stored, most)
	if hash := plumbing.ComputeHash(stored.Type(), content); err == nil && hash != h {
		err = fmt.Errorf("its content hashes to %s", hash)
	}
	if err == nil && stored.Type() != t {
		err = fmt.Errorf("it is a %s", stored.Type())
	}
	if err != nil {
		return nil, &damageError{fmt.Errorf("%s %s: %w", t, h, err)}
	}
	return content, nil
}

func readObject(stored plumbing.EncodedObject, most int64) ([]byte, error) {
	r, err := stored.Reader()
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	return io.ReadAll(io.LimitReader(r, most+1))
}

// commit reads a commit. The error is a *VerifyError if it breaks a rule of git's format:
// its parents and its signature cannot be trusted then.
func (o *objects) commit(h plumbing.Hash) (*commit, error) {
	raw, err := o.load(plumbing.CommitObject, h, maxCommit)
	if err != nil {
		return nil, err
	}
	c, err := parseCommit(h, string(raw))
	if err != nil {
		return nil, &VerifyError{Commit: h.String(), Why: "it is malformed: " + err.Error()}
	}
	return c, nil
}

// tree reads a tree. The error is a *formatError if it breaks a rule of git's format.
func (o *objects) tree(h plumbing.Hash) ([]treeEntry, error) {
	raw, err := o.load(plumbing.TreeObject, h, maxTree)
	if err != nil {
		return nil, err
	}
	entries, err := parseTree(raw)
	if err != nil {
		return nil, &formatError{plumbing.TreeObject, h, err}
	}
	return entries, nil
}

// maxTagDepth bounds a chain of annotated tags.
const maxTagDepth = 5

// peel follows annotated tags from h to a commit.
func (o *objects) peel(h plumbing.Hash) (plumbing.Hash, error) {
	want := plumbing.AnyObject // the kind that the tag before names
	for range maxTagDepth {
		stored, err := o.object(h)
		if err != nil {
			return h, &damageError{fmt.Errorf("object %s: %w", h, err)}
		}
		kind := stored.Type()
		switch {
		case want != plumbing.AnyObject && kind != want:
			return h, fmt.Errorf("a tag names %s as a %s, and it is a %s", h, want, kind)
		case kind == plumbing.CommitObject:
			return h, nil
		case kind != plumbing.TagObject:
			return h, fmt.Errorf("it names a %s (%s), not a commit", kind, h)
		}
		raw, err := o.load(plumbing.TagObject, h, maxCommit)
		if err != nil {
			return h, err
		}
		t, err := parseTag(string(raw))
		if err != nil {
			return h, &formatError{plumbing.TagObject, h, err}
		}
		h, want = t.target, t.kind
	}
	return h, fmt.Errorf("it is a chain of more than %d tags", maxTagDepth)
}
