package source

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/transport"
	gitssh "github.com/go-git/go-git/v5/plumbing/transport/ssh"
	"golang.org/x/crypto/ssh"
)

// defaultSSHUser is the user for a URL without one. All forges use it.
const defaultSSHUser = "git"

// sshRemote returns the remote for ssh.
func (j *job) sshRemote() (*remote, error) {
	if err := j.registerDialers(); err != nil {
		return nil, err
	}
	keys, err := j.sshKeys()
	if err != nil {
		return nil, err
	}
	hosts, err := j.knownHosts()
	if err != nil {
		return nil, err
	}
	ep := *j.ep
	ep.Host = strings.Trim(ep.Host, "[]") // go-git adds the port itself
	ep.Proxy = transport.ProxyOptions{URL: boundedScheme + "://dialer"}
	user := ep.User
	if user == "" {
		user = defaultSSHUser
	}
	algorithms := algorithmsOf(j.Config.Auth)
	auth := &sshAuth{hostKeys: algorithms.HostKeys, config: ssh.ClientConfig{
		Config:            ssh.Config{KeyExchanges: algorithms.KeyExchanges, MACs: algorithms.MACs},
		User:              user,
		Auth:              []ssh.AuthMethod{ssh.PublicKeys(keys.signers...)},
		HostKeyCallback:   hosts.check,
		HostKeyAlgorithms: common(hosts.db.HostKeyAlgorithms(hosts.addr), algorithms.HostKeys),
		Timeout:           j.Config.Timeout, // of connecting; the parent bounds the whole fetch
	}}
	if len(auth.config.HostKeyAlgorithms) == 0 {
		auth.config.HostKeyAlgorithms = algorithms.HostKeys // the error names the server's key
	}
	r := &remote{job: j, ep: ep, client: gitssh.NewClient(nil), auth: auth}
	r.explain = func(err error) error {
		switch {
		case hosts.refused != nil:
			return hosts.refused
		case strings.Contains(err.Error(), "unable to authenticate"):
			return fmt.Errorf("%w: %s", err, keys.notLetIn(user))
		case needsLegacy(err):
			return fmt.Errorf("%w: its algorithms rest on SHA-1, which nfsync does not allow: update the server, or allow them with %s", err, j.setting("--ssh-legacy-algorithms", "ssh.legacyAlgorithms"))
		}
		return err
	}
	r.canRetry = auth.allowAnyHostKey
	return r, nil
}

// legacyAlgorithms are the algorithms of ssh that rest on SHA-1. OpenSSH has disabled
// ssh-rsa in 8.8 and diffie-hellman-group14-sha1 in 8.2.
var legacyAlgorithms = []string{ssh.KeyAlgoRSA, ssh.InsecureKeyExchangeDH14SHA1, ssh.HMACSHA1}

// algorithmsOf returns the algorithms of ssh that are allowed.
func algorithmsOf(a Auth) ssh.Algorithms {
	all := ssh.SupportedAlgorithms()
	if a.SSHLegacyAlgorithms {
		all.HostKeys = append(all.HostKeys, ssh.KeyAlgoRSA)
		all.KeyExchanges = append(all.KeyExchanges, ssh.InsecureKeyExchangeDH14SHA1)
		return all
	}
	all.MACs = slices.DeleteFunc(all.MACs, func(s string) bool { return s == ssh.HMACSHA1 })
	return all
}

// common returns the strings of a that are in b.
func common(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return !slices.Contains(b, s) })
}

// needsLegacy reports whether an error of connecting is that the server supports only
// algorithms that rest on SHA-1.
func needsLegacy(err error) bool {
	n, ok := errors.AsType[*ssh.AlgorithmNegotiationError](err)
	if ok {
		return len(common(n.RequestedAlgorithms, legacyAlgorithms)) > 0 && len(common(n.SupportedAlgorithms, legacyAlgorithms)) == 0
	}
	return strings.Contains(err.Error(), "no common public key signature algorithm")
}

// sshAuth passes the configuration of ssh to go-git.
type sshAuth struct {
	config   ssh.ClientConfig
	hostKeys []string // the types of host keys that are allowed
}

func (a *sshAuth) Name() string { return gitssh.PublicKeysName }

func (a *sshAuth) String() string { return a.Name() }

func (a *sshAuth) ClientConfig() (*ssh.ClientConfig, error) {
	c := a.config
	return &c, nil
}

// allowAnyHostKey offers all types of host keys that are allowed, and reports whether a second attempt to
// connect makes sense: the first failed because the server has no key of the types that
// known_hosts has for it. The second fails too, but its error names the server's key.
func (a *sshAuth) allowAnyHostKey(err error) bool {
	n, ok := errors.AsType[*ssh.AlgorithmNegotiationError](err)
	if !ok || slices.Equal(a.config.HostKeyAlgorithms, a.hostKeys) || len(common(n.RequestedAlgorithms, a.hostKeys)) == 0 {
		return false
	}
	a.config.HostKeyAlgorithms = a.hostKeys
	return true
}
