package source

import (
	"errors"
	"fmt"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"

	"nfsync.dev/nfsync/internal/nf"
)

// sendRevision checks the commit's ancestry and its signatures. Only then it reads the
// policy files and sends the revision to the parent.
func (j *job) sendRevision(h *history, t target, commit plumbing.Hash, warnings []string) error {
	tip, err := h.objects.commit(commit)
	if err != nil {
		return err
	}
	if err := j.checkHead(t, commit); err != nil {
		return err
	}
	last := j.lastApplied(t.branch)
	forward, err := j.checkAncestry(h, t, commit, last)
	if err != nil {
		return err
	}
	since := plumbing.ZeroHash
	if len(last) > 0 {
		since = last[0]
	}
	signer, more, err := j.verify(h, tip, since, forward)
	if err != nil {
		return err
	}
	dir, err := CleanPath(j.Config.Path)
	if err != nil {
		return err
	}
	j.phase("reading the policies of %s", commit)
	if err := j.out.Encode(message{Revision: &Revision{Commit: commit.String(), URL: nf.PublicURL(j.url()), Branch: t.branch, Head: t.head, Tag: t.tag,
		Signer: signer, Warnings: append(warnings, more...)}}); err != nil {
		return err
	}
	r := &treeReader{objects: h.objects, emit: func(f File) error { return j.out.Encode(message{File: &f}) }}
	unread, err := r.read(tip, dir)
	if err != nil || len(unread) == 0 {
		return err
	}
	return j.out.Encode(message{Unread: unread})
}

// checkHead returns an error if HEAD names another branch than the one that is followed, or
// a commit, unless that commit is accepted. Who may change HEAD on a server need not be who may push.
func (j *job) checkHead(t target, commit plumbing.Hash) error {
	i := slices.IndexFunc(j.Last, func(p Position) bool { return p.Head })
	if !t.head || i < 0 || j.Last[i].Branch == "" || j.Last[i].Branch == t.branch || commit.String() == j.Accept {
		return nil
	}
	return &RewrittenError{Branch: t.branch, Followed: j.Last[i].Branch, Last: j.Last[i].Commit, New: commit.String()}
}

// lastApplied returns the commits that a commit of a branch must descend from: those of Config.After, and the last applied
// one of the branch. A tag or commit has the position of the empty branch.
func (j *job) lastApplied(branch string) []plumbing.Hash {
	var last []plumbing.Hash
	add := func(commit string) {
		if h := plumbing.NewHash(commit); !h.IsZero() && !slices.Contains(last, h) {
			last = append(last, h)
		}
	}
	for _, commit := range j.Config.After {
		add(commit)
	}
	if i := slices.IndexFunc(j.Last, func(p Position) bool { return p.Branch == branch }); i >= 0 {
		add(j.Last[i].Commit)
	}
	return last
}

// checkAncestry reports whether the commit descends from all of the last ones; false if there is none. If it does
// not, that is an error for a branch, unless the commit is accepted. For a tag or a commit
// it is determined only if the mode of verification needs it.
func (j *job) checkAncestry(h *history, t target, commit plumbing.Hash, last []plumbing.Hash) (forward bool, err error) {
	switch {
	case len(last) == 0 || commit.String() == j.Accept:
		return false, nil
	case t.branch == "" && j.Config.Verify.Mode != VerifyAll:
		return false, nil
	}
	for _, l := range last {
		if forward, err := j.isForward(h, t, commit, l); !forward || err != nil {
			return false, err
		}
	}
	return true, nil
}

// isForward is checkAncestry for one of the last commits.
func (j *job) isForward(h *history, t target, commit, last plumbing.Hash) (bool, error) {
	if commit == last {
		return true, nil
	}
	j.phase("proving that %s descends from %s", commit, last)
	forward, err := h.descends(commit, last)
	switch {
	case errors.Is(err, errShallow):
		return false, fmt.Errorf("cannot determine whether %s descends from %s, the last one applied: the repository itself has no more of the history%s; if that is meant, accept it with --accept %[1]s", commit, last, j.unshallowHint())
	case err != nil:
		return false, err
	case !forward && t.branch != "":
		return false, &RewrittenError{Branch: t.branch, Last: last.String(), New: commit.String(), Behind: j.isBehind(h, commit, last)}
	}
	return forward, nil
}

// unshallowHint says how a repository of this machine gets the rest of its history.
func (j *job) unshallowHint() string {
	if j.ep.Protocol != "file" {
		return ""
	}
	return fmt.Sprintf(" (git -C %s fetch --unshallow gets it)", j.ep.Path)
}

// verify verifies the commit, and in mode all every commit since the last applied one. If
// it does not descend from that one (the first fetch, a tag that was moved back, an accepted
// commit) only the commit itself is verified. It returns the signer and warnings.
func (j *job) verify(h *history, tip *commit, last plumbing.Hash, forward bool) (string, []string, error) {
	mode := j.Config.Verify.Mode
	if mode == VerifyNone || mode == "" {
		return "", nil, nil
	}
	commits := []*commit{tip}
	if mode == VerifyAll && forward {
		var err error
		if commits, err = h.since(tip.hash, last); err != nil {
			return "", nil, err
		}
	}
	j.phase("verifying signatures")
	return verifyCommits(j.Config.Verify, commits)
}
