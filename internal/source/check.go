package source

import "github.com/go-git/go-git/v5/plumbing/transport"

// CheckFiles reads the files that a configuration names, as a fetch does, and returns an
// error for each that cannot be used. warnings are about single keys in a keyring or a list
// of signers. It uses no network.
func CheckFiles(cfg Config) (warnings []string, errs []error) {
	add := func(err error) {
		if err != nil {
			errs = append(errs, err)
		}
	}
	// The host is only looked up in known_hosts.
	j := &job{request: request{Config: cfg}, ep: &transport.Endpoint{Host: "localhost"}}
	add(checkAuth(cfg.Auth))
	if name := cfg.Auth.SSHKeyFile; name != "" {
		_, err := j.sshKey(name)
		add(err)
	}
	if cfg.Auth.KnownHostsFile != "" {
		_, err := publicFile("known_hosts file", cfg.Auth.KnownHostsFile)
		if err == nil {
			_, err = j.knownHosts()
		}
		add(err)
	}
	_, err := j.httpAuth()
	add(err)
	_, err = j.httpTransport()
	add(err)
	if len(cfg.Verify.Keyrings)+len(cfg.Verify.AllowedSigners) > 0 {
		_, warnings, err = readTrustedKeys(cfg.Verify)
		add(err)
	}
	return warnings, errs
}

// CheckSecret returns an error unless a file holds one line that only its owner may read.
// what describes the secret in the error.
func CheckSecret(what, name string) error {
	_, err := new(job).secretLine(what, name)
	return err
}
