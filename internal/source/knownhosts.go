package source

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"
	"golang.org/x/sys/unix"
)

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
	if k.db, err = knownhosts.NewDB(present...); err != nil {
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

// readableHosts returns a copy of a known_hosts file in which each line that cannot be read
// is empty, and what is wrong with these lines. ssh skips such lines too (hostfile.c of OpenSSH): other
// programs, and older and newer versions of ssh, write them. A file that has no other line
// is an error.
func readableHosts(name string, data []byte) (readable []byte, skipped []string, err error) {
	if parseHosts(data) == nil {
		return data, nil, nil
	}
	usable := false
	for i, line := range bytes.SplitAfter(data, []byte("\n")) {
		if err := parseHosts(line); err != nil {
			skipped = append(skipped, fmt.Sprintf("%s:%d: %s", name, i+1, clean(err.Error())))
			line = []byte("\n")
		} else if text := bytes.TrimSpace(line); len(text) > 0 && text[0] != '#' {
			usable = true
		}
		readable = append(readable, line...)
	}
	if !usable {
		return nil, nil, fmt.Errorf("no line of the known_hosts file can be read: %s", skipped[0])
	}
	return readable, skipped, nil
}

// parseHosts returns why a known_hosts file with this content cannot be read.
func parseHosts(content []byte) error {
	file, err := memoryFile(content)
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err = knownhosts.NewDB(file.Name()); err == nil {
		return nil
	}
	// The parser begins with its own name and the place in the file.
	text := strings.TrimPrefix(err.Error(), "knownhosts: ")
	return errors.New(strings.TrimPrefix(text, file.Name()+":1: "))
}

// memoryFile returns a new file in memory with this content: the parser of known_hosts takes
// names of files only. The caller closes it.
func memoryFile(content []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("known_hosts", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("cannot make a file in memory: %w", err)
	}
	file := os.NewFile(uintptr(fd), fmt.Sprintf("/proc/self/fd/%d", fd))
	if _, err := file.Write(content); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}
