package source

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing"
	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/nf"
)

// The bounds of a clone. Above them a new clone is cheaper than the old one.
const (
	maxClonePacks = 40 // each fetch of something new adds one
	cloneFactor   = 2  // the bytes of all packs, as a multiple of the most that one may have
)

// cacheDir returns the directory of the clone of a URL.
func cacheDir(dir, u string) string {
	sum := sha256.Sum256([]byte(nf.PublicURL(u)))
	return filepath.Join(dir, hex.EncodeToString(sum[:16]))
}

// lock locks the clone of a URL until the returned file is closed or the process ends.
func (j *job) lock(name string) (*os.File, error) {
	for {
		f, err := j.lockFile(name)
		if err != nil {
			return nil, err
		}
		mine, statErr := f.Stat()
		now, err := os.Stat(name)
		if err == nil && statErr == nil && os.SameFile(mine, now) {
			return f, nil
		}
		_ = f.Close() // who held it has removed it
	}
}

// unlock releases the lock of a clone. A URL that has no clone leaves no file.
func unlock(f *os.File, at string) {
	if _, err := os.Lstat(at); errors.Is(err, fs.ErrNotExist) {
		_ = os.Remove(f.Name()) // best effort
	}
	_ = f.Close()
}

func (j *job) lockFile(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		j.phase("waiting for another nfsync that fetches from the same URL")
		for {
			if err = unix.Flock(int(f.Fd()), unix.LOCK_EX); !errors.Is(err, unix.EINTR) {
				break
			}
		}
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("cannot lock %s: %w", name, err)
	}
	return f, nil
}

// clone is the local copy of one URL's repository: a bare repository in git's own format.
type clone struct {
	dir string
	*objects
}

// CloneDir returns the directory for clones: below the state directory or, if this
// user cannot write there, a temporary one, which done removes.
func CloneDir(stateDir string) (dir string, done func(), err error) {
	if unix.Access(stateDir, unix.W_OK|unix.X_OK) == nil {
		return filepath.Join(stateDir, "git"), func() {}, nil
	}
	dir, err = os.MkdirTemp("", "nfsync-git-")
	if err != nil {
		return "", nil, fmt.Errorf("cannot make a directory for the clone: %w", err)
	}
	return dir, func() { _ = os.RemoveAll(dir) }, nil // best effort: it is below the temporary directory
}

// openClone opens a clone and checks it.
func openClone(dir string) (c *clone, err error) {
	err = catch(func() error {
		info, err := os.Lstat(dir)
		if err != nil {
			return err
		}
		if !info.IsDir() {
			return fmt.Errorf("%s is not a directory", dir)
		}
		c = newClone(dir)
		return c.check()
	})
	return c, err
}

func newClone(dir string) *clone {
	return &clone{dir: dir, objects: &objects{s: openStorage(osfs.New(dir))}}
}

// createClone makes an empty clone in a temporary directory beside at.
func createClone(at string) (*clone, error) {
	dir, err := os.MkdirTemp(filepath.Dir(at), filepath.Base(at)+".new-")
	if err != nil {
		return nil, err
	}
	c := newClone(dir)
	if err := c.s.Init(); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "config"), []byte("[core]\n\trepositoryformatversion = 0\n\tbare = true\n"), 0o600); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(c.packs(), 0o700); err != nil {
		return nil, err
	}
	return c, c.s.SetReference(plumbing.NewSymbolicReference(plumbing.HEAD, "refs/heads/main"))
}

func (c *clone) packs() string { return filepath.Join(c.dir, "objects", "pack") }

// check checks the directory of packs, the references and the shallow commits. Objects are
// checked when they are read.
func (c *clone) check() error {
	if info, err := os.Stat(c.packs()); err != nil {
		return errors.New("it has no packs")
	} else if !info.IsDir() {
		return fmt.Errorf("%s is not a directory", c.packs())
	}
	if _, err := c.tips(); err != nil {
		return err
	}
	shallow, err := c.shallow()
	if err != nil {
		return err
	}
	for h := range shallow {
		if !c.has(h) {
			return fmt.Errorf("its history ends at %s, which it does not have", h)
		}
	}
	return nil
}

// isTooLarge reports whether the clone exceeds its bounds or cannot be listed.
func (c *clone) isTooLarge(maxPack nf.Size) bool {
	entries, err := os.ReadDir(c.packs())
	if err != nil {
		return true
	}
	var packs int
	var bytes nf.Size
	for _, e := range entries {
		if filepath.Ext(e.Name()) == ".pack" {
			packs++
		}
		if info, err := e.Info(); err == nil {
			bytes += nf.Size(info.Size())
		}
	}
	return packs >= maxClonePacks || bytes > cloneFactor*maxPack
}

// tips returns the objects that the references name. They were fetched completely.
func (c *clone) tips() ([]plumbing.Hash, error) {
	refs, err := c.s.IterReferences()
	if err != nil {
		return nil, err
	}
	var tips []plumbing.Hash
	err = refs.ForEach(func(r *plumbing.Reference) error {
		if r.Type() != plumbing.HashReference {
			return nil
		}
		if !c.has(r.Hash()) {
			return fmt.Errorf("its reference %s names %s, which it does not have", r.Name(), r.Hash())
		}
		tips = append(tips, r.Hash())
		return nil
	})
	return tips, err
}

// ref returns the object that a reference named when it was last fetched, or zero.
func (c *clone) ref(name plumbing.ReferenceName) plumbing.Hash {
	r, err := c.s.Reference(name)
	if err != nil {
		return plumbing.ZeroHash
	}
	return r.Hash()
}

// setRef stores a reference. All objects below h must be stored.
func (c *clone) setRef(name plumbing.ReferenceName, h plumbing.Hash) error {
	return c.s.SetReference(plumbing.NewHashReference(name, h))
}

// replace moves the clone to at, and removes the one that was there. The caller holds the
// lock. removeLeftovers removes what a crash between the two renames leaves.
func (c *clone) replace(at string) error {
	c.close()
	if err := os.Rename(at, c.dir+".old"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(c.dir, at); err != nil {
		return err
	}
	return os.RemoveAll(c.dir + ".old")
}

func (c *clone) remove() {
	c.close()
	_ = os.RemoveAll(c.dir)
}

// removeLeftovers removes what killed fetches have left beside the clone and in it.
func removeLeftovers(at string) error {
	clones, err := filepath.Glob(at + ".new-*")
	if err != nil {
		return err
	}
	packs, err := filepath.Glob(filepath.Join(at, "objects", "pack", receivingPrefix+"*"))
	if err != nil {
		return err
	}
	for _, name := range append(clones, packs...) {
		if err := os.RemoveAll(name); err != nil {
			return err
		}
	}
	return nil
}

// receivingPrefix begins the names of packs that are being received.
const receivingPrefix = "receiving-"

// createPackFile creates the file for a pack that is being received.
func (c *clone) createPackFile() (*os.File, error) {
	return os.CreateTemp(c.packs(), receivingPrefix)
}

// setShallow changes the set of shallow commits, at which the history of the clone ends.
func (c *clone) setShallow(add, remove []plumbing.Hash) error {
	set, err := c.shallow()
	if err != nil {
		return err
	}
	for _, h := range add {
		set[h] = true
	}
	for _, h := range remove {
		delete(set, h)
	}
	var lines strings.Builder
	for h := range set {
		lines.WriteString(h.String() + "\n")
	}
	name := filepath.Join(c.dir, "shallow")
	if err := os.WriteFile(name+".new", []byte(lines.String()), 0o600); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}
