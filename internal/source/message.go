package source

import (
	"errors"
)

// What parent and child say to each other: one request on the child's standard
// input, and on its standard output a line of JSON a message: phases while it
// works, then the revision, its files and the end, or an error.

type request struct {
	Config Config // one URL
	Last   []Position
	Accept string
	Fresh  bool // do not trust the cache: the last child died of it
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

// err is the error again; what is none of the particular ones is the URL's.
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
