package source

import (
	"errors"

	"github.com/go-git/go-git/v5/plumbing/object"
)

// verifyCommits checks the signature of each commit against the keys that v
// names. commits are the fetched one and then, in mode all, every other one that it has
// and the last applied one has not. It is called in the child, for modes other than none; signer is that of the
// first commit. Its error is a *VerifyError for a commit that is not trusted, and a plain one for keys that cannot be read.
func verifyCommits(v Verify, commits []*object.Commit) (signer string, warnings []string, err error) {
	return "", nil, errors.New("cannot verify: not implemented")
}
