package source

import (
	"errors"
)

// The messages between parent and child: one request on the child's standard input, and
// on its standard output one message a line, in JSON: phases while it works, then the
// revision, its files and the end, or an error.

type request struct {
	Config Config // one URL
	Last   []Position
	Accept string
	Fresh  bool // do not use the cache: the last child died reading it
}

type message struct {
	Phase    string    `json:"phase,omitempty"`
	Revision *Revision `json:"revision,omitempty"`
	File     *File     `json:"file,omitempty"`
	Error    *failure  `json:"error,omitempty"`
	End      bool      `json:"end,omitempty"`
}

// failure carries an error from the child to the parent with its kind.
type failure struct {
	Text      string          `json:"text,omitempty"` // of any other error
	Verify    *VerifyError    `json:"verify,omitempty"`
	Rewritten *RewrittenError `json:"rewritten,omitempty"`
	Tree      *TreeError      `json:"tree,omitempty"`
}

func newFailure(err error, secrets []string) *failure {
	var f failure
	switch {
	case errors.As(err, &f.Verify), errors.As(err, &f.Rewritten), errors.As(err, &f.Tree):
	default:
		f.Text = clean(err.Error(), secrets...)
	}
	return &f
}

// err returns the error of its own type; any other is a FetchError of the URL.
func (f *failure) err(u string) error {
	switch {
	case f.Verify != nil:
		return f.Verify
	case f.Rewritten != nil:
		return f.Rewritten
	case f.Tree != nil:
		return f.Tree
	}
	return &FetchError{URL: u, Err: errors.New(f.Text)}
}
