package source

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode"
)

// FetchError says why one URL delivered nothing.
type FetchError struct {
	URL string
	Err error
}

func (e *FetchError) Error() string { return fmt.Sprintf("cannot fetch %s: %v", e.URL, e.Err) }

// Unwrap returns the reason.
func (e *FetchError) Unwrap() error { return e.Err }

// VerifyError says why a commit is not trusted.
type VerifyError struct {
	Commit string
	Why    string
}

func (e *VerifyError) Error() string {
	return fmt.Sprintf("cannot trust commit %s: %s", e.Commit, e.Why)
}

// RewrittenError is the error for a branch that does not descend from the commit that
// was applied last.
type RewrittenError struct {
	Branch, Last, New string
}

func (e *RewrittenError) Error() string {
	return fmt.Sprintf("branch %s was rewritten: %s does not descend from %s, the last one applied; if that is meant, accept it with --accept %s",
		e.Branch, e.New, e.Last, e.New)
}

// TreeError names what nfsync does not read in the tree of a commit.
type TreeError struct {
	// Commit is the one that has at Path what it must not have; empty if the policy
	// path itself cannot be read.
	Commit string
	Path   string
	Why    string
}

func (e *TreeError) Error() string { return fmt.Sprintf("cannot read %s: %s", e.Path, e.Why) }

// errTimeout is the error of a fetch that its deadline ended.
var errTimeout = errors.New("no complete answer in time")

// fetchErrors holds one error a URL, in the order in which they were tried.
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

// orNil returns nil for no error, the error itself for one, else all.
func (e fetchErrors) orNil() error {
	switch len(e) {
	case 0:
		return nil
	case 1:
		return e[0]
	}
	return e
}

// longestMessage bounds what a server may put into an error.
const longestMessage = 2000

// userinfo matches the part of a URL that can hold a password.
var userinfo = regexp.MustCompile(`//[^/@\s"']*:[^/\s"']*@`)

// clean returns a text that a server may have influenced as one line, without control
// characters and secrets.
func clean(text string, secrets ...string) string {
	for _, s := range secrets {
		if s != "" {
			text = strings.ReplaceAll(text, s, "***")
		}
	}
	text = userinfo.ReplaceAllString(text, "//***@")
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r) || r == unicode.ReplacementChar
	}), " ")
	if len(text) > longestMessage {
		text = strings.ToValidUTF8(text[:longestMessage], "") + " …"
	}
	return strings.TrimRight(text, " :")
}
