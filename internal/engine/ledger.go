package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"nfsync.dev/nfsync/internal/nf"
)

// ledger is what has been handed out, and the accounts as servers should have them. They are one file: an account never lacks a
// revocation that the list has.
type ledger struct {
	Version     int                  `json:"version"`
	Accounts    map[string]string    `json:"accounts"` // JWTs, by the names of accounts
	Credentials []nf.FleetCredential `json:"credentials"`
}

// ledgerVersion is the version of the ledger's form.
const ledgerVersion = 1

// mostLedger bounds the ledger, in bytes: some 500,000 credentials.
const mostLedger = 128 << 20

// readLedger reads the ledger.
func (d *Directory) readLedger() (ledger, error) {
	var l ledger
	err := readJSON(d.inside(fileLedger), mostLedger, &l)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return l, fmt.Errorf("%s is missing: it says which credentials are revoked; restore it from a backup", d.inside(fileLedger))
	case err == nil && l.Version != ledgerVersion:
		return l, fmt.Errorf("%s has version %d, and this nfsync-coordinator reads version %d", d.inside(fileLedger), l.Version, ledgerVersion)
	}
	if l.Accounts == nil {
		l.Accounts = map[string]string{}
	}
	return l, err
}

func (d *Directory) saveLedger(l ledger) error { return writeJSON(d.inside(fileLedger), l) }

// change changes the ledger, and signs the accounts that this changes.
func (d *Directory) change(change func(*ledger) error) error {
	unlock, err := d.lock(fileLock, 0)
	if err != nil {
		return err
	}
	defer unlock()
	l, err := d.readLedger()
	if err != nil {
		return err
	}
	if err := change(&l); err != nil {
		return err
	}
	if _, err := d.signAccounts(&l); err != nil {
		return err
	}
	return d.saveLedger(l)
}

// Credentials returns what has been handed out, in the order of names and then of time.
func (d *Directory) Credentials() ([]nf.FleetCredential, error) {
	l, err := d.readLedger()
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(l.Credentials, func(a, b nf.FleetCredential) int { return strings.Compare(a.Name, b.Name) })
	return l.Credentials, nil
}

// EnrolledError means that a name has credentials that are valid.
type EnrolledError struct{ nf.FleetCredential }

func (e *EnrolledError) Error() string {
	return fmt.Sprintf("%s has credentials already, as a %s, since %s", e.Name, e.Kind, e.IssuedAt.UTC().Format(time.RFC3339))
}

// NameError means that a name cannot be one of a fleet.
type NameError struct{ Name string }

func (e *NameError) Error() string {
	return fmt.Sprintf("%q cannot be a name in a fleet: it has at most %d characters, these are letters, digits, '-' and '_', with single dots between them", e.Name, nf.MaxFleetName)
}

// Enroll makes credentials, and returns them as the text of a credentials file. They expire after a time; 0: never. With replace
// those that the name has are revoked; without it they are an *EnrolledError.
func (d *Directory) Enroll(kind nf.CredentialKind, name string, expires time.Duration, replace bool) ([]byte, error) {
	if !nf.IsFleetName(name) {
		return nil, &NameError{name}
	}
	user, err := nkeys.CreateUser()
	if err != nil {
		return nil, fmt.Errorf("cannot make a key: %w", err)
	}
	defer user.Wipe()
	public, err := user.PublicKey()
	if err != nil {
		return nil, fmt.Errorf("cannot make a key: %w", err)
	}
	now := time.Now().UTC().Truncate(time.Second)
	c := nf.FleetCredential{Name: name, Kind: kind, PublicKey: public, IssuedAt: now}
	if expires > 0 {
		at := now.Add(expires)
		c.ExpiresAt = &at
	}
	text, err := d.signCredential(c, user)
	if err != nil {
		return nil, fmt.Errorf("cannot sign the credentials of %s: %w", name, err)
	}
	err = d.change(func(l *ledger) error {
		for i, old := range l.Credentials {
			if old.Name != name || !old.IsValid(now) {
				continue
			}
			if !replace {
				return &EnrolledError{old}
			}
			l.Credentials[i].RevokedAt = &now
		}
		l.Credentials = append(l.Credentials, c)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return text, nil
}

// signCredential returns the text of a credentials file.
func (d *Directory) signCredential(c nf.FleetCredential, user nkeys.KeyPair) ([]byte, error) {
	token, err := signUser(c.Name, c.PublicKey, d.keys.public(roles[c.Kind].account), d.keys.pairs[signerOf(c.Kind)], c.ExpiresAt)
	if err != nil {
		return nil, err
	}
	seed, err := user.Seed()
	if err != nil {
		return nil, err
	}
	return jwt.FormatUserConfig(token, seed)
}

// ErrNotEnrolled means that a name has no credentials that are valid.
var ErrNotEnrolled = errors.New("no valid credentials have this name")

// Revoke revokes the credentials of a name. Servers learn it from Push, or when they start from this
// directory.
func (d *Directory) Revoke(name string) error {
	now := time.Now().UTC().Truncate(time.Second)
	return d.change(func(l *ledger) error {
		found := false
		for i, c := range l.Credentials {
			if c.Name == name && c.IsValid(now) {
				l.Credentials[i].RevokedAt, found = &now, true
			}
		}
		if !found {
			return fmt.Errorf("%s: %w", name, ErrNotEnrolled)
		}
		return nil
	})
}
