package source

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strconv"
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
	j.keep(s)
	return s, nil
}

// keep keeps a secret out of messages, as it is and as it is written in a URL or in quotes. What a
// server answers may repeat it.
func (j *job) keep(secret string) {
	if secret == "" {
		return
	}
	quoted := strconv.Quote(secret)
	user := url.UserPassword("", secret).String()
	j.secrets = append(j.secrets, secret, url.QueryEscape(secret), url.PathEscape(secret), user[1:], quoted[1:len(quoted)-1])
}

// keepPassword keeps a password out of messages, also as basic authentication sends it.
func (j *job) keepPassword(user, password string) {
	j.keep(password)
	j.keep(base64.StdEncoding.EncodeToString([]byte(user + ":" + password)))
}

// proxyVariables name the proxies of the environment; see net/http.ProxyFromEnvironment and
// golang.org/x/net/proxy.FromEnvironment.
var proxyVariables = []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"}

// keepURLs keeps the passwords and tokens out of messages that are in the URLs of the job, and in
// those of the proxies that the environment names.
func (j *job) keepURLs() {
	urls := slices.Clone(j.Config.URLs)
	for _, name := range proxyVariables {
		urls = append(urls, os.Getenv(name), os.Getenv(strings.ToLower(name)))
	}
	for _, text := range urls {
		u, err := url.Parse(text)
		if err != nil {
			continue // it is not connected to
		}
		user := u.User.Username()
		if password, ok := u.User.Password(); ok {
			j.keepPassword(user, password)
		} else if len(user) >= shortestToken && u.Scheme != "ssh" { // whose user is no secret
			j.keepPassword(user, "")
			j.keep(user)
		}
		for _, values := range u.Query() {
			for _, value := range values {
				if len(value) >= shortestToken {
					j.keep(value)
				}
			}
		}
	}
}

// shortestToken is the length from which a user without a password, or a value of a query, may be a
// token. A shorter one is a word that messages have too.
const shortestToken = 8

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
