package agent

import (
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
	Verified source.Mode // with which it was fetched
	follows  string      // the position of its branch at the time of the fetch
}

// InvalidError means that the policies of a revision are invalid.
type InvalidError struct {
	Commit      string
	Diagnostics []spec.Diagnostic
}

func (e *InvalidError) Error() string {
	text := fmt.Sprintf("the policies of commit %s are invalid: %s", e.Commit, e.Diagnostics[0])
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
	policies, err := parse(fetched)
	return Revision{fetched, policies, mode, positionOf(last, fetched)}, err
}

func parse(r source.Revision) (spec.Policies, error) {
	policies, diagnostics := spec.Parse(SpecFiles(r))
	if len(diagnostics) > 0 {
		return nil, &InvalidError{r.Commit, diagnostics}
	}
	return policies, nil
}

// SpecFiles returns the revision's policy files as the input of package spec.
func SpecFiles(r source.Revision) []spec.File {
	files := make([]spec.File, len(r.Files))
	for i, f := range r.Files {
		files[i] = spec.File(f)
	}
	return files
}

// invalidTree converts an error about a file in a commit's tree, for example a
// symbolic link, to an *InvalidError with that file, as for a policy directory. It
// returns any other error as it is.
func invalidTree(err error) error {
	tree, ok := errors.AsType[*source.TreeError](err)
	if !ok || tree.Commit == "" {
		return err
	}
	return &InvalidError{tree.Commit, []spec.Diagnostic{{Rule: spec.RuleForbiddenFile, File: tree.Path, Line: 1, Column: 1, Message: tree.Why}}}
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
