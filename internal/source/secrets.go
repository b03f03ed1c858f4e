package source

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"nfsync.dev/nfsync/internal/openfile"
)

// maxSecret bounds the files of keys, passwords and certificates.
const maxSecret = 1 << 20

// readBounded reads a regular file of at most maxSecret bytes.
func readBounded(name string) ([]byte, os.FileInfo, error) {
	f, err := openfile.Regular(name)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	b, err := openfile.ReadAll(f, maxSecret)
	return b, info, err
}

// secretFile reads a file that only its owner may access. Any other mode is an error, as
// for ssh: a secret that others could read must be replaced.
func (j *job) secretFile(what, name string) ([]byte, error) {
	b, info, err := readBounded(name)
	if err != nil {
		return nil, fmt.Errorf("cannot read the %s: %w", what, err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("the %s %s can be read by others (mode %04o): run 'chmod 600 %s', and replace it if they may have read it", what, name, mode, name)
	}
	return b, nil
}

// secretLine returns the only line of a secret file, without the newline.
func (j *job) secretLine(what, name string) (string, error) {
	b, err := j.secretFile(what, name)
	if err != nil {
		return "", err
	}
	s := strings.TrimRight(string(b), "\r\n")
	switch {
	case s == "":
		return "", fmt.Errorf("the %s %s is empty", what, name)
	case strings.ContainsAny(s, "\r\n\x00"):
		return "", fmt.Errorf("the %s %s has more than one line", what, name)
	}
	j.secrets = append(j.secrets, s)
	return s, nil
}

// publicFile reads a file without secrets.
func publicFile(what, name string) ([]byte, error) {
	b, _, err := readBounded(name)
	if err != nil {
		return nil, fmt.Errorf("cannot read the %s: %w", what, err)
	}
	return b, nil
}

// checkAuth returns an error if the named files contradict each other.
func checkAuth(a Auth) error {
	switch {
	case a.PasswordFile != "" && a.TokenFile != "":
		return errors.New("a password file and a token file are given: only one of them can be sent")
	case a.User != "" && a.TokenFile != "":
		return errors.New("a user is given with a bearer token, which has none: give the password file instead if the server wants the token as a password")
	case a.User != "" && a.PasswordFile == "":
		return errors.New("a user is given without a password file")
	case (a.ClientCertFile == "") != (a.ClientKeyFile == ""):
		return errors.New("a client certificate needs both its certificate file and its key file")
	}
	return nil
}
