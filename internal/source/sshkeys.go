package source

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// userKeyFiles are the files in ~/.ssh that ssh takes private keys from (IdentityFile in
// ssh_config(5)). Keys of security tokens work through ssh-agent only.
var userKeyFiles = []string{"id_ed25519", "id_ecdsa", "id_rsa"}

// sshKeys are the private keys to log in with.
type sshKeys struct {
	signers  []ssh.Signer
	names    []string // where each is from, and its fingerprint
	unusable []string // why others are not among them
}

// sshKeys returns the configured key or, where none is and a person runs nfsync, the keys that
// ssh would use: those in ssh-agent, then those in ~/.ssh.
func (j *job) sshKeys() (*sshKeys, error) {
	k := new(sshKeys)
	if name := j.Config.Auth.SSHKeyFile; name != "" {
		signer, err := j.sshKey(name)
		if err != nil {
			return nil, err
		}
		k.add(signer, name)
		return k, nil
	}
	if !j.Config.UserKeys {
		return nil, fmt.Errorf("ssh needs a private key: name its file with %s", j.setting("--ssh-key", "ssh.keyFile"))
	}
	j.addAgentKeys(k)
	j.addUserKeys(k)
	if len(k.signers) == 0 {
		return nil, fmt.Errorf("ssh needs a private key, and there is none: %s. Name the file of one with --ssh-key", strings.Join(k.unusable, "; "))
	}
	return k, nil
}

// add adds a key once: servers count how many are tried.
func (k *sshKeys) add(signer ssh.Signer, from string) {
	same := func(s ssh.Signer) bool {
		return bytes.Equal(s.PublicKey().Marshal(), signer.PublicKey().Marshal())
	}
	if slices.ContainsFunc(k.signers, same) {
		return
	}
	k.signers = append(k.signers, signer)
	k.names = append(k.names, fmt.Sprintf("%s (%s)", from, ssh.FingerprintSHA256(signer.PublicKey())))
}

// addAgentKeys adds the keys in ssh-agent. The connection to it ends with the process.
func (j *job) addAgentKeys(k *sshKeys) {
	socket := os.Getenv("SSH_AUTH_SOCK")
	if socket == "" {
		k.unusable = append(k.unusable, "SSH_AUTH_SOCK names no ssh-agent")
		return
	}
	signers, err := agentSigners(socket)
	if err == nil && len(signers) == 0 {
		err = errors.New("it has no key")
	}
	for _, signer := range signers {
		if signer, err = j.withAlgorithms(signer); err == nil {
			k.add(signer, "ssh-agent")
		}
	}
	if err != nil {
		k.unusable = append(k.unusable, fmt.Sprintf("ssh-agent at %s: %v", socket, err))
	}
}

func agentSigners(socket string) ([]ssh.Signer, error) {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return nil, err
	}
	return agent.NewClient(conn).Signers()
}

// addUserKeys adds the keys in ~/.ssh.
func (j *job) addUserKeys(k *sshKeys) {
	home, err := os.UserHomeDir()
	if err != nil {
		k.unusable = append(k.unusable, err.Error())
		return
	}
	for _, file := range userKeyFiles {
		name := filepath.Join(home, ".ssh", file)
		signer, err := j.sshKey(name)
		switch {
		case err == nil:
			k.add(signer, name)
		case errors.Is(err, fs.ErrNotExist):
			k.unusable = append(k.unusable, name+" does not exist")
		default:
			k.unusable = append(k.unusable, err.Error())
		}
	}
}

// sshKey reads a private key from a file.
func (j *job) sshKey(name string) (ssh.Signer, error) {
	pem, err := j.secretFile("ssh key", name)
	if err != nil {
		return nil, err
	}
	signer, err := ssh.ParsePrivateKey(pem)
	if _, ok := errors.AsType[*ssh.PassphraseMissingError](err); ok {
		return nil, fmt.Errorf("the ssh key %s has a passphrase, which nfsync cannot ask for: make a key without one for this node ('ssh-keygen -t ed25519 -N \"\"'). plan and apply take it from ssh-agent too ('ssh-add %s')", name, name)
	}
	if err == nil {
		signer, err = j.withAlgorithms(signer)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot use the ssh key %s: %w", name, err)
	}
	return signer, nil
}

// withAlgorithms returns a key that does not sign with SHA-1, unless that is allowed.
func (j *job) withAlgorithms(signer ssh.Signer) (ssh.Signer, error) {
	if j.Config.Auth.SSHLegacyAlgorithms || signer.PublicKey().Type() != ssh.KeyAlgoRSA {
		return signer, nil
	}
	algorithmic, ok := signer.(ssh.AlgorithmSigner)
	if !ok {
		return nil, errors.New("it signs only with SHA-1")
	}
	return ssh.NewSignerWithAlgorithms(algorithmic, []string{ssh.KeyAlgoRSASHA256, ssh.KeyAlgoRSASHA512})
}

// notLetIn returns the end of an error about a server that accepts none of the keys.
func (k *sshKeys) notLetIn(user string) string {
	text := fmt.Sprintf("it does not let %s in with the key %s", user, strings.Join(k.names, ", nor with "))
	if len(k.unusable) > 0 {
		text += " (not used: " + strings.Join(k.unusable, "; ") + ")"
	}
	return text
}
