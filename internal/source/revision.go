package source

import (
	"errors"
	"fmt"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// hand decides whether the commit may be followed and is trusted. Only then it reads its
// files and sends them to the parent.
func (j *job) hand(h *history, t target, commit plumbing.Hash, warnings []string) error {
	tip, err := h.objects.commit(commit)
	if err != nil {
		return err
	}
	last := j.last(t.branch)
	forward, err := j.follow(h, t, commit, last)
	if err != nil {
		return err
	}
	signer, more, err := j.trust(h, tip, last, forward)
	if err != nil {
		return err
	}
	below, err := CleanPath(j.config().Path)
	if err != nil {
		return err
	}
	j.phase("reading the policies of %s", commit)
	if err := j.out.Encode(message{Revision: &Revision{Commit: commit.String(), URL: j.url(), Branch: t.branch, Tag: t.tag,
		Signer: signer, Warnings: append(warnings, more...)}}); err != nil {
		return err
	}
	r := &treeReader{objects: h.objects, emit: func(f File) error { return j.out.Encode(message{File: &f}) }}
	return r.read(tip, below)
}

// last returns the commit of a branch that was applied last, or zero.
func (j *job) last(branch string) plumbing.Hash {
	for _, p := range j.Last {
		if p.Branch == branch {
			return plumbing.NewHash(p.Commit)
		}
	}
	return plumbing.ZeroHash
}

// follow decides whether the commit may follow the last one, and reports whether it
// descends from it. A tag or commit is always followed.
func (j *job) follow(h *history, t target, commit, last plumbing.Hash) (forward bool, err error) {
	switch {
	case last.IsZero() || commit.String() == j.Accept:
		return false, nil
	case commit == last:
		return true, nil
	case t.branch == "" && j.config().Verify.Mode != VerifyAll:
		return false, nil
	}
	j.phase("proving that %s descends from %s", commit, last)
	forward, err = h.descends(commit, last)
	switch {
	case errors.Is(err, errShallow):
		return false, fmt.Errorf("cannot determine whether %s descends from %s, the last one applied: the repository itself has no more of the history; if it is right, accept it with --accept %s", commit, last, commit)
	case err != nil:
		return false, err
	case !forward && t.branch != "":
		return false, &RewrittenError{Branch: t.branch, Last: last.String(), New: commit.String()}
	}
	return forward, nil
}

// trust verifies the commit and, in mode all, every one since the last. If it descends
// from no last one (a first commit, a tag that went back, or one that a person accepted)
// only the commit itself is verified.
func (j *job) trust(h *history, tip *object.Commit, last plumbing.Hash, forward bool) (string, []string, error) {
	mode := j.config().Verify.Mode
	if mode == VerifyNone || mode == "" {
		return "", nil, nil
	}
	commits := []*object.Commit{tip}
	if mode == VerifyAll && forward {
		var err error
		if commits, err = h.since(tip.Hash, last); err != nil {
			return "", nil, err
		}
	}
	j.phase("verifying signatures")
	return verifyCommits(j.config().Verify, commits)
}
