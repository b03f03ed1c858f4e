package source

import (
	"errors"
	"fmt"
	"math"

	"github.com/go-git/go-git/v5/plumbing"
)

// errShallow is the error for a stored history that is too short to answer a question.
var errShallow = errors.New("the history is too short to determine that")

// maxNewCommits bounds the commits whose signatures are checked at once.
const maxNewCommits = 10_000

// history answers questions about ancestry. It fetches more of the history if the stored
// part is too short.
type history struct {
	objects *objects
	// deepen fetches the history to that depth; nil if more cannot be fetched.
	deepen func(depth int) error
}

// depths are tried in turn: a few commits prove most moves.
var depths = []int{32, 256, 2048, math.MaxInt32}

// withEnoughHistory calls question again, each time with more history, until its error is
// not errShallow.
func (h *history) withEnoughHistory(question func() error) error {
	err := question()
	for _, depth := range depths {
		if !errors.Is(err, errShallow) || h.deepen == nil {
			return err
		}
		if err := h.deepen(depth); err != nil {
			return err
		}
		err = question()
	}
	return err
}

// descends reports whether last is tip or an ancestor of it.
func (h *history) descends(tip, last plumbing.Hash) (bool, error) {
	found := false
	err := h.withEnoughHistory(func() error {
		seen, cut, err := h.reach(tip, func(c plumbing.Hash) bool { return c == last })
		if err != nil {
			return err
		}
		if found = seen[last]; !found && cut {
			return errShallow
		}
		return nil
	})
	return found, err
}

// since returns tip, and its ancestors that are neither last nor ancestors of last. last
// must be an ancestor of tip.
func (h *history) since(tip, last plumbing.Hash) ([]*commit, error) {
	var list []plumbing.Hash
	err := h.withEnoughHistory(func() (err error) {
		list, err = h.storedSince(tip, last)
		return err
	})
	if err != nil {
		return nil, err
	}
	commits := make([]*commit, 0, len(list))
	for _, hash := range list {
		c, err := h.objects.commit(hash)
		if err != nil {
			return nil, err
		}
		commits = append(commits, c)
	}
	return commits, nil
}

// storedSince is since within the stored history.
func (h *history) storedSince(tip, last plumbing.Hash) ([]plumbing.Hash, error) {
	old, oldCut, err := h.reach(last, nil)
	if err != nil {
		return nil, err
	}
	seen, cut, err := h.reach(tip, func(c plumbing.Hash) bool { return old[c] })
	if err != nil {
		return nil, err
	}
	list := []plumbing.Hash{tip}
	root := false
	for c := range seen {
		if c == tip || old[c] {
			continue
		}
		list = append(list, c)
		if commit, err := h.objects.commit(c); err == nil && len(commit.parents) == 0 {
			root = true
		}
		if len(list) > maxNewCommits {
			return nil, fmt.Errorf("more than %d commits are new since %s: too many to verify at once", maxNewCommits, last)
		}
	}
	// If the history of last is cut off, a path from tip to a root may contain ancestors of
	// last that are not known as such.
	if cut || oldCut && root {
		return nil, errShallow
	}
	return list, nil
}

// reach returns the commits that can be reached from one. It does not continue to the
// parents of those for which stop holds. cut reports whether it met the end of the stored
// history.
func (h *history) reach(from plumbing.Hash, stop func(plumbing.Hash) bool) (seen map[plumbing.Hash]bool, cut bool, err error) {
	shallow, err := h.objects.shallow()
	if err != nil {
		return nil, false, err
	}
	seen = map[plumbing.Hash]bool{from: true}
	for queue := []plumbing.Hash{from}; len(queue) > 0; {
		at := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		if stop != nil && stop(at) {
			continue
		}
		if shallow[at] {
			cut = true
			continue
		}
		c, err := h.objects.commit(at)
		if err != nil {
			return nil, false, err
		}
		for _, p := range c.parents {
			if !seen[p] {
				seen[p] = true
				queue = append(queue, p)
			}
		}
	}
	return seen, cut, nil
}
