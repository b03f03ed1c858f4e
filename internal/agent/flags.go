package agent

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/source"
	"nfsync.dev/nfsync/internal/spec"
)

// Flags is what a command line says about the repository of the policies. Each
// field is named after its flag, and empty where the flag is not given.
type Flags struct {
	URLs                []string
	Branch, Tag, Commit string
	Path                string
	Accept              string         // commit of a rewritten branch that is taken
	Timeout             *time.Duration // nil: not given
	Auth                source.Auth
	Verify              source.Verify
}

// Source returns the source of the policies: that of the configuration, with
// what the flags say in its place. A repository that is a relative path is one
// below dir: what was applied is remembered by its URL, which must mean the same
// in every directory. The errors name the flag that has to change.
func (f Flags) Source(c spec.AgentConfig, dir string) (source.Config, error) {
	cfg := f.over(ConfiguredSource(c))
	for i, u := range cfg.URLs {
		cfg.URLs[i] = absolute(u, dir)
	}
	var err error
	if cfg.Path, err = source.CleanPath(cfg.Path); err != nil {
		return cfg, fmt.Errorf("--path: %w", err)
	}
	return cfg, f.check(cfg)
}

// ConfiguredSource returns the source of a configuration file.
func ConfiguredSource(c spec.AgentConfig) source.Config {
	return source.Config{
		URLs: slices.Clone(c.Source.URLs), Branch: c.Source.Branch, Tag: c.Source.Tag, Commit: c.Source.Commit, Path: c.Source.Path,
		Timeout: c.Source.Timeout, Auth: source.Auth(c.Source.Auth),
		Verify: source.Verify{Mode: source.Mode(c.Verify.Mode), Keyrings: c.Verify.Keyrings, AllowedSigners: c.Verify.AllowedSigners},
	}
}

// over puts the flags in the place of what cfg says. Branch, tag and commit are
// one setting, and so are user, password and token, and the files of keys.
func (f Flags) over(cfg source.Config) source.Config {
	if len(f.URLs) > 0 {
		cfg.URLs = slices.Clone(f.URLs)
	}
	if f.Branch+f.Tag+f.Commit != "" {
		cfg.Branch, cfg.Tag, cfg.Commit = f.Branch, f.Tag, f.Commit
	}
	cfg.Path = cmp.Or(f.Path, cfg.Path)
	if f.Timeout != nil {
		cfg.Timeout = *f.Timeout
	}
	auth := &cfg.Auth
	if f.Auth.User+f.Auth.PasswordFile+f.Auth.TokenFile != "" {
		auth.User, auth.PasswordFile, auth.TokenFile = f.Auth.User, f.Auth.PasswordFile, f.Auth.TokenFile
	}
	auth.SSHKeyFile = cmp.Or(f.Auth.SSHKeyFile, auth.SSHKeyFile)
	auth.KnownHostsFile = cmp.Or(f.Auth.KnownHostsFile, auth.KnownHostsFile)
	auth.CAFile = cmp.Or(f.Auth.CAFile, auth.CAFile)
	cfg.Verify.Mode = cmp.Or(f.Verify.Mode, cfg.Verify.Mode)
	if len(f.Verify.Keyrings)+len(f.Verify.AllowedSigners) > 0 {
		cfg.Verify.Keyrings, cfg.Verify.AllowedSigners = f.Verify.Keyrings, f.Verify.AllowedSigners
	}
	return cfg
}

// absolute returns a path of this machine as an absolute one, and any other URL
// unchanged.
func absolute(u, dir string) string {
	head, _, _ := strings.Cut(u, "/")
	switch {
	case u == "", strings.Contains(head, ":"): // https://…, or host:path for ssh
		return u
	case filepath.IsAbs(u):
		return filepath.Clean(u)
	}
	return filepath.Join(dir, u)
}

// check returns an error for a source that no server need be asked about.
func (f Flags) check(cfg source.Config) error {
	named := slices.DeleteFunc([]string{cfg.Branch, cfg.Tag, cfg.Commit}, func(s string) bool { return s == "" })
	keys := len(cfg.Verify.Keyrings) + len(cfg.Verify.AllowedSigners)
	switch {
	case len(named) > 1:
		return errors.New("--branch, --tag and --commit exclude each other")
	case cfg.Commit != "" && !nf.IsCommitID(cfg.Commit):
		return fmt.Errorf("--commit %s: a commit is named by its full hash, 40 hexadecimal digits", cfg.Commit)
	case f.Accept != "" && !nf.IsCommitID(f.Accept):
		return fmt.Errorf("--accept %s: a commit is named by its full hash, 40 hexadecimal digits", f.Accept)
	case cfg.Timeout <= 0:
		return fmt.Errorf("--timeout %s: there must be some time to fetch", cfg.Timeout)
	}
	for _, u := range cfg.URLs {
		if parsed, err := url.Parse(u); err == nil && parsed.User != nil {
			if _, secret := parsed.User.Password(); secret {
				return fmt.Errorf("--git %s: a password does not belong in a URL, where everybody can read it; name its file with --password-file", parsed.Redacted())
			}
		}
	}
	switch cfg.Verify.Mode {
	case source.VerifyNone, "":
		if keys > 0 {
			return errors.New("--keyring and --allowed-signers are of no use without --verify tip or --verify all")
		}
	case source.VerifyTip, source.VerifyAll:
		if keys == 0 {
			return fmt.Errorf("--verify %s needs --keyring or --allowed-signers: the keys whose signatures are good", cfg.Verify.Mode)
		}
	default:
		return fmt.Errorf("--verify %s: must be none, tip or all", cfg.Verify.Mode)
	}
	return nil
}
