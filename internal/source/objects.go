package source

import (
	"errors"
	"fmt"
	"io"

	"github.com/go-git/go-billy/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/storer"
	"github.com/go-git/go-git/v5/storage/filesystem"
)

// What one object may hold of the kinds that are read.
const (
	maxCommit = 1 << 20
	maxTree   = 8 << 20 // some 200,000 entries
	maxFile   = 1 << 20
)

// objectCacheSize is for the bases of deltas.
const objectCacheSize = 16 * cache.MiByte

// objects are those of a repository on disk. Whatever the disk holds, each
// object that is handed out hashes to its name.
type objects struct{ s storer.EncodedObjectStorer }

// openStorage opens the repository in fs; other repositories whose objects it
// borrows are looked up in alternates.
func openStorage(fs, alternates billy.Filesystem) *filesystem.Storage {
	return filesystem.NewStorageWithOptions(fs, cache.NewObjectLRU(objectCacheSize), filesystem.Options{KeepDescriptors: true, AlternatesFS: alternates})
}

// has reports whether the object is there, not whether what it names is.
func (o objects) has(h plumbing.Hash) bool { return o.s.HasEncodedObject(h) == nil }

// size is that of an object, without reading it.
func (o objects) size(h plumbing.Hash) (int64, error) {
	n, err := o.s.EncodedObjectSize(h)
	if errors.Is(err, plumbing.ErrObjectNotFound) {
		// go-git does not look for the size where a repository borrows its objects.
		var borrowed plumbing.EncodedObject
		if borrowed, err = o.s.EncodedObject(plumbing.AnyObject, h); err == nil {
			n = borrowed.Size()
		}
	}
	if err != nil {
		return 0, &damageError{fmt.Errorf("object %s: %w", h, err)}
	}
	return n, nil
}

// load reads an object of at most so many bytes.
func (o objects) load(t plumbing.ObjectType, h plumbing.Hash, most int64) (*plumbing.MemoryObject, error) {
	size, err := o.size(h)
	if err != nil {
		return nil, err
	}
	if size > most {
		return nil, &boundError{fmt.Sprintf("%s %s has %d bytes; nfsync reads %d", t, h, size, most)}
	}
	m := &plumbing.MemoryObject{}
	if err := o.copy(m, t, h, most); err != nil {
		return nil, &damageError{fmt.Errorf("%s %s: %w", t, h, err)}
	}
	return m, nil
}

func (o objects) copy(m *plumbing.MemoryObject, t plumbing.ObjectType, h plumbing.Hash, most int64) error {
	stored, err := o.s.EncodedObject(plumbing.AnyObject, h)
	if err != nil {
		return err
	}
	if stored.Type() != t {
		return fmt.Errorf("it is a %s", stored.Type())
	}
	r, err := stored.Reader()
	if err != nil {
		return err
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, most+1))
	if err != nil {
		return err
	}
	m.SetType(t)
	if _, err := m.Write(b); err != nil {
		return err
	}
	if got := m.Hash(); got != h {
		return fmt.Errorf("what is stored hashes to %s", got)
	}
	return nil
}

func (o objects) commit(h plumbing.Hash) (*object.Commit, error) {
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

func (o objects) tree(h plumbing.Hash) (*object.Tree, error) {
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

func (o objects) blob(h plumbing.Hash) ([]byte, error) {
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

// maxTagDepth is how many tags may stand between a name and a commit.
const maxTagDepth = 5

// peel follows annotated tags to the commit.
func (o objects) peel(h plumbing.Hash) (plumbing.Hash, error) {
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
