package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/go-git/go-git/v5/plumbing"
)

// errNoClone is the error for a clone that does not exist or is to be replaced.
var errNoClone = errors.New("there is no clone that can be used")

// runRemote fetches the revision from a server into the clone, and sends it to the parent.
func (j *job) runRemote() error {
	if err := os.MkdirAll(j.Config.Dir, 0o700); err != nil {
		return fmt.Errorf("cannot make the directory of clones: %w", err)
	}
	at := cacheDir(j.Config.Dir, j.url())
	lock, err := j.lock(at + ".lock")
	if err != nil {
		return err
	}
	defer unlock(lock, at)
	if err := removeLeftovers(at); err != nil {
		return fmt.Errorf("cannot clean up the clone: %w", err)
	}
	r, err := j.newRemote()
	if err != nil {
		return err
	}
	var warnings []string
	if !j.IgnoreClone {
		err := j.useClone(r, at)
		if isDamage(err) {
			warnings = append(warnings, clean(recreated+err.Error(), j.secrets...))
		} else if !errors.Is(err, errNoClone) {
			return err
		}
	}
	return j.recreateClone(r, at, warnings)
}

// useClone fetches into the existing clone. The error is errNoClone or a damageError if the
// clone cannot be used.
func (j *job) useClone(r *remote, at string) error {
	c, err := openClone(at)
	if errors.Is(err, fs.ErrNotExist) && c == nil {
		return errNoClone
	}
	if err != nil {
		return &damageError{err}
	}
	defer c.close()
	return catch((&delivery{job: j, remote: r, clone: c, previous: c}).deliver)
}

// recreateClone fetches into a new clone, and replaces the old one if the new one is
// complete, even if the revision must not be applied.
func (j *job) recreateClone(r *remote, at string, warnings []string) error {
	c, err := createClone(at)
	if err != nil {
		return fmt.Errorf("cannot make a clone: %w", err)
	}
	d := &delivery{job: j, remote: r, clone: c, previous: newClone(at), isNew: true, warnings: warnings}
	defer d.previous.close()
	err = catch(d.deliver)
	if damage, ok := errors.AsType[*damageError](err); ok {
		c.remove()
		return fmt.Errorf("objects are missing or damaged in what it sent: %w", damage.err)
	}
	if !d.complete {
		c.remove()
		return err
	}
	if replaceErr := c.replace(at); replaceErr != nil {
		return errors.Join(err, fmt.Errorf("cannot replace the clone: %w", replaceErr))
	}
	return err
}

// delivery fetches one revision from a server into a clone, and sends it to the parent.
type delivery struct {
	*job
	remote   *remote
	clone    *clone
	previous *clone // with the references of the last fetch: clone, or the one that it replaces
	isNew    bool   // the clone began empty
	complete bool   // the clone has the target
	warnings []string
}

func (d *delivery) deliver() error {
	ctx := context.Background() // the parent kills this process at its deadline
	t, err := d.obtain(ctx)
	if err != nil {
		return err
	}
	d.complete = true
	h := &history{objects: d.clone.objects, deepen: func(depth int) error {
		return d.deepen(ctx, t, depth)
	}}
	commit, err := d.commitOf(h, t)
	if err != nil {
		return err
	}
	if d.moved != "" {
		d.warnings = append(d.warnings, d.moved)
	}
	return d.sendRevision(h, t, commit, d.warnings)
}

// obtain resolves the configured revision, and fetches it if the clone does not have it.
func (d *delivery) obtain(ctx context.Context) (target, error) {
	if t := (target{hash: plumbing.NewHash(d.Config.Commit)}); d.Config.Commit != "" && d.clone.has(t.hash) {
		return t, nil // a commit does not change: the server is not needed
	}
	if t, stored := d.storedUpTo(); stored {
		return t, nil
	}
	c, err := d.remote.open(ctx)
	if err != nil {
		return target{}, err
	}
	defer c.close()
	t, err := c.resolve(&d.Config)
	if err != nil {
		return target{}, err
	}
	before := d.clone.ref(t.ref)
	if !d.clone.has(t.hash) {
		if err := d.fetchTarget(ctx, c, t, before); err != nil {
			return target{}, err
		}
	}
	if t.ref != "" && before != t.hash {
		if was := d.previous.ref(t.ref); t.tag != "" && !was.IsZero() && was != t.hash {
			d.moved = fmt.Sprintf("the tag %s was moved: from %s to %s", t.tag, was, t.hash)
		}
		return t, d.clone.setRef(t.ref, t.hash)
	}
	return t, nil
}

// fetchTarget fetches the target: what is new if the clone has an earlier state of the
// reference, else the commit without history. With a depth of one the server would send all
// files each time.
func (d *delivery) fetchTarget(ctx context.Context, c *conversation, t target, before plumbing.Hash) error {
	if !d.isNew && d.clone.isTooLarge(d.Config.MaxPack) {
		return errNoClone
	}
	depth := 0
	if before.IsZero() && c.supportsShallow() {
		depth = 1
	}
	err := d.fetch(ctx, c, t, depth)
	if _, ok := errors.AsType[*boundError](err); ok && !d.isNew {
		return errNoClone // a new clone needs no history, which may be what is too large
	}
	return err
}

// deepen fetches that many commits of the history of the target.
func (d *delivery) deepen(ctx context.Context, t target, depth int) error {
	c, err := d.remote.open(ctx)
	if err != nil {
		return err
	}
	defer c.close()
	err = d.fetch(ctx, c, t, depth)
	if _, ok := errors.AsType[*boundError](err); ok {
		return fmt.Errorf("cannot fetch the history of %s, which shows whether it descends from the last one applied: %w. To go without, accept it with --accept %[1]s", t.hash, err)
	}
	if err != nil {
		return fmt.Errorf("cannot fetch the history of %s: %w", t.hash, err)
	}
	return nil
}

// fetch requests the target and adds the pack to the clone. A pack that was refused before is not
// requested again.
func (d *delivery) fetch(ctx context.Context, c *conversation, t target, depth int) error {
	refused := d.readRefused(t.hash)
	if err := refused.check(depth); err != nil {
		return err
	}
	err := d.fetchPack(ctx, c, []plumbing.Hash{t.hash}, depth)
	refused.add(depth, err)
	return err
}

// fetchPack requests commits or tags and adds the pack to the clone.
func (d *delivery) fetchPack(ctx context.Context, c *conversation, wants []plumbing.Hash, depth int) error {
	pr := packRequest{wants: wants, depth: depth}
	var err error
	if pr.haves, err = d.clone.tips(); err != nil {
		return &damageError{err}
	}
	shallow, err := d.clone.shallow()
	if err != nil {
		return &damageError{err}
	}
	for h := range shallow {
		pr.shallow = append(pr.shallow, h)
	}
	f, err := d.clone.createPackFile()
	if err != nil {
		return fmt.Errorf("cannot write to the clone: %w", err)
	}
	defer func() { _ = os.Remove(f.Name()) }() // fails if it was installed
	update, err := c.fetch(ctx, pr, f)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	d.phase("indexing what %s sent", hostPort(d.ep))
	if err := install(f.Name(), d.clone.packs(), d.Config.MaxPack); err != nil {
		return err
	}
	d.clone.s.Reindex()
	for _, h := range wants {
		if !d.clone.has(h) {
			return fmt.Errorf("it did not send %s, which was requested", h)
		}
	}
	return d.clone.setShallow(update.Shallows, update.Unshallows)
}
