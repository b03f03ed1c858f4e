package source

import "github.com/go-git/go-git/v5/plumbing/transport"

// CheckFiles reads the files that a configuration names, as a fetch would, and returns
// their errors. It uses no network. Warnings are about keys that cannot be used, beside
// others that can.
func CheckFiles(cfg Config) (warnings []string, errs []error) {
	add := func(err error) {
		if err != nil {
			errs = append(errs, err)
		}
	}
	// No host is contacted: this name is only looked up in known_hosts.
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

// CheckSecret returns an error if a file that holds a secret in one line cannot be
// read, is empty, or may be read by others. what names it in the error.
func CheckSecret(what, name string) error {
	_, err := new(job).secretLine(what, name)
	return err
}
