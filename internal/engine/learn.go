package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/nats-io/jwt/v2"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/openfile"
)

// unknownName is the name of credentials that another ledger has handed out: only their key is known. It is no name of a fleet.
const unknownName = "?"

// learn makes the ledger know what signed accounts say: what is revoked in them, and when they were signed. A server prefers the
// account that was signed last. So an account that is signed by an older copy of the ledger would make valid again what
// it does not know to be revoked. learn returns the ledger as it is then.
func (d *Directory) learn(tokens []string) (ledger, error) {
	unlock, err := d.lock(fileLock, 0)
	if err != nil {
		return ledger{}, err
	}
	defer unlock()
	l, err := d.readLedger()
	if err != nil {
		return l, err
	}
	learned := false
	for _, token := range tokens {
		c, err := jwt.DecodeAccountClaims(token)
		if err != nil || c.Issuer != d.keys.public(keyOperator) {
			continue // a server has none yet, or one that we have not signed
		}
		account := d.keys.accountOf(c.Subject)
		if account == "" {
			continue
		}
		if l.Accounts[account] != token && c.IssuedAt >= signedAt(l.Accounts[account]) {
			l.Accounts[account], learned = token, true
		}
		for key, at := range c.Revocations {
			learned = l.learnRevoked(account, key, time.Unix(at, 0).UTC()) || learned
		}
	}
	signed, err := d.signAccounts(&l)
	if err != nil || !learned && !signed {
		return l, err
	}
	return l, d.saveLedger(l)
}

// accountOf returns the account with a public key, or "".
func (k *keys) accountOf(public string) string {
	for _, account := range accounts() {
		if k.public(account) == public {
			return account
		}
	}
	return ""
}

// signedAt returns when an account was signed, in seconds; 0: there is none.
func signedAt(token string) int64 {
	c, err := jwt.DecodeAccountClaims(token)
	if err != nil {
		return 0
	}
	return c.IssuedAt
}

// learnRevoked writes down that credentials of an account are revoked, and reports whether that is new.
func (l *ledger) learnRevoked(account, key string, at time.Time) bool {
	i := slices.IndexFunc(l.Credentials, func(c nf.FleetCredential) bool { return c.PublicKey == key })
	switch {
	case i >= 0 && l.Credentials[i].RevokedAt != nil:
		return false
	case i >= 0:
		l.Credentials[i].RevokedAt = &at
		return true
	}
	for kind, r := range roles {
		if r.account == account && !r.leaf {
			l.Credentials = append(l.Credentials, nf.FleetCredential{Name: unknownName, Kind: kind, PublicKey: key, IssuedAt: at, RevokedAt: &at})
			return true
		}
	}
	return false
}

// storedAccounts returns the accounts that the server of the directory has.
func (d *Directory) storedAccounts() (tokens []string, err error) {
	for _, account := range accounts() {
		token, err := openfile.Read(filepath.Join(d.inside(dirAccounts), d.keys.public(account)+".jwt"), mostLedger)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("cannot read what is revoked: %w", err)
		}
		tokens = append(tokens, string(token))
	}
	return tokens, nil
}
