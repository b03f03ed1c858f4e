package source

import "fmt"

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
	Path string
	Why  string
}

func (e *TreeError) Error() string { return fmt.Sprintf("cannot read %s: %s", e.Path, e.Why) }
