package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/nats-io/nkeys"

	"nfsync.dev/nfsync/internal/durable"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/openfile"
)

// The keys of a fleet beside those of its accounts, which have the names of these.
const (
	keyOperator        = "operator"         // signs accounts
	keySystemUser      = "system-user"      // of the system account
	keyCoordinatorUser = "coordinator-user" // of FLEET
	keyCoordinator     = "coordinator"      // signs roll-outs and grants
)

// signerOf returns the name of the key that signs the credentials of a kind.
func signerOf(k nf.CredentialKind) string { return string(k) + "-signer" }

// makers make the keys of a fleet, by their names.
func makers() map[string]func() (nkeys.KeyPair, error) {
	m := map[string]func() (nkeys.KeyPair, error){
		keyOperator: nkeys.CreateOperator, keySystemUser: nkeys.CreateUser, keyCoordinatorUser: nkeys.CreateUser, keyCoordinator: nkeys.CreateUser,
	}
	for _, account := range accounts() {
		m[account] = nkeys.CreateAccount
	}
	for kind := range roles {
		m[signerOf(kind)] = nkeys.CreateAccount
	}
	return m
}

// keys are the key pairs of a fleet, by their names.
type keys struct {
	pairs    map[string]nkeys.KeyPair
	operator string // the JWT of the operator
}

// public returns the public key of a pair.
func (k *keys) public(name string) string {
	public, err := k.pairs[name].PublicKey()
	if err != nil { // only of a pair that was wiped
		return ""
	}
	return public
}

// keysFile is the file of the keys as it is saved.
type keysFile struct {
	Version  int               `json:"version"`
	Seeds    map[string]string `json:"seeds"`
	Operator string            `json:"operator"`
}

// keysVersion is the version of keysFile.
const keysVersion = 1

// mostKeys bounds the file of the keys, in bytes.
const mostKeys = 1 << 20

// makeKeys returns new keys.
func makeKeys() (*keys, error) {
	k := &keys{pairs: map[string]nkeys.KeyPair{}}
	for name, create := range makers() {
		pair, err := create()
		if err != nil {
			return nil, fmt.Errorf("cannot make the key %s: %w", name, err)
		}
		k.pairs[name] = pair
	}
	token, err := k.operatorClaims().Encode(k.pairs[keyOperator])
	if err != nil {
		return nil, fmt.Errorf("cannot sign the operator: %w", err)
	}
	k.operator = token
	return k, nil
}

// save writes the keys.
func (k *keys) save(path string) error {
	f := keysFile{Version: keysVersion, Seeds: map[string]string{}, Operator: k.operator}
	for name, pair := range k.pairs {
		seed, err := pair.Seed()
		if err != nil {
			return fmt.Errorf("cannot save the key %s: %w", name, err)
		}
		f.Seeds[name] = string(seed)
	}
	return writeJSON(path, f)
}

// readKeys reads the keys. The error is fs.ErrNotExist if there are none.
func readKeys(path string) (*keys, error) {
	var f keysFile
	if err := readJSON(path, mostKeys, &f); err != nil {
		return nil, err
	}
	if f.Version != keysVersion {
		return nil, fmt.Errorf("%s has version %d, and this nfsync-coordinator reads version %d", path, f.Version, keysVersion)
	}
	k := &keys{pairs: map[string]nkeys.KeyPair{}, operator: f.Operator}
	for name := range makers() {
		pair, err := nkeys.FromSeed([]byte(f.Seeds[name]))
		if err != nil {
			return nil, fmt.Errorf("%s: the key %s cannot be used: %w", path, name, err)
		}
		k.pairs[name] = pair
	}
	return k, nil
}

// writeJSON writes a file that only this user can read.
func writeJSON(path string, document any) error {
	data, err := json.MarshalIndent(document, "", "  ")
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	return writeFile(path, append(data, '\n'))
}

// writeFile writes a file that only this user can read.
func writeFile(path string, data []byte) error {
	return durable.Writer{}.Replace(path, data, 0o600)
}

// readJSON reads a file of this user, of at most that many bytes.
func readJSON(path string, most int64, document any) error {
	data, err := readFile(path, most)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, document); err != nil {
		return fmt.Errorf("%s is damaged: %w: restore it from a backup", path, err)
	}
	return nil
}

// readFile reads a file of this user, of at most that many bytes. It is an error that others can read it.
func readFile(path string, most int64) ([]byte, error) {
	f, err := openfile.Own(path, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s can be read by other users (mode %04o): run 'chmod 600 %s', and make new keys if one of them may have read it", path, info.Mode().Perm(), path)
	}
	return openfile.ReadAll(f, most)
}

// exists reports whether there is something at path.
func exists(path string) (bool, error) {
	_, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// inside returns the path of a file of the directory.
func (d *Directory) inside(name string) string { return filepath.Join(d.path, name) }
