package source

import (
	"errors"
	"fmt"

	"github.com/go-git/go-git/v5/plumbing"
)

// commitOf returns the commit of a target: that of its reference or, with UpTo, an ancestor of it.
func (j *job) commitOf(h *history, t target) (plumbing.Hash, error) {
	tip, err := h.objects.peel(t.hash)
	if err != nil || j.Config.UpTo == "" {
		return tip, err
	}
	upTo := plumbing.NewHash(j.Config.UpTo)
	if j.Config.Before == "" {
		return upTo, j.checkOnBranch(h, t, upTo, tip)
	}
	before := plumbing.NewHash(j.Config.Before)
	if err := j.checkOnBranch(h, t, before, tip); err != nil {
		return upTo, err
	}
	return upTo, j.checkOnBranch(h, t, upTo, before)
}

// checkOnBranch returns an error unless a commit of the branch is that one or descends from it.
func (j *job) checkOnBranch(h *history, t target, commit, of plumbing.Hash) error {
	j.phase("looking for %s on branch %s", commit, t.branch)
	switch on, err := h.descends(of, commit); {
	case errors.Is(err, errShallow):
		return fmt.Errorf("cannot determine whether commit %s is on branch %s: the repository itself has no more of the history%s", commit, t.branch, j.unshallowHint())
	case err != nil:
		return err
	case !on:
		return fmt.Errorf("it has no commit %s on branch %s up to %s: the branch was rewritten, or this server does not have the commit yet", commit, t.branch, of)
	}
	return nil
}

// storedUpTo returns the target of UpTo if the clone has it, with the history that shows that it is on
// the branch and what it brings since the commit that was applied last. It is false if the
// server has to be asked.
func (d *delivery) storedUpTo() (target, bool) {
	upTo := plumbing.NewHash(d.Config.UpTo)
	t, ok := d.followed()
	if d.Config.UpTo == "" || !ok || !d.clone.has(upTo) {
		return target{}, false
	}
	if t.hash = d.clone.ref(t.ref); t.hash.IsZero() {
		return target{}, false
	}
	h := &history{objects: d.clone.objects} // of what is stored
	if _, err := d.commitOf(h, t); err != nil {
		return target{}, false
	}
	last := d.lastApplied(t.branch)
	forward := len(last) > 0
	for _, l := range last {
		on, err := h.descends(upTo, l)
		if err != nil {
			return target{}, false
		}
		forward = forward && on
	}
	if forward && d.Config.Verify.Mode == VerifyAll {
		if _, err := h.since(upTo, last[0]); err != nil {
			return target{}, false
		}
	}
	return t, true
}

// followed returns the branch that is followed, without its commit: the configured one, or that which HEAD
// named when a commit of it was applied. It is false if neither is known.
func (j *job) followed() (target, bool) {
	branch := j.Config.Branch
	for _, p := range j.Last {
		if branch == "" && p.Head {
			branch = p.Branch
		}
	}
	return target{branch: branch, head: j.Config.Branch == "", ref: plumbing.NewBranchReferenceName(branch)}, branch != ""
}

// isBehind reports whether UpTo names a commit that is older than the one that was applied last.
func (j *job) isBehind(h *history, commit, last plumbing.Hash) bool {
	if j.Config.UpTo == "" || !h.objects.has(last) {
		return false
	}
	behind, err := h.descends(last, commit)
	return err == nil && behind
}
