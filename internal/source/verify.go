package source

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"nfsync.dev/nfsync/internal/openfile"
)

// verifyCommits checks the signature of each commit against the keys that v names. The
// first commit is the fetched one. In mode all the others are those that the last applied
// commit does not have, merges included. Without a last applied commit the fetched one is
// alone: its signature covers the history through its hash, and a repository may begin with
// unsigned commits.
//
// signer is that of the first commit. The error is a *VerifyError for a commit that is not
// trusted, and of another type for keys that cannot be read. warnings are about keys that
// are not used.
func verifyCommits(v Verify, commits []*commit) (signer string, warnings []string, err error) {
	return verifyAt(v, commits, time.Now())
}

func verifyAt(v Verify, commits []*commit, now time.Time) (signer string, warnings []string, err error) {
	if len(commits) == 0 {
		return "", nil, errors.New("cannot verify: there is no commit")
	}
	keys, warnings, err := readTrustedKeys(v)
	if err != nil {
		return "", warnings, err
	}
	for i, commit := range commits {
		who, err := keys.check(commit, now)
		if err != nil {
			why := err.Error()
			if i > 0 {
				why += fmt.Sprintf(" (the mode of verification is %s: each commit since the one that was applied last must be signed)", VerifyAll)
			}
			return "", warnings, &VerifyError{Commit: commit.hash.String(), Why: why}
		}
		if i == 0 {
			signer = who
		}
	}
	return signer, warnings, nil
}

// trustedKeys holds the keys whose signatures are accepted.
type trustedKeys struct {
	pgp pgpKeys
	ssh allowedSigners
}

func readTrustedKeys(v Verify) (t trustedKeys, warnings []string, err error) {
	if len(v.Keyrings)+len(v.AllowedSigners) == 0 {
		return trustedKeys{}, nil, errors.New("cannot verify: neither a keyring nor a file of allowed signers is named")
	}
	var more []string
	if t.pgp, warnings, err = readKeyrings(v.Keyrings); err != nil {
		return trustedKeys{}, warnings, err
	}
	t.ssh, more, err = readAllowedSigners(v.AllowedSigners)
	return t, append(warnings, more...), err
}

// The first lines of the signatures that git knows (gpg-interface.c).
const (
	beginPGP        = "-----BEGIN PGP SIGNATURE-----"
	beginPGPMessage = "-----BEGIN PGP MESSAGE-----"
	beginSSH        = "-----BEGIN SSH SIGNATURE-----"
	beginX509       = "-----BEGIN SIGNED MESSAGE-----"
)

// longestSignature bounds a signature, in bytes. The largest keys that gpg makes, RSA with
// 16384 bits, make signatures of 3 KiB.
const longestSignature = 32 << 10

// The remedies end the reasons why a commit is not trusted.
const (
	remedySign       = "sign it with git commit --amend --no-edit -S and push it again"
	remedyTrustedKey = "sign the commit again with a key that is trusted"
)

// check returns the signer of a commit, or why it is not trusted.
func (t trustedKeys) check(c *commit, now time.Time) (signer string, err error) {
	// The signature may come from an attacker. A commit on which a library panics is refused.
	defer func() {
		if r := recover(); r != nil {
			signer, err = "", fmt.Errorf("its signature cannot be read: %s; %s", clean(fmt.Sprint(r)), remedyTrustedKey)
		}
	}()
	message, signature, err := c.signed()
	switch {
	case err != nil:
		return "", fmt.Errorf("%w; %s", err, remedyTrustedKey)
	case signature == "":
		return "", errors.New("it is not signed; " + remedySign)
	case len(signature) > longestSignature:
		return "", fmt.Errorf("its signature is longer than %d bytes; %s", longestSignature, remedyTrustedKey)
	case strings.HasPrefix(signature, beginSSH):
		return t.ssh.check(message, signature, c.committer)
	case strings.HasPrefix(signature, beginPGP), strings.HasPrefix(signature, beginPGPMessage):
		return t.pgp.check(message, signature, now)
	case strings.HasPrefix(signature, beginX509):
		return "", errors.New("it is signed with an X.509 certificate, which is not supported; sign it with an OpenPGP or SSH key")
	}
	return "", errors.New("its signature is of an unknown kind; sign it with an OpenPGP or SSH key")
}

// largestKeyFile bounds a file of keys, in bytes.
const largestKeyFile = 16 << 20

func readKeyFile(name string) ([]byte, error) { return openfile.Read(name, largestKeyFile) }
