package source

import (
	"fmt"
	"io"

	"github.com/go-git/go-billy/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/storage/filesystem"
)

// The most bytes of an object, by kind.
const (
	maxCommit = 1 << 20
	maxTree   = 8 << 20 // some 200,000 entries
	maxFile   = 1 << 20
)

// objectCacheSize bounds the cache of the bases of deltas.
const objectCacheSize = 16 * cache.MiByte

// objects reads the objects of a repository on disk. Each object that it returns hashes
// to its name, whatever the disk holds.
type objects struct{ s *filesystem.Storage }

// openStorage opens the repository in fs; the repositories whose objects it borrows are
// in alternates. go-git does not load an object larger than any that is read here before
// its size is checked.
func openStorage(fs, alternates billy.Filesystem) *filesystem.Storage {
	return filesystem.NewStorageWithOptions(fs, cache.NewObjectLRU(objectCacheSize), filesystem.Options{
		KeepDescriptors: true, LargeObjectThreshold: maxTree, AlternatesFS: alternates,
	})
}

// has reports whether the object is stored, not whether the objects that it names are.
func (o *objects) has(h plumbing.Hash) bool { return o.s.HasEncodedObject(h) == nil }

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

// sizeError is the error for an object that is larger than its kind may be.
type sizeError struct {
	kind       plumbing.ObjectType
	hash       plumbing.Hash
	size, most int64
}

func (e *sizeError) Error() string {
	return fmt.Sprintf("the %s %s has %d bytes; nfsync reads at most %d", e.kind, e.hash, e.size, e.most)
}

// load reads an object of at most that many bytes.
func (o *objects) load(t plumbing.ObjectType, h plumbing.Hash, most int64) (*plumbing.MemoryObject, error) {
	stored, err := o.s.EncodedObject(plumbing.AnyObject, h)
	if err != nil {
		return nil, &damageError{fmt.Errorf("%s %s: %w", t, h, err)}
	}
	if stored.Type() == t && stored.Size() > most {
		return nil, &sizeError{t, h, stored.Size(), most}
	}
	m, err := copyOf(stored, most)
	if err == nil && m.Hash() != h {
		err = fmt.Errorf("what is stored hashes to %s", m.Hash())
	}
	if err == nil && m.Type() != t {
		err = fmt.Errorf("it is a %s", m.Type())
	}
	if err != nil {
		return nil, &damageError{fmt.Errorf("%s %s: %w", t, h, err)}
	}
	return m, nil
}

func copyOf(stored plumbing.EncodedObject, most int64) (*plumbing.MemoryObject, error) {
	r, err := stored.Reader()
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	b, err := io.ReadAll(io.LimitReader(r, most+1))
	if err != nil {
		return nil, err
	}
	m := &plumbing.MemoryObject{}
	m.SetType(stored.Type())
	_, err = m.Write(b)
	return m, err
}

func (o *objects) commit(h plumbing.Hash) (*object.Commit, error) {
	m, err := o.load(plumbing.CommitObject, h, maxCommit)
	if err != nil {
		return nil, err
	}
	c, err := object.DecodeCommit(o.s, m)
	if err != nil {
		return nil, fmt.Errorf("commit %s cannot be read: %w", h, err)
	}
	return c, nil
}

func (o *objects) tree(h plumbing.Hash) (*object.Tree, error) {
	m, err := o.load(plumbing.TreeObject, h, maxTree)
	if err != nil {
		return nil, err
	}
	t, err := object.DecodeTree(o.s, m)
	if err != nil {
		return nil, fmt.Errorf("tree %s cannot be read: %w", h, err)
	}
	return t, nil
}

func (o *objects) blob(h plumbing.Hash) ([]byte, error) {
	m, err := o.load(plumbing.BlobObject, h, maxFile)
	if err != nil {
		return nil, err
	}
	r, err := m.Reader()
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

// maxTagDepth is how many tags there may be between a name and a commit.
const maxTagDepth = 5

// peel follows annotated tags to the commit.
func (o *objects) peel(h plumbing.Hash) (plumbing.Hash, error) {
	for range maxTagDepth {
		stored, err := o.s.EncodedObject(plumbing.AnyObject, h)
		if err != nil {
			return h, &damageError{fmt.Errorf("object %s: %w", h, err)}
		}
		switch stored.Type() {
		case plumbing.CommitObject:
			return h, nil
		case plumbing.TagObject:
		default:
			return h, fmt.Errorf("it names a %s (%s), not a commit", stored.Type(), h)
		}
		m, err := o.load(plumbing.TagObject, h, maxCommit)
		if err != nil {
			return h, err
		}
		t, err := object.DecodeTag(o.s, m)
		if err != nil {
			return h, fmt.Errorf("tag %s cannot be read: %w", h, err)
		}
		h = t.Target
	}
	return h, fmt.Errorf("it is a tag of a tag, more than %d times", maxTagDepth)
}
