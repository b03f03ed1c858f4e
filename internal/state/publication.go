package state

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/openfile"
)

const (
	publicationName     = "publication"
	publicationLockName = "publication.lock"
)

// Publication is what this node has last published.
type Publication struct {
	URL    string    `json:"url"` // as nf.PublicURL returns it
	Branch string    `json:"branch"`
	Digest string    `json:"digest"` // of what it was, without what always changes
	At     time.Time `json:"at"`
	// Commits may be on the branch: the one that was pushed last, and those of pushes since then whose
	// end is unknown.
	Commits []string `json:"commits"`
}

// Publication reads what was last published to a branch; nil if that is unknown. A file that is damaged
// counts as none: it is no harm to publish once more.
func (d *Dir) Publication(url, branch string) *Publication {
	var p Publication
	ok, err := load(d.file(publicationName), publicationName, "", &p)
	if err != nil || !ok || p.URL != url || p.Branch != branch {
		return nil
	}
	return &p
}

// SavePublication replaces it.
func (d *Dir) SavePublication(p Publication) error {
	return d.save(publicationName, publicationName, p)
}

// lockPause is how long waitFor waits before it tries again.
const lockPause = 100 * time.Millisecond

// LockPublication waits until no other process that has this state directory publishes, and keeps others
// from it until unlock is called or this process ends.
func (d *Dir) LockPublication(ctx context.Context) (unlock func(), err error) {
	unlock, err = d.waitFor(ctx, publicationLockName)
	if err != nil && ctx.Err() == nil {
		err = fmt.Errorf("cannot lock the publication: %w", err)
	}
	return unlock, err
}

// waitFor waits for a lock in a file of that name, until ctx ends.
func (d *Dir) waitFor(ctx context.Context, name string) (unlock func(), err error) {
	f, err := openfile.Own(d.file(name), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return func() { _ = f.Close() }, nil
		case !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR):
			_ = f.Close()
			return nil, err
		}
		select {
		case <-ctx.Done():
			_ = f.Close()
			return nil, context.Cause(ctx)
		case <-time.After(lockPause):
		}
	}
}
