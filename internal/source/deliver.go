package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/go-git/go-git/v5/plumbing"
)

// errNoClone is the error for a clone that is missing or not worth using.
var errNoClone = errors.New("there is no clone to build upon")

// runRemote brings the revision over the network, through the clone.
func (j *job) runRemote() error {
	if err := os.MkdirAll(j.config().Dir, 0o700); err != nil {
		return fmt.Errorf("cannot keep a clone: %w", err)
	}
	at := cacheDir(j.config().Dir, j.url())
	lock, err := j.lock(at + ".lock")
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := sweep(at); err != nil {
		return fmt.Errorf("cannot clean up the clone: %w", err)
	}
	r, err := j.connect()
	if err != nil {
		return err
	}
	var warnings []string
	if !j.Fresh {
		switch err := j.fromClone(r, at); {
		case isDamage(err):
			warnings = append(warnings, clean(recreated+err.Error(), j.secrets...))
		case !errors.Is(err, errNoClone):
			return err
		}
	}
	return j.fromNothing(r, at, warnings)
}

// fromClone brings the revision with the existing clone. The error is errNoClone or a
// damageError if the clone cannot be used.
func (j *job) fromClone(r *remote, at string) error {
	c, err := openClone(at)
	if errors.Is(err, fs.ErrNotExist) && c == nil {
		return errNoClone
	}
	if err != nil {
		return &damageError{err}
	}
	defer func() { _ = c.s.Close() }()
	return catch((&delivery{job: j, remote: r, clone: c}).deliver)
}

// fromNothing makes a clone beside the old one and puts it in its place, even if the
// revision must not be applied: the clone is complete.
func (j *job) fromNothing(r *remote, at string, warnings []string) error {
	c, err := createClone(at)
	if err != nil {
		return fmt.Errorf("cannot make a clone: %w", err)
	}
	d := &delivery{job: j, remote: r, clone: c, fresh: true, warnings: warnings}
	err = catch(d.deliver)
	if damage := (*damageError)(nil); errors.As(err, &damage) {
		c.remove()
		return fmt.Errorf("what it sent is incomplete: %w", damage.err)
	}
	if !d.whole {
		c.remove()
		return err
	}
	if swap := c.replace(at); swap != nil {
		return errors.Join(err, fmt.Errorf("cannot put the clone in its place: %w", swap))
	}
	return err
}

// delivery brings one revision from a server through a clone.
type delivery struct {
	*job
	remote   *remote
	clone    *clone
	fresh    bool // the clone is empty
	whole    bool // the clone has what the server sent for the target
	warnings []string
}

func (d *delivery) deliver() error {
	ctx := context.Background() // the parent kills this process at its deadline
	t, err := d.obtain(ctx)
	if err != nil {
		return err
	}
	d.whole = true
	commit, err := d.clone.peel(t.hash)
	if err != nil {
		return err
	}
	h := &history{objects: d.clone.objects, deepen: func(depth int) error {
		return d.deepen(ctx, t, depth)
	}}
	return d.hand(h, t, commit, d.warnings)
}

// obtain resolves what the configuration names and fetches it into the clone.
func (d *delivery) obtain(ctx context.Context) (target, error) {
	if t := (target{hash: plumbing.NewHash(d.config().Commit)}); d.config().Commit != "" && d.clone.has(t.hash) {
		return t, nil // a commit does not change: there is nothing to ask
	}
	c, err := d.remote.open(ctx)
	if err != nil {
		return target{}, err
	}
	defer c.close()
	t, err := c.resolve(d.config())
	if err != nil {
		return target{}, err
	}
	before := d.clone.remembered(t.ref)
	if !d.clone.has(t.hash) {
		if err := d.bring(ctx, c, t, before); err != nil {
			return target{}, err
		}
	}
	if t.ref != "" && before != t.hash {
		if t.tag != "" && !before.IsZero() {
			d.warnings = append(d.warnings, fmt.Sprintf("the tag %s was moved: from %s to %s", t.tag, before, t.hash))
		}
		return t, d.clone.remember(t.ref, t.hash)
	}
	return t, nil
}

// bring fetches the target: incrementally if an earlier state of the same reference is
// known, otherwise without history. With a depth of one the server would send everything
// each time.
func (d *delivery) bring(ctx context.Context, c *conversation, t target, before plumbing.Hash) error {
	if !d.fresh && d.clone.worn() {
		return errNoClone
	}
	depth := 0
	if before.IsZero() && c.shallows() {
		depth = 1
	}
	err := d.fetch(ctx, c, t, depth)
	if bound := (*boundError)(nil); errors.As(err, &bound) && !d.fresh {
		return errNoClone // the whole history of a branch that was rewritten, perhaps
	}
	return err
}

// deepen fetches more of the history of the target.
func (d *delivery) deepen(ctx context.Context, t target, depth int) error {
	c, err := d.remote.open(ctx)
	if err != nil {
		return err
	}
	defer c.close()
	if err := d.fetch(ctx, c, t, depth); err != nil {
		return fmt.Errorf("cannot fetch the history of %s: %w", t.hash, err)
	}
	return nil
}

// fetch adds a pack to the clone.
func (d *delivery) fetch(ctx context.Context, c *conversation, t target, depth int) error {
	ask := wish{want: t.hash, depth: depth}
	var err error
	if ask.haves, err = d.clone.tips(); err != nil {
		return &damageError{err}
	}
	shallow, err := d.clone.shallow()
	if err != nil {
		return &damageError{err}
	}
	for h := range shallow {
		ask.shallow = append(ask.shallow, h)
	}
	f, err := d.clone.receive()
	if err != nil {
		return fmt.Errorf("cannot write to the clone: %w", err)
	}
	defer func() { _ = os.Remove(f.Name()) }() // unless it was installed
	update, err := c.fetch(ctx, ask, f)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	d.phase("indexing what %s sent", hostPort(d.ep))
	if err := install(f.Name(), d.clone.packs()); err != nil {
		return err
	}
	d.clone.s.Reindex()
	if !d.clone.has(t.hash) {
		return fmt.Errorf("it did not send %s, which it was asked for", t.hash)
	}
	return d.clone.setShallow(update.Shallows, update.Unshallows)
}
