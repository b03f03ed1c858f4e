package source

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/transport"
	gitssh "github.com/go-git/go-git/v5/plumbing/transport/ssh"
	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"
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
			return fmt.Errorf("%w: its algorithms rest on SHA-1, which nfsync does not allow: update the server, or allow them with --ssh-legacy-algorithms (source.ssh.legacyAlgorithms)", err)
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

// knownHosts checks the key of a server against known_hosts.
type knownHosts struct {
	db      *knownhosts.HostKeyDB
	addr    string // host:port
	files   []string
	names   map[string]string // of the files that db has read, by their paths
	skipped []string          // FILE:LINE: why the line cannot be read
	refused error             // why the key was refused
}

// knownHosts reads the configured file, or those that ssh reads. A file that does not
// exist counts as empty: the error about the server's key then names the line to add.
func (j *job) knownHosts() (*knownHosts, error) {
	k := &knownHosts{addr: hostPort(j.ep), files: []string{j.Config.Auth.KnownHostsFile}, names: map[string]string{}}
	if k.files[0] == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return nil, fmt.Errorf("cannot find known_hosts: %w", err)
		}
		k.files = []string{filepath.Join(home, ".ssh", "known_hosts"), "/etc/ssh/ssh_known_hosts"}
	}
	var present []string
	for _, name := range k.files {
		data, err := publicFile("known_hosts file", name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		readable, skipped, err := readableHosts(name, data)
		if err != nil {
			return nil, err
		}
		file, err := memoryFile(readable)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		k.skipped = append(k.skipped, skipped...)
		present, k.names[file.Name()] = append(present, file.Name()), name
	}
	var err error
	if len(present) > 0 {
		k.db, err = gitssh.NewKnownHostsDb(present...)
	} else {
		k.db, err = knownhosts.NewDB()
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the known_hosts file: %w", err)
	}
	return k, nil
}

// check is an ssh.HostKeyCallback.
func (k *knownHosts) check(host string, remote net.Addr, key ssh.PublicKey) error {
	err := k.db.HostKeyCallback()(host, remote, key)
	if err == nil {
		return nil
	}
	k.refused = k.explain(err, key)
	return k.refused
}

// explain adds the reason and the remedy to an error about a server's key.
func (k *knownHosts) explain(err error, key ssh.PublicKey) error {
	host, port, splitErr := net.SplitHostPort(k.addr)
	if splitErr != nil {
		return err
	}
	offered := key.Type() + " " + ssh.FingerprintSHA256(key)
	entry := knownhosts.Normalize(k.addr)
	add := fmt.Sprintf("add this line to %s (as 'ssh-keyscan -p %s -t %s %s' prints it): %s",
		k.files[0], port, scanType(key.Type()), host, knownhosts.Line([]string{k.addr}, key))
	if revoked, ok := errors.AsType[*xknownhosts.RevokedError](err); ok {
		return fmt.Errorf("the server's key %s is revoked by %s:%d", offered, k.names[revoked.Revoked.Filename], revoked.Revoked.Line)
	}
	known, ok := errors.AsType[*xknownhosts.KeyError](err)
	if !ok {
		return fmt.Errorf("the server's key %s is refused: %w", offered, err)
	}
	if len(known.Want) == 0 {
		return fmt.Errorf("the key of %s is not known: it offers %s, and %s has no line for it%s. Compare the fingerprint with what the server's administrator publishes, then %s",
			entry, offered, strings.Join(k.files, " and "), k.skippedLines(), add)
	}
	for _, want := range known.Want {
		if want.Key.Type() == key.Type() {
			return fmt.Errorf("the key of %s has changed: %s:%d expects %s, the server offers %s. Either it has a new key, or another machine answers. If its administrator confirms the new fingerprint, remove the old line ('ssh-keygen -f %s -R %q') and %s",
				entry, k.names[want.Filename], want.Line, ssh.FingerprintSHA256(want.Key), offered, k.names[want.Filename], entry, add)
		}
	}
	return fmt.Errorf("the key of %s is not known: %s:%d has one of type %s, the server offers %s. Compare the fingerprint with what its administrator publishes, then %s",
		entry, k.names[known.Want[0].Filename], known.Want[0].Line, known.Want[0].Key.Type(), offered, add)
}

// skippedLines returns a note about the lines that cannot be read, or "": one of them may be
// the server's. It names three at most.
func (k *knownHosts) skippedLines() string {
	const most = 3
	if len(k.skipped) == 0 {
		return ""
	}
	text := " (lines that cannot be read: " + strings.Join(k.skipped[:min(len(k.skipped), most)], "; ")
	if more := len(k.skipped) - most; more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	return text + ")"
}

// scanType returns the name that ssh-keyscan has for a type of key.
func scanType(t string) string {
	switch {
	case t == ssh.KeyAlgoED25519:
		return "ed25519"
	case strings.HasPrefix(t, "ecdsa"):
		return "ecdsa"
	}
	return "rsa"
}
