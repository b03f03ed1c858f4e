package source

import "github.com/go-git/go-git/v5/plumbing/transport"

// CheckFiles reads the files that a configuration names, as a fetch would, and
// tells what is wrong with them. Nobody is asked over the network. Warnings are
// about keys that cannot be used beside others that can.
func CheckFiles(cfg Config) (warnings []string, errs []error) {
	add := func(err error) {
		if err != nil {
			errs = append(errs, err)
		}
	}
	// No host is asked: this one only stands in known_hosts' place for one.
	j := &job{request: request{Config: cfg}, ep: &transport.Endpoint{Host: "localhost"}}
	add(checkAuth(cfg.Auth))
	if cfg.Auth.SSHKeyFile != "" {
		_, err := j.sshKey()
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
		_, warnings, err = readTrust(cfg.Verify)
		add(err)
	}
	return warnings, errs
}

// CheckSecret tells what is wrong with a file that holds a secret in one line:
// it cannot be read, is empty, or others may read it. what names it in the error.
func CheckSecret(what, name string) error {
	_, err := new(job).secretLine(what, name)
	return err
}
