package source

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode"
)

// FetchError tells why one URL delivered nothing.
type FetchError struct {
	URL string
	Err error
}

func (e *FetchError) Error() string { return fmt.Sprintf("cannot fetch %s: %v", e.URL, e.Err) }

// Unwrap gives the reason.
func (e *FetchError) Unwrap() error { return e.Err }

// VerifyError tells why a commit is not trusted.
type VerifyError struct {
	Commit string
	Why    string
}

func (e *VerifyError) Error() string {
	return fmt.Sprintf("cannot trust commit %s: %s", e.Commit, e.Why)
}

// RewrittenError tells that a branch does not continue the commit that was
// applied last.
type RewrittenError struct {
	Branch, Last, New string
}

func (e *RewrittenError) Error() string {
	return fmt.Sprintf("branch %s was rewritten: %s does not descend from %s, the last one applied; if that is meant, accept it with --accept %s",
		e.Branch, e.New, e.Last, e.New)
}

// TreeError tells what in the commit's tree nfsync does not read.
type TreeError struct {
	// Commit is the one that holds at Path what must not be there; empty where
	// it is the policy path that cannot be read.
	Commit string
	Path   string
	Why    string
}

func (e *TreeError) Error() string { return fmt.Sprintf("cannot read %s: %s", e.Path, e.Why) }

// errTimeout marks a fetch that the deadline of its URL ended.
var errTimeout = errors.New("no complete answer in time")

// fetchErrors are those of all URLs, in the order of trying.
type fetchErrors []error

func (e fetchErrors) Error() string {
	texts := make([]string, len(e))
	for i, err := range e {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}

// Unwrap gives each URL's error.
func (e fetchErrors) Unwrap() []error { return e }

// orNil is the error of none, one or several.
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

// userinfo is the part of a URL in which a password can be.
var userinfo = regexp.MustCompile(`//[^/@\s"']*:[^/\s"']*@`)

// clean makes one line without control characters of a text that a server may
// have had a hand in, and takes every secret out of it.
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
