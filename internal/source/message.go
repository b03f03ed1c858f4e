package source

import (
	"errors"
	"time"
)

// Parent and child exchange JSON. The child reads one request from its standard input. It
// writes messages to its standard output, one on each line: phases while it works, then the
// revision, its files, those that are not read and the end, or an error. Where it fetches the branches of
// nodes it writes what each has.

type request struct {
	Config      Config // one URL
	Last        []Position
	Accept      string
	IgnoreClone bool          // a child died, perhaps because of the clone
	Push        *push         // what to push, if the child is not to fetch a revision
	Nodes       *nodeBranches // those to fetch instead
}

// memory returns how many times the memory of a fetch the child may have. Of the branches of nodes go-git keeps
// 96 MiB of objects while it indexes them.
func (r *request) memory() int64 {
	if r.Nodes != nil {
		return 2
	}
	return 1
}

type message struct {
	Phase    string    `json:"phase,omitempty"`
	Revision *Revision `json:"revision,omitempty"`
	File     *File     `json:"file,omitempty"`
	Unread   []string  `json:"unread,omitempty"`
	Node     *nodeFile `json:"node,omitempty"`
	Error    *failure  `json:"error,omitempty"`
	End      bool      `json:"end,omitempty"`
}

// failure is an error of the child. It keeps the types that callers of Fetch distinguish.
type failure struct {
	Text      string          `json:"text,omitempty"` // of an error of any other type
	Verify    *VerifyError    `json:"verify,omitempty"`
	Rewritten *RewrittenError `json:"rewritten,omitempty"`
	Tree      *TreeError      `json:"tree,omitempty"`
	NotOwner  *NotOwnerError  `json:"notOwner,omitempty"`
	// RetryAfter is when the server wants to be asked again.
	RetryAfter time.Duration `json:"retryAfter,omitempty"`
}

func newFailure(err error, secrets []string) *failure {
	var f failure
	switch {
	case errors.As(err, &f.Verify), errors.As(err, &f.Rewritten), errors.As(err, &f.Tree), errors.As(err, &f.NotOwner):
	default:
		f.Text = clean(err.Error(), secrets...)
	}
	return &f
}

// err returns the error with its type. An error of any other type is a FetchError of u.
func (f *failure) err(u string) error {
	switch {
	case f.Verify != nil:
		return f.Verify
	case f.Rewritten != nil:
		return f.Rewritten
	case f.Tree != nil:
		return f.Tree
	case f.NotOwner != nil:
		return f.NotOwner
	}
	return &FetchError{URL: u, Err: errors.New(f.Text)}
}
