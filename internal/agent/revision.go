package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/source"
	"nfsync.dev/nfsync/internal/spec"
	"nfsync.dev/nfsync/internal/state"
)

// Fetcher returns the verified revision to apply. It is source.Fetch with its
// configuration.
type Fetcher func(ctx context.Context, last []source.Position, accept string) (source.Revision, error)

// Revision is a good revision: it was fetched and verified, and its policies are
// valid.
type Revision struct {
	source.Revision
	Policies spec.Policies
	Rollout  nf.RolloutPlan // of the fleet
	Verified source.Mode    // with which it was fetched
	follows  string         // the position of its branch at the time of the fetch
}

// InvalidError means that the policies of a revision are invalid.
type InvalidError struct {
	Commit      string // empty for those of a directory
	Diagnostics []spec.Diagnostic
}

func (e *InvalidError) Error() string {
	of := ""
	if e.Commit != "" {
		of = " of commit " + e.Commit
	}
	text := fmt.Sprintf("the policies%s are invalid: %s", of, e.Diagnostics[0])
	if more := len(e.Diagnostics) - 1; more > 0 {
		text += fmt.Sprintf(" (and %d more)", more)
	}
	return text
}

// Fetch returns a revision that may be applied after last, the positions so far. mode is that
// of the fetcher.
// accept is a commit that is accepted even if its branch was rewritten. The errors
// are those of source.Fetch, and *InvalidError.
func Fetch(ctx context.Context, fetch Fetcher, mode source.Mode, last []state.Position, accept string) (Revision, error) {
	positions := make([]source.Position, len(last))
	for i, p := range last {
		positions[i] = source.Position(p)
	}
	fetched, err := fetch(ctx, positions, accept)
	if err != nil {
		return Revision{}, invalidTree(err)
	}
	parsed, err := parse(fetched)
	return Revision{fetched, parsed.Policies, parsed.Rollout, mode, positionOf(last, fetched)}, err
}

func parse(r source.Revision) (spec.Parsed, error) {
	parsed, diagnostics := spec.ParseAll(SpecFiles(r))
	if len(diagnostics) > 0 {
		return spec.Parsed{}, &InvalidError{r.Commit, diagnostics}
	}
	return parsed, nil
}

// CheckEmpty returns an *InvalidError if the revision holds no policy below that path.
func (r Revision) CheckEmpty(path string) error {
	if len(r.Policies) > 0 {
		return nil
	}
	return &InvalidError{r.Commit, []spec.Diagnostic{spec.NoPolicies(cmp.Or(path, "."), len(r.Files))}}
}

// SpecFiles returns the revision's policy files as the input of package spec.
func SpecFiles(r source.Revision) []spec.File {
	files := make([]spec.File, len(r.Files))
	for i, f := range r.Files {
		files[i] = spec.File(f)
	}
	return files
}

// invalidTree converts an error about files in a commit's tree, for example
// symbolic links, to an *InvalidError with those files, as for a policy directory. It
// returns any other error as it is.
func invalidTree(err error) error {
	tree, ok := errors.AsType[*source.TreeError](err)
	if !ok || tree.Commit == "" {
		return err
	}
	return &InvalidError{tree.Commit, spec.FromTree(tree.Problems)}
}

// positionOf returns the commit of the revision's branch that was applied last;
// empty if there is none.
func positionOf(list []state.Position, r source.Revision) string {
	i := slices.IndexFunc(list, func(p state.Position) bool { return nf.PublicURL(p.URL) == r.URL && p.Branch == r.Branch })
	if r.Branch == "" || i < 0 {
		return ""
	}
	return list[i].Commit
}
