package source

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"

	"nfsync.dev/nfsync/internal/nf"
)

// Fetch fetches the revision that cfg names and verifies it. last holds the last applied
// positions: the new commit of a branch must descend from the position of its URL and name,
// or be the commit accept.
//
// The URLs are tried in order until one answers, those that have failed lately after the others (see
// Config.Health). If its revision must not be applied, no
// other URL is tried: another server may have an older state.
//
// The errors are *FetchError (with several URLs one for each, which errors.As finds),
// *VerifyError, *RewrittenError and *TreeError. If ctx is cancelled, the error wraps its
// cause.
func Fetch(ctx context.Context, cfg Config, last []Position, accept string) (Revision, error) {
	if err := cfg.Check(accept); err != nil {
		return Revision{}, err
	}
	if cfg.Dir == "" {
		return Revision{}, errors.New("cannot fetch: no directory for the clone is given")
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = DefaultTimeout
	}
	cfg.MaxPack = cmp.Or(cfg.MaxPack, DefaultMaxPack)
	var failed fetchErrors
	urls, pausing := cfg.Health.order(cfg.URLs)
	for i, u := range urls {
		r, err := fetchOne(ctx, cfg, u, last, accept)
		if ctx.Err() != nil && err != nil {
			return Revision{}, fmt.Errorf("the fetch of %s was stopped: %w", nf.PublicURL(u), context.Cause(ctx))
		}
		if _, dead := errors.AsType[*FetchError](err); dead {
			cfg.Health.record(u, err)
			failed = append(failed, err)
			continue
		}
		cfg.Health.record(u, nil) // the server has answered
		if err != nil {
			return Revision{}, err
		}
		for _, f := range failed {
			r.Warnings = append(r.Warnings, f.Error())
		}
		for _, later := range urls[max(i+1, len(urls)-pausing):] { // not tried, and dead as far as is known
			r.Warnings = append(r.Warnings, cfg.Health.failure(later).Error())
		}
		return r, nil
	}
	return Revision{}, failed.orNil()
}

// Check returns the first error in a configuration and in a commit to accept. It uses no
// network and reads no file.
func (cfg Config) Check(accept string) error {
	if len(cfg.URLs) == 0 {
		return errors.New("cannot fetch: no URL is given")
	}
	for _, u := range cfg.URLs {
		if _, err := endpoint(u); err != nil {
			return &FetchError{URL: nf.PublicURL(u), Err: err}
		}
	}
	given := slices.DeleteFunc([]string{cfg.Branch, cfg.Tag, cfg.Commit}, func(s string) bool { return s == "" })
	if len(given) > 1 {
		return errors.New("cannot fetch: branch, tag and commit exclude each other, only one can be followed")
	}
	if cfg.UpTo != "" && (cfg.Tag != "" || cfg.Commit != "" || cfg.Rev != "") {
		return errors.New("cannot fetch: only a branch is followed up to a commit, no tag and no commit")
	}
	hashes := []struct{ what, hash string }{{"commit", cfg.Commit}, {"commit to follow the branch up to", cfg.UpTo}, {"commit that comes after it", cfg.Before}, {"accepted commit", accept}}
	for _, commit := range cfg.After {
		hashes = append(hashes, struct{ what, hash string }{"commit that comes before it", commit})
	}
	for _, c := range hashes {
		switch {
		case c.hash == "" || nf.IsCommitID(c.hash):
		case sha256ID.MatchString(c.hash):
			return fmt.Errorf("cannot fetch: the %s %q is a SHA-256 hash: nfsync reads repositories with SHA-1 hashes, of 40 lower-case hexadecimal digits", c.what, c.hash)
		default:
			return fmt.Errorf("cannot fetch: the %s %q is not a full hash of 40 lower-case hexadecimal digits", c.what, c.hash)
		}
	}
	for _, name := range []plumbing.ReferenceName{plumbing.NewBranchReferenceName(cfg.Branch), plumbing.NewTagReferenceName(cfg.Tag)} {
		if !strings.HasSuffix(name.String(), "/") && name.Validate() != nil {
			return fmt.Errorf("cannot fetch: %q is not a valid name of a branch or tag", name.Short())
		}
	}
	if _, err := CleanPath(cfg.Path); err != nil {
		return err
	}
	if cfg.Timeout < 0 {
		return fmt.Errorf("cannot fetch: the timeout %s is negative", cfg.Timeout)
	}
	if cfg.MaxPack < 0 {
		return fmt.Errorf("cannot fetch: the largest size of a pack, %s, is negative", cfg.MaxPack)
	}
	return cfg.Verify.check()
}

// sha256ID matches the hash of a commit in a repository with SHA-256 hashes.
var sha256ID = regexp.MustCompile("^[0-9a-f]{64}$")

// check returns an error if the mode is unknown, needs keys that are not named, or does not
// use those that are.
func (v Verify) check() error {
	keys := len(v.Keyrings)+len(v.AllowedSigners) > 0
	switch {
	case v.Mode != "" && v.Mode != VerifyNone && v.Mode != VerifyTip && v.Mode != VerifyAll:
		return fmt.Errorf("cannot verify: the mode %q must be none, tip or all", v.Mode)
	case keys && (v.Mode == "" || v.Mode == VerifyNone):
		return errors.New("cannot verify: a keyring or allowed signers are of no use without --verify tip or --verify all")
	case !keys && (v.Mode == VerifyTip || v.Mode == VerifyAll):
		return errors.New("cannot verify: name a keyring or allowed signers, the keys whose signatures are good")
	}
	return nil
}

// positionsAt returns the positions of one URL.
func positionsAt(last []Position, u string) []Position {
	return slices.DeleteFunc(slices.Clone(last), func(p Position) bool { return nf.PublicURL(p.URL) != nf.PublicURL(u) })
}
