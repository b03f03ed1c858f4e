package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"
	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/durable"
	"nfsync.dev/nfsync/internal/openfile"
)

// DefaultDirectory is the directory of a coordinator whose configuration names no other one.
const DefaultDirectory = "/var/lib/nfsync-coordinator"

// The files of a directory. The keys are written once, and last: a directory without them is not finished.
const (
	fileKeys        = "keys.json"
	fileLedger      = "ledger.json"
	fileCoordinator = "coordinator.creds"
	fileSystem      = "system.creds"
	fileLock        = "lock"
	fileServing     = "serving" // locked while a server runs here
	dirAccounts     = "accounts"
	dirStore        = "store"
)

// Directory holds the keys of a fleet and the ledger of the credentials that were handed out. Its methods may
// be called at the same time, by several processes too.
type Directory struct {
	path string
	keys *keys
}

// ErrNotMade means that a directory has no keys yet.
var ErrNotMade = errors.New("there are no keys of a fleet")

// Open opens a directory. The error is ErrNotMade if Init has not made it.
func Open(path string) (*Directory, error) {
	d := &Directory{path: filepath.Clean(path)}
	if err := openfile.OwnDir(d.path); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s: %w", path, ErrNotMade)
		}
		return nil, err
	}
	var err error
	if d.keys, err = readKeys(d.inside(fileKeys)); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", path, ErrNotMade)
	}
	if err != nil {
		return nil, err
	}
	return d, nil
}

// Init makes a directory, or completes one, and opens it. What is there stays: keys are made once. made reports whether
// they are new.
func Init(path string) (d *Directory, made bool, err error) {
	path = filepath.Clean(path)
	if err := (durable.Writer{}).MkdirAll(path, 0o700); err != nil {
		return nil, false, fmt.Errorf("cannot make the directory: %w", err)
	}
	if err := openfile.OwnDir(path); err != nil {
		return nil, false, err
	}
	d = &Directory{path: path}
	unlock, err := d.lock(fileLock, 0)
	if err != nil {
		return nil, false, err
	}
	defer unlock()
	d.keys, err = readKeys(d.inside(fileKeys))
	if errors.Is(err, fs.ErrNotExist) {
		made = true
		err = d.makeKeys()
	}
	if err != nil {
		return nil, false, err
	}
	if err := d.refresh(); err != nil {
		return nil, false, err
	}
	return d, made, d.writeCredentials()
}

// makeKeys makes keys and an empty ledger. Before the keys are on the disk nothing was signed with them, so a ledger without
// keys is of an Init that was killed. Keys without a ledger are not: what was revoked would be
// valid again.
func (d *Directory) makeKeys() error {
	k, err := makeKeys()
	if err != nil {
		return err
	}
	d.keys = k
	if err := d.saveLedger(ledger{Version: ledgerVersion}); err != nil {
		return err
	}
	return k.save(d.inside(fileKeys))
}

// refresh signs the accounts again that are not as they should be: there are none yet, or this version wants others.
func (d *Directory) refresh() error {
	l, err := d.readLedger()
	if err != nil {
		return err
	}
	changed, err := d.signAccounts(&l)
	if err != nil || !changed {
		return err
	}
	return d.saveLedger(l)
}

// signAccounts signs the accounts of a ledger that are not as they should be.
func (d *Directory) signAccounts(l *ledger) (changed bool, err error) {
	for _, account := range accounts() {
		want := d.keys.claims(account, l.Credentials, time.Now())
		if same(l.Accounts[account], want) {
			continue
		}
		if err := afterSecond(l.Accounts[account]); err != nil {
			return false, err
		}
		if l.Accounts[account], err = d.keys.sign(want); err != nil {
			return false, err
		}
		changed = true
	}
	return changed, nil
}

// maxSkew is how far an account may seem to be signed in the future.
const maxSkew = 3 * time.Second

// afterSecond waits until the second is over in which an account was signed. A server takes the newer one of two
// accounts, by the second: of two within one it might keep the one without the last revocation.
func afterSecond(token string) error {
	c, err := jwt.DecodeAccountClaims(token)
	if err != nil {
		return nil // there is none
	}
	next := time.Until(time.Unix(c.IssuedAt+1, 0))
	if next > maxSkew {
		return fmt.Errorf("the account %s was signed at %s, which is in the future of this machine's clock: servers would take no change of it; set the clock",
			c.Name, time.Unix(c.IssuedAt, 0).UTC().Format(time.RFC3339))
	}
	<-time.After(next)
	return nil
}

// writeCredentials writes the credentials of the coordinator and of the system account, where they are missing.
func (d *Directory) writeCredentials() error {
	for _, c := range []struct{ file, key, account string }{
		{fileCoordinator, keyCoordinatorUser, accountFleet},
		{fileSystem, keySystemUser, accountSystem},
	} {
		if there, err := exists(d.inside(c.file)); err != nil || there {
			if err != nil {
				return err
			}
			continue
		}
		data, err := d.ownCredentials(c.key, c.account)
		if err != nil {
			return err
		}
		if err := writeFile(d.inside(c.file), data); err != nil {
			return err
		}
	}
	return nil
}

// ownCredentials returns credentials that may do everything in an account.
func (d *Directory) ownCredentials(key, account string) ([]byte, error) {
	token, err := signUser(key, d.keys.public(key), d.keys.public(account), d.keys.pairs[account], nil)
	if err != nil {
		return nil, fmt.Errorf("cannot sign the credentials %s: %w", key, err)
	}
	seed, err := d.keys.pairs[key].Seed()
	if err != nil {
		return nil, fmt.Errorf("cannot read the key %s: %w", key, err)
	}
	return jwt.FormatUserConfig(token, seed)
}

// lock takes a lock on a file of the directory. It waits for it, but with LOCK_NB.
func (d *Directory) lock(name string, more int) (unlock func(), err error) {
	f, err := openfile.Own(d.inside(name), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|more)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		_ = f.Close()
		return nil, &fs.PathError{Op: "lock", Path: f.Name(), Err: err}
	}
	return func() { _ = f.Close() }, nil
}

// Path returns the path of the directory.
func (d *Directory) Path() string { return d.path }

// CoordinatorKey returns the key pair that signs roll-outs and grants.
func (d *Directory) CoordinatorKey() nkeys.KeyPair { return d.keys.pairs[keyCoordinator] }

// CoordinatorPublicKey returns the key that agents know the coordinator by.
func (d *Directory) CoordinatorPublicKey() string { return d.keys.public(keyCoordinator) }

// CredentialsFile returns the path of the coordinator's credentials.
func (d *Directory) CredentialsFile() string { return d.inside(fileCoordinator) }
