package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"time"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/source"
	"nfsync.dev/nfsync/internal/state"
)

// ErrOvertaken means that another nfsync has applied another commit of the branch
// while this one fetched.
var ErrOvertaken = errors.New("overtaken by another nfsync")

// Enforce saves a revision of Fetch as the last good one, and the commit as the position of its branch, and then
// applies it. So a run that was interrupted does not open a way back. If the run waits for a confirmation, that saves
// both. Enforce sets in.Wants, in.Labels, in.Revision and in.Settled.
//
// The errors are those of apply.Run and of the state directory, and ErrOvertaken.
func Enforce(ctx context.Context, in apply.Input, r Revision) (apply.Receipt, error) {
	return enforce(ctx, in, r, nil)
}

// enforce is Enforce. begin, if not nil, is called under the lock, when what earlier runs have left is settled. Its
// error ends the run before anything is saved or changed.
func enforce(ctx context.Context, in apply.Input, r Revision, begin func() error) (apply.Receipt, error) {
	in.Wants, in.Labels, in.Revision = r.Policies.Resolve, r.Policies.UseLabels, r.Commit
	in, unlock, err := lock(in)
	if err != nil {
		return apply.Receipt{}, err
	}
	defer unlock()
	if in.State == nil {
		return apply.Run(ctx, in)
	}
	in.Settled = func() error {
		err := checkPosition(in.State, r)
		if err == nil && begin != nil {
			err = begin()
		}
		if err == nil && in.Confirm == nil {
			err = saveTaken(in.State, r, in.Now())
		} else if err == nil {
			in.Confirm.LastGood, in.Confirm.Position, err = kept(in.State, r, in.Now())
		}
		return err
	}
	receipt, err := apply.Run(ctx, in)
	if in.Confirm != nil && receipt.Kind != "" && err == nil && receipt.ConfirmUntil == nil { // there was nothing to confirm
		err = saveTaken(in.State, r, in.Now())
	}
	return receipt, err
}

// saveTaken saves a revision as the last good one, and as the position of its branch.
func saveTaken(d *state.Dir, r Revision, now time.Time) error {
	if err := saveLastGood(d, r, now); err != nil {
		return err
	}
	if p := r.position(); p != nil {
		return d.SavePosition(*p)
	}
	return nil
}

// kept returns what the confirmation of a revision saves.
func kept(d *state.Dir, r Revision, now time.Time) (*state.LastGood, *state.Position, error) {
	good, _, err := newLastGood(d, r, now)
	return &good, r.position(), err
}

// position returns the position of the branch that the revision is of; nil if it is of none.
func (r Revision) position() *state.Position {
	if r.Branch == "" && !r.Head {
		return nil
	}
	return &state.Position{URL: r.URL, Branch: r.Branch, Commit: r.Commit, Head: r.Head}
}

// lockAndSave saves the revision as the last good one without applying it, unless this user
// may only plan, or changes wait for a confirmation.
func lockAndSave(in apply.Input, r Revision, begin func() error) error {
	in, unlock, err := lock(in)
	if err != nil {
		return err
	}
	defer unlock()
	if in.State == nil {
		return nil
	}
	if run, open, err := in.State.Unfinished(); err != nil || open && run.ConfirmWithin > 0 {
		return err
	}
	if begin != nil {
		if err := begin(); err != nil {
			return err
		}
	}
	return saveLastGood(in.State, r, in.Now())
}

// lock takes the node's lock and returns the input of a run under it. Where this user may
// not take it, or not open the state directory, the input has no state: Run only plans then.
func lock(in apply.Input) (_ apply.Input, unlock func(), err error) {
	if in.State != nil {
		unlock, err = in.Lock.Take()
	}
	if errors.Is(err, fs.ErrPermission) {
		in.State, in.NoState = nil, err
	}
	if in.State == nil {
		return in, func() {}, nil
	}
	return in, unlock, err
}

// checkPosition returns ErrOvertaken if the position of the revision's branch has
// changed since the fetch, which does not hold the lock.
func checkPosition(d *state.Dir, r Revision) error {
	list, err := d.Positions()
	if err != nil {
		return err
	}
	if now := positionOf(list, r.Revision); now != r.follows && now != r.Commit {
		return fmt.Errorf("%w: it has applied %s of branch %s while %s was fetched", ErrOvertaken, now, r.Branch, r.Commit)
	}
	return nil
}

// saveLastGood saves the revision as the last good one, unless it is saved already.
func saveLastGood(d *state.Dir, r Revision, now time.Time) error {
	good, saved, err := newLastGood(d, r, now)
	if err != nil || saved {
		return err
	}
	return d.SaveLastGood(good)
}

// newLastGood returns the revision as the last good one, and whether it is saved already.
func newLastGood(d *state.Dir, r Revision, now time.Time) (good state.LastGood, saved bool, err error) {
	good = state.LastGood{Revision: r.Commit, URL: r.URL, Branch: r.Branch, Head: r.Head, Tag: r.Tag, Signer: r.Signer, Verified: string(r.Verified)}
	for _, f := range r.Files {
		good.Files = append(good.Files, state.PolicyFile{Name: f.Name, Text: string(f.Data)})
	}
	old, err := d.LastGood()
	if err != nil {
		return good, false, err
	}
	good.Since = old.Since
	if reflect.DeepEqual(old, good) {
		return good, true, nil
	}
	good.Since = now
	return good, false, nil
}

// LastGood returns the last good revision of a state directory; one without a commit if there is
// none.
func LastGood(d *state.Dir) (Revision, error) { return lastGood(d, Revision{}) }

// lastGood returns the last good revision, with its policies parsed again, unless they are those
// of a known one; one without a commit if there is none.
func lastGood(d *state.Dir, known Revision) (Revision, error) {
	if d == nil {
		return Revision{}, nil
	}
	good, err := d.LastGood()
	if err != nil || good.Revision == "" {
		return Revision{}, err
	}
	r := Revision{Verified: source.Mode(good.Verified), Revision: source.Revision{Commit: good.Revision, URL: nf.PublicURL(good.URL), Branch: good.Branch, Head: good.Head, Tag: good.Tag, Signer: good.Signer}}
	for _, f := range good.Files {
		r.Files = append(r.Files, source.File{Name: f.Name, Data: []byte(f.Text)})
	}
	if known.Commit == r.Commit && reflect.DeepEqual(known.Files, r.Files) {
		r.Policies, r.Rollout = known.Policies, known.Rollout
		return r, nil
	}
	parsed, err := parse(r.Revision)
	r.Policies, r.Rollout = parsed.Policies, parsed.Rollout
	if err != nil {
		// An older nfsync found them valid.
		return Revision{}, fmt.Errorf("the last good revision cannot be enforced: %w", err)
	}
	return r, nil
}
