package source

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/go-git/go-git/v5/plumbing"
)

// refusedPacks are the packs that exceeded a bound when they were fetched. It is stored beside
// the clone, so that later fetches do not receive them again.
type refusedPacks struct {
	name   string         // of the file
	Want   string         // the commit or tag that was requested
	Bounds string         // that held then
	Why    map[int]string // by the depth that was requested
}

// readRefused returns the packs that were refused for an object under the bounds of now. What is
// stored of another object or under other bounds is removed.
func (j *job) readRefused(want plumbing.Hash) *refusedPacks {
	now := &refusedPacks{
		name: cacheDir(j.Config.Dir, j.url()) + ".refused", Want: want.String(),
		Bounds: fmt.Sprintf("pack %d, objects %d of %d", j.Config.MaxPack, maxObjects, maxObject), Why: map[int]string{},
	}
	text, err := os.ReadFile(now.name)
	if err != nil {
		return now // without it the pack is fetched, which is no harm
	}
	stored := refusedPacks{name: now.name}
	if json.Unmarshal(text, &stored) != nil || stored.Want != now.Want || stored.Bounds != now.Bounds || stored.Why == nil {
		_ = os.Remove(now.name)
		return now
	}
	return &stored
}

// check returns an error if the pack of that depth was refused before.
func (r *refusedPacks) check(depth int) error {
	why, ok := r.Why[depth]
	if !ok {
		return nil
	}
	return &boundError{why + ". It is not fetched again until that commit or the limit changes"}
}

// add stores that the pack of a depth was refused, if err is a boundError.
func (r *refusedPacks) add(depth int, err error) {
	bound, ok := errors.AsType[*boundError](err)
	if !ok {
		return
	}
	r.Why[depth] = bound.why
	text, err := json.Marshal(r)
	if err == nil {
		_ = os.WriteFile(r.name, text, 0o600) // without it the pack is fetched again
	}
}
