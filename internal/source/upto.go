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
	j.phase("looking for %s on branch %s", upTo, t.branch)
	switch on, err := h.descends(tip, upTo); {
	case errors.Is(err, errShallow):
		return upTo, fmt.Errorf("cannot determine whether commit %s is on branch %s: the repository itself has no more of the history%s", upTo, t.branch, j.unshallowHint())
	case err != nil:
		return upTo, err
	case !on:
		return upTo, fmt.Errorf("it has no commit %s on branch %s, whose head is %s: the branch was rewritten, or this server does not have the commit yet", upTo, t.branch, tip)
	}
	return upTo, nil
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
	if on, err := h.descends(t.hash, upTo); err != nil || !on {
		return target{}, false
	}
	last := d.lastApplied(t.branch)
	if last.IsZero() || last == upTo {
		return t, true
	}
	forward, err := h.descends(upTo, last)
	if err == nil && forward && d.Config.Verify.Mode == VerifyAll {
		_, err = h.since(upTo, last)
	}
	return t, err == nil
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
