package source

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/policytree"
)

// FetchError is the error for a URL that delivered no revision.
type FetchError struct {
	URL string // as nf.PublicURL returns it
	Err error
}

func (e *FetchError) Error() string { return fmt.Sprintf("cannot fetch %s: %v", e.URL, e.Err) }

// Unwrap returns the reason.
func (e *FetchError) Unwrap() error { return e.Err }

// VerifyError is the error for a commit that is not trusted.
type VerifyError struct {
	Commit string
	Why    string
}

func (e *VerifyError) Error() string {
	return fmt.Sprintf("cannot trust commit %s: %s", e.Commit, e.Why)
}

// RewrittenError is the error for a branch that does not descend from the commit that
// was applied last, or that HEAD names instead of the branch Followed.
type RewrittenError struct {
	Branch, Last, New string // Branch is empty if HEAD names a commit
	Followed          string `json:",omitempty"` // empty unless HEAD names another branch now
	// Behind: New is an ancestor of Last. Config.UpTo names an older commit of the branch.
	Behind bool `json:",omitempty"`
}

func (e *RewrittenError) Error() string {
	if e.Followed != "" {
		head := "branch " + e.Branch
		if e.Branch == "" {
			head = "no branch but commit " + e.New
		}
		return fmt.Sprintf("HEAD names %s now, and branch %s was followed until its commit %s: configure the branch to follow (--branch, source.branch), or, if that is meant, accept the new one with --accept %s",
			head, e.Followed, e.Last, e.New)
	}
	if e.Behind {
		return fmt.Sprintf("commit %s of branch %s is older than %s, the last one applied: nfsync does not go back", e.New, e.Branch, e.Last)
	}
	return fmt.Sprintf("branch %s was rewritten: %s does not descend from %s, the last one applied; if that is meant, accept it with --accept %s",
		e.Branch, e.New, e.Last, e.New)
}

// TreeError is the error for entries in the tree of a commit that nfsync does not read. There
// is at least one.
type TreeError struct {
	Commit   string // empty if the policy path itself cannot be read
	Missing  bool   // the commit has no such path
	Problems []policytree.Problem
}

func (e *TreeError) Error() string {
	text := fmt.Sprintf("cannot read %s: %s", e.Problems[0].Path, e.Problems[0].Message)
	if more := len(e.Problems) - 1; more > 0 {
		text += fmt.Sprintf(" (and %d more)", more)
	}
	return text
}

// treeError returns the error for one path.
func treeError(path, why string) *TreeError {
	return &TreeError{Problems: []policytree.Problem{{Path: path, Rule: policytree.RuleForbiddenFile, Message: why}}}
}

// errTimeout is the error for a fetch that exceeded its timeout.
var errTimeout = errors.New("no complete answer in time")

// fetchErrors holds one error for each URL, in the order in which they were tried.
type fetchErrors []error

func (e fetchErrors) Error() string {
	texts := make([]string, len(e))
	for i, err := range e {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}

// Unwrap returns the error of each URL.
func (e fetchErrors) Unwrap() []error { return e }

// orNil returns nil if there is no error, the error itself if there is one, else e.
func (e fetchErrors) orNil() error {
	switch len(e) {
	case 0:
		return nil
	case 1:
		return e[0]
	}
	return e
}

// longestMessage bounds a cleaned text, in bytes.
const longestMessage = 2000

// clean returns a text that may come from a server as one line, without control characters
// and secrets.
func clean(text string, secrets ...string) string {
	// A secret may be part of another one.
	for _, s := range slices.SortedFunc(slices.Values(secrets), func(a, b string) int { return len(b) - len(a) }) {
		if s != "" {
			text = strings.ReplaceAll(text, s, "***")
		}
	}
	text = nf.PublicText(text)
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r) || r == unicode.ReplacementChar
	}), " ")
	if len(text) > longestMessage {
		text = strings.ToValidUTF8(text[:longestMessage], "") + " …"
	}
	return strings.TrimRight(text, " :")
}
