package fleet

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"nfsync.dev/nfsync/internal/openfile"
)

// credentials are what identifies a user.
type credentials struct {
	jwt  string // empty: the public key alone says who it is
	key  nkeys.KeyPair
	user string // public key
}

// readCredentials reads a file that only its owner may access.
func readCredentials(name string) (credentials, error) {
	f, err := openfile.Regular(name)
	if err != nil {
		return credentials{}, fmt.Errorf("cannot read the credentials file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return credentials{}, fmt.Errorf("cannot read the credentials file: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return credentials{}, fmt.Errorf("the credentials file %s can be read by others (mode %04o): run 'chmod 600 %s', and enroll again if they may have read it", name, mode, name)
	}
	text, err := openfile.ReadAll(f, maxFile)
	if err != nil {
		return credentials{}, fmt.Errorf("cannot read the credentials file: %w", err)
	}
	defer clear(text)
	c, err := parseCredentials(text)
	if err != nil {
		// No error of a parser: it may repeat the secret.
		return credentials{}, fmt.Errorf("the credentials file %s has no user's seed, as 'nfsync-coordinator enroll' and nsc write it", name)
	}
	return c, nil
}

func parseCredentials(text []byte) (credentials, error) {
	text = bytes.TrimSpace(text)
	key, err := nkeys.ParseDecoratedUserNKey(text)
	if err != nil {
		return credentials{}, err
	}
	user, err := key.PublicKey()
	if err != nil {
		return credentials{}, err
	}
	c := credentials{key: key, user: user}
	if bytes.Contains(text, []byte("BEGIN NATS USER JWT")) {
		c.jwt, err = nkeys.ParseDecoratedJWT(text)
	}
	return c, err
}

// option returns the option of a connection that identifies the user. The file is read again at each connection: a JWT that
// was renewed is used. changed is called if it has another form or another key by then, so that a new connection is needed.
func (c credentials) option(file string, changed func()) nats.Option {
	again := func() (credentials, error) {
		now, err := readCredentials(file)
		if err == nil && (c.jwt == "") != (now.jwt == "") || err == nil && c.jwt == "" && now.user != c.user {
			changed()
			err = fmt.Errorf("the credentials file %s has changed: connecting anew", file)
		}
		return now, err
	}
	sign := func(nonce []byte) ([]byte, error) {
		now, err := again()
		if err != nil {
			return nil, err
		}
		defer now.key.Wipe()
		return now.key.Sign(nonce)
	}
	if c.jwt == "" {
		return nats.Nkey(c.user, sign)
	}
	return nats.UserJWT(func() (string, error) {
		now, err := again()
		if err != nil {
			return "", err
		}
		now.key.Wipe()
		return now.jwt, nil
	}, sign)
}

// NameOf returns the name that a credentials file is for: that of the user of its JWT. It is empty for a seed alone. The server
// verifies the JWT; here nobody does.
func NameOf(credentialsFile string) (string, error) {
	c, err := readCredentials(credentialsFile)
	if err != nil || c.jwt == "" {
		return "", err
	}
	c.key.Wipe()
	parts := strings.Split(c.jwt, ".")
	var claims struct {
		Name string `json:"name"`
	}
	if len(parts) == 3 {
		if text, err := base64.RawURLEncoding.DecodeString(parts[1]); err == nil && json.Unmarshal(text, &claims) == nil {
			return claims.Name, nil
		}
	}
	return "", fmt.Errorf("the JWT of the credentials file %s cannot be read", credentialsFile)
}
